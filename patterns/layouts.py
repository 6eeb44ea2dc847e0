"""The layouts that a tensor's channels may have, as tables: bits, registers, and what rounding costs.

Channels are laid out in the order of their scores (real-valued precisions): the ``at4`` highest have 4 bits, the next
have 2 up to ``at2``, the rest has 1. Only layouts that :func:`sysmol.patterns.slots.cover` makes are listed: those in
the fewest registers that hold their channels. The loss that comes of giving ``q`` bits to a channel that has the score
``p`` is taken as ``4 ** (p - q)`` (:class:`sysmol.train.quantise.allocate.Programme` says why).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sysmol.grid import PRECISIONS
from sysmol.pattern import CHUNKS, PATTERNS, REGISTER_BYTES, UNIFORM, narrow_bytes
from sysmol.patterns.chunk_totals import PER_CHUNK, Reach, members, width_of

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

GRAIN = 512
"""Tensors with more channels change their precisions in steps of one part in so many."""


@dataclass(frozen=True)
class Layouts:
    """One entry per layout, none worse than another in error, bits and registers at once.

    ``at4``, ``at2``: channels with 4 bits, and with 2 or more; ``bits`` of all channels; ``registers`` that a pixel
    fills; ``error``: the sum of ``4 ** (p - q)`` over channels. ``order``: channels by descending score.
    """

    at4: Integers
    at2: Integers
    bits: Integers
    registers: Floats
    error: Floats
    order: Integers

    def requested(self, entry: int) -> Integers:
        """Bits of every channel in a layout, as :func:`sysmol.patterns.slots.cover` is asked for them
        (``promote=False``).
        """
        bits = np.ones(len(self.order), dtype=np.int64)
        bits[self.order[: self.at2[entry]]] = 2
        bits[self.order[: self.at4[entry]]] = 4
        return bits


def layouts(scores: Floats, patterns: Sequence[int], groups: int = 1) -> Layouts:
    """All layouts worth having of channels with these scores (float64 ``[C]``) in vectors of ``patterns``; ``groups``
    as in :func:`sysmol.patterns.slots.cover`."""
    order = np.lexsort((np.arange(len(scores)), -scores))
    ids = tuple(sorted(set(patterns)))
    at4, at2 = _grid(len(scores))
    filled = _registers(len(scores), ids) if groups == 1 else _grouped_registers(order, ids, groups)
    # Fewer bits for some channels must not take more registers: the cover then promotes them.
    kept = np.isfinite(filled) & (filled == _least_beyond(filled))
    at4, at2, filled = at4[kept], at2[kept], filled[kept]
    weights = np.append(0.0, np.cumsum(4.0 ** scores[order]))
    error = weights[at4] / 4**4 + (weights[at2] - weights[at4]) / 4**2 + (weights[-1] - weights[at2]) / 4
    bits = len(scores) + at2 + 2 * at4
    best = _undominated(filled, bits, error)
    return Layouts(at4[best], at2[best], bits[best], filled[best], error[best], order)


def _grid(channels: int) -> tuple[Integers, Integers]:
    """All ``at4`` and ``at2`` that are looked at, ``[n, n]`` each; those with ``at2 < at4`` mean nothing."""
    ends = np.unique(np.append(np.arange(0, channels, -(-channels // GRAIN)), channels))
    at4, at2 = np.meshgrid(ends, ends, indexing="ij")
    return at4, at2


@lru_cache(maxsize=64)
def _registers(channels: int, patterns: tuple[int, ...]) -> Floats:
    """Registers of every layout of the grid, inf where the patterns have no slots for it."""
    at4, at2 = _grid(channels)
    filled = fewest_vectors((at4, at2 - at4, channels - at2), patterns)
    for p, count in ((4, at4), (2, np.where(at4 == 0, at2, 0)), (1, np.where(at2 == 0, channels, 0))):
        part = narrow_bytes((UNIFORM[p],), channels) / REGISTER_BYTES
        if part and UNIFORM[p] in patterns:
            filled = np.where((count == channels) & (at2 >= at4), part, filled)
    filled.setflags(write=False)
    return filled


def _grouped_registers(order: Integers, patterns: tuple[int, ...], groups: int) -> Floats:
    """The same for channels in groups, which have vectors of their own, all of them as many."""
    at4, at2 = _grid(len(order))
    own = len(order) // groups
    # Channels of every group among the first k in order.
    inside = np.zeros((len(order) + 1, groups), dtype=np.int64)
    inside[np.arange(1, len(order) + 1), order // own] = 1
    inside = inside.cumsum(axis=0)
    counts = ((inside[at4, g], inside[at2, g] - inside[at4, g], own - inside[at2, g]) for g in range(groups))
    return groups * np.maximum.reduce([fewest_vectors(each, patterns) for each in counts])


def fewest_vectors(counts: tuple[Integers, Integers, Integers], patterns: Sequence[int]) -> Floats:
    """The fewest vectors whose slots hold so many channels of 4, 2 and 1 bits, each in a slot of just its precision;
    element by element, inf where no number does (or a count is negative).

    The three counts add up to one number of channels. What takes more vectors than all of them at the widest precision
    is inf, too: no cover is as large.
    """
    channels = int(sum(count.flat[0] for count in counts))
    chunks = [-(-count // PER_CHUNK[p]) for p, count in zip(PRECISIONS, counts, strict=True)]
    widest = next(k for k in range(3) if any(PATTERNS[i][k] for i in patterns))
    limit = -(-channels // (max(PATTERNS[i][widest] for i in patterns) * PER_CHUNK[PRECISIONS[widest]]))
    found = np.full(counts[0].shape, np.inf)
    valid = np.minimum.reduce(counts) >= 0
    reach = Reach(width_of(limit)).with_patterns(patterns)
    for vectors in range(limit, 0, -1):
        most = CHUNKS * vectors
        n4, n2 = members(reach[vectors], reach.width)
        # The most 1-bit chunks beside at least so many chunks of 4 and of 2 bits.
        narrowest = np.full((most + 1,) * 2, -np.inf)
        narrowest[n4, n2] = most - n4 - n2
        narrowest = -_least_beyond(-narrowest)
        row, column = (np.clip(each, 0, most) for each in chunks[:2])
        fits = (row == chunks[0]) & (column == chunks[1]) & (narrowest[row, column] >= chunks[2])
        found[fits & valid] = vectors
    return found


def _least_beyond(table: Floats) -> Floats:
    """The least of all entries in no smaller a row and column."""
    return np.minimum.accumulate(np.minimum.accumulate(table[::-1, ::-1], axis=0), axis=1)[::-1, ::-1]


def _undominated(registers: Floats, bits: Integers, error: Floats) -> Integers:
    """Indices of the entries that no other beats or equals in all three."""
    frontier = np.full(int(bits.max()) + 1, np.inf)
    """The least error so far with at most so many bits."""
    chosen = []
    for amount in np.unique(registers):
        here = np.flatnonzero(registers == amount)
        here = here[np.lexsort((error[here], bits[here]))]
        first = np.unique(bits[here], return_index=True)[1]
        here = here[first]
        before = np.minimum.accumulate(error[here])
        better = np.append(True, before[1:] < before[:-1]) & (error[here] < frontier[bits[here]])
        chosen.append(here[better])
        frontier[bits[here]] = np.minimum(frontier[bits[here]], before)
        frontier = np.minimum.accumulate(frontier)
    return np.concatenate(chosen)
