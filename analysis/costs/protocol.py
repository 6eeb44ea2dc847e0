"""What a network costs on a machine: one protocol for everything that can say so.

A :class:`CostModel` takes a :class:`~sysmol.analysis.costs.workload.Workload` and a machine, and gives cycles, energy
and area of every layer. A model that knows less leaves the rest :class:`~sysmol.analysis.costs.quantity.Absent`, with
the reason; :meth:`NetworkCost.completed_by` joins models. :mod:`sysmol.analysis.costs.models` names those there are.

======== ============== =============================================================================================
column   unit           of a layer                                          of the network
======== ============== =============================================================================================
cycles   cycles         clock cycles for one image                          the sum
energy   pJ             energy for one image                                the sum
area     um2            silicon that this layer alone occupies              the sum, and ``shared_area``: the units that
                                                                            layers take turns on
======== ============== =============================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from sysmol.analysis.costs.quantity import Absent, Figure, Kind, Quantity, add
from sysmol.analysis.costs.workload import Workload
from sysmol.machine import Machine

UNITS: Mapping[str, str] = {"cycles": "cycles", "energy": "pJ", "area": "um2"}
"""Columns and their units."""


def absent(column: str) -> Absent:
    """A column that no model has been asked for yet."""
    return Absent(UNITS[column], f"no model of {column} is registered")


@dataclass(frozen=True)
class LayerCost:
    """Costs of one layer; ``op`` is its operation's name in the network file."""

    layer: str
    op: str
    cycles: Figure = field(default_factory=lambda: absent("cycles"))
    energy: Figure = field(default_factory=lambda: absent("energy"))
    area: Figure = field(default_factory=lambda: absent("area"))


@dataclass(frozen=True)
class NetworkCost:
    """Costs of a network's layers in execution order, on one machine."""

    name: str
    variant: str
    isa: str
    machine: str
    layers: tuple[LayerCost, ...]
    shared_area: Figure = field(default_factory=lambda: absent("area"))
    whole_cycles: Quantity | None = None
    """Cycles of all layers, where their source knows the sum better than its parts."""
    whole_energy: Quantity | None = None
    """The same of the energy."""

    @property
    def cycles(self) -> Figure:
        """Of all layers, for one image."""
        return self.whole_cycles or add(layer.cycles for layer in self.layers)

    @property
    def energy(self) -> Figure:
        """Of all layers, for one image."""
        return self.whole_energy or add(layer.energy for layer in self.layers)

    @property
    def area(self) -> Figure:
        """Of what layers share, and of what single layers occupy where some do."""
        own = [layer.area for layer in self.layers if isinstance(layer.area, Quantity)]
        return add([self.shared_area, *own])

    @property
    def sources(self) -> str:
        """Who gives the figures there are, in the order of the columns."""
        figures = [getattr(self, column) for column in UNITS]
        return ", ".join(dict.fromkeys(f.source for f in figures if isinstance(f, Quantity)))

    @property
    def kinds(self) -> set[Kind]:
        """How the figures are known."""
        figures = [self.shared_area, *(getattr(layer, column) for layer in self.layers for column in UNITS)]
        return {figure.kind for figure in figures if isinstance(figure, Quantity)}

    def columns(self) -> dict[str, Any]:
        """Totals for a row of a table: ``cycles``, ``cycles_low``, ``cycles_high``, ``cycles_kind``, ``cycles_source``
        and the same of energy and area; None where a figure is absent.
        """
        row: dict[str, Any] = {}
        for column in UNITS:
            figure = getattr(self, column)
            row[column] = getattr(figure, "value", None)
            row |= {f"{column}_{name}": getattr(figure, name, None) for name in ("low", "high", "kind", "source")}
        return row

    def completed_by(self, other: NetworkCost) -> NetworkCost:
        """These figures, and ``other``'s where they are absent. ValueError where the layers are not the same."""
        if [layer.layer for layer in self.layers] != [layer.layer for layer in other.layers]:
            raise ValueError(f"{self.name} ({self.variant}) and {other.name} ({other.variant}) have different layers")
        layers = tuple(
            replace(
                mine,
                cycles=_first(mine.cycles, theirs.cycles),
                energy=_first(mine.energy, theirs.energy),
                area=_first(mine.area, theirs.area),
            )
            for mine, theirs in zip(self.layers, other.layers, strict=True)
        )
        shared = _first(self.shared_area, other.shared_area)
        cycles = other.whole_cycles if isinstance(self.cycles, Absent) else self.whole_cycles
        energy = other.whole_energy if isinstance(self.energy, Absent) else self.whole_energy
        return replace(self, layers=layers, shared_area=shared, whole_cycles=cycles, whole_energy=energy)


def _first(one: Figure, other: Figure) -> Figure:
    return other if isinstance(one, Absent) else one


class CostModel(Protocol):
    """Anything that can say what a network costs. ``kind`` is the strongest kind of figure that it gives."""

    name: str
    kind: Kind

    def cost(self, workload: Workload, machine: Machine) -> NetworkCost:
        """Costs of all layers; :class:`~sysmol.errors.SysmolError` where the model cannot say, with the way out."""
        ...
