"""From a machine file to a whole description: parts put together, groups of operation classes spelt out.

Works on JSON objects; :mod:`sysmol.machine.machine` checks what comes out.
"""

import copy
import os
from pathlib import Path
from typing import Any

from sysmol.errors import SysmolError
from sysmol.files import PACKAGE, read_json
from sysmol.machine.op_classes import CLASS_GROUPS, UNUSED
from sysmol.machine.smol_unit import smol_classes

PART_FORMAT = "sysmol-machine-part"
PART_VERSION = 1
PARTS_FOLDER = PACKAGE / "machines" / "parts"
PART_FIELDS = ("core", "units", "latencies", "smol", "caches", "memory")


def compose(data: dict[str, Any], where: str, folder: Path) -> dict[str, Any]:
    """A description without ``uses`` and without groups; ``data`` itself is left alone.

    A part is named (``sysmol/machines/parts/NAME.json``) or given as the path of a JSON file, relative to ``folder``.
    Raises :class:`SysmolError` where a part is missing or two places describe one thing.
    """
    whole = copy.deepcopy({key: value for key, value in data.items() if key != "uses"})
    uses = data.get("uses", [])
    if not isinstance(uses, list) or not all(isinstance(name, str) for name in uses):
        raise SysmolError(f"machine {where}: uses must be a list of names of parts")
    if uses:
        whole.setdefault("sources", {})
    for name in uses:
        add_part(whole, read_part(name, where, folder), name, where)
    taken = smol_classes(whole)
    for key in ("units", "latencies"):
        rows = whole.get(key)
        for row in rows if isinstance(rows, list) else []:
            if isinstance(row, dict) and isinstance(row.get("classes"), list):
                row["classes"] = spell_out(row["classes"], taken, where)
    return whole


def read_part(name: str, where: str, folder: Path) -> dict[str, Any]:
    """The JSON object of one part."""
    path = part_path(name, folder)
    if not name.endswith(".json") and not os.path.isfile(path):
        known = ", ".join(sorted(p.stem for p in PARTS_FOLDER.glob("*.json")))
        raise SysmolError(f"machine {where}: there is no part {name!r}: choose from {known}, or give a JSON file")
    return read_json(path, PART_FORMAT, PART_VERSION)


def part_path(name: str, folder: Path) -> Path:
    """Where a part's file is."""
    return folder / name if name.endswith(".json") else PARTS_FOLDER / f"{name}.json"


def add_part(whole: dict[str, Any], part: dict[str, Any], name: str, where: str) -> None:
    """Move a part's fields into the description."""
    for key, value in part.items():
        if key in ("format", "version"):
            continue
        if key == "sources":
            if not isinstance(value, dict) or not isinstance(whole["sources"], dict):
                raise SysmolError(f"machine {where}: the sources of it or of part {name} are no table")
            for source, text in value.items():
                if whole["sources"].setdefault(source, text) != text:
                    raise SysmolError(f"machine {where}: part {name} has another source {source!r}: rename one of them")
        elif key not in PART_FIELDS:
            raise SysmolError(f"machine {where}: part {name} has an unknown field {key!r}")
        elif key in whole:
            raise SysmolError(f"machine {where}: part {name} describes {key!r}, which stands elsewhere already")
        else:
            whole[key] = copy.deepcopy(value)


def spell_out(names: list[Any], taken: set[Any], where: str) -> list[Any]:
    """Class names with groups replaced by their members; of the classes of no kernel, those that are not ``taken``."""
    classes: list[Any] = []
    for name in names:
        if isinstance(name, str) and name.startswith("@"):
            if name not in CLASS_GROUPS:
                raise SysmolError(f"machine {where}: there is no group {name!r}: choose from {', '.join(CLASS_GROUPS)}")
            classes += [member for member in CLASS_GROUPS[name] if name != UNUSED or member not in taken]
        else:
            classes.append(name)
    return classes
