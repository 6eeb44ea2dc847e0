"""From learned precisions to vectors: which supported patterns hold a tensor's channels, and in which slots.

A channel may be promoted to a higher precision than it asked for, never demoted, and slots may stay unused. The fewest
vectors win; among covers of that size, the one that gives the channels the most bits (they are free), and then the
lexicographically first list of pattern ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sysmol.errors import SysmolError
from sysmol.grid import PRECISIONS
from sysmol.packing import slot_precisions
from sysmol.patterns import CHUNK_BITS, PATTERNS, check_id

PER_CHUNK = {p: CHUNK_BITS // p for p in PRECISIONS}


@dataclass(frozen=True)
class Cover:
    """Pattern id per vector, and the slot and precision of every channel (int64 ``[channels]``)."""

    patterns: tuple[int, ...]
    slots: np.ndarray
    precisions: np.ndarray


def cover(requested: np.ndarray, supported: Sequence[int], rank: np.ndarray | None = None) -> Cover:
    """Vectors of ``supported`` pattern ids for channels that ask for ``requested`` bits (1, 2 or 4) each.

    ``rank`` orders channels of equal request for promotion, highest first (the learned real-valued precision).
    :class:`SysmolError` where no number of vectors holds the channels, e.g. 4-bit channels on hardware with 1-bit
    patterns.
    """
    ids = sorted({check_id(int(i)) for i in supported})
    requested = np.asarray(requested, dtype=np.int64)
    c4, c2, c1 = (int((requested == p).sum()) for p in PRECISIONS)
    counts = (c4, c2, c1)
    if sum(counts) != len(requested) or not len(requested):
        raise SysmolError("channel precisions must be 1, 2 or 4 bits, for at least one channel")
    patterns = _fewest_vectors(counts, ids)
    available = slot_precisions(patterns)
    order = np.lexsort((np.arange(len(requested)), -(requested if rank is None else np.asarray(rank)), -requested))
    places = np.argsort(-available, kind="stable")[: len(requested)]
    slots = np.empty(len(requested), dtype=np.int64)
    slots[order] = places
    return Cover(patterns, slots, available[slots])


def holds(totals: tuple[int, int, int], counts: tuple[int, int, int]) -> bool:
    """Whether chunk totals ``(N4, N2, N1)`` hold ``(c4, c2, c1)`` channels with promotion: every prefix of the
    precisions, highest first, has at least as many slots as channels."""
    slots = channels = 0
    for p, chunks, count in zip(PRECISIONS, totals, counts, strict=True):
        slots += chunks * PER_CHUNK[p]
        channels += count
        if channels > slots:
            return False
    return True


def _bits(totals: tuple[int, int, int], channels: int) -> int:
    """Bits of ``channels`` channels that fill the slots from the highest precision down."""
    bits = 0
    for p, chunks in zip(PRECISIONS, totals, strict=True):
        placed = min(channels, chunks * PER_CHUNK[p])
        bits, channels = bits + placed * p, channels - placed
    return bits


def _fewest_vectors(counts: tuple[int, int, int], ids: list[int]) -> tuple[int, ...]:
    """Dynamic programme over the chunk totals that ``V`` vectors can have, V = 1, 2, ...; exact."""
    if counts[0] and not any(PATTERNS[i][0] for i in ids):
        raise SysmolError("the supported patterns have no 4-bit chunk, but a channel needs 4 bits: add such a pattern")
    if counts[1] and not any(PATTERNS[i][0] or PATTERNS[i][1] for i in ids):
        raise SysmolError(
            "the supported patterns have no chunk of 2 or more bits, but a channel needs 2: add such a pattern"
        )
    reachable: dict[tuple[int, int, int], tuple[int, ...]] = {(0, 0, 0): ()}
    while True:
        longer: dict[tuple[int, int, int], tuple[int, ...]] = {}
        for totals, chosen in reachable.items():
            for i in ids:
                n4, n2, n1 = PATTERNS[i]
                key = (totals[0] + n4, totals[1] + n2, totals[2] + n1)
                candidate = tuple(sorted((*chosen, i)))
                if key not in longer or candidate < longer[key]:
                    longer[key] = candidate
        reachable = longer
        fitting = [totals for totals in reachable if holds(totals, counts)]
        if fitting:
            best = min(fitting, key=lambda totals: (-_bits(totals, sum(counts)), reachable[totals]))
            return reachable[best]
