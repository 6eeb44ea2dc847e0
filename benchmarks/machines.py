"""Machines that differ from a described one in a single thing: made of its description, not described again."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sysmol.errors import SysmolError
from sysmol.files import PACKAGE, atomic_write_json, make_folder, read_json
from sysmol.machine.files import MACHINE_FORMAT, MACHINE_VERSION, machine_path
from sysmol.machine.parts import compose

FOLDER = PACKAGE.parent / "build" / "machines"
ONE_MULTIPLIER = "o3-n1-matrix-mul1"
SLOW_VDOTS = {cycles: f"o3-n1-vdot{cycles}" for cycles in (4, 5)}
"""The core with slower ``vdot``, by its cycles."""
MULTIPLICATIONS = ("SimdMult", "SimdMultAcc")
"""gem5's classes of integer multiplications of vectors."""


def _one_multiplier(data: dict[str, Any]) -> None:
    """Integer multiplications in the first vector pipe alone, as a Neoverse N1 has them."""
    pipe = next(unit for unit in data["units"] if unit["name"] == "v1")
    if not set(MULTIPLICATIONS) <= set(pipe["classes"]):
        raise SysmolError("the second vector pipe does not multiply integers to begin with")
    pipe["classes"] = [name for name in pipe["classes"] if name not in MULTIPLICATIONS]


def _slow_vdot(cycles: int) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        data["smol"]["functions"]["vdot"]["cycles"] = cycles

    change.__doc__ = f"``vdot`` takes {cycles} cycles."
    return change


DERIVED: dict[str, tuple[str, Callable[[dict[str, Any]], None]]] = {
    ONE_MULTIPLIER: ("o3-n1-matrix", _one_multiplier),
    **{name: ("o3-n1", _slow_vdot(cycles)) for cycles, name in SLOW_VDOTS.items()},
}
"""Name of the machine that each is made of, and what is changed."""


def machine_file(name: str) -> str | Path:
    """What finds a machine: its name, or the file of a derived one, which is written."""
    if name not in DERIVED:
        return name
    base, change = DERIVED[name]
    path = machine_path(base)
    data = copy.deepcopy(compose(read_json(path, MACHINE_FORMAT, MACHINE_VERSION), str(path), path.parent))
    change(data)
    data["name"] = name
    data["description"] = f"{data['description']}; {' '.join((change.__doc__ or '').split())}"
    make_folder(FOLDER)
    return atomic_write_json(FOLDER / f"{name}.json", data)
