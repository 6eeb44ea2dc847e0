"""Functional units and the latencies of gem5's operation classes."""

from dataclasses import dataclass
from typing import Any

from sysmol.machine.op_classes import OP_CLASSES
from sysmol.machine.reader import Reader


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


def check_class(reader: Reader, name: Any, what: str) -> str:
    """An operation class that gem5 has."""
    if not isinstance(name, str) or name not in OP_CLASSES:
        raise reader.error(f"{what}: gem5 has no operation class {name!r}")
    return str(name)


def read_units(reader: Reader, data: Any) -> tuple[Unit, ...]:
    """The field ``units`` of a machine."""
    units = tuple(reader.record(Unit, row, "unit") for row in reader.typed(data, list, "units"))
    if len({unit.name for unit in units}) != len(units):
        raise reader.error("two units have one name")
    for unit in units:
        for name in unit.classes:
            check_class(reader, name, f"unit {unit.name}")
    return units


def read_latencies(reader: Reader, data: Any) -> dict[str, Latency]:
    """The field ``latencies``: rows of ``classes`` with one latency, to a table by class."""
    table: dict[str, Latency] = {}
    for row in reader.typed(data, list, "latencies"):
        fields = reader.fields(row, "latency row", {"classes", "cycles", "pipelined", "source"}, {"note"})
        for name in reader.typed(fields["classes"], list, "latency row: classes"):
            check_class(reader, name, "latencies")
            if name in table:
                raise reader.error(f"latencies: {name} stands twice")
            table[name] = read_latency(reader, fields, name)
    return table


def read_latency(reader: Reader, fields: dict[str, Any], what: str) -> Latency:
    """Cycles, pipelining and source of a row."""
    reader.cite(fields["source"], what)
    return Latency(
        reader.positive(fields["cycles"], f"{what}: cycles"),
        reader.typed(fields["pipelined"], bool, f"{what}: pipelined"),
        fields["source"],
        fields.get("note", ""),
    )


def check_coverage(
    reader: Reader, units: tuple[Unit, ...], latencies: dict[str, Latency], smol_classes: set[str]
) -> None:
    """Every class has one latency and a unit; the classes of the SMOL functions are theirs alone."""
    in_units: set[str] = set()
    for unit in units:
        if taken := [name for name in unit.classes if name in smol_classes]:
            raise reader.error(f"unit {unit.name}: {taken[0]} is the class of a SMOL function; share decides its units")
        in_units.update(unit.classes)
    if stolen := smol_classes & latencies.keys():
        raise reader.error(f"latencies: {sorted(stolen)[0]} is the class of a SMOL function; its latency stands there")
    for name in sorted(OP_CLASSES - smol_classes):
        if name not in in_units:
            raise reader.error(f"no unit takes {name}: gem5 would run it in one cycle without limit")
        if name not in latencies:
            raise reader.error(f"{name} has no latency")
