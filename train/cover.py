"""From learned precisions to vectors: which supported patterns hold a tensor's channels, and in which slots.

A channel may be promoted to a higher precision than it asked for, never demoted, and slots may stay unused. The fewest
vectors win; among covers of that size, the one that gives the channels the most bits (they cost no cycles), or the
fewest (they cost bytes of the file), and then the lexicographically first list of pattern ids.
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


def cover(
    requested: np.ndarray,
    supported: Sequence[int],
    rank: np.ndarray | None = None,
    promote: bool = True,
    groups: int = 1,
) -> Cover:
    """Vectors of ``supported`` pattern ids for channels that ask for ``requested`` bits (1, 2 or 4) each.

    ``rank`` orders channels of equal request for promotion, highest first (the learned real-valued precision).
    ``promote``: channels get as many bits as the vectors offer, not as few as they asked for. ``groups``: so many equal
    runs of channels get vectors of their own, all of them as many (a convolution with groups asks for that).
    :class:`SysmolError` where no number of vectors holds the channels, e.g. 4-bit channels on hardware with 1-bit
    patterns.
    """
    ids = sorted({check_id(int(i)) for i in supported})
    requested = np.asarray(requested, dtype=np.int64)
    if not len(requested) or not np.isin(requested, PRECISIONS).all():
        raise SysmolError("channel precisions must be 1, 2 or 4 bits, for at least one channel")
    if len(requested) % groups:
        raise SysmolError(f"{len(requested)} channels cannot be cut into {groups} groups")
    order = requested if rank is None else np.asarray(rank)
    parts = list(zip(np.split(requested, groups), np.split(order, groups), strict=True))
    covers = [_cover(part, ids, own, promote, 1) for part, own in parts]
    most = max(len(found.patterns) for found in covers)
    covers = [
        found if len(found.patterns) == most else _cover(part, ids, own, promote, most)
        for found, (part, own) in zip(covers, parts, strict=True)
    ]
    patterns: tuple[int, ...] = ()
    slots = []
    for found in covers:
        slots.append(found.slots + len(slot_precisions(patterns)))
        patterns += found.patterns
    return Cover(patterns, np.concatenate(slots), np.concatenate([found.precisions for found in covers]))


def _cover(requested: np.ndarray, ids: list[int], rank: np.ndarray, promote: bool, least: int) -> Cover:
    """The cover of one group, of ``least`` vectors or more."""
    c4, c2, c1 = (int((requested == p).sum()) for p in PRECISIONS)
    counts = (c4, c2, c1)
    patterns = _fewest_vectors(counts, ids, promote, least)
    available = slot_precisions(patterns)
    order = np.lexsort((np.arange(len(requested)), -rank, -requested))
    granted = _granted(tuple(int((available == p).sum()) for p in PRECISIONS), counts, promote)
    places = np.concatenate([np.flatnonzero(available == p)[:n] for p, n in zip(PRECISIONS, granted, strict=True)])
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


def _granted(slots: tuple[int, ...], counts: tuple[int, int, int], promote: bool) -> tuple[int, int, int]:
    """Channels that get 4, 2 and 1 bits, where ``slots`` of each precision hold ``counts``; the first in order get
    the most."""
    if promote:
        given = [min(slots[0], sum(counts))]
        given.append(min(slots[1], sum(counts) - given[0]))
        return given[0], given[1], sum(counts) - sum(given)
    # From the channels that ask for most downwards, each takes the smallest slot that is free and large enough.
    free = list(slots)
    given = [0, 0, 0]
    for level, count in enumerate(counts):
        for at in range(level, -1, -1):
            taken = min(count, free[at])
            free[at] -= taken
            given[at] += taken
            count -= taken
    return given[0], given[1], given[2]


def _bits(totals: tuple[int, int, int], counts: tuple[int, int, int], promote: bool) -> int:
    """Bits of all channels in the slots of ``totals`` chunks."""
    slots = tuple(chunks * PER_CHUNK[p] for p, chunks in zip(PRECISIONS, totals, strict=True))
    return sum(p * n for p, n in zip(PRECISIONS, _granted(slots, counts, promote), strict=True))


def _fewest_vectors(counts: tuple[int, int, int], ids: list[int], promote: bool, least: int) -> tuple[int, ...]:
    """Dynamic programme over the chunk totals that ``V`` vectors can have, V = 1, 2, ... (``least`` or more); exact."""
    if counts[0] and not any(PATTERNS[i][0] for i in ids):
        raise SysmolError("the supported patterns have no 4-bit chunk, but a channel needs 4 bits: add such a pattern")
    if counts[1] and not any(PATTERNS[i][0] or PATTERNS[i][1] for i in ids):
        raise SysmolError(
            "the supported patterns have no chunk of 2 or more bits, but a channel needs 2: add such a pattern"
        )
    reachable: dict[tuple[int, int, int], tuple[int, ...]] = {(0, 0, 0): ()}
    vectors = 0
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
        vectors += 1
        fitting = [totals for totals in reachable if vectors >= least and holds(totals, counts)]
        if fitting:
            bits = {totals: _bits(totals, counts, promote) for totals in fitting}
            best = (max if promote else min)(bits.values())
            return min(reachable[totals] for totals in fitting if bits[totals] == best)
