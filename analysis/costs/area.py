"""Area of the SMOL units of a machine, from the cost table of the hardware (docs/hardware-cost.md).

A unit is the array of vdot and vmac, whose area follows from the precisions of its chunks
(:mod:`sysmol.patterns.chunk_costs`), and what the table's unit of all instructions has beside an array with the same
patterns: multipliers, packing, the choice of the result, pipeline registers. Layers take turns on the units, so the
area is shared; the core and the caches are not in it. A unit with any instruction of the second page is the table's
unit of both pages, with all of their instructions and all patterns: it was made in one size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from sysmol import hwcost
from sysmol.analysis.costs.protocol import LayerCost, NetworkCost, absent
from sysmol.analysis.costs.quantity import Figure, Kind, Quantity
from sysmol.analysis.costs.workload import Workload
from sysmol.machine import Machine
from sysmol.patterns.area_budget import ChunkArea
from sysmol.patterns.chunk_costs import fitted

WHOLE = ("unit", "P45", 3)
"""The table's unit of all instructions of the first page, with 45 patterns."""


@cache
def _fit() -> tuple[ChunkArea, float, float]:
    """Costs of chunks; area beside the array, um2; the largest relative error of the sums."""
    table = hwcost.read()
    fit = fitted(table)
    whole = hwcost.find(table, *WHOLE)
    beside = whole["logic_um2"] + whole["flop_um2"] - fit.area.of(tuple(range(45)))
    return fit.area, beside, fit.worst


def unit_area(patterns: Sequence[int]) -> Quantity:
    """Of one SMOL unit with these patterns in um2 of ASAP7, logic and pipeline registers of three stages; without
    patterns there is no unit."""
    if not patterns:
        return Quantity.exact(0.0, "um2", Kind.ESTIMATE, "no SMOL unit")
    area, beside, error = _fit()
    array = area.of(tuple(sorted(patterns)))
    value = array + beside
    return Quantity(value, value - error * array, value + error * array, "um2", Kind.ESTIMATE, "cost table, ASAP7")


def both_pages_area() -> Quantity:
    """Of one SMOL unit with all instructions of both pages in um2 of ASAP7, logic and pipeline registers of four
    stages."""
    row = hwcost.find(hwcost.read(), *hwcost.BOTH_PAGES["whole"])
    return Quantity.exact(row["logic_um2"] + row["flop_um2"], "um2", Kind.ESTIMATE, "cost table, ASAP7")


def chunk_area() -> ChunkArea:
    """Costs of the array's chunks, for choices of patterns."""
    return _fit()[0]


def array_budget(unit_um2: float) -> float:
    """What is left for the array of vdot and vmac of a unit with so much area."""
    return unit_um2 - _fit()[1]


def machine_area(machine: Machine) -> Figure:
    """Of all SMOL units of a machine: an upper end where it has a part of the second page, or fewer patterns."""
    both = hwcost.needs_both_pages(machine.smol.instructions)
    one, units = both_pages_area() if both else unit_area(machine.smol.patterns), machine.smol_count
    return Quantity(units * one.value, units * one.low, units * one.high, one.unit, one.kind, one.source)


class Area:
    """The area as a :class:`~sysmol.analysis.costs.protocol.CostModel`, without cycles and energy."""

    name = "area"
    kind = Kind.ESTIMATE

    def cost(self, workload: Workload, machine: Machine) -> NetworkCost:
        """Every layer takes turns on the units, none has silicon of its own."""
        manifest = workload.manifest
        layers = tuple(LayerCost(region["name"], region["op"], area=absent("area")) for region in manifest["regions"])
        facts = manifest["name"], manifest["variant"], manifest["isa"], machine.name
        return NetworkCost(*facts, layers, shared_area=machine_area(machine))
