"""The cost models that there are, by name; :func:`register` adds one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sysmol.analysis.costs.area import Area
from sysmol.analysis.costs.calculated import check_name
from sysmol.analysis.costs.energy.model import Energy
from sysmol.analysis.costs.estimate import Estimate
from sysmol.analysis.costs.gem5 import Gem5
from sysmol.analysis.costs.protocol import CostModel, NetworkCost
from sysmol.analysis.costs.twin import CoreTwin
from sysmol.analysis.costs.workload import Workload
from sysmol.errors import SysmolError
from sysmol.machine import Machine

MODELS: dict[str, Callable[..., CostModel]] = {each.name: each for each in (Estimate, CoreTwin, Gem5, Energy, Area)}
"""What makes a model, by its name: ``MODELS["gem5"](run=folder)``."""


def register(name: str, make: Callable[..., CostModel]) -> None:
    """Add a model; ValueError where the name is taken."""
    if name in MODELS:
        raise ValueError(f"there is a cost model {name!r} already")
    MODELS[name] = make


def cost(name: str, workload: Workload, machine: Machine, **options: Any) -> NetworkCost:
    """What a named model gives. :class:`SysmolError` for an unknown name.

    A model that gives a figure of a stronger kind than its own is broken: ValueError.
    """
    if name not in MODELS:
        raise SysmolError(f"there is no cost model {name!r}: choose one of {', '.join(MODELS)}")
    model = MODELS[name](**options)
    found = model.cost(workload, machine)
    stronger = [kind for kind in found.kinds if kind.rank < model.kind.rank]
    if stronger:
        raise ValueError(f"the cost model {name!r} gives figures as {stronger[0]}, but it is one of {model.kind}")
    return found


def every_cost(workload: Workload, machine: Machine, run: Path | None = None, by: str = Estimate.name) -> NetworkCost:
    """Cycles, energy and area from the built-in models: of gem5's ``run`` folder, else of what ``by`` calculates
    (:data:`sysmol.analysis.costs.calculated.TABLES`)."""
    events: dict[str, Any] = {"by": check_name(by)} if run is None else {"run": run}
    cycles = cost(by, workload, machine) if run is None else cost(Gem5.name, workload, machine, run=run)
    energy = cost(Energy.name, workload, machine, **events)
    return cycles.completed_by(energy).completed_by(cost(Area.name, workload, machine))
