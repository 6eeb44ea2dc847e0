"""Real constants of a requantisation as the integers M, B, R and S of the network file.

Wanted is ``y = floor(multiplier * acc + residual * r + addend)``. The product of each constant with ``2**S``, rounded,
is an integer; S is the largest that provably fits 32 bits. Tried are, in this order, M and R in 16 bits, in 32 bits,
and high products (:mod:`sysmol.network.sums`), R's before M's; the first in which every factor is *held* is taken: it
has :data:`LEAST_BITS` significant bits, or rounding it moves no output that is not clamped anyway by more than
:data:`STEP` of its step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sysmol.errors import SysmolError
from sysmol.network import (
    HIGH,
    HIGH_FACTOR,
    HIGH_SHIFT,
    INT32_MAX,
    LOW,
    RESIDUAL_SHIFT,
    Output,
    border_constants,
    largest_sum,
)

Array = np.ndarray[Any, Any]

LEAST_BITS = 12
"""Significant bits of a factor that rounds as well as a real one."""
STEP = 1 / 32
"""Part of an output's step by which rounding a factor may always move it: the step itself rounds by up to a half."""
FRACTION = {"s16": 2, "s32": 0}
"""Bits below an output's step that high products keep at least, by the output's format."""
USUAL_FRACTION = 5


@dataclass
class Wanted:
    """Real constants per channel, float64 ``[C]``, of one output, and what they meet.

    ``bound``, ``reach``: largest ``|acc|`` and ``|r|``, int64 ``[C]``. ``border``: int64 ``[row classes, column
    classes, C]`` of :func:`sysmol.network.border_sums`. ``mean_acc``: the accumulator's mean where that is known;
    rounding M moves it, B takes that back. ``clamp``: least and largest y. ``residual_format``: of the residual's
    tensor.
    """

    tensor: str
    form: str
    clamp: tuple[int, int]
    multiplier: Array
    addend: Array
    bound: Array
    border: Array
    mean_acc: Array | None = None
    residual: Array | None = None
    reach: Array | None = None
    residual_format: str = ""


@dataclass(frozen=True)
class Products:
    """How an output multiplies; ``widest``: largest ``|M|`` of a low product."""

    multiply: str
    residual: str
    widest: int = INT32_MAX


CHOICES = (
    Products(LOW, LOW, 32767),
    Products(LOW, HIGH, 32767),
    Products(LOW, LOW),
    Products(LOW, HIGH),
    Products(HIGH, LOW),
    Products(HIGH, HIGH),
)


def integers(wanted: Wanted, where: str) -> Output:
    """The output's integers. Raises :class:`SysmolError` that begins with ``where``, the layer, if its sums or its
    factors fit no choice."""
    check_sums(wanted.bound, where)
    wanted = _settled(wanted)
    found = (best(wanted, how) for how in CHOICES)
    out = next((each for each in found if each is not None), None)
    if out is None:
        steps = float((wanted.bound * np.abs(wanted.multiplier)).max())
        raise SysmolError(
            f"{where}: no 32-bit integers hold its scales to {LEAST_BITS} bits (its sums reach {steps:.3g} steps of "
            f"{wanted.tensor}): train longer or give the layer another precision"
        )
    return out


def check_sums(bound: Array, where: str) -> None:
    """Refuse sums whose ``bound`` is more than 32 bits hold, with :class:`SysmolError` that begins with ``where``."""
    if int(bound.max()) > INT32_MAX:
        raise SysmolError(f"{where}: its sums can reach {int(bound.max()):,}, beyond 32 bits: split the layer")


def _settled(wanted: Wanted) -> Wanted:
    """Channels that are clamped whatever their sums are become the constant that they are clamped to."""
    reach = 2 * wanted.bound * np.abs(wanted.multiplier)
    if wanted.residual is not None and wanted.reach is not None:
        reach = reach + wanted.reach * np.abs(wanted.residual)
    low, high = wanted.clamp
    below, above = wanted.addend + reach < low, wanted.addend - reach >= high + 1
    settled = below | above
    return replace(
        wanted,
        multiplier=np.where(settled, 0.0, wanted.multiplier),
        addend=np.where(below, low - 0.5, np.where(above, high + 0.5, wanted.addend)),
        residual=None if wanted.residual is None else np.where(settled, 0.0, wanted.residual),
    )


def best(
    wanted: Wanted, how: Products, shifts: Sequence[int] = range(31, -1, -1), finest: bool = False
) -> Output | None:
    """The integers of one choice, at the largest of the ``shifts`` at which they fit; None where they do not, or where
    a factor is not held. ``finest``: with the most bits, not with the fewest instructions and bytes."""
    if wanted.residual is None and how.residual == HIGH:
        return None
    # Factors of high products in 16 bits, as the file stores them shorter, wherever those hold.
    for short in (True, False) if how.multiply == HIGH and wanted.form != "s32" and not finest else (False,):
        lefts = _left_shifts(wanted, how)
        for pre in reversed(lefts) if finest else lefts:
            found = (_rounded(wanted, how, shift, pre, short, finest) for shift in shifts)
            out = next((each for each in found if each is not None), None)
            if out is not None and _is_fine(wanted, out) and _is_held(wanted, out):
                return out
    return None


def _left_shifts(wanted: Wanted, how: Products) -> range:
    """Shifts of sums before a high product, the cheapest (none) first."""
    return range(1 if how.multiply == LOW else int(INT32_MAX // max(int(wanted.bound.max()), 1)).bit_length())


def _rounded(wanted: Wanted, how: Products, shift: int, pre: int, short: bool, finest: bool) -> Output | None:
    """The constants at one scale, M ``short`` or not, B as fine as it can be or not; None where they do not provably
    fit."""
    if how.multiply == HIGH and wanted.form == "smol" and shift % 2:
        return None  # vqpk shifts by even numbers
    unit, below = 2.0**shift, _below(how.multiply, pre)
    exact = wanted.multiplier * unit * below
    zeros = max(int(np.abs(exact).max()).bit_length() - 15, 0) if short else 0
    M = np.rint(exact / 2.0**zeros) * 2.0**zeros
    widest = HIGH_FACTOR if how.multiply == HIGH else INT32_MAX if wanted.form == "s32" else how.widest
    if np.abs(M).max() > widest:
        return None
    base = wanted.addend * unit
    if wanted.mean_acc is not None:
        # Rounding M moves the mean; B takes that back.
        base = base + (exact - M) / below * wanted.mean_acc
    R = None
    if wanted.residual is not None:
        R = np.rint(wanted.residual * unit * _residual_below(wanted, how.residual))
        if np.abs(R).max() > (HIGH_FACTOR if how.residual == HIGH else INT32_MAX):
            return None
    # High products are rounded down: half a unit each makes that rounding to the nearest.
    base = base + 0.5 * ((how.multiply == HIGH) + (R is not None and how.residual == HIGH))
    B = np.rint(base) if finest else _short(base, shift, wanted.form)
    if np.abs(B).max() > INT32_MAX:
        return None
    whole = M.astype(np.int64)
    out = Output(
        wanted.tensor, B.astype(np.int64).reshape(1, 1, -1), *wanted.clamp, whole, None, shift, how.multiply, pre=pre
    )
    if R is not None:
        out.R, out.residual_multiply = R.astype(np.int64), how.residual
    if not _fits(wanted, out):
        return None
    out.B = out.B + border_constants(wanted.border, whole, how.multiply, pre)
    if not _fits(wanted, out):
        return None
    out.M, out.B = whole.astype(np.int32), out.B.astype(np.int32)
    out.R = None if out.R is None else out.R.astype(np.int32)
    return out


def _below(multiply: str, left: int) -> float:
    """What one unit of an output before its shift is in units of a factor."""
    return 2.0 ** (HIGH_SHIFT - left) if multiply == HIGH else 1.0


def _residual_below(wanted: Wanted, multiply: str) -> float:
    return _below(multiply, RESIDUAL_SHIFT[wanted.residual_format])


def _fits(wanted: Wanted, out: Output) -> bool:
    """What :func:`sysmol.network.checks.validate` asks of an output's sums."""
    return bool((largest_sum(out, wanted.bound, wanted.reach, wanted.residual_format) <= INT32_MAX).all())


def _is_fine(wanted: Wanted, out: Output) -> bool:
    """Whether high products keep enough of what lies below an output's step."""
    high = HIGH in (out.multiply, out.residual_multiply)
    return not high or out.shift >= FRACTION.get(wanted.form, USUAL_FRACTION)


def _is_held(wanted: Wanted, out: Output) -> bool:
    """Whether every M and R has :data:`LEAST_BITS`, or moves no output by :data:`STEP` without them.

    Outputs between the ends of the clamp are what counts: there no term is larger than the clamp and the other terms.
    """
    assert out.M is not None
    terms = [(out.M, _below(out.multiply, out.pre), wanted.multiplier, wanted.bound)]
    if wanted.residual is not None and out.R is not None and wanted.reach is not None:
        below = _residual_below(wanted, out.residual_multiply)
        terms.append((out.R, below, wanted.residual, wanted.reach))
    sizes = [np.abs(real) * size for _, _, real, size in terms]
    ends = max(abs(end) for end in wanted.clamp) + 1 + np.abs(wanted.addend)
    for number, (factor, below, real, size) in enumerate(terms):
        most = np.minimum(size, (ends + sum(sizes) - sizes[number]) / np.maximum(np.abs(real), 1e-300))
        moved = np.abs(factor / (below * 2.0**out.shift) - real) * most
        if not ((_bits(factor) >= LEAST_BITS) | (moved <= STEP)).all():
            return False
    return True


def _bits(factor: Array) -> Array:
    """Significant bits of every factor, in units of the power of two that divides all of them."""
    sizes = np.abs(factor.astype(np.int64))
    common = int(np.bitwise_or.reduce(sizes))
    return np.ceil(np.log2(sizes // max(common & -common, 1) + 1))


def _short(base: Array, shift: int, form: str) -> Array:
    """Biases as whole numbers: multiples of a power of two that leaves 16 bits of them, where that moves an output by
    at most 1/256 of a code (of a 16-bit stream: half a step)."""
    spare = shift if form == "s16" else shift - 7
    zeros = next(z for z in range(256) if np.abs(np.rint(base / 2.0**z)).max() <= 32767)
    zeros = zeros if zeros <= spare else 0
    return np.rint(base / 2.0**zeros) * 2.0**zeros
