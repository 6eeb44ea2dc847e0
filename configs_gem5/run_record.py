"""``run.json``: what a run folder says of itself. Imports m5."""

import os
import platform
import sys
from dataclasses import dataclass
from typing import Any

import _m5.core
from m5.defines import buildEnv

from sysmol.configs_gem5.checked_run import Run
from sysmol.files import sha256_file
from sysmol.isas import ISAS
from sysmol.machine import pattern_set_name

RUN_FORMAT = "sysmol-run"
RUN_VERSION = 1


@dataclass(frozen=True)
class Measured:
    """What a simulation took. Times of the host in seconds, of the simulated system in ticks."""

    cause: str
    insts: int
    ticks: int
    host_seconds: float
    host_cpu_seconds: float
    processes: list[dict[str, int]]
    root: Any
    """The simulated system, which must stay referenced until gem5 ends."""


def describe_gem5() -> dict[str, Any]:
    """This gem5, for the run folder."""
    return {
        "version": str(_m5.core.gem5Version),
        "compiled": str(_m5.core.compileDate),
        "binary": os.readlink("/proc/self/exe") if os.path.exists("/proc/self/exe") else sys.executable,
        "python": platform.python_version(),
        "isas": [name for name in ISAS if buildEnv[f"USE_{name.upper()}_ISA"]],
    }


def describe_run(run: Run, measured: Measured, match: bool | None, mismatches: int) -> dict[str, Any]:
    """``run.json``."""
    job, machine = run.job, run.machine
    return {
        "format": RUN_FORMAT,
        "version": RUN_VERSION,
        "name": job.data["name"],
        "variant": job.data["variant"],
        "isa": job.isa,
        "mode": run.mode,
        "cpu": run.cpu,
        "machine": machine.to_json(),
        "pattern_set": pattern_set_name(machine.smol.patterns),
        "patterns": list(machine.smol.patterns),
        "manifest": {"path": str(job.manifest), "sha256": sha256_file(job.manifest)},
        "elf_sha256": job.data["elf"]["sha256"],
        "network_sha256": job.data["network"]["sha256"],
        "images": run.images,
        "regions": run.regions,
        "seed": run.seed,
        "stock_decoder": not run.plugin,
        "gem5": describe_gem5(),
        "isa_fingerprint": run.fingerprint,
        "exit_cause": measured.cause,
        "logits_match": match,
        "mismatches": mismatches,
        "host_seconds": round(measured.host_seconds, 3),
        "host_cpu_seconds": round(measured.host_cpu_seconds, 3),
        "sim_insts": measured.insts,
        "sim_ticks": measured.ticks,
        **({"processes": measured.processes} if measured.processes else {}),
        "command": sys.argv,
    }
