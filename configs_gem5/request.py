"""What is asked of ``run_net.py``: one simulation, as a value."""

import os
from dataclasses import dataclass, fields
from pathlib import Path

CPUS = ("atomic", "timing", "minor", "o3")
"""gem5's core models, by their short names."""


HELP = {
    "isa": "refuse a manifest of the other ISA",
    "cpu": "gem5's core model",
    "machine": "name or JSON file of the simulated machine",
    "patterns": "patterns that the hardware supports: P1, P4, P8, P45 or a list (default: the machine's)",
    "smol": "another SMOL unit than the machine's: units=2,vdot=4,share=no, shared ... (docs/machines.md)",
    "images": "number of images to run",
    "images_file": "other images than the manifest's (u8 HWC, concatenated)",
    "seed": "seed of gem5's random numbers",
    "no_roi": "one block of statistics for the whole program",
    "stock_decoder": "gem5's own decoder: SMOL words are then illegal",
    "mode": "what lies beneath the program: se, baremetal or linux (default: the manifest's)",
    "boot": "for --mode linux: the folder that boot_linux.py left",
    "processes": "for --mode linux: how many run at the same time",
}
"""What the options of ``run_net.py`` and ``sysmol run`` mean."""
MODES = ("se", "baremetal", "linux")
"""What lies beneath a program."""


@dataclass(frozen=True)
class Simulation:
    """One run of an executable; :data:`HELP` has what a field means.

    ``isa``, ``mode`` and ``patterns`` are by default those of the manifest and of the machine. ``roi`` False: one block
    of statistics for the whole program.
    """

    isa: str | None = None
    cpu: str = "o3"
    machine: str | os.PathLike[str] = "o3-n1"
    patterns: str | None = None
    smol: str | None = None
    images: int = 1
    images_file: str | os.PathLike[str] | None = None
    seed: int = 0
    roi: bool = True
    stock_decoder: bool = False
    mode: str | None = None
    boot: str | os.PathLike[str] | None = None
    processes: int = 1

    def arguments(self) -> list[str]:
        """Arguments of ``run_net.py``: of every field that is not as the script has it by default."""
        words = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            option = f"--{field.name.replace('_', '-')}"
            if field.name == "roi":
                words.append("--no-roi")
            elif value is True:
                words.append(option)
            else:
                is_file = field.name in ("images_file", "boot")
                words += [option, str(Path(value).resolve() if is_file else value)]
        return words
