"""A figure that says how it is known: value, interval, unit, kind and source, so that nothing calculated can pass for
something measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a figure is known, the strongest first."""

    MEASURED = "measured"
    """Counted on hardware or in a simulator that executed the program."""
    ESTIMATE = "estimate"
    """Calculated from the program and a description of the machine."""
    PREDICTION = "prediction"
    """Given by a model that was fitted to other programs' figures."""

    @property
    def rank(self) -> int:
        """0 for the strongest kind."""
        return list(Kind).index(self)


@dataclass(frozen=True)
class Quantity:
    """``value`` in ``unit``, between ``low`` and ``high``: equal to it where it is exact, else an interval that the
    source explains. ``source``: who says so, e.g. ``gem5 24.0.0.1 o3``. ValueError where the three are not in order or
    not finite.
    """

    value: float
    low: float
    high: float
    unit: str
    kind: Kind
    source: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.value <= self.high):
            raise ValueError(f"{self.value} {self.unit} do not lie between {self.low} and {self.high}")

    @classmethod
    def exact(cls, value: float, unit: str, kind: Kind, source: str) -> Quantity:
        """A figure without an interval."""
        return cls(value, value, value, unit, kind, source)

    @property
    def is_exact(self) -> bool:
        """Whether the interval is a point."""
        return self.low == self.high

    def __str__(self) -> str:
        """``29,916 cycles (gem5 24.0.0.1 o3)``; what is not measured begins with ``about`` and names its kind."""
        said = self.source if self.kind in (Kind.MEASURED, self.source) else f"{self.kind}, {self.source}"
        between = "" if self.is_exact else f"{self.low:,.0f} to {self.high:,.0f}; "
        about = "" if self.kind is Kind.MEASURED else "about "
        return f"{about}{self.value:,.0f} {self.unit} ({between}{said})"


@dataclass(frozen=True)
class Absent:
    """A figure that nobody gives, and why."""

    unit: str
    reason: str

    def __str__(self) -> str:
        return f"no {self.unit}: {self.reason}"


Figure = Quantity | Absent


def add(parts: Iterable[Figure]) -> Figure:
    """The sum of figures in one unit: as weak as its weakest part, from all their sources, absent where one is.

    Intervals add at their ends: errors of one source have one direction more often than not, so nothing cancels.
    ValueError for no parts, or for several units.
    """
    given = list(parts)
    units = {part.unit for part in given}
    if len(units) != 1:
        raise ValueError(f"figures in {len(units)} units have no sum")
    known: list[Quantity] = []
    for part in given:
        if isinstance(part, Absent):
            return part
        known.append(part)
    value, low, high = (sum(getattr(part, name) for part in known) for name in ("value", "low", "high"))
    kind = max((part.kind for part in known), key=lambda kind: kind.rank)
    return Quantity(value, low, high, units.pop(), kind, ", ".join(dict.fromkeys(part.source for part in known)))
