"""A machine: the whole description, checked."""

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

from sysmol.isas import ISAS
from sysmol.machine.caches import Cache, Memory, read_caches, read_memory
from sysmol.machine.core import Core, read_core
from sysmol.machine.functional_units import Latency, Unit, check_coverage, read_latencies, read_units
from sysmol.machine.op_classes import CLASS_GROUPS, UNUSED
from sysmol.machine.pattern_sets import pattern_set_name
from sysmol.machine.reader import Reader
from sysmol.machine.smol_option import change_smol
from sysmol.machine.smol_unit import (
    DEFAULT_SOURCE,
    DEFAULT_TEXT,
    SmolUnit,
    read_smol,
    smol_classes,
    with_default_functions,
)
from sysmol.typed import shown

FIELDS = {"name", "description", "sources", "clock_ghz", "core", "units", "latencies", "smol", "caches", "memory"}

FASTEST_GHZ = 1000
"""gem5 counts time in picoseconds."""


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
        """Cycles of an instruction of the table, by its name."""
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
        """The same machine with its SMOL unit changed, under a name that tells.

        ``text``: see :func:`~sysmol.machine.smol_option.change_smol`.
        Raises :class:`SysmolError` where the text or the machine that it makes breaks a rule.
        """
        smol = change_smol(self.raw["smol"], text, self.smol_count)
        name = f"{self.name} ({text.replace(' ', '')})"
        sources = {**self.sources, "option": "set by the user for this run", DEFAULT_SOURCE: DEFAULT_TEXT}
        if all(row.get("source") != DEFAULT_SOURCE for row in smol["functions"].values()):
            sources.pop(DEFAULT_SOURCE)
        made = {**self.raw, "name": name, "sources": sources, "smol": smol}
        return parse_machine(settle_classes(made) if smol.get("instructions") else made, name)

    def to_json(self) -> dict[str, Any]:
        """The whole description as it stands in a machine file, parts and groups spelt out."""
        return self.raw


def parse_machine(data: dict[str, Any], where: str) -> Machine:
    """Check a machine's whole description strictly (see :func:`~sysmol.machine.parts.compose`).

    ``where`` names it in errors. What it does not say of SMOL functions that it has, the instruction table says.
    """
    reader = Reader(where)
    whole = with_default_functions(data)
    top = reader.fields(whole, "machine", FIELDS | {"format", "version"}, {"isas"})
    reader.sources = reader.typed(top["sources"], dict, "sources")
    isas = read_isas(reader, top.get("isas", list(ISAS)))
    clock = read_clock(reader, top["clock_ghz"])
    core = read_core(reader, top["core"])
    units = read_units(reader, top["units"])
    latencies = read_latencies(reader, top["latencies"])
    smol = read_smol(reader, top["smol"], units)
    check_coverage(reader, units, latencies, {function.op_class for function in smol.functions.values()})
    return Machine(
        name=reader.typed(top["name"], str, "name"),
        description=reader.typed(top["description"], str, "description"),
        isas=isas,
        sources=reader.sources,
        clock_ghz=clock,
        core=core,
        units=units,
        latencies=latencies,
        smol=smol,
        **read_caches(reader, top["caches"]),
        memory=read_memory(reader, top["memory"]),
        raw=whole,
    )


def settle_classes(data: dict[str, Any]) -> dict[str, Any]:
    """A description whose instructions were changed: the classes of its SMOL functions are theirs alone; classes that
    stand in for functions of other machines are in a unit as long as they are free."""
    taken = smol_classes(data)
    made = {key: copy.deepcopy(data[key]) for key in ("units", "latencies")}
    for rows in made.values():
        for row in rows:
            row["classes"] = [name for name in row["classes"] if name not in taken]
    placed = {name for unit in made["units"] for name in unit["classes"]}
    if free := [name for name in CLASS_GROUPS[UNUSED] if name not in taken | placed]:
        made["units"][0]["classes"] += free
        made["latencies"].append({"classes": free, "cycles": 2, "pipelined": True, "source": "option"})
    made["latencies"] = [row for row in made["latencies"] if row["classes"]]
    return {**data, **made}


def read_isas(reader: Reader, data: Any) -> tuple[str, ...]:
    """The field ``isas``."""
    isas = reader.typed(data, list, "isas")
    if not isas or not all(isa in ISAS for isa in isas):
        raise reader.error(f"isas {isas!r} must be some of {', '.join(ISAS)}")
    return tuple(isas)


def read_clock(reader: Reader, data: Any) -> float:
    """The field ``clock_ghz``."""
    if not isinstance(data, int | float) or isinstance(data, bool) or not 0 < data <= FASTEST_GHZ:
        raise reader.error(f"clock_ghz {shown(data)} is no number above 0 and up to {FASTEST_GHZ}")
    return float(data)
