"""Requantisation in 16-bit lanes: constants whose codes are those of 32 bits, for every sum.

A code of p bits says which of ``2**p - 1`` thresholds a sum x has reached: code k needs ``x * M + B >= k << S``, hence
``x >= ceil((k * 2**S - B) / M)``. With a start b and a factor m of 16 bits ::

    u = clamp((((x + b) * m) >> 15) >> s, 0, 2**p - 1)

has its thresholds at ``ceil((k << s + 15) / m) - b``, as floors of floors are floors of the whole. Sums of products of
odd numbers lie ``grid`` apart, so that a threshold may stand anywhere between two of them, and those beyond all sums
anywhere beyond. For given m every threshold thus allows b an interval; border classes have a b each and share m.
"""

from dataclasses import dataclass

import numpy as np

from sysmol.grid import PRECISIONS
from sysmol.network import Array

PRODUCT_SHIFT = 15
LARGEST_FACTOR = (1 << 14) - 1
"""Of m: twice that is a factor of RISC-V's high product, which shifts by 16."""
LANE_MOST = (1 << 15) - 1
PRECISION_FIELD = {p: form << 4 for form, p in enumerate(PRECISIONS)}
"""Bits [5:4] of field6 of ``vqpk.s``, ``vqpk.h``, ``vunp.h`` and ``vdw``, by precision."""
SHIFTS = tuple(range(14, -1, -2))
"""What the instruction can shift by, the most first."""
NEIGHBOURS, FEW = 96, 4
"""Factors that are tried on either side of the exact quotient; first, where there are other ways."""
TRIED_FACTORS = 12
"""Of sums, the largest first."""
FAR = 1 << 40
"""Beyond all sums and all starts."""


@dataclass(frozen=True)
class Sums:
    """What the sums of a layer can be, int64 ``[C]`` each: from ``-reach`` to ``reach``, ``first`` plus multiples of
    ``grid``."""

    reach: Array
    grid: Array
    first: Array


@dataclass(frozen=True)
class Lanes:
    """``m`` int64 ``[C]``, ``b`` int64 ``[classes, C]``, and the shift s."""

    m: Array
    b: Array
    shift: int


def ceil_div(a: Array, b: Array) -> Array:
    """Quotients rounded up; ``b`` positive."""
    return -(-a // b)


def lane_constants(M: Array, B: Array, shift: int, top: int, sums: Sums) -> Lanes | None:
    """Constants in 16 bits for ``clamp((x * M + B) >> shift, 0, top)``; None where a channel has none.

    ``M`` int64 ``[C]``, ``B`` int64 ``[classes, C]``; x is any of the ``sums``.
    """
    if (M == 0).any():
        return None
    wanted, steps = _thresholds(M, B, shift, top, sums)
    for s in SHIFTS:
        near = np.round(2.0 ** (PRODUCT_SHIFT + s) / steps).astype(np.int64)
        if near.max() <= LARGEST_FACTOR:
            m, b = _search(wanted, near, s, sums)
            return Lanes(np.sign(M) * m, np.sign(M) * b, s) if m.all() else None
    return None


@dataclass(frozen=True)
class ScaledLanes:
    """:class:`Lanes` of sums that are multiplied by ``factor`` first, int64 ``[C]``."""

    lanes: Lanes
    factor: Array


def scaled_constants(M: Array, B: Array, shift: int, top: int, sums: Sums) -> ScaledLanes | None:
    """As :func:`lane_constants`, with sums multiplied by as much as each channel's starts leave room for: between two
    sums then lie more starts."""
    if (M == 0).any():
        return None
    wanted, steps = _thresholds(M, B, shift, top, sums)
    room = sums.reach + np.abs(B // M).max(axis=0)
    most = np.minimum(LANE_MOST // room + 2, LANE_MOST // sums.reach)
    tried = [(most - less, neighbours) for neighbours in (FEW, NEIGHBOURS) for less in range(TRIED_FACTORS)]
    for s in SHIFTS:
        if (2.0 ** (PRODUCT_SHIFT + s) / (steps * most)).max() > LARGEST_FACTOR:
            continue
        m, b, chosen = np.zeros_like(M), np.zeros_like(B), np.zeros_like(M)
        for factor, neighbours in tried:
            near = np.round(2.0 ** (PRODUCT_SHIFT + s) / (steps * np.maximum(factor, 1))).astype(np.int64)
            own = np.flatnonzero((m == 0) & (factor > 0) & (near >= 1) & (near <= LARGEST_FACTOR))
            if len(own):
                f = factor[own]
                scaled = Sums(*(each[own] * f for each in (sums.reach, sums.grid, sums.first)))
                m[own], b[:, own] = _search(wanted[..., own] * f, near[own], s, scaled, neighbours)
                chosen[own] = f
        # A smaller shift leaves smaller factors, which are less exact.
        return ScaledLanes(Lanes(np.sign(M) * m, np.sign(M) * b, s), chosen) if m.all() else None
    return None


def _thresholds(M: Array, B: Array, shift: int, top: int, sums: Sums) -> tuple[Array, Array]:
    """The least of ``sign(M) * x`` with each code but the first, int64 ``[top, classes, C]``, moved up to the next sum,
    and the distance of such thresholds, ``[C]``."""
    size = np.abs(M)
    k = np.arange(1, top + 1, dtype=np.int64)[:, None, None]
    wanted = ceil_div((k << shift) - B, size)
    wanted += (np.sign(M) * sums.first - wanted) % sums.grid
    return wanted, 2.0**shift / size


def _search(wanted: Array, near: Array, s: int, sums: Sums, neighbours: int = NEIGHBOURS) -> tuple[Array, Array]:
    """Factors and starts with the ``wanted`` thresholds, of each channel the factor closest to ``near``; 0 where there
    is none."""
    top, classes, count = wanted.shape
    k = np.arange(1, top + 1, dtype=np.int64)[:, None]
    chosen, starts = np.zeros(count, dtype=np.int64), np.zeros((classes, count), dtype=np.int64)
    left = np.arange(count)
    for offset in sorted(range(-neighbours, neighbours + 1), key=abs):
        m = near[left] + offset
        tried = left[(m >= 1) & (m <= LARGEST_FACTOR)]
        own = ceil_div(k << (PRODUCT_SHIFT + s), near[tried] + offset)
        low, high = _starts(wanted[..., tried], own, sums.reach[tried], sums.grid[tried])
        good = (low <= high).all(axis=0)
        done = tried[good]
        chosen[done], starts[:, done] = near[done] + offset, (low + high)[:, good] // 2
        left = np.setdiff1d(left, done)
        if not len(left):
            break
    return chosen, starts


def _starts(wanted: Array, own: Array, reach: Array, grid: Array) -> tuple[Array, Array]:
    """Least and largest start, int64 ``[classes, C]``, with which thresholds ``own`` separate the sums as the
    ``wanted`` do; the least above the largest where there is none."""
    own = own[:, None]
    never, always = wanted > reach, wanted <= -reach
    low = np.where(never, -FAR, np.where(always, own + reach, own - wanted))
    high = np.where(always, FAR, np.where(never, own - reach - 1, own - wanted + grid - 1))
    room = LANE_MOST - reach
    return np.maximum(low.max(axis=0), -room), np.minimum(high.min(axis=0), room)
