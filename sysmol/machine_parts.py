"""From a machine file to a whole description: parts put together, groups of operation classes spelt out, the SMOL unit
changed by an option. Works on JSON objects; :mod:`sysmol.machine` checks what comes out.

Standard library only: gem5's embedded Python imports this.
"""

import copy
from pathlib import Path
from typing import Any

from sysmol.errors import SysmolError
from sysmol.files import read_json

PART_FORMAT = "sysmol-machine-part"
PART_VERSION = 1
PARTS_FOLDER = Path(__file__).resolve().parent / "machines" / "parts"
PART_FIELDS = ("core", "units", "latencies", "smol", "caches", "memory")

_GROUPS = {
    "@scalar-load": "MemRead FloatMemRead",
    "@vector-load": "SimdUnitStrideLoad SimdUnitStrideMaskLoad SimdUnitStrideSegmentedLoad SimdStridedLoad "
    "SimdIndexedLoad SimdUnitStrideFaultOnlyFirstLoad SimdWholeRegisterLoad",
    "@scalar-store": "MemWrite FloatMemWrite",
    "@vector-store": "SimdUnitStrideStore SimdUnitStrideMaskStore SimdUnitStrideSegmentedStore SimdStridedStore "
    "SimdIndexedStore SimdWholeRegisterStore",
    "@simd-basic": "SimdAdd SimdAlu SimdCmp SimdMisc SimdExt",
    "@simd-shift": "SimdShift SimdShiftAcc SimdAddAcc",
    "@simd-multiply": "SimdMult SimdMultAcc",
    "@simd-matrix": "SimdMatMultAcc SimdFloatMatMultAcc",
    "@simd-reduce": "SimdReduceAdd SimdReduceAlu SimdReduceCmp",
    "@simd-float": "SimdFloatAdd SimdFloatAlu SimdFloatCmp SimdFloatMisc SimdFloatExt",
    "@simd-float-multiply": "SimdFloatMult SimdFloatMultAcc",
    "@simd-float-reduce": "SimdFloatReduceAdd SimdFloatReduceCmp",
    "@convert": "SimdCvt SimdFloatCvt FloatCvt",
    "@float": "FloatAdd FloatCmp FloatMisc",
    "@float-multiply": "FloatMult FloatMultAcc",
    "@divide": "SimdDiv SimdSqrt SimdFloatDiv SimdFloatSqrt FloatDiv FloatSqrt",
    "@unused": "SimdSha1Hash2 SimdShaSigma2 SimdShaSigma3 Matrix MatrixMov MatrixOP",
}
CLASS_GROUPS = {name: tuple(members.split()) for name, members in _GROUPS.items()}
"""Operation classes that belong together; a machine file may name a group where it names a class."""


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
    for key in ("units", "latencies"):
        rows = whole.get(key)
        for row in rows if isinstance(rows, list) else []:
            if isinstance(row, dict) and isinstance(row.get("classes"), list):
                row["classes"] = spell_out(row["classes"], where)
    return whole


def read_part(name: str, where: str, folder: Path) -> dict[str, Any]:
    """The JSON object of one part."""
    path = part_path(name, folder)
    if not name.endswith(".json") and not path.is_file():
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
            for source, text in value.items():
                if whole["sources"].setdefault(source, text) != text:
                    raise SysmolError(f"machine {where}: part {name} has another source {source!r}: rename one of them")
        elif key not in PART_FIELDS:
            raise SysmolError(f"machine {where}: part {name} has an unknown field {key!r}")
        elif key in whole:
            raise SysmolError(f"machine {where}: part {name} describes {key!r}, which stands elsewhere already")
        else:
            whole[key] = copy.deepcopy(value)


def spell_out(names: list[Any], where: str) -> list[Any]:
    """Class names with groups replaced by their members."""
    classes: list[Any] = []
    for name in names:
        if isinstance(name, str) and name.startswith("@"):
            if name not in CLASS_GROUPS:
                raise SysmolError(f"machine {where}: there is no group {name!r}: choose from {', '.join(CLASS_GROUPS)}")
            classes += CLASS_GROUPS[name]
        else:
            classes.append(name)
    return classes


def change_smol(smol: dict[str, Any], text: str, starts_per_cycle: int) -> dict[str, Any]:
    """The ``smol`` object of a machine as the option ``text`` wants it.

    Items are separated by commas: ``shared`` (as the machine says), ``separate``, ``share=v0+v1`` (the units named),
    ``share=no``, ``units=N`` (units of its own), ``latency=N`` and ``pipelined=yes|no`` (all functions), ``vdot=N``,
    ``vdot.pipelined=yes|no`` (one function), ``patterns=P4`` or ``patterns=0+36+44``. A unit of its own without a count
    has ``starts_per_cycle``, what the machine had. Raises :class:`SysmolError` on anything else.
    """

    def bad(why: str) -> SysmolError:
        return SysmolError(
            f"SMOL unit {text!r}: {why}; an example: units=2,vdot=4,vmac.pipelined=no,patterns=P4,share=no"
        )

    def number(value: str) -> int:
        if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 1000:
            raise bad(f"{value!r} is no number from 1 to 1000")
        return int(value)

    def truth(value: str) -> bool:
        if value not in ("yes", "no"):
            raise bad(f"{value!r} is neither yes nor no")
        return value == "yes"

    made = copy.deepcopy(smol)
    functions = made["functions"]
    seen: set[str] = set()
    share: str | None = None
    units: int | None = None
    one_by_one: list[tuple[str, str]] = []
    for item in text.split(","):
        key, _, value = item.strip().partition("=")
        if item.strip() in ("shared", "separate"):
            key, value = "share", "yes" if item.strip() == "shared" else "no"
        if key in seen:
            raise bad(f"{key} stands twice")
        seen.add(key)
        function, _, what = key.partition(".")
        if key == "share":
            share = value
        elif key == "units":
            units = number(value)
        elif key == "latency":
            for row in functions.values():
                row.update(cycles=number(value), source="option", note="")
        elif key == "pipelined":
            for row in functions.values():
                row.update(pipelined=truth(value), source="option", note="")
        elif key == "patterns":
            made["patterns"] = value.replace("+", ",")
        elif function in functions and what in ("", "pipelined"):
            one_by_one.append((key, value))
        else:
            raise bad(f"{item.strip()!r} is not known: items are {', '.join(functions)}, and those of the example")
    # What is said of one function wins over what is said of all, in whatever order.
    for key, value in one_by_one:
        function, _, what = key.partition(".")
        change = {"pipelined": truth(value)} if what else {"cycles": number(value)}
        functions[function].update(change, source="option", note="")
    if units is not None and share not in (None, "no"):
        raise bad("a shared unit has the pipes of its machine: leave out units, or say share=no")
    if units is not None or share == "no":
        made.pop("share", None)
        made["count"] = units if units is not None else made.get("count", starts_per_cycle)
    elif share == "yes" and "share" not in made:
        raise bad("the machine has a SMOL unit of its own: name the pipes to share, as in share=v0+v1")
    elif share not in (None, "yes"):
        made.pop("count", None)
        made["share"] = [name for name in str(share).split("+") if name]
    return made
