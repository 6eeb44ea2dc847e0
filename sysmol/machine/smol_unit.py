"""The SMOL hardware of a machine: where it stands, its patterns, operation class and latency of every instruction."""

from dataclasses import dataclass
from typing import Any

from sysmol.errors import SysmolError
from sysmol.isa import BY_UNIT, Instruction
from sysmol.machine.functional_units import Latency, Unit, check_class, read_latency
from sysmol.machine.pattern_sets import pattern_set
from sysmol.machine.reader import Reader
from sysmol.typed import shown

SMOL_FUNCTIONS = tuple(row.name for row in BY_UNIT)
"""Names of the instructions."""
DEFAULT_SOURCE = "instruction table"
DEFAULT_TEXT = "sysmol/isa/table.py: what an instruction has where a machine says nothing of it"


@dataclass(frozen=True)
class SmolFunction:
    """Operation class that one SMOL function has in gem5, and its latency."""

    op_class: str
    latency: Latency


@dataclass(frozen=True)
class SmolUnit:
    """The SMOL hardware: in the units named by ``share``, or ``count`` units of its own (``share`` empty)."""

    share: tuple[str, ...]
    count: int
    patterns: tuple[int, ...]
    functions: dict[str, SmolFunction]
    note: str = ""


def default_function(row: Instruction) -> dict[str, Any]:
    """What a machine file would say of an instruction."""
    timing = {"cycles": row.timing.cycles, "pipelined": True, "source": DEFAULT_SOURCE, "note": row.timing.reason}
    return {"class": row.op_class, **timing}


def with_default_functions(data: dict[str, Any]) -> dict[str, Any]:
    """A machine's description in which every instruction stands; ``data`` itself where it has them all."""
    smol = data.get("smol")
    functions = smol.get("functions") if isinstance(smol, dict) else None
    if not isinstance(functions, dict) or not isinstance(data.get("sources"), dict):
        return data
    missing = {row.name: default_function(row) for row in BY_UNIT if row.name not in functions}
    if not missing:
        return data
    sources = {**data["sources"], DEFAULT_SOURCE: DEFAULT_TEXT}
    return {**data, "sources": sources, "smol": {**data["smol"], "functions": {**functions, **missing}}}


def read_smol(reader: Reader, data: Any, units: tuple[Unit, ...]) -> SmolUnit:
    """The field ``smol`` of a machine."""
    fields = reader.fields(data, "smol", {"patterns", "functions"}, {"share", "count", "note"})
    if ("share" in fields) == ("count" in fields):
        raise reader.error('smol: give either "share" (units whose issue slots it uses) or "count" (units of its own)')
    share = tuple(reader.typed(fields.get("share", []), list, "smol: share"))
    for name in share:
        if name not in [unit.name for unit in units]:
            raise reader.error(f"smol: share names {shown(name)}, which is no unit")
    if "share" in fields and not share:
        raise reader.error('smol: "share" is empty')
    functions = read_functions(reader, fields["functions"])
    try:
        patterns = pattern_set(reader.typed(fields["patterns"], str, "smol: patterns"))
    except SysmolError as error:
        raise reader.error(str(error)) from None
    count = reader.positive(fields["count"], "smol: count") if "count" in fields else 0
    return SmolUnit(share, count, patterns, functions, fields.get("note", ""))


def read_functions(reader: Reader, data: Any) -> dict[str, SmolFunction]:
    """Class and latency of every instruction; those with one class have one latency."""
    functions: dict[str, SmolFunction] = {}
    by_class: dict[str, Latency] = {}
    for name, row in reader.fields(data, "smol: functions", set(SMOL_FUNCTIONS), set()).items():
        what = f"smol: {name}"
        entry = reader.fields(row, what, {"class", "cycles", "pipelined", "source"}, {"note"})
        op_class = check_class(reader, entry["class"], what)
        latency = read_latency(reader, entry, what)
        functions[name] = SmolFunction(op_class, latency)
        known = by_class.setdefault(op_class, latency)
        if (known.cycles, known.pipelined) != (latency.cycles, latency.pipelined):
            raise reader.error(f"smol: {name} has class {op_class} with two latencies")
    return functions
