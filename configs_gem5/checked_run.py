"""The arguments of run_net.py, checked before anything is simulated. Imports m5."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import _m5
from m5.defines import buildEnv

from sysmol import isa as table
from sysmol.configs_gem5.inputs import Job, load_job
from sysmol.configs_gem5.linux import MOST_PROCESSES, Boot, load_boot
from sysmol.errors import SysmolError
from sysmol.files import make_folder
from sysmol.machine import Machine, load_machine, pattern_set
from sysmol.places import BUILD_GEM5


@dataclass(frozen=True)
class Run:
    """A checked request: what is simulated, on what, into which folder. ``fingerprint``: of the plug-in's instruction
    table; ``None`` with gem5's own decoder."""

    job: Job
    mode: str
    boot: Boot | None
    machine: Machine
    cpu: str
    images: int
    processes: int
    seed: int
    roi: bool
    fingerprint: str | None
    outdir: Path

    @property
    def plugin(self) -> bool:
        return self.fingerprint is not None

    @property
    def regions(self) -> int:
        """Regions of interest per image: blocks of statistics."""
        return self.job.regions if self.roi else 0


def check_machine(arguments: argparse.Namespace) -> Machine:
    """The machine, with what the options change of it."""
    machine = load_machine(arguments.machine)
    if arguments.smol is not None:
        machine = machine.with_smol(arguments.smol)
    if arguments.patterns is not None:
        machine = machine.with_patterns(pattern_set(arguments.patterns))
    return machine


def clean_folder(outdir: Path) -> Path:
    """The run folder, without what an earlier run left."""
    make_folder(outdir)
    if not os.access(outdir, os.W_OK | os.X_OK):
        raise SysmolError(f"cannot write into the folder {outdir}: name another one with --outdir")
    for stale in (outdir / name for name in ("run.json", "simout", "simerr")):
        stale.unlink(missing_ok=True)
    for stale in outdir.glob("logits*.bin"):
        stale.unlink()
    return outdir


def check_request(arguments: argparse.Namespace) -> Run:
    """All that can be refused, before anything is simulated."""
    job = load_job(arguments.net, arguments.isa, arguments.images_file)
    mode = job.check_mode(arguments.mode)
    boot = check_system(arguments, mode)
    machine = check_machine(arguments)
    if not 1 <= arguments.images <= job.available:
        raise SysmolError(f"--images {arguments.images}: {job.images} holds {job.available} images")
    if not buildEnv[f"USE_{job.isa.upper()}_ISA"]:
        raise SysmolError(f"this gem5 was built without {job.isa}: build one with USE_{job.isa.upper()}_ISA=y")
    return Run(
        job=job,
        mode=mode,
        boot=boot,
        machine=machine,
        cpu=arguments.cpu,
        images=arguments.images,
        processes=arguments.processes,
        seed=arguments.seed,
        roi=not arguments.no_roi and arguments.processes == 1,  # layers of several processes overlap in time
        fingerprint=None if arguments.stock_decoder else check_plugin(),
        outdir=clean_folder(Path(arguments.outdir).resolve()),
    )


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
