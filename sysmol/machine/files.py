"""Machine files: those that come with the package, and the user's."""

import os
from pathlib import Path

from sysmol.errors import SysmolError
from sysmol.files import PACKAGE, read_json
from sysmol.machine.machine import Machine, parse_machine
from sysmol.machine.parts import compose, part_path

MACHINE_FORMAT = "sysmol-machine"
MACHINE_VERSION = 1
MACHINE_FOLDER = PACKAGE / "machines"


def list_machines() -> list[str]:
    """Names of the machines that come with the package."""
    return sorted(path.stem for path in MACHINE_FOLDER.glob("*.json"))


def load_machine(name: str | Path) -> Machine:
    """A machine by name, or from a JSON file; :class:`SysmolError` where there is none or it breaks a rule."""
    path = machine_path(name)
    data = compose(read_json(path, MACHINE_FORMAT, MACHINE_VERSION), str(path), path.parent)
    return parse_machine(data, str(path))


def machine_path(name: str | Path) -> Path:
    """The file of a machine, which is given by name or as that file."""
    path = Path(name)
    if path.suffix != ".json":
        path = MACHINE_FOLDER / f"{name}.json"
        if not os.path.isfile(path):  # of names too long as well
            known = ", ".join(list_machines())
            raise SysmolError(f"there is no machine {str(name)!r}: choose from {known}, or give a JSON file")
    return path


def machine_files(name: str | Path) -> tuple[Path, ...]:
    """The files that :func:`load_machine` reads: the machine's own, and those of the parts that it uses."""
    path = machine_path(name)
    uses = read_json(path, MACHINE_FORMAT, MACHINE_VERSION).get("uses", [])
    return path, *(part_path(part, path.parent) for part in uses if isinstance(part, str))
