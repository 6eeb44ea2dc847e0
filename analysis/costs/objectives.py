"""What designs are compared by: a dictionary of functions from a row of a table to a number.

A row is what a network file says of itself (``accuracy_integer``, ``file_bytes`` ...) and, for cycles, energy and area,
the columns of :meth:`sysmol.analysis.costs.protocol.NetworkCost.columns`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sysmol.errors import SysmolError

Row = Mapping[Any, Any]


@dataclass(frozen=True)
class Objective:
    """``of`` gives a row's figure; ``more_is_better`` says which way is up; ``title`` labels axes and columns."""

    title: str
    of: Callable[[Row], float]
    more_is_better: bool = False

    def loss(self, row: Row) -> float:
        """The figure, turned so that less is better."""
        return -self.of(row) if self.more_is_better else self.of(row)


def column(name: str) -> Callable[[Row], float]:
    """The figure in a column; :class:`SysmolError` where a row has none."""

    def of(row: Row) -> float:
        value = row.get(name)
        if value is None or value != value:
            raise SysmolError(f"{row.get('name', 'a design')} has no {name}: no model gave it")
        return float(value)

    return of


OBJECTIVES: dict[str, Objective] = {
    "accuracy": Objective("accuracy of the integers", column("accuracy_integer"), more_is_better=True),
    "size": Objective("bytes of the network file", column("file_bytes")),
    "cycles": Objective("cycles per image", column("cycles")),
    "energy": Objective("energy per image, pJ", column("energy")),
    "area": Objective("area, um2", column("area")),
}
"""By name. A new one is a line here."""


def objective(name: str) -> Objective:
    """:class:`SysmolError` for an unknown name."""
    if name not in OBJECTIVES:
        raise SysmolError(f"there is no objective {name!r}: choose from {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]
