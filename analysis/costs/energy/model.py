"""From events to energy: draw by draw, so that sums, shares and ratios keep what their parts have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sysmol import hwcost
from sysmol.analysis.costs import calculated
from sysmol.analysis.costs.energy.constants import ARITHMETIC, CYCLE, DRAWS, EVENTS, SEED, Core, core_of, draw
from sysmol.analysis.costs.energy.units import layer_energy
from sysmol.analysis.costs.estimate import SOURCE as ESTIMATE
from sysmol.analysis.costs.estimate_errors import NETWORK, interval
from sysmol.analysis.costs.gem5 import Gem5
from sysmol.analysis.costs.layers import network_cost
from sysmol.analysis.costs.protocol import LayerCost, NetworkCost
from sysmol.analysis.costs.quantity import Absent, Figure, Kind, Quantity
from sysmol.analysis.costs.twin_parameters import network_interval
from sysmol.analysis.costs.workload import Workload
from sysmol.analysis.runs import load_run
from sysmol.machine import Machine

Row = Mapping[Any, Any]
Values = npt.NDArray[np.float64]

UNIT = "pJ"
QUANTILES = (0.05, 0.95)
"""Ends of every interval; the value between is the median."""
PARTS = ("background", "instructions", "arithmetic", "caches", "DRAM")
"""What energies are divided into: cycles; instructions; multiply-accumulates and packing; the two levels of caches."""
_PART_OF = {"instruction": "instructions", "l1d_access": "caches", "l2_access": "caches", "dram_line": "DRAM"}


@dataclass(frozen=True)
class Interval:
    """Median of the draws, and the quantiles around it."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Values) -> Interval:
        """Of draws, ``[DRAWS]``."""
        low, value, high = np.quantile(values, (QUANTILES[0], 0.5, QUANTILES[1]))
        return cls(float(value), float(low), float(high))


def counts(row: Row) -> dict[str, float]:
    """Events of a layer for one image, by the names of the constants; those that nobody counted are left out.

    ``row``: columns of the tables of :mod:`sysmol.analysis.runs`, or of results/kernels.csv. Accesses to L2 are the
    misses of the first levels, lines from DRAM those of L2.
    """
    found = {
        "instruction": row["insts"],
        "l1d_access": row["load"] + row["store"],
        "l2_access": row.get("l1d_misses", math.nan) + (_known(row, "l1i_misses") or 0.0),
        "dram_line": row.get("l2_misses", math.nan),
    }
    return {name: float(value) for name, value in found.items() if value is not None and not math.isnan(value)}


def _known(row: Row, name: str) -> float | None:
    value = row.get(name)
    return None if value is None or math.isnan(value) else float(value)


@dataclass(frozen=True)
class Energies:
    """pJ of layers for one image: ``parts[part]`` is ``[layers, draws]``. ``core``: whose constants."""

    core: Core
    parts: Mapping[str, Values]

    @property
    def layers(self) -> Values:
        """Of every layer, ``[layers, draws]``."""
        return np.sum(list(self.parts.values()), axis=0)

    @property
    def total(self) -> Values:
        """Of all layers, ``[draws]``."""
        return np.asarray(self.layers.sum(axis=0))

    def shares(self) -> dict[str, Interval]:
        """Share of each part of the total."""
        return {part: Interval.of(values.sum(axis=0) / self.total) for part, values in self.parts.items()}


def energies(rows: Sequence[Row], core: Core, seed: int = SEED, both: bool = False) -> Energies:
    """Energies of a network's layers, a row each (:func:`counts`, :func:`.units.layer_energy`).

    ``both``: of hardware with the second page. Cycles that were calculated lie within the interval of a network's; all
    layers are then off alike.
    """
    constants = draw(core, seed)
    kinds = [row.get("kind", Kind.MEASURED) for row in rows]
    calculated_ = [kind != Kind.MEASURED for kind in kinds]
    cycles = np.array([float(row["cycles"]) for row in rows])[:, None] * np.ones(DRAWS)
    if any(calculated_):
        isa = str(rows[0]["isa"])
        low, high = network_interval(isa) if Kind.PREDICTION in kinds else interval(isa, NETWORK)
        off = np.exp(np.random.default_rng(seed + 1).uniform(math.log(low), math.log(high), DRAWS))
        cycles[calculated_] *= off
    parts = {part: np.zeros_like(cycles) for part in PARTS}
    parts["background"] = cycles * constants[CYCLE]
    for place, row in enumerate(rows):
        found = counts(row)
        for name in EVENTS:
            parts[_PART_OF[name]][place] += found.get(name, 0.0) * constants[name]
    parts["arithmetic"] = np.array([layer_energy(row, both) for row in rows])[:, None] * constants[ARITHMETIC]
    return Energies(core, parts)


def ratio(one: Energies, other: Energies) -> Interval:
    """How many times the energy of ``other`` that of ``one`` is: draw by draw, with the same constants."""
    return Interval.of(one.total / other.total)


def quantity(values: Values, source: str) -> Quantity:
    """Draws as a figure in pJ: always an estimate."""
    found = Interval.of(values)
    return Quantity(found.value, found.low, found.high, UNIT, Kind.ESTIMATE, source)


def without_energy(row: Row) -> str:
    """Why a row has no energy, empty where it has: its core model has no cycles."""
    return f"{row['source']} does not model time" if math.isnan(row["cycles"]) else ""


def source_of(core: Core, row: Row) -> str:
    """Who says so: the constants, and who counted the events."""
    return f"energy of an {core.name}, events: {row['source']}"


def network_energy(rows: Sequence[Row], machine: Machine) -> Energies | Absent:
    """Energies of a table's layers on a machine, or why there are none."""
    first = rows[0]
    if why := without_energy(first):
        return Absent(UNIT, why)
    core = core_of(str(first["cpu"]), machine)
    if core is None:
        return Absent(UNIT, f"there are no constants for the core model {first['cpu']} on {machine.name}")
    return energies(rows, core, both=hwcost.needs_both_pages(machine.smol.instructions))


class Energy:
    """Energy as a :class:`~sysmol.analysis.costs.protocol.CostModel`, without cycles and area. ``run``: the gem5 run
    folder whose events count; without one they are those of ``by``
    (:mod:`sysmol.analysis.costs.calculated`), without misses of caches."""

    name = "energy"
    kind = Kind.ESTIMATE

    def __init__(self, run: Path | None = None, by: str = ESTIMATE) -> None:
        self.run, self.by = run, by

    def cost(self, workload: Workload, machine: Machine) -> NetworkCost:
        """Absent figures where there are no constants for the core."""
        if self.run is None:
            table = calculated.layers(workload, machine, self.by)
            cycles = network_cost(table)
        else:
            cycles = Gem5(self.run).cost(workload, machine)
            table = load_run(self.run)
        rows = table.to_dict("records")
        found = network_energy(rows, machine)
        figures: list[Figure] = [found] * len(rows) if isinstance(found, Absent) else []
        whole = None
        if not isinstance(found, Absent):
            source = source_of(found.core, rows[0])
            figures = [quantity(values, source) for values in found.layers]
            whole = quantity(found.total, source)
        pairs = zip(cycles.layers, figures, strict=True)
        layers = tuple(LayerCost(layer.layer, layer.op, energy=figure) for layer, figure in pairs)
        facts = cycles.name, cycles.variant, cycles.isa, cycles.machine
        return NetworkCost(*facts, layers, whole_energy=whole)
