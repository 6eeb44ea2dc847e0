"""Executables that leave a result in memory, in gem5, through run_net.py."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sysmol.configs_gem5.launch import run_gem5
from sysmol.configs_gem5.request import Simulation
from sysmol.errors import CheckFailed
from sysmol.files import atomic_write_json, make_folder, sha256_file
from sysmol.manifest import HEADER as MANIFEST_HEADER
from sysmol.verify.batch import Batch
from sysmol.verify.state import first_difference

TIMEOUT = 900.0
"""Seconds."""


@dataclass(frozen=True)
class Outcome:
    """``found``: the states that gem5 wrote, perhaps fewer than there are programs; ``trouble``: why it stopped."""

    found: bytes
    instructions: int
    seconds: float
    trouble: str


def simulate(batch: Batch, cpu: str, machine: str, gem5: Path, folder: Path) -> Outcome:
    """Run a batch in gem5; the run folder is ``folder``."""
    return run_program_file(batch.isa, batch.elf, sum(map(len, batch.after)), cpu, machine, gem5, folder)


def program_manifest(isa: str, elf: Path, record: int, result: int, *, mode: str = "se") -> dict[str, Any]:
    """Manifest, to be written beside ``elf``, of a program that is no network: its "images" are records of ``record``
    bytes, its "logits" results of ``result`` bytes; it has no regions and no reference."""
    return {
        **MANIFEST_HEADER,
        "name": elf.name,
        "variant": "verify",
        "isa": isa,
        "mode": mode,
        "network": {"path": "", "sha256": ""},
        "elf": {"path": elf.name, "sha256": sha256_file(elf)},
        "patterns": [],
        "input": {"shape": [1, 1, record], "bytes": record},
        "output": {"classes": result // 4, "dtype": "int32"},
        "regions": [],
    }


def run_program_file(
    isa: str,
    elf: Path,
    size: int,
    cpu: str,
    machine: str,
    gem5: Path,
    folder: Path,
    *,
    mode: str = "se",
    patterns: str | None = None,
) -> Outcome:
    """Run an executable that leaves ``size`` bytes in its results file; the run folder is ``folder``."""
    make_folder(folder)
    nothing = folder / "nothing.bin"
    nothing.write_bytes(b"\0")
    results = folder / "logits.bin"
    results.unlink(missing_ok=True)
    manifest = program_manifest(isa, elf, 1, size, mode=mode)
    path = atomic_write_json(elf.with_name(f"{elf.name}.{mode}.json"), manifest)
    started = time.monotonic()
    trouble, instructions = "", 0
    simulation = Simulation(isa, cpu, machine, patterns, images_file=nothing, roi=False)
    try:
        run = run_gem5(path, folder, simulation, gem5=gem5, timeout=TIMEOUT)
        instructions = int(run["sim_insts"])
    except CheckFailed as error:
        trouble = str(error)
    found = results.read_bytes() if results.exists() else b""
    return Outcome(found, instructions, time.monotonic() - started, trouble)


def compare(batch: Batch, outcome: Outcome) -> tuple[int, str] | None:
    """First program whose state differs, and the first place in it; ``None`` where all agree."""
    at = 0
    for index, expected in enumerate(batch.after):
        found = outcome.found[at : at + len(expected)]
        at += len(expected)
        if found == expected:
            continue
        if not found:
            return index, f"no state ({outcome.trouble or 'gem5 wrote none'})"
        return index, first_difference(expected, found, batch.before[index].size)
    if outcome.trouble:
        return len(batch.after) - 1, outcome.trouble
    return None
