"""Which chunk totals V vectors of given patterns can have, as bit sets: the ground of covers and of their choice.

V vectors have 8 V chunks, so two totals (N4, N2) say all three. They stand for bit ``N4 * width + N2`` of a Python
integer; ``width = 8 * limit + 1`` keeps up to ``limit`` vectors apart. Adding a vector of a pattern to every member is
one shift, so exact sets of a whole tensor cost microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from sysmol.grid import PRECISIONS
from sysmol.pattern import CHUNK_BITS, CHUNKS, PATTERNS

Counts = tuple[int, int, int]
"""Channels, chunks or slots with 4, 2 and 1 bits."""

PER_CHUNK = {p: CHUNK_BITS // p for p in PRECISIONS}
_S4, _S2, _S1 = (PER_CHUNK[p] for p in PRECISIONS)


def width_of(limit: int) -> int:
    """Stride of N4 for sets of up to ``limit`` vectors."""
    return CHUNKS * limit + 1


class Reach:
    """``reach[v]``: totals of ``v`` vectors of the patterns added so far; computed when first asked for."""

    def __init__(self, width: int, parent: Reach | None = None, step: int = 0) -> None:
        self.width, self._parent, self._step = width, parent, step
        self._sets = [1]
        self._flags: dict[int, npt.NDArray[np.bool_]] = {}

    def with_pattern(self, pattern: int) -> Reach:
        """The totals with one more pattern id to choose from."""
        n4, n2, _ = PATTERNS[pattern]
        return Reach(self.width, self, n4 * self.width + n2)

    def with_patterns(self, patterns: Iterable[int]) -> Reach:
        """The totals with more pattern ids to choose from."""
        reach = self
        for pattern in patterns:
            reach = reach.with_pattern(pattern)
        return reach

    def __getitem__(self, vectors: int) -> int:
        if self._parent is None:
            return int(vectors == 0)
        for v in range(len(self._sets), vectors + 1):
            self._sets.append(self._parent[v] | self._sets[v - 1] << self._step)
        return self._sets[vectors]

    def flags(self, vectors: int) -> npt.NDArray[np.bool_]:
        """``reach[vectors]`` as bool ``[places_of(vectors)]``; kept."""
        if vectors not in self._flags:
            self._flags[vectors] = flags_of(self[vectors], places_of(vectors, self.width))
        return self._flags[vectors]


def places_of(vectors: int, width: int) -> int:
    """Bits that a set of totals of so many vectors may have."""
    return CHUNKS * vectors * width + 1


def flags_of(totals: int, places: int) -> npt.NDArray[np.bool_]:
    """A set as bool ``[places]``."""
    raw = np.frombuffer(totals.to_bytes(-(-places // 8), "little"), np.uint8)
    return np.unpackbits(raw, count=places, bitorder="little").view(np.bool_)


def set_of(flags: npt.NDArray[np.bool_]) -> int:
    """The inverse of :func:`flags_of`."""
    return int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")


def holding(counts: Counts, vectors: int, width: int) -> int:
    """Totals of ``vectors`` vectors that hold ``counts`` with promotion (:func:`sysmol.patterns.slots.holds`)."""
    c4, c42, channels = counts[0], counts[0] + counts[1], sum(counts)
    chunks, found = CHUNKS * vectors, 0
    for n4 in range(-(-c4 // _S4), chunks + 1):
        # n4 * S4 + n2 * S2 >= c42, and with n1 = chunks - n4 - n2 all slots >= channels
        low = max(0, -(-(c42 - n4 * _S4) // _S2))
        high = min(chunks - n4, (chunks * _S1 - n4 * (_S1 - _S4) - channels) // (_S1 - _S2))
        if high >= low:
            found |= ((1 << (high - low + 1)) - 1) << (n4 * width + low)
    return found


def alone(counts: Counts, pattern: int) -> int | None:
    """Fewest vectors of one pattern that hold ``counts`` channels; None where no number does."""
    needed = slots = channels = 0
    for p, chunks, count in zip(PRECISIONS, PATTERNS[pattern], counts, strict=True):
        slots, channels = slots + chunks * PER_CHUNK[p], channels + count
        if channels and not slots:
            return None
        needed = max(needed, -(-channels // slots) if slots else 0)
    return needed


def members(totals: int, width: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(N4, N2) of every member of a set, int64 ``[members]`` each, ascending."""
    n4, n2 = np.divmod(np.flatnonzero(flags_of(totals, totals.bit_length())), width)
    return n4, n2


def first_list(totals: int, vectors: int, patterns: Iterable[int], reach: Reach) -> tuple[int, ...]:
    """The lexicographically first ascending list of ``vectors`` of the ``patterns`` (ascending ids, those of
    ``reach``) whose chunk totals are in the set ``totals``, all members of which are reachable."""
    chosen: list[int] = []
    ids = tuple(patterns)
    for left in range(vectors - 1, -1, -1):
        for i in ids:
            n4, n2, _ = PATTERNS[i]
            rest = totals >> (n4 * reach.width + n2) & reach[left]
            if rest:
                totals = rest
                chosen.append(i)
                break
    return tuple(chosen)
