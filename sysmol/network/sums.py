"""What layers accumulate, whatever their operation: bounds, and what is missing at an image's border.

Every layer that requantises accumulates and then writes one or more outputs::

    y[c] = clamp((acc[c] * M[c] + B[row class, column class, c] + r[c] * R[c]) >> S, lo, hi)

with an arithmetic shift; ``r`` is the layer's optional residual input. Where an output's M has too few bits for that it
has a *high* product instead, ``((acc[c] << pre) * M[c]) >> 31``, exact in 64 bits; so may R, ``((r[c] << t) * R[c]) >>
31``, where t brings the residual's format to the top of 32 bits (:data:`RESIDUAL_SHIFT`). All intermediates but those
two products fit int32: :mod:`sysmol.network.checks` proves it from the weights. In ``f32`` networks ``y = clamp(acc * M
+ B + r, lo, hi)`` in float32, ``M`` absent for 1.
"""

import numpy as np

from sysmol.network.geometry import layer_classes
from sysmol.network.model import HIGH, HIGH_SHIFT, LOW, ZERO_POINT_SHIFT, Array, Layer, Network, Output, need
from sysmol.network.operations import operation

RESIDUAL_SHIFT = {"u8": 23, "s8": 24, "s16": 16, "s32": 0, "smol": 27}
"""Left shift, by format, that a residual's integer values have in a high product; they fit 32 bits behind it."""


def product(x: Array, factor: Array, multiply: str, left: int) -> Array:
    """``x * factor`` as an output with that ``multiply`` counts it, int64; ``left``: shift of x in a high product."""
    factor = factor.astype(np.int64)
    return x * factor if multiply == LOW else ((x << left) * factor) >> HIGH_SHIFT


def accumulator_bound(net: Network, layer: Layer) -> Array:
    """Bound on ``|acc|`` per output channel (:meth:`Operation.accumulator_bound`)."""
    return operation(layer).accumulator_bound(net, layer)


def zero_point_taps(net: Network, layer: Layer) -> Array:
    """What each tap adds to acc where the input holds real zeros (:meth:`Operation.zero_point_taps`)."""
    return operation(layer).zero_point_taps(net, layer)


def border_sums(net: Network, layer: Layer) -> Array:
    """What the taps outside the image would add to acc if they held real zeros: int64 ``[row classes, column classes,
    K]`` in units of ``2**-ZERO_POINT_SHIFT`` (:func:`zero_point_taps`).
    """
    (_, rows), (_, columns) = layer_classes(net, layer)
    kind = operation(layer)
    if not (any(layer.padding) and any(net.tensors[layer.input].zero_point) and kind.has_weights):
        return np.zeros((len(rows), len(columns), kind.channels(net, layer)), dtype=np.int64)
    taps = zero_point_taps(net, layer)
    inside = [[taps[:, top:bottom, left:right].sum((1, 2)) for left, right in columns] for top, bottom in rows]
    return taps.sum((1, 2)) - np.array(inside)


def border_constants(sums: Array, M: Array, multiply: str = LOW, pre: int = 0) -> Array:
    """What B holds at an image's border beyond its value where every tap counts, int64 ``[row classes, column classes,
    C]``: ``M`` (int ``[C]``) times :func:`border_sums`, rounded to whole numbers.
    """
    below = ZERO_POINT_SHIFT + (HIGH_SHIFT - pre if multiply == HIGH else 0)
    largest = int(np.abs(sums).max(initial=0)) * int(np.abs(M).max(initial=0)) >> below
    need(largest < 2**46, "the zero point of a layer's input and its M are too large")
    if multiply == LOW or not sums.any():
        return (M.astype(np.int64) * sums + (1 << (below - 1))) >> below
    # Products of more than 64 bits: Python's whole numbers.
    exact = (M.astype(object) * sums.astype(object) + (1 << (below - 1))) >> below
    return np.asarray(exact).astype(np.int64)


def requantised_bound(bound: Array, M: Array, B: Array, reach: Array | None = None, R: Array | None = None) -> Array:
    """Bound on ``|acc * M + B + r * R|`` per channel, ``[C]``: ``bound`` on ``|acc|``, ``reach`` on ``|r|``, both
    ``[C]``; ``B [..., C]``. Whole numbers, int64 or float64. Of low products."""
    total = bound * _size(M) + _size(B).reshape(-1, B.shape[-1]).max(axis=0)
    return np.asarray(total if reach is None or R is None else total + reach * _size(R))


def largest_sum(out: Output, bound: Array, reach: Array | None, residual_format: str, padded: bool = True) -> Array:
    """Bound per channel, int64 ``[C]``, on what an output shifts: ``bound`` on ``|acc|``, ``reach`` on ``|r|``, whose
    tensor has that format.

    ``padded``: under low products padding and unused slots may add to acc as much again, which B takes back. Under
    high ones acc is exact before it is multiplied.
    """
    assert out.M is not None
    size = 2 * bound if padded and out.multiply == LOW else bound
    total = product_bound(size, out.M, out.multiply, out.pre) + _size(out.B).reshape(-1, out.B.shape[-1]).max(axis=0)
    if reach is None or out.R is None:
        return np.asarray(total)
    return np.asarray(total + product_bound(reach, out.R, out.residual_multiply, RESIDUAL_SHIFT[residual_format]))


def product_bound(size: Array, factor: Array, multiply: str, left: int) -> Array:
    """Bound on :func:`product` of ``|x| <= size``, int64; beyond 2**40 it only says that it is beyond."""
    bound = product(np.minimum(size, 1 << 31), _size(factor), multiply, left)
    return np.minimum(bound, 1 << 40) + (multiply == HIGH)


def _size(constants: Array) -> Array:
    return np.abs(constants if constants.dtype.kind == "f" else constants.astype(np.int64))
