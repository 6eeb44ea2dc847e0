"""The SMOL hardware of a machine: where it stands, its instructions with operation class and latency, its patterns."""

from dataclasses import dataclass
from typing import Any

from sysmol.errors import SysmolError
from sysmol.isa import (
    BY_UNIT,
    OPTIONAL,
    STANDARD_NAMES,
    Capabilities,
    Instruction,
    capabilities,
    instruction_set,
    selector_values,
)
from sysmol.machine.functional_units import Latency, Unit, check_class, read_latency
from sysmol.machine.pattern_sets import pattern_set
from sysmol.machine.reader import Reader
from sysmol.typed import shown

SMOL_FUNCTIONS = tuple(row.name for row in BY_UNIT)
"""Names of the instructions on registers."""
LISTS = {selector.plural: name for name, selector in OPTIONAL.items() if name != "pattern"}
"""Fields that list values of a selector, and the selector's name; where they are absent, the machine has all."""
DEFAULT_SOURCE = "instruction table"
DEFAULT_TEXT = "sysmol/isa/table.py: what an instruction has where a machine says nothing of it"


@dataclass(frozen=True)
class SmolFunction:
    """Operation class that one SMOL function has in gem5, and its latency."""

    op_class: str
    latency: Latency


@dataclass(frozen=True)
class SmolUnit:
    """The SMOL hardware: in the units named by ``share``, or ``count`` units of its own (``share`` empty).

    ``instructions``: names of those that it has, loads and stores among them; ``functions``: class and latency of those
    on registers. ``patterns``: ids; ``lists``: values of field6 of the other selectors of which it may lack some.
    """

    share: tuple[str, ...]
    count: int
    patterns: tuple[int, ...]
    functions: dict[str, SmolFunction]
    instructions: tuple[str, ...]
    lists: dict[str, tuple[int, ...]]
    note: str = ""

    @property
    def capabilities(self) -> Capabilities:
        """What it executes."""
        return capabilities(self.instructions, pattern=self.patterns, **self.lists)


def default_function(row: Instruction) -> dict[str, Any]:
    """What a machine file would say of an instruction."""
    timing = {"cycles": row.timing.cycles, "pipelined": True, "source": DEFAULT_SOURCE, "note": row.timing.reason}
    return {"class": row.op_class, **timing}


def named_instructions(smol: dict[str, Any]) -> tuple[str, ...]:
    """The instructions that the field ``smol`` says the machine has: its ``instructions``, else the standard ones and
    those whose functions it describes."""
    if "instructions" in smol:
        return instruction_set(smol["instructions"])
    return instruction_set(" ".join([*STANDARD_NAMES, *(n for n in SMOL_FUNCTIONS if n in smol["functions"])]))


def smol_classes(data: dict[str, Any]) -> set[Any]:
    """Operation classes of the SMOL functions of a description, which may be faulty."""
    smol = with_default_functions({"sources": {}, **data}).get("smol")
    functions = smol.get("functions") if isinstance(smol, dict) else None
    rows = functions.values() if isinstance(functions, dict) else ()
    return {row["class"] for row in rows if isinstance(row, dict) and isinstance(row.get("class"), str)}


def with_default_functions(data: dict[str, Any]) -> dict[str, Any]:
    """A machine's description in which every instruction that it has stands; ``data`` itself where all do."""
    smol = data.get("smol")
    functions = smol.get("functions") if isinstance(smol, dict) else None
    if not isinstance(functions, dict) or not isinstance(data.get("sources"), dict):
        return data
    try:
        names = named_instructions(data["smol"])
    except (SysmolError, AttributeError):  # read_smol says what is wrong
        return data
    missing = {row.name: default_function(row) for row in BY_UNIT if row.name in names and row.name not in functions}
    if not missing:
        return data
    sources = {**data["sources"], DEFAULT_SOURCE: DEFAULT_TEXT}
    return {**data, "sources": sources, "smol": {**data["smol"], "functions": {**functions, **missing}}}


def read_smol(reader: Reader, data: Any, units: tuple[Unit, ...]) -> SmolUnit:
    """The field ``smol`` of a machine."""
    fields = reader.fields(data, "smol", {"patterns", "functions"}, {"share", "count", "note", "instructions", *LISTS})
    if ("share" in fields) == ("count" in fields):
        raise reader.error('smol: give either "share" (units whose issue slots it uses) or "count" (units of its own)')
    share = tuple(reader.typed(fields.get("share", []), list, "smol: share"))
    for name in share:
        if name not in [unit.name for unit in units]:
            raise reader.error(f"smol: share names {shown(name)}, which is no unit")
    if "share" in fields and not share:
        raise reader.error('smol: "share" is empty')
    for name in ("instructions", "patterns", *LISTS):
        reader.typed(fields.get(name, ""), str, f"smol: {name}")
    reader.fields(fields["functions"], "smol: functions", set(), set(SMOL_FUNCTIONS))
    try:
        instructions = named_instructions(fields)
        patterns = pattern_set(fields["patterns"])
        lists = {name: selector_values(name, fields.get(field, "all")) for field, name in LISTS.items()}
    except SysmolError as error:
        raise reader.error(f"smol: {error}") from None
    functions = read_functions(reader, fields["functions"], instructions)
    count = reader.positive(fields["count"], "smol: count") if "count" in fields else 0
    return SmolUnit(share, count, patterns, functions, instructions, lists, fields.get("note", ""))


def read_functions(reader: Reader, data: Any, instructions: tuple[str, ...]) -> dict[str, SmolFunction]:
    """Class and latency of every instruction on registers; those with one class have one latency."""
    functions: dict[str, SmolFunction] = {}
    by_class: dict[str, Latency] = {}
    needed = {name for name in SMOL_FUNCTIONS if name in instructions}
    for name, row in reader.fields(data, "smol: functions", needed, set()).items():
        what = f"smol: {name}"
        entry = reader.fields(row, what, {"class", "cycles", "pipelined", "source"}, {"note"})
        op_class = check_class(reader, entry["class"], what)
        latency = read_latency(reader, entry, what)
        functions[name] = SmolFunction(op_class, latency)
        known = by_class.setdefault(op_class, latency)
        if (known.cycles, known.pipelined) != (latency.cycles, latency.pipelined):
            raise reader.error(f"smol: {name} has class {op_class} with two latencies")
    return functions
