"""The cost models that there are, by name; :func:`register` adds one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sysmol.analysis.costs.estimate import Estimate
from sysmol.analysis.costs.gem5 import Gem5
from sysmol.analysis.costs.protocol import CostModel, NetworkCost
from sysmol.analysis.costs.workload import Workload
from sysmol.errors import SysmolError
from sysmol.machine import Machine

MODELS: dict[str, Callable[..., CostModel]] = {Estimate.name: Estimate, Gem5.name: Gem5}
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
