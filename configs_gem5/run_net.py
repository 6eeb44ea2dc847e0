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
import atexit
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(next(p for p in Path(__file__).resolve().parents if (p / "sysmol" / "__init__.py").is_file())))

import _m5.core
import m5

from sysmol.configs_gem5.baremetal import build_bare_machine
from sysmol.configs_gem5.checked_run import Run, check_request
from sysmol.configs_gem5.fullsystem import keep_console
from sysmol.configs_gem5.inputs import Job
from sysmol.configs_gem5.linux import build_linux_run, collect_processes
from sysmol.configs_gem5.request import CPUS, HELP, MODES, Simulation
from sysmol.configs_gem5.results import check_blocks, compare
from sysmol.configs_gem5.run_record import Measured, describe_run
from sysmol.configs_gem5.simulation import last_lines, redirect, report_errors
from sysmol.configs_gem5.system import build_system
from sysmol.errors import CheckFailed
from sysmol.files import atomic_write_json
from sysmol.isas import ISAS

DEFAULT = Simulation()
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
    parser.add_argument("--isa", choices=ISAS, help=HELP["isa"])
    parser.add_argument("--cpu", choices=CPUS, default=DEFAULT.cpu, help=HELP["cpu"])
    parser.add_argument("--machine", default=DEFAULT.machine, help=f"{HELP['machine']} (default {DEFAULT.machine})")
    parser.add_argument("--patterns", help=HELP["patterns"])
    parser.add_argument("--mode", choices=MODES, help=HELP["mode"])
    parser.add_argument("--boot", metavar="FOLDER", help=HELP["boot"])
    parser.add_argument("--processes", type=int, default=1, help=HELP["processes"])
    parser.add_argument("--smol", help=HELP["smol"])
    parser.add_argument("--images", type=int, default=1, help=f"{HELP['images']} (default 1)")
    parser.add_argument("--images-file", help=HELP["images_file"])
    parser.add_argument("--outdir", default="m5out", help="run folder (default m5out)")
    parser.add_argument("--seed", type=int, default=0, help=f"{HELP['seed']} (default 0)")
    parser.add_argument("--no-roi", action="store_true", help=HELP["no_roi"])
    parser.add_argument("--stock-decoder", action="store_true", help=HELP["stock_decoder"])
    return parser.parse_args()


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


def build_root(run: Run) -> Any:
    """The simulated system, its program's input and output named."""
    job = run.job
    if run.mode != "se":
        m5.disableAllListeners()
    if run.mode == "baremetal":
        return build_bare_machine(
            run.machine, job.isa, run.cpu, job.elf, job.images, run.images, run.roi, run.plugin, job.data.get("tile")
        )  # fmt: skip
    if run.boot is not None:
        return build_linux_run(
            run.machine, run.cpu, run.boot, job, run.images, run.processes, run.roi, run.outdir, run.plugin
        )
    program = [str(job.elf), str(job.images), str(run.outdir / "logits.bin"), str(run.images)]
    if run.roi:
        program.append("--roi")
    return build_system(run.machine, job.isa, run.cpu, program, run.outdir, run.plugin)


def measure(run: Run) -> Measured:
    """Simulate to the end of the program, its statistics in the run folder."""
    redirect(run.outdir)
    _m5.core.seedRandom(run.seed)
    root = build_root(run)
    m5.instantiate(None if run.boot is None else str(run.boot.checkpoint))
    first_tick = int(m5.curTick())
    started, started_cpu = time.time(), time.process_time()
    cause = simulate(run.job, run.outdir, run.mode)
    host_cpu_seconds = time.process_time() - started_cpu
    processes = collect_processes(run.outdir) if run.mode == "linux" else []
    host_seconds = time.time() - started
    if not run.roi:
        m5.stats.dump()
    # gem5 would dump once more at its exit: a block of what follows the last region, which belongs to none.
    atexit.unregister(m5.stats.dump)
    insts, ticks = int(root.system.cpu.totalInsts()), int(m5.curTick()) - first_tick
    return Measured(cause, insts, ticks, host_seconds, host_cpu_seconds, processes, root)


def main() -> None:
    run = check_request(parse_arguments())
    job = run.job
    measured = measure(run)
    check_blocks(run.outdir, max(1, run.images * run.regions))
    match, mismatches = compare(job, run.images, run.processes, run.outdir)
    atomic_write_json(run.outdir / "run.json", describe_run(run, measured, match, mismatches))
    verdict = {True: "logits as expected", False: f"{mismatches} logits differ", None: "no reference logits"}[match]
    what = f"{job.data['name']} ({job.isa}, {run.mode}, {run.cpu}, {run.machine.name})"
    print(f"{what}: {run.images} images, {verdict}; {run.outdir}/run.json")
    if match is False:
        raise CheckFailed(f"{mismatches} of {run.processes * run.images * job.classes} logits differ from {job.logits}")


if __name__ == "__m5_main__":
    sys.exit(report_errors(main, "run_net.py"))
