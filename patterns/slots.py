"""From learned precisions to vectors: which supported patterns hold a tensor's channels, and in which slots.

A channel may be promoted to a higher precision than it asked for, never demoted, and slots may stay unused. The fewest
register bytes win: where all channels fit into half of a register of one precision, pixels of that precision are
stored narrow (docs/kernels.md), which halves the work again; else the fewest vectors. Among covers of that size, the
one that gives the channels the most bits (they cost no cycles), or the fewest (they cost bytes of the file), and then
the lexicographically first list of pattern ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sysmol.errors import SysmolError
from sysmol.grid import PRECISIONS
from sysmol.network.operations import Operation
from sysmol.packing import slot_precisions
from sysmol.pattern import CHUNKS, UNIFORM, check_id, narrow_bytes, registers
from sysmol.patterns.chunk_totals import (
    PER_CHUNK,
    Counts,
    Reach,
    alone,
    first_list,
    holding,
    members,
    places_of,
    set_of,
    width_of,
)

Number = Any
"""An integer, or an int64 array of them."""


@dataclass(frozen=True)
class Cover:
    """Pattern id per vector, and the slot and precision of every channel (int64 ``[channels]``)."""

    patterns: tuple[int, ...]
    slots: np.ndarray
    precisions: np.ndarray

    @property
    def registers(self) -> float:
        """What a pixel fills."""
        return registers(self.patterns, int(self.slots.max()) + 1)


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
    if groups == 1 and (narrow := _narrow(requested, ids, promote)) is not None:
        return narrow
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


def _narrow(requested: np.ndarray, ids: list[int], promote: bool) -> Cover | None:
    """The uniform cover whose pixels are stored in part of a register, where there is one."""
    count = len(requested)
    uniform = [p for p in PRECISIONS if p >= requested.max() and UNIFORM[p] in ids]
    sizes = {p: size for p in uniform if (size := narrow_bytes((UNIFORM[p],), count))}
    if not sizes:
        return None
    fitting = [p for p, size in sizes.items() if size == min(sizes.values())]
    p = max(fitting) if promote else min(fitting)
    return Cover((UNIFORM[p],), np.arange(count), np.full(count, p))


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


def vector_instructions(kind: Operation, kernel: tuple[int, int], outputs: int, pixels: int) -> float:
    """SMOL multiply-accumulate instructions that a layer takes per register of a pixel of its input, for one image;
    ``outputs`` channels (of a group) and ``pixels`` of its result.

    For layouts that are still to be chosen: a register counts as one of 4 bits. That matters where lanes are channels,
    which takes half of these instructions again for every chunk of 1 bit
    (:meth:`~sysmol.network.operations.Operation.vector_multiplies`).
    """
    taps = kernel[0] * kernel[1] * pixels * (outputs if kind.mixes_channels else 1)
    return float(taps * kind.vector_multiplies(UNIFORM[4]))


def holds(totals: Counts, counts: Counts) -> bool:
    """Whether chunk totals ``(N4, N2, N1)`` hold ``(c4, c2, c1)`` channels with promotion: every prefix of the
    precisions, highest first, has at least as many slots as channels."""
    slots = channels = 0
    for p, chunks, count in zip(PRECISIONS, totals, counts, strict=True):
        slots += chunks * PER_CHUNK[p]
        channels += count
        if channels > slots:
            return False
    return True


def _granted(slots: Sequence[Number], counts: Counts, promote: bool) -> list[Number]:
    """Channels that get 4, 2 and 1 bits, where ``slots`` of each precision hold ``counts``; the first in order get
    the most. Of arrays of slots, element by element."""
    if promote:
        at4 = np.minimum(slots[0], sum(counts))
        at2 = np.minimum(slots[1], sum(counts) - at4)
        return [at4, at2, sum(counts) - at4 - at2]
    # From the channels that ask for most downwards, each takes the smallest slot that is free and large enough.
    free = list(slots)
    given: list[Number] = [0, 0, 0]
    for level, count in enumerate(counts):
        left: Number = count
        for at in range(level, -1, -1):
            taken = np.minimum(left, free[at])
            free[at], given[at], left = free[at] - taken, given[at] + taken, left - taken
    return given


def _fewest_vectors(counts: Counts, ids: list[int], promote: bool, least: int) -> tuple[int, ...]:
    """Pattern ids of the best cover of ``least`` vectors or more, from the chunk totals that V vectors can have, V = 1,
    2, ...; exact."""
    alones = [vectors for i in ids if (vectors := alone(counts, i)) is not None]
    if not alones:
        lack, asked = ("4-bit chunk", "4 bits") if counts[0] else ("chunk of 2 or more bits", "2")
        raise SysmolError(f"the supported patterns have no {lack}, but a channel needs {asked}: add such a pattern")
    limit = max(min(alones), least)
    reach = Reach(width_of(limit)).with_patterns(ids)
    fitting, vectors = 0, least - 1
    while not fitting:
        vectors += 1
        fitting = reach[vectors] & holding(counts, vectors, reach.width)
    n4, n2 = members(fitting, reach.width)
    chunks = (n4, n2, vectors * CHUNKS - n4 - n2)
    granted = _granted([n * PER_CHUNK[p] for p, n in zip(PRECISIONS, chunks, strict=True)], counts, promote)
    bits_of = sum(p * n for p, n in zip(PRECISIONS, granted, strict=True))
    best = bits_of == (bits_of.max() if promote else bits_of.min())
    chosen = np.zeros(places_of(vectors, reach.width), dtype=np.bool_)
    chosen[n4[best] * reach.width + n2[best]] = True
    return first_list(set_of(chosen), vectors, ids, reach)
