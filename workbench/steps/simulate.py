"""Step ``simulate``: one run of an executable in gem5; the products are its run folder (docs/gem5.md).

gem5's own description of the simulated system is left out: megabytes that say what the machine in ``run.json`` says.
"""

from pathlib import Path
from typing import Any

from sysmol.configs_gem5.launch import run_gem5
from sysmol.configs_gem5.request import Simulation
from sysmol.machine import load_machine, machine_files
from sysmol.manifest import load_manifest
from sysmol.workbench.key import Step, Task

STEP = Step("simulate", 1, f"{__name__}:run", scripts=("sysmol.configs_gem5.run_net",), keeps_failures=True)
LEFT_OUT = ("config.ini", "config.json")


def task(
    manifest: Path,
    gem5: Path,
    machine: str,
    cpu: str = "o3",
    *,
    patterns: str | None = None,
    images: int = 1,
    seed: int = 0,
    timeout: float | None = None,
) -> Task:
    """Simulate a manifest's executable; arguments as in :class:`sysmol.configs_gem5.request.Simulation`."""
    facts = load_manifest(manifest)
    reference = facts.get("reference") or {}
    files = {"manifest": manifest, "elf": manifest.parent / facts["elf"]["path"]}
    files |= {name: manifest.parent / reference[name] for name in ("images", "logits") if name in reference}
    return Task(
        STEP,
        options={
            "isa": facts["isa"], "machine_name": load_machine(machine).name, "cpu": cpu, "patterns": patterns,
            "count": images, "seed": seed,
        },
        files=files,
        tools={"gem5": gem5},
        reads=machine_files(machine),
        given={"gem5": gem5, "machine": machine, "timeout": timeout},
    )  # fmt: skip


def run(
    folder: Path, manifest: Path, gem5: Path, machine: str, isa: str, cpu: str, patterns: str | None, count: int,
    seed: int, timeout: float | None, **_: Any,
) -> None:  # fmt: skip
    """Fill ``folder``; :class:`~sysmol.errors.CheckFailed` where logits differ or the time is over."""
    simulation = Simulation(isa, cpu, machine, patterns, images=count, seed=seed)
    run_gem5(manifest, folder, simulation, gem5=gem5, timeout=timeout)
    for name in LEFT_OUT:
        (folder / name).unlink(missing_ok=True)
