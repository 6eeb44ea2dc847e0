"""Hardware design points as data: cores, functional units, latencies, the SMOL unit, caches and memory.

A machine is a JSON file (``sysmol/machines/*.json``, or any path): format ``sysmol-machine``, version 1. It may use
parts (core, caches, memory, SMOL unit) that other machines use too. The same description makes gem5's core
(``configs_gem5/run_net.py``), feeds the built-in estimate and goes whole into every run folder. Every latency names its
source. docs/machines.md tells how to add a machine.

Standard library only: gem5's embedded Python imports this.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from sysmol.errors import SysmolError
from sysmol.files import read_json
from sysmol.isas import ISAS
from sysmol.machine_parts import change_smol, compose, part_path
from sysmol.pattern import PATTERNS, Pattern, parse_pattern, pattern_id

MACHINE_FORMAT = "sysmol-machine"
MACHINE_VERSION = 1
MACHINE_FOLDER = Path(__file__).resolve().parent / "machines"
SMOL_FUNCTIONS = ("vmac", "vdot", "vmul", "vmla", "vqpk")

_OP_CLASS_NAMES = """
IntAlu IntMult IntDiv FloatAdd FloatCmp FloatCvt FloatMult FloatMultAcc FloatDiv FloatMisc FloatSqrt
SimdAdd SimdAddAcc SimdAlu SimdCmp SimdCvt SimdMisc SimdMult SimdMultAcc SimdMatMultAcc SimdShift SimdShiftAcc
SimdDiv SimdSqrt SimdFloatAdd SimdFloatAlu SimdFloatCmp SimdFloatCvt SimdFloatDiv SimdFloatMisc SimdFloatMult
SimdFloatMultAcc SimdFloatMatMultAcc SimdFloatSqrt SimdReduceAdd SimdReduceAlu SimdReduceCmp SimdFloatReduceAdd
SimdFloatReduceCmp SimdAes SimdAesMix SimdSha1Hash SimdSha1Hash2 SimdSha256Hash SimdSha256Hash2 SimdShaSigma2
SimdShaSigma3 SimdPredAlu Matrix MatrixMov MatrixOP MemRead MemWrite FloatMemRead FloatMemWrite IprAccess
InstPrefetch SimdUnitStrideLoad SimdUnitStrideStore SimdUnitStrideMaskLoad SimdUnitStrideMaskStore
SimdStridedLoad SimdStridedStore SimdIndexedLoad SimdIndexedStore SimdWholeRegisterLoad SimdWholeRegisterStore
SimdUnitStrideFaultOnlyFirstLoad SimdUnitStrideSegmentedLoad SimdUnitStrideSegmentedStore SimdExt SimdFloatExt
SimdConfig
"""
OP_CLASSES = frozenset(_OP_CLASS_NAMES.split())
"""Operation classes of gem5 v24.0. A machine must give each a unit and a latency: gem5 would run a class without a
unit in one cycle and without limit, silently."""

# --- pattern sets ----------------------------------------------------------------------------------------------------


def _ids(*patterns: Pattern) -> tuple[int, ...]:
    return tuple(sorted(pattern_id(*pattern) for pattern in patterns))


PATTERN_SETS: dict[str, tuple[int, ...]] = {
    "P1": _ids((8, 0, 0)),
    "P4": _ids((8, 0, 0), (0, 8, 0), (0, 0, 8), (2, 4, 2)),
    "P8": _ids((8, 0, 0), (0, 8, 0), (0, 0, 8), (4, 4, 0), (0, 4, 4), (4, 2, 2), (2, 4, 2), (2, 2, 4)),
    "P45": tuple(range(len(PATTERNS))),
}
"""Named sets of patterns that hardware may support. The published work found four patterns to be enough; which four
could not be read, so the P4 and P8 that stand here are this project's starting points, the three uniform patterns and
mixtures around the middle, until training chooses them. P1 is the uniform 4-bit machine."""


def pattern_set(text: str) -> tuple[int, ...]:
    """Ids of a named set (``"P4"``) or of a list of ids or patterns (``"0,12,44"``, ``"(8,0,0) (2,4,2)"``), ascending.

    Raises :class:`SysmolError` where the text is neither.
    """
    if text.strip().upper() in PATTERN_SETS:
        return PATTERN_SETS[text.strip().upper()]
    if "(" in text:
        items = [f"({item}" for item in text.replace(")", " ").split("(") if item.strip(" ,;")]
        items = [item.strip(" ,;") for item in items]
    else:
        items = text.replace(",", " ").split()
    if not items:
        raise SysmolError(f"{text!r} names no pattern: give one of {', '.join(PATTERN_SETS)}, or ids like 0,12,44")
    try:
        return tuple(sorted({parse_pattern(item) for item in items}))
    except SysmolError as error:
        raise SysmolError(f"pattern set {text!r}: {error}; or give one of {', '.join(PATTERN_SETS)}") from None


def pattern_set_name(ids: tuple[int, ...]) -> str:
    """Name of a set where it has one, else its ids: the inverse of :func:`pattern_set`."""
    for name, members in PATTERN_SETS.items():
        if tuple(sorted(ids)) == members:
            return name
    return ",".join(str(i) for i in sorted(ids))


# --- machines --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Core:
    """Widths in instructions per cycle, queue and register file sizes in entries.

    ``vector_bits`` is the length of RISC-V's vector registers; ``mispredict_cycles`` informs the estimate only.
    """

    fetch_width: int
    fetch_buffer_bytes: int
    decode_width: int
    rename_width: int
    dispatch_width: int
    issue_width: int
    writeback_width: int
    commit_width: int
    rob_entries: int
    iq_entries: int
    load_queue: int
    store_queue: int
    int_registers: int
    float_registers: int
    vector_registers: int
    predicate_registers: int
    branch_predictor: str
    mispredict_cycles: int
    vector_bits: int
    source: str
    note: str = ""


@dataclass(frozen=True)
class Unit:
    """``count`` equal functional units; each takes one operation of any of its classes per cycle."""

    name: str
    count: int
    classes: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class Latency:
    """Cycles from issue to result. ``pipelined`` False: the unit is taken for as long."""

    cycles: int
    pipelined: bool
    source: str
    note: str = ""


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


@dataclass(frozen=True)
class Cache:
    """One level. ``latency``: cycles of tag and data access; ``mshrs``: misses in flight; gem5's prefetcher by name."""

    size_kib: int
    ways: int
    latency: int
    mshrs: int
    prefetcher: str = ""


@dataclass(frozen=True)
class Memory:
    """gem5's memory model by name, and its size in MiB."""

    model: str
    size_mib: int
    source: str
    note: str = ""


@dataclass(frozen=True)
class Machine:
    """A design point. ``latencies`` holds the stock classes; the SMOL functions have their own in ``smol``.

    ``isas`` are those of the hardware that it describes; the same core may be simulated with any.
    """

    name: str
    description: str
    isas: tuple[str, ...]
    sources: dict[str, str]
    clock_ghz: float
    core: Core
    units: tuple[Unit, ...]
    latencies: dict[str, Latency]
    smol: SmolUnit
    line_bytes: int
    l1i: Cache
    l1d: Cache
    l2: Cache
    cache_source: str
    memory: Memory
    raw: dict[str, Any] = dataclasses.field(repr=False, compare=False)

    def unit_count(self, op_class: str) -> int:
        """Number of functional units that take this class (operations of it that can start per cycle, at most)."""
        return sum(unit.count for unit in self.units if op_class in unit.classes)

    def latency(self, op_class: str) -> int:
        """Cycles of a stock class, caches not included."""
        return self.latencies[op_class].cycles

    def smol_latency(self, function: str) -> int:
        """Cycles of ``vmac``, ``vdot``, ``vmul``, ``vmla`` or ``vqpk``."""
        return self.smol.functions[function].latency.cycles

    @property
    def smol_count(self) -> int:
        """SMOL instructions that can start per cycle."""
        if not self.smol.share:
            return self.smol.count
        return sum(unit.count for unit in self.units if unit.name in self.smol.share)

    @property
    def load_to_use(self) -> int:
        """Cycles from the issue of a load that hits L1 to that of its consumer."""
        return self.latency("MemRead") + self.l1d.latency

    def with_patterns(self, patterns: tuple[int, ...]) -> "Machine":
        """The same machine with another pattern set."""
        smol = {**self.raw["smol"], "patterns": pattern_set_name(patterns)}
        return parse_machine({**self.raw, "smol": smol}, self.name)

    def with_smol(self, text: str) -> "Machine":
        """The same machine with its SMOL unit changed (:func:`sysmol.machine_parts.change_smol`), under a name that
        tells.

        Raises :class:`SysmolError` where the text or the machine that it makes breaks a rule.
        """
        smol = change_smol(self.raw["smol"], text, self.smol_count)
        name = f"{self.name} ({text.replace(' ', '')})"
        sources = {**self.sources, "option": "set by the user for this run"}
        return parse_machine({**self.raw, "name": name, "sources": sources, "smol": smol}, name)

    def to_json(self) -> dict[str, Any]:
        """The whole description as it stands in a machine file, parts and groups spelt out."""
        return self.raw


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
        if not path.is_file():
            known = ", ".join(list_machines())
            raise SysmolError(f"there is no machine {str(name)!r}: choose from {known}, or give a JSON file")
    return path


def machine_files(name: str | Path) -> tuple[Path, ...]:
    """The files that :func:`load_machine` reads: the machine's own, and those of the parts that it uses."""
    path = machine_path(name)
    uses = read_json(path, MACHINE_FORMAT, MACHINE_VERSION).get("uses", [])
    return path, *(part_path(part, path.parent) for part in uses if isinstance(part, str))


def parse_machine(data: dict[str, Any], where: str) -> Machine:
    """Check a machine's whole description strictly (see :func:`compose`); ``where`` names it in errors."""
    reader = _Reader(where)
    top = reader.fields(
        data,
        "machine",
        {"format", "version", "name", "description", "sources", "clock_ghz", "core", "units", "latencies", "smol"}
        | {"caches", "memory"},
        {"isas"},
    )
    isas = reader.typed(top.get("isas", list(ISAS)), list, "isas")
    if not isas or not all(isa in ISAS for isa in isas):
        raise reader.error(f"isas {isas!r} must be some of {', '.join(ISAS)}")
    sources = reader.typed(top["sources"], dict, "sources")
    reader.sources = sources
    clock = top["clock_ghz"]
    if not isinstance(clock, int | float) or isinstance(clock, bool) or clock <= 0:
        raise reader.error(f"clock_ghz {clock!r} is no positive number")
    core = reader.record(Core, top["core"], "core")
    reader.cite(core.source, "core")
    if core.vector_registers < 128:
        raise reader.error("core: vector_registers must be 128 or more (40 and more are architectural state in gem5)")
    if core.vector_bits < 128 or core.vector_bits & (core.vector_bits - 1):
        raise reader.error("core: vector_bits must be a power of two and at least 128")

    units = tuple(reader.record(Unit, u, "unit") for u in reader.typed(top["units"], list, "units"))
    if len({u.name for u in units}) != len(units):
        raise reader.error("two units have one name")
    latencies = _latencies(reader, reader.typed(top["latencies"], list, "latencies"))
    smol = _smol(reader, top["smol"], units)
    _check_coverage(reader, units, latencies, smol)

    caches = reader.fields(top["caches"], "caches", {"line_bytes", "l1i", "l1d", "l2", "source"}, {"note"})
    reader.cite(caches["source"], "caches")
    memory = reader.record(Memory, top["memory"], "memory")
    reader.cite(memory.source, "memory")
    return Machine(
        name=reader.typed(top["name"], str, "name"),
        description=reader.typed(top["description"], str, "description"),
        isas=tuple(isas),
        sources=sources,
        clock_ghz=float(clock),
        core=core,
        units=units,
        latencies=latencies,
        smol=smol,
        line_bytes=reader.positive(caches["line_bytes"], "caches: line_bytes"),
        l1i=reader.record(Cache, caches["l1i"], "caches: l1i"),
        l1d=reader.record(Cache, caches["l1d"], "caches: l1d"),
        l2=reader.record(Cache, caches["l2"], "caches: l2"),
        cache_source=caches["source"],
        memory=memory,
        raw=data,
    )


def _latencies(reader: "_Reader", rows: list[Any]) -> dict[str, Latency]:
    """Rows of ``classes`` with one latency, to a table by class."""
    table: dict[str, Latency] = {}
    for row in rows:
        fields = reader.fields(row, "latency row", {"classes", "cycles", "pipelined", "source"}, {"note"})
        for name in reader.typed(fields["classes"], list, "latency row: classes"):
            if name not in OP_CLASSES:
                raise reader.error(f"latencies: gem5 has no operation class {name!r}")
            if name in table:
                raise reader.error(f"latencies: {name} stands twice")
            table[name] = _latency(reader, fields, name)
    return table


def _latency(reader: "_Reader", fields: dict[str, Any], what: str) -> Latency:
    reader.cite(fields["source"], what)
    return Latency(
        reader.positive(fields["cycles"], f"{what}: cycles"),
        reader.typed(fields["pipelined"], bool, f"{what}: pipelined"),
        fields["source"],
        fields.get("note", ""),
    )


def _smol(reader: "_Reader", data: Any, units: tuple[Unit, ...]) -> SmolUnit:
    fields = reader.fields(data, "smol", {"patterns", "functions"}, {"share", "count", "note"})
    if ("share" in fields) == ("count" in fields):
        raise reader.error('smol: give either "share" (units whose issue slots it uses) or "count" (units of its own)')
    share = tuple(reader.typed(fields.get("share", []), list, "smol: share"))
    for name in share:
        if name not in {u.name for u in units}:
            raise reader.error(f"smol: share names {name!r}, which is no unit")
    if "share" in fields and not share:
        raise reader.error('smol: "share" is empty')
    rows = reader.fields(fields["functions"], "smol: functions", set(SMOL_FUNCTIONS), set())
    functions = {}
    for name, row in rows.items():
        what = f"smol: {name}"
        entry = reader.fields(row, what, {"class", "cycles", "pipelined", "source"}, {"note"})
        if entry["class"] not in OP_CLASSES:
            raise reader.error(f"{what}: gem5 has no operation class {entry['class']!r}")
        functions[name] = SmolFunction(entry["class"], _latency(reader, entry, what))
    by_class: dict[str, Latency] = {}
    for name, function in functions.items():
        known = by_class.setdefault(function.op_class, function.latency)
        if (known.cycles, known.pipelined) != (function.latency.cycles, function.latency.pipelined):
            raise reader.error(f"smol: {name} has class {function.op_class} with two latencies")
    try:
        patterns = pattern_set(reader.typed(fields["patterns"], str, "smol: patterns"))
    except SysmolError as error:
        raise reader.error(str(error)) from None
    count = reader.positive(fields["count"], "smol: count") if "count" in fields else 0
    return SmolUnit(share, count, patterns, functions, fields.get("note", ""))


def _check_coverage(reader: "_Reader", units: tuple[Unit, ...], latencies: dict[str, Latency], smol: SmolUnit) -> None:
    """Every class has one latency and a unit; the classes of the SMOL functions are theirs alone."""
    smol_classes = {f.op_class for f in smol.functions.values()}
    in_units: set[str] = set()
    for unit in units:
        reader.positive(unit.count, f"unit {unit.name}: count")
        for name in unit.classes:
            if name not in OP_CLASSES:
                raise reader.error(f"unit {unit.name}: gem5 has no operation class {name!r}")
            if name in smol_classes:
                raise reader.error(f"unit {unit.name}: {name} is the class of a SMOL function; share decides its units")
        in_units.update(unit.classes)
    if stolen := smol_classes & latencies.keys():
        raise reader.error(f"latencies: {sorted(stolen)[0]} is the class of a SMOL function; its latency stands there")
    for name in sorted(OP_CLASSES - smol_classes):
        if name not in in_units:
            raise reader.error(f"no unit takes {name}: gem5 would run it in one cycle without limit")
        if name not in latencies:
            raise reader.error(f"{name} has no latency")


class _Reader:
    """Typed access to JSON with errors that name the file and the place."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.sources: dict[str, str] = {}

    def error(self, text: str) -> SysmolError:
        return SysmolError(f"machine {self.where}: {text}")

    def fields(self, data: Any, what: str, needed: set[str], optional: set[str]) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise self.error(f"{what} is no JSON object")
        if missing := needed - data.keys():
            raise self.error(f"{what}: {sorted(missing)[0]!r} is missing")
        if unknown := data.keys() - needed - optional:
            raise self.error(f"{what}: unknown field {sorted(unknown)[0]!r}")
        return data

    def typed(self, value: Any, kind: type, what: str) -> Any:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.error(f"{what}: {value!r} is no {kind.__name__}")
        return value

    def positive(self, value: Any, what: str) -> int:
        if self.typed(value, int, what) < 1:
            raise self.error(f"{what}: {value} is not positive")
        return int(value)

    def cite(self, source: Any, what: str) -> None:
        """A source is a key of the machine's ``sources``, with a place after a colon where that helps."""
        if not isinstance(source, str) or source.split(":")[0] not in self.sources:
            raise self.error(f"{what}: source {source!r} is none of the machine's sources {sorted(self.sources)}")

    def record(self, kind: type, data: Any, what: str) -> Any:
        """A dataclass from an object with exactly its fields; integers must be positive."""
        hints = get_type_hints(kind)
        needed = {f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING}
        values = dict(self.fields(data, what, needed, set(hints) - needed))
        for name, value in values.items():
            if hints[name] is int:
                self.positive(value, f"{what}: {name}")
            elif hints[name] is str:
                self.typed(value, str, f"{what}: {name}")
            else:
                values[name] = tuple(self.typed(value, list, f"{what}: {name}"))
        return kind(**values)
