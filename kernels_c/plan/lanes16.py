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

from sysmol.network import Array

PRODUCT_SHIFT = 15
LARGEST_FACTOR = (1 << 14) - 1
"""Of m: twice that is a factor of RISC-V's high product, which shifts by 16."""
LANE_MOST = (1 << 15) - 1
SHIFTS = tuple(range(14, -1, -2))
"""What the instruction can shift by, the most first."""
NEIGHBOURS = 96
"""Factors that are tried on either side of the exact quotient."""
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
    size = np.abs(M)
    # Of sign(M) * x, which has to reach them; moved up to the next sum.
    k = np.arange(1, top + 1, dtype=np.int64)[:, None, None]
    wanted = ceil_div((k << shift) - B, size)
    wanted += (np.sign(M) * sums.first - wanted) % sums.grid
    steps = 2.0**shift / size
    for s in SHIFTS:
        near = np.round(2.0 ** (PRODUCT_SHIFT + s) / steps).astype(np.int64)
        if near.max() <= LARGEST_FACTOR:
            found = _search(wanted, near, s, sums)
            return None if found is None else Lanes(np.sign(M) * found[0], np.sign(M) * found[1], s)
    return None


def _search(wanted: Array, near: Array, s: int, sums: Sums) -> tuple[Array, Array] | None:
    """Factors and starts with the ``wanted`` thresholds, of each channel the factor closest to ``near``."""
    top, classes, count = wanted.shape
    k = np.arange(1, top + 1, dtype=np.int64)[:, None]
    chosen, starts = np.zeros(count, dtype=np.int64), np.zeros((classes, count), dtype=np.int64)
    left = np.arange(count)
    for offset in sorted(range(-NEIGHBOURS, NEIGHBOURS + 1), key=abs):
        m = near[left] + offset
        tried = left[(m >= 1) & (m <= LARGEST_FACTOR)]
        own = ceil_div(k << (PRODUCT_SHIFT + s), near[tried] + offset)
        low, high = _starts(wanted[..., tried], own, sums.reach[tried], sums.grid[tried])
        good = (low <= high).all(axis=0)
        done = tried[good]
        chosen[done], starts[:, done] = near[done] + offset, (low + high)[:, good] // 2
        left = np.setdiff1d(left, done)
        if not len(left):
            return chosen, starts
    return None


def _starts(wanted: Array, own: Array, reach: Array, grid: Array) -> tuple[Array, Array]:
    """Least and largest start, int64 ``[classes, C]``, with which thresholds ``own`` separate the sums as the
    ``wanted`` do; the least above the largest where there is none."""
    own = own[:, None]
    never, always = wanted > reach, wanted <= -reach
    low = np.where(never, -FAR, np.where(always, own + reach, own - wanted))
    high = np.where(always, FAR, np.where(never, own - reach - 1, own - wanted + grid - 1))
    room = LANE_MOST - reach
    return np.maximum(low.max(axis=0), -room), np.minimum(high.min(axis=0), room)
