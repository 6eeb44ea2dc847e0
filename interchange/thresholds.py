"""Integers M, B and a shift that give the codes of a monotone function of whole numbers, for every one of them.

A function with codes 0 .. top of a sum s is known by its steps: the smallest sum ``at[j]`` whose code is at least j,
and the largest ``under[j]`` whose code is less. ``(s * M + B) >> shift``, clamped, has the same codes where::

    at[j] * M + B >= j << shift        under[i] * M + B <= (i << shift) - 1

Two of these at a time bound M: ``(at[j] - under[i]) * M >= ((j - i) << shift) + 1``; all together are an interval of
whole numbers, and for every M in it there is one of B.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sysmol.errors import SysmolError
from sysmol.network import HIGH, HIGH_FACTOR, HIGH_SHIFT, INT32_MAX, LOW, Array

MOST_SHIFT = 24
"""Largest shift of low products that is tried."""
CHECKED = 1 << 8
"""Sums of a channel, evenly apart, whose codes are compared with what the steps say."""
NO_INTEGERS = (
    "no integers give the codes of a layer: it is not monotone, its steps differ too much, or some sums lie in the "
    "middle of two codes, which the model rounds to even ones"
)


@dataclass(frozen=True)
class Steps:
    """Where a channel's codes change: ``at`` and ``under`` int64 of the codes 1 .. top that have one, with those codes;
    ``sign`` is -1 where codes fall as sums rise, both are of negated sums then."""

    at: Array
    at_codes: Array
    under: Array
    under_codes: Array
    sign: int

    def factors(self, shift: int) -> tuple[int, int]:
        """Smallest and largest M, not negative; the first is larger where there is none."""
        distance = self.at[:, None] - self.under[None, :]
        least = ((self.at_codes[:, None] - self.under_codes[None, :]) << shift) + 1
        low, high = 0, 1 << 62
        if (up := distance > 0).any():
            low = max(low, int((-(-least[up] // distance[up])).max()))
        if (down := distance < 0).any():
            high = min(high, int((least[down] // distance[down]).min()))
        if bool((least[distance == 0] > 0).any()):
            return 1, 0
        return low, high

    def offsets(self, factor: int, shift: int) -> tuple[int, int]:
        """Smallest and largest B for an M; where only one end matters, half a step from it."""
        half = 1 << max(shift - 1, 0)
        low = (self.at_codes << shift) - factor * self.at
        high = (self.under_codes << shift) - 1 - factor * self.under
        if not len(low):
            return int(high.min()) - half, int(high.min()) if len(high) else half
        if not len(high):
            return int(low.max()), int(low.max()) + half
        return int(low.max()), int(high.min())


def steps_of(codes: Callable[[Array], Array], low: Array, high: Array, top: int, unit: int = 1) -> list[Steps]:
    """The steps of every channel, whose sums are ``unit`` times ``low .. high``, int64 ``[K]`` each.

    ``codes`` are those of whole numbers ``[n, K]``, by which they rise or fall: steps are found by halving intervals.
    Raises :class:`SysmolError` where codes of numbers in between show that they rise and fall.
    """
    count = high - low
    ends = codes(np.stack([low, high]))
    sign = np.where(ends[1] < ends[0], -1, 1)
    start = np.where(sign < 0, high, low)
    wanted = np.arange(1, top + 1)[:, None]
    # The first number, counted from the end where codes are least, whose code is at least that; one too many: none.
    first, stop = np.zeros((top, len(low)), dtype=np.int64), np.tile(count + 1, (top, 1))
    while (open_ := first < stop).any():
        middle = (first + stop) // 2
        reached = codes(start + sign * np.minimum(middle, count)) >= wanted
        stop = np.where(open_ & reached, middle, stop)
        first = np.where(open_ & ~reached, middle + 1, first)
    between = np.linspace(0, count, CHECKED).astype(np.int64)
    if not np.array_equal(codes(start + sign * between), (between >= first[:, None]).sum(0)):
        raise SysmolError(NO_INTEGERS)
    found = []
    for at, most, way, begin in zip(first.T, count, sign, start, strict=True):
        sums, reached, missed = way * begin + at, at <= most, at > 0
        found.append(
            Steps(unit * sums[reached], wanted[reached, 0], unit * (sums[missed] - 1), wanted[missed, 0], int(way))
        )
    return found


@dataclass(frozen=True)
class Found:
    """Constants of a requantisation: M int64 ``[K]``, B int64 ``[classes, K]``, as in
    :class:`sysmol.network.Output`."""

    M: Array
    B: Array
    shift: int
    multiply: str = LOW
    pre: int = 0


def requantisation(steps: list[Steps], moved: Array, bound: Array, even: bool) -> Found:
    """Constants for accumulators that are ``s - moved``: ``moved`` int64 ``[classes, K]``, ``bound`` on their size
    ``[K]``. Low products where those fit 32 bits, else high ones; ``even``: those shift by an even number.

    Raises :class:`SysmolError` where there are none.
    """
    for shift in range(MOST_SHIFT):
        found = _low(steps, moved, bound, shift)
        if found is not None:
            return found
    pre = int(INT32_MAX // max(int(bound.max()), 1)).bit_length() - 1
    for shift in range(2 if even else 1, MOST_SHIFT, 2 if even else 1):
        found = _high(steps, moved, bound, shift, pre)
        if found is not None:
            return found
    raise SysmolError(NO_INTEGERS)


def _low(steps: list[Steps], moved: Array, bound: Array, shift: int) -> Found | None:
    M, B = np.zeros(len(steps), dtype=np.int64), np.zeros_like(moved)
    for k, each in enumerate(steps):
        low, high = each.factors(shift)
        if low > high or 2 * low * int(bound[k]) > INT32_MAX:
            return None
        least, most = each.offsets(low, shift)
        M[k] = each.sign * low
        B[:, k] = (least + most) // 2 + M[k] * moved[:, k]
    return Found(M, B, shift) if _fits(M, B, 2 * bound, 1) else None


def _high(steps: list[Steps], moved: Array, bound: Array, shift: int, pre: int) -> Found | None:
    """Products count in units of ``2**-below``; B does not."""
    below = HIGH_SHIFT - pre
    M, B = np.zeros(len(steps), dtype=np.int64), np.zeros_like(moved)
    for k, each in enumerate(steps):
        low, high = each.factors(shift + below)
        # A channel that reaches one code only would do with the least factor, but B, a whole number in a coarser unit,
        # meets the few values that then are left by chance alone.
        high = min(high, HIGH_FACTOR, max(2 * low + 1, 2 << below))
        if low > high:
            return None
        factor = (low + high) // 2
        least, most = each.offsets(factor, shift + below)
        M[k] = each.sign * factor
        for place, taken in enumerate(moved[:, k]):
            start, stop = -((-(least + int(M[k]) * int(taken))) >> below), (most + int(M[k]) * int(taken)) >> below
            if start > stop:
                return None
            B[place, k] = (start + stop) // 2
    return Found(M, B, shift, HIGH, pre) if _fits(M, B, bound, 1 << below) else None


def _fits(M: Array, B: Array, bound: Array, unit: int) -> bool:
    """Whether all sums stay within 32 bits."""
    products = [abs(int(m)) * int(size) // unit + 1 for m, size in zip(M, bound, strict=True)]
    return all(p + int(b) < INT32_MAX for p, b in zip(products, np.abs(B).max(0), strict=True))
