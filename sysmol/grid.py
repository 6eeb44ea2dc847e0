"""The number grid: odd multiples of a half step, symmetric, with no zero.

A code ``u`` of precision ``p`` (bits) in ``0 .. 2**p - 1`` stands for the value ``g * 2**(1 - p)`` with the odd
integer ``g = 2 * u - (2**p - 1)``. All functions take Python integers or NumPy arrays.
"""

from typing import Any

import numpy as np

from sysmol.isa import ALIGN

PRECISIONS = (4, 2, 1)
"""Bits per element, in the order in which a register holds its chunks."""

PRODUCT_SHIFT = ALIGN
"""Left shift that brings a product ``g1 * g2`` of two ``p``-bit codes to the accumulator's unit of ``2**-6``."""

ACC_UNIT = 2.0**-6
"""Value of one unit of an accumulator."""


def integer(u: Any, p: Any) -> Any:
    """Code ``u`` of ``p`` bits to its odd integer ``g`` (units of ``2**(1 - p)``)."""
    return 2 * u - ((1 << p) - 1) if isinstance(p, int) else 2 * u - (np.left_shift(1, p) - 1)


def value(u: Any, p: Any) -> Any:
    """Code ``u`` of ``p`` bits to the real value that it stands for."""
    return integer(u, p) * np.exp2(1.0 - np.asarray(p))


def encode(v: Any, p: Any) -> Any:
    """Round the real ``v`` onto the grid of ``p`` bits: ``clamp(floor(v * 2**(p-2) + 2**(p-1)), 0, 2**p - 1)``.

    A non-finite ``v`` is an error of the caller; the result has NumPy's int64.
    """
    bits = np.asarray(p)
    scaled = np.floor(np.asarray(v, dtype=np.float64) * np.exp2(bits - 2.0) + np.exp2(bits - 1.0))
    return np.clip(scaled, 0, np.exp2(bits) - 1).astype(np.int64)
