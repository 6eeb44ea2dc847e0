"""The best patterns under an area budget: what a pattern set costs is which precisions its chunks can have.

A chunk that can be of several precisions needs the selection between them, and that is what silicon costs
(docs/hardware-cost.md); the number of patterns hardly counts. So a hardware is described by the precisions of each of
the 8 chunks, and has every pattern that they can hold: a *closed* set. Of the 2^45 sets of patterns 4,127 are closed,
few enough to look at all of them: :class:`Front` is exact.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np

from sysmol.errors import SysmolError
from sysmol.grid import PRECISIONS
from sysmol.pattern import CHUNKS, PATTERNS, chunk_precisions
from sysmol.patterns.selection import Choice, Demand, SetValues

Precisions = tuple[int, ...]
"""Precisions that a chunk can have, widest first."""

SUBSETS: tuple[Precisions, ...] = tuple(
    chosen for size in range(1, len(PRECISIONS) + 1) for chosen in combinations(PRECISIONS, size)
)
"""What a chunk can be able to hold."""


@cache
def precisions_of(patterns: tuple[int, ...]) -> tuple[Precisions, ...]:
    """Precisions that each chunk takes in these patterns."""
    held = [chunk_precisions(n) for n in patterns]
    return tuple(tuple(p for p in PRECISIONS if any(h[chunk] == p for h in held)) for chunk in range(CHUNKS))


@dataclass(frozen=True)
class ChunkArea:
    """Area of an array in um2 as a sum: one term per chunk by its precisions, its share of the lanes' adders included,
    and one per pattern, the decoder. :func:`sysmol.patterns.chunk_costs.fitted` has those of a cost table."""

    chunks: Mapping[Precisions, float]
    pattern: float = 0.0

    def of(self, patterns: Sequence[int]) -> float:
        """Of an array with these patterns."""
        chunks = sum(self.chunks[precisions] for precisions in precisions_of(tuple(patterns)))
        return chunks + self.pattern * len(set(patterns))


@cache
def closed_sets() -> tuple[tuple[int, ...], ...]:
    """Every set of all the patterns that some chunks can hold, pattern ids ascending."""
    held = np.array([chunk_precisions(n) for n in range(len(PATTERNS))])
    masks = np.zeros(1, dtype=np.uint64)
    masks[0] = (1 << len(PATTERNS)) - 1
    for chunk in range(CHUNKS):
        own = [_mask(np.isin(held[:, chunk], subset)) for subset in SUBSETS]
        masks = np.unique((masks[:, None] & np.array(own, dtype=np.uint64)).ravel())
    return tuple(_members(int(mask)) for mask in masks if mask)


def _mask(chosen: np.ndarray) -> int:
    return sum(1 << int(n) for n in np.flatnonzero(chosen))


def _members(mask: int) -> tuple[int, ...]:
    return tuple(n for n in range(len(PATTERNS)) if mask >> n & 1)


class Front:
    """The closed sets that are worth their area for given demands: exact, since all closed sets are looked at, but for
    those that need more than twice the vectors of uniform 4-bit."""

    def __init__(self, demands: Sequence[Demand], area: ChunkArea, gain_weight: float = 0.0) -> None:
        self.area = area
        self.values = SetValues(demands, gain_weight)

    def points(self, budget: float = math.inf) -> Iterator[tuple[float, tuple[int, ...]]]:
        """Sets of growing area up to ``budget`` um2, each with a smaller objective
        (:func:`sysmol.patterns.selection.choose`) than all that are no larger: ``(objective, patterns)``."""
        above = math.inf
        for size, patterns in sorted((self.area.of(patterns), patterns) for patterns in closed_sets()):
            if size > budget:
                return
            value = self.values.of(patterns, above)
            if math.isfinite(value):
                above = value - 1e-9 * abs(value)
                yield value, patterns


def choose_within_area(demands: Sequence[Demand], area: ChunkArea, budget: float, gain_weight: float = 0.0) -> Choice:
    """The set within ``budget`` um2 with the least objective, and of equal ones the smallest; exact as
    :class:`Front`.

    :class:`SysmolError` where no array that holds all channels is that small.
    """
    began = time.perf_counter()
    known = Front(demands, area, gain_weight)
    points = list(known.points(budget))
    if not points:
        least = min(map(area.of, closed_sets()))
        raise SysmolError(
            f"no array within {budget:,.0f} um2 holds all channels (the smallest of all takes {least:,.0f}): allow more"
        )
    objective, patterns = points[-1]
    return known.values.choice(patterns, "area", objective, time.perf_counter() - began)
