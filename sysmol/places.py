"""Folders and files of an installed sysmol that other programs read: gem5's build, gem5, compilers, editors.

In a clone they lie in the rooms at its root, in a wheel below the package. Standard library only.
"""

from dataclasses import dataclass
from pathlib import Path

from sysmol.errors import SysmolError
from sysmol.files import PACKAGE


@dataclass(frozen=True)
class Place:
    """A file or folder of this installation."""

    path: Path
    what: str


def _place(below: str, what: str) -> Place:
    return Place((PACKAGE / below).resolve(), what)


PLACES = {
    "extras": _place("gem5_ext", "the plug-in: the folder for EXTRAS when gem5 is built"),
    "run_net": _place("configs_gem5/run_net.py", "script for gem5: simulates a compiled network"),
    "boot_linux": _place("configs_gem5/boot_linux.py", "script for gem5: boots a Linux up to a checkpoint"),
    "headers": _place("kernels_c/include", "C headers: the instructions' arithmetic, packing, vector operations"),
    "runtime": _place("kernels_c/runtime", "C sources that every generated program is linked with"),
    "machines": _place("machines", "machine files"),
    "specs": _place("benchmarks/training", "training specs for `sysmol experiments`"),
    "shapes": _place("benchmarks/shapes", "layer shapes of known networks, as text"),
    "docs": _place("docs", "reference pages"),
}
"""By the name that ``sysmol paths NAME`` takes."""


def find_place(name: str) -> Path:
    """Path of a place; :class:`SysmolError` where there is none of that name."""
    if name not in PLACES:
        raise SysmolError(f"there is no place {name!r}: choose one of {', '.join(PLACES)}")
    return PLACES[name].path


BUILD_GEM5 = f"build gem5 with EXTRAS={PLACES['extras'].path} (docs/gem5.md)"
"""How a gem5 gets the plug-in, in a few words for messages."""
