"""What the search for patterns computes with: demands with one answer, and the programme over all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from sysmol.pattern import PATTERNS
from sysmol.patterns.chunk_totals import PER_CHUNK, Counts, Reach, holding, members, places_of, set_of, width_of

Gains = tuple[float, float, float]
"""Loss saved per channel promoted from 2 to 4, 1 to 4 and 1 to 2 bits."""


class Bundle:
    """Demands with one answer: equal counts (where gains count, also equal gains and cycles).

    ``cycles`` and ``gains`` are sums over its demands, gains times their weight. Values are what the objective gets.
    """

    def __init__(self, counts: Counts, cycles: float, gains: Gains) -> None:
        self.counts, self.cycles, self.gains = counts, cycles, gains
        _, c2, c1 = counts
        self.most_gain = gains[0] * c2 + max(gains[1:]) * c1
        """No promotions gain more."""
        self.lower, self.ceiling = -math.inf, math.inf
        """No set of candidates has a lower value; sets with a value as high as the ceiling are of no interest."""
        self.start = 1
        """No set of candidates needs fewer vectors."""
        self._holding: dict[tuple[int, int], int] = {}
        self._gains: dict[tuple[int, int], tuple[npt.NDArray[np.float64], float]] = {}

    def limit(self, ceiling: float, candidates: Iterable[int]) -> int:
        """The most vectors that a value below ``ceiling`` may have, with any set of candidates."""
        by_value = (ceiling + self.most_gain) / self.cycles
        # With that many vectors of its widest precision a set gives all channels the most bits that it can.
        channels = sum(self.counts)
        widest = (next((n, p) for n, p in zip(PATTERNS[i], PER_CHUNK, strict=True) if n) for i in candidates)
        full = max(-(-channels // (n * PER_CHUNK[p])) for n, p in widest)
        return min(math.floor(by_value + 1e-9), full) if math.isfinite(by_value) else full

    def holding(self, vectors: int, width: int) -> int:
        """Totals of ``vectors`` vectors that hold the channels; kept."""
        if (vectors, width) not in self._holding:
            self._holding[vectors, width] = holding(self.counts, vectors, width)
        return self._holding[vectors, width]

    def best(self, reach: Reach, limit: int) -> tuple[float, int]:
        """The best value with the patterns of ``reach`` and up to ``limit`` vectors, and its number of vectors; where
        there is none below the ceiling, that and 0."""
        found = (self.ceiling, 0)
        for vectors in range(self.start, limit + 1):
            if self.cycles * vectors - self.most_gain >= found[0]:
                break
            if not self.most_gain:
                if reach[vectors] & self.holding(vectors, reach.width):
                    return self.cycles * vectors, vectors
                continue
            gains, most = self.gain_table(vectors, reach.width)
            if self.cycles * vectors - most < found[0]:
                gain = float(gains[reach.flags(vectors)].max(initial=-np.inf))
                found = min(found, (self.cycles * vectors - gain, vectors))
        return found

    def goals(self, value: float, width: int, limit: int) -> list[tuple[int, int]]:
        """``(vectors, totals)`` that have a value below ``value``: a set of patterns has one if it reaches any."""
        value -= 1e-9 * self.cycles
        if not self.most_gain:  # who needs fewer vectors also reaches the most
            vectors = min(math.ceil(value / self.cycles) - 1, limit)
            return [(vectors, self.holding(vectors, width))]
        goals = []
        for vectors in range(self.start, limit + 1):
            needed = self.cycles * vectors - value
            if needed < self.most_gain:
                gains, most = self.gain_table(vectors, width)
                if most > needed:
                    goals.append((vectors, set_of(gains > needed)))
        return goals

    def gain_table(self, vectors: int, width: int) -> tuple[npt.NDArray[np.float64], float]:
        """The most that promotions gain with each of the totals of ``vectors`` vectors, float64 ``[places]``, -inf
        where they do not hold the channels; and the largest. Kept."""
        if (vectors, width) not in self._gains:
            n4, n2 = members(self.holding(vectors, width), width)
            gains = np.full(places_of(vectors, width), -np.inf)
            gains[n4 * width + n2] = np.array(self.gains) @ self.promotions(n4, n2)
            self._gains[vectors, width] = gains, float(gains.max())
        return self._gains[vectors, width]

    def promotions(self, n4: npt.NDArray[np.int64], n2: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Channels to promote from 2 to 4, 1 to 4 and 1 to 2 bits with these totals, int64 ``[3, members]``.

        With r4 and r2 slots of at least 4 and 2 bits to spare, p24 + p14 <= r4, p14 + p12 <= r2, p24 <= c2 and
        p14 + p12 <= c1. p24 and p12 take what p14 leaves, so the gain is concave and piecewise linear in p14, with one
        bend at r4 - c2.
        """
        c4, c2, c1 = self.counts
        r4 = n4 * PER_CHUNK[4] - c4
        r2 = np.minimum(r4 + n2 * PER_CHUNK[2] - c2, c1)
        most = np.minimum(r4, r2)
        at = np.stack([np.zeros_like(most), np.clip(r4 - c2, 0, most), most])
        p = np.stack([np.minimum(c2, r4 - at), at, r2 - at])
        best = np.argmax(np.tensordot(np.array(self.gains), p, (0, 0)), axis=0)
        chosen = np.take_along_axis(p, best[None, None], axis=1)[:, 0]
        return chosen * (np.array(self.gains) > 0)[:, None]


class Programme:
    """Bundles and candidates, of which no bundle takes more than ``limit`` vectors."""

    def __init__(self, bundles: Sequence[Bundle], candidates: tuple[int, ...], limit: int) -> None:
        self.bundles, self.candidates, self.limit = list(bundles), candidates, limit
        self.root = Reach(width_of(limit))

    def reach(self, patterns: Iterable[int]) -> Reach:
        """The totals of a set of patterns."""
        return self.root.with_patterns(patterns)

    def bound(self) -> float:
        """No set of candidates has a lower objective."""
        return sum(bundle.lower for bundle in self.bundles)

    def meets_bound(self, objective: float) -> bool:
        """Whether no set can be better, beyond rounding."""
        return objective <= self.bound() + 1e-9 * max(abs(self.bound()), abs(objective))

    def objective(self, reach: Reach, above: float = math.inf) -> float:
        """Sum of the values; infinite where it is not below ``above``."""
        total = self.bound()
        for bundle in self.bundles:
            total += bundle.best(reach, self.limit)[0] - bundle.lower
            if total >= above:
                return math.inf
        return total

    def swaps(self, patterns: tuple[int, ...], value: float) -> tuple[tuple[int, ...], float]:
        """One pass over the patterns: each in turn is exchanged for the candidate that helps most."""
        for old in patterns:
            rest = tuple(i for i in patterns if i != old)
            reach = self.reach(rest)
            for new in self.candidates:
                if new not in patterns:
                    found = self.objective(reach.with_pattern(new), value)
                    if found < value - 1e-9 * abs(value):
                        patterns, value = tuple(sorted((*rest, new))), found
        return patterns, value
