"""Run a compiled network in gem5 and leave a run folder.

    gem5.opt configs_gem5/run_net.py --net MANIFEST [--isa arm|riscv] [--cpu o3|minor|timing|atomic]
        [--machine NAME|FILE] [--patterns P4|P8|P45|LIST] [--images N] [--outdir DIR] [--mode se|baremetal|linux] ...

Modes: se (system-call emulation, the default), baremetal (a program with no system beneath it), linux (a kernel that
was booted before, see boot_linux.py).

The run folder holds stats.txt (one block per region of interest and image, in order), config.ini and config.json,
logits.bin, simout and simerr (what the program printed) and, written last, run.json: where it stands, the run is
complete. Bad input ends with one line and status 2; a program that fails, or wrong logits, with one line and status 1.

This file runs inside gem5: nothing but m5, the standard library and the part of sysmol that needs no more.
"""

import argparse
import array
import atexit
import itertools
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(next(p for p in Path(__file__).resolve().parents if (p / "sysmol" / "__init__.py").is_file())))

import _m5.core
import m5
from m5.defines import buildEnv

from sysmol import isa as table
from sysmol.configs_gem5.baremetal import build_bare_machine
from sysmol.configs_gem5.fullsystem import keep_console
from sysmol.configs_gem5.inputs import Job, count_mismatches, load_job, read_numbers
from sysmol.configs_gem5.linux import MOST_PROCESSES, Boot, build_linux_run, collect_processes, image_numbers, load_boot
from sysmol.configs_gem5.request import CPUS, Simulation
from sysmol.configs_gem5.simulation import last_lines, redirect, report_errors
from sysmol.configs_gem5.system import build_system
from sysmol.errors import CheckFailed, SysmolError
from sysmol.files import atomic_write_json, make_folder, sha256_file
from sysmol.machine import Machine, load_machine, pattern_set, pattern_set_name
from sysmol.places import BUILD_GEM5

DEFAULT = Simulation()
RUN_FORMAT = "sysmol-run"
RUN_VERSION = 1
FINISHED = {
    "se": "exiting with last active thread context",
    "baremetal": "m5_exit instruction encountered",
    "linux": "m5_exit instruction encountered",
}
"""gem5's cause of a simulation's end where all went well."""
FAILED = "m5_fail instruction encountered"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run a compiled network in gem5", allow_abbrev=False)
    parser.add_argument("--net", required=True, metavar="MANIFEST", help="NAME.<isa>.json beside the executable")
    parser.add_argument("--isa", choices=("arm", "riscv"), help="refuse a manifest of the other ISA")
    parser.add_argument("--cpu", choices=CPUS, default=DEFAULT.cpu)
    parser.add_argument("--machine", default=DEFAULT.machine, help=f"name or JSON file (default {DEFAULT.machine})")
    parser.add_argument(
        "--patterns", help="patterns that the hardware supports: P1, P4, P8, P45 or a list (default: the machine's)"
    )
    parser.add_argument("--mode", choices=tuple(FINISHED), help="what lies beneath the program (default: manifest's)")
    parser.add_argument("--boot", metavar="FOLDER", help="for --mode linux: what boot_linux.py left")
    parser.add_argument("--processes", type=int, default=1, help="for --mode linux: how many run at the same time")
    parser.add_argument(
        "--smol", help="another SMOL unit than the machine's: units=2,vdot=4,share=no, shared ... (docs/machines.md)"
    )
    parser.add_argument("--images", type=int, default=1, help="number of images to run (default 1)")
    parser.add_argument("--images-file", help="other images than the manifest's (u8 HWC, concatenated)")
    parser.add_argument("--outdir", default="m5out", help="run folder (default m5out)")
    parser.add_argument("--seed", type=int, default=0, help="seed of gem5's random numbers (default 0)")
    parser.add_argument("--no-roi", action="store_true", help="one block of statistics for the whole program")
    parser.add_argument("--stock-decoder", action="store_true", help="gem5's own decoder: SMOL words are then illegal")
    return parser.parse_args()


def check_plugin() -> str:
    """Fingerprint of the instruction table in this gem5; :class:`SysmolError` where there is none or another one."""
    if not hasattr(_m5, "smol"):
        raise SysmolError(f"this gem5 lacks the SMOL plug-in: {BUILD_GEM5}")
    found = str(_m5.smol.isa_fingerprint)
    if found != table.FINGERPRINT:
        raise SysmolError(
            f"this gem5's plug-in is of instruction table {found}, sysmol's is {table.FINGERPRINT}: "
            f"run 'python -m sysmol.emit', then {BUILD_GEM5}"
        )
    return found


def simulate(job: Job, outdir: Path, mode: str) -> str:
    """Run to the program's end; the cause. :class:`CheckFailed` where it did not end well."""
    event = m5.simulate()
    cause, code = event.getCause(), event.getCode()
    if cause.startswith("illegal instruction"):
        raise CheckFailed(
            f"{job.data['name']} stopped: {cause} (it uses patterns {job.data.get('patterns')}; see --patterns)"
        )
    if mode != "se":
        keep_console(outdir)
    if cause not in (FINISHED[mode], FAILED):
        raise CheckFailed(f"{job.data['name']} stopped: {cause}")
    if code != 0:
        said = last_lines(outdir / ("simerr" if mode == "se" else "simout"))
        raise CheckFailed(f"{job.data['name']} ended with status {code}: {said[-1] if said else 'it said nothing'}")
    return cause


def compare(job: Job, images: int, processes: int, outdir: Path) -> tuple[bool | None, int]:
    """Whether the logits are the reference's, and how many are not; ``None`` where there is no reference.

    Process k's logits are in ``logits.<k>.bin``, the first one's in ``logits.bin``.
    """
    count, dtype = images * job.classes, job.data["output"]["dtype"]
    reference = None if job.logits is None else read_numbers(job.logits, job.available * job.classes, dtype)
    mismatches = 0
    for process in range(processes):
        found = read_numbers(outdir / (f"logits.{process}.bin" if process else "logits.bin"), count, dtype)
        if reference is None:
            continue
        rows = [reference[n * job.classes : (n + 1) * job.classes] for n in image_numbers(job, images, process)]
        expected = array.array(reference.typecode, itertools.chain.from_iterable(rows))
        mismatches += count_mismatches(found, expected, float(job.data["reference"].get("tolerance", 0)))
    return (None if reference is None else mismatches == 0), mismatches


def check_blocks(outdir: Path, expected: int) -> None:
    """The program must have dumped statistics once per region and image."""
    with open(outdir / "stats.txt", encoding="utf-8") as stream:
        found = sum(line.startswith("---------- Begin Simulation Statistics") for line in stream)
    if found != expected:
        raise CheckFailed(f"{outdir}/stats.txt has {found} blocks where the manifest's regions make {expected}")


def check_system(arguments: argparse.Namespace, mode: str) -> Boot | None:
    """The booted kernel that ``--mode linux`` needs; options of that mode are refused in others."""
    if mode != "linux":
        if arguments.boot is not None or arguments.processes != 1:
            raise SysmolError(f"--boot and --processes belong to --mode linux, not {mode}")
        return None
    if arguments.boot is None:
        raise SysmolError("--mode linux needs --boot FOLDER: boot a kernel with boot_linux.py (docs/fullsystem.md)")
    if not 1 <= arguments.processes <= MOST_PROCESSES:
        raise SysmolError(f"--processes {arguments.processes}: from 1 to {MOST_PROCESSES} can run at the same time")
    return load_boot(arguments.boot)


def build_root(
    arguments: argparse.Namespace, job: Job, machine: Machine, mode: str, boot: Boot | None, outdir: Path, plugin: bool
) -> Any:
    """The simulated system, its program's input and output named."""
    roi = not arguments.no_roi
    if mode != "se":
        m5.disableAllListeners()
    if mode == "baremetal":
        return build_bare_machine(machine, job.isa, arguments.cpu, job.elf, job.images, arguments.images, roi, plugin)
    if boot is not None:
        return build_linux_run(
            machine, arguments.cpu, boot, job, arguments.images, arguments.processes, roi, outdir, plugin
        )
    program = [str(job.elf), str(job.images), str(outdir / "logits.bin"), str(arguments.images)]
    if roi:
        program.append("--roi")
    return build_system(machine, job.isa, arguments.cpu, program, outdir, plugin)


def main() -> None:
    arguments = parse_arguments()
    job = load_job(arguments.net, arguments.isa, arguments.images_file)
    mode = job.check_mode(arguments.mode)
    boot = check_system(arguments, mode)
    if arguments.processes > 1:
        arguments.no_roi = True  # layers of several processes overlap in time
    machine = load_machine(arguments.machine)
    if arguments.smol is not None:
        machine = machine.with_smol(arguments.smol)
    if arguments.patterns is not None:
        machine = machine.with_patterns(pattern_set(arguments.patterns))
    if not 1 <= arguments.images <= job.available:
        raise SysmolError(f"--images {arguments.images}: {job.images} holds {job.available} images")
    if not buildEnv[f"USE_{job.isa.upper()}_ISA"]:
        raise SysmolError(f"this gem5 was built without {job.isa}: build one with USE_{job.isa.upper()}_ISA=y")
    fingerprint = None if arguments.stock_decoder else check_plugin()
    outdir = make_folder(Path(arguments.outdir).resolve())
    if not os.access(outdir, os.W_OK | os.X_OK):
        raise SysmolError(f"cannot write into the folder {outdir}: name another one with --outdir")
    for stale in (outdir / name for name in ("run.json", "simout", "simerr")):
        stale.unlink(missing_ok=True)
    for stale in outdir.glob("logits*.bin"):
        stale.unlink()
    redirect(outdir)

    _m5.core.seedRandom(arguments.seed)
    # The root must stay referenced for as long as the simulation lives.
    root = build_root(arguments, job, machine, mode, boot, outdir, plugin=fingerprint is not None)
    m5.instantiate(None if boot is None else str(boot.checkpoint))
    first_tick = int(m5.curTick())
    started, started_cpu = time.time(), time.process_time()
    cause = simulate(job, outdir, mode)
    host_cpu_seconds = time.process_time() - started_cpu
    processes = collect_processes(outdir) if mode == "linux" else []
    host_seconds = time.time() - started
    if arguments.no_roi:
        m5.stats.dump()
    # gem5 would dump once more at its exit: a block of what follows the last region, which belongs to none.
    atexit.unregister(m5.stats.dump)

    regions = 0 if arguments.no_roi else job.regions
    check_blocks(outdir, max(1, arguments.images * regions))
    match, mismatches = compare(job, arguments.images, arguments.processes, outdir)
    atomic_write_json(
        outdir / "run.json",
        {
            "format": RUN_FORMAT,
            "version": RUN_VERSION,
            "name": job.data["name"],
            "variant": job.data["variant"],
            "isa": job.isa,
            "mode": mode,
            "cpu": arguments.cpu,
            "machine": machine.to_json(),
            "pattern_set": pattern_set_name(machine.smol.patterns),
            "patterns": list(machine.smol.patterns),
            "manifest": {"path": str(job.manifest), "sha256": sha256_file(job.manifest)},
            "elf_sha256": job.data["elf"]["sha256"],
            "network_sha256": job.data["network"]["sha256"],
            "images": arguments.images,
            "regions": regions,
            "seed": arguments.seed,
            "stock_decoder": arguments.stock_decoder,
            "gem5": {
                "version": str(_m5.core.gem5Version),
                "compiled": str(_m5.core.compileDate),
                "binary": os.readlink("/proc/self/exe") if os.path.exists("/proc/self/exe") else sys.executable,
                "python": platform.python_version(),
                "isas": [name for name in ("arm", "riscv") if buildEnv[f"USE_{name.upper()}_ISA"]],
            },
            "isa_fingerprint": fingerprint,
            "exit_cause": cause,
            "logits_match": match,
            "mismatches": mismatches,
            "host_seconds": round(host_seconds, 3),
            "host_cpu_seconds": round(host_cpu_seconds, 3),
            "sim_insts": int(root.system.cpu.totalInsts()),
            "sim_ticks": int(m5.curTick()) - first_tick,
            **({"processes": processes} if processes else {}),
            "command": sys.argv,
        },
    )
    verdict = {True: "logits as expected", False: f"{mismatches} logits differ", None: "no reference logits"}[match]
    what = f"{job.data['name']} ({job.isa}, {mode}, {arguments.cpu}, {machine.name})"
    print(f"{what}: {arguments.images} images, {verdict}; {outdir}/run.json")
    if match is False:
        raise CheckFailed(
            f"{mismatches} of {arguments.processes * arguments.images * job.classes} logits differ from {job.logits}"
        )


if __name__ == "__m5_main__":
    sys.exit(report_errors(main, "run_net.py"))
