"""What layers accumulate, whatever their operation: bounds, and what is missing at an image's border.

Every layer that requantises accumulates and then writes one or more outputs::

    y[c] = clamp((acc[c] * M[c] + B[row class, column class, c] + r[c] * R[c]) >> S, lo, hi)

with an arithmetic shift; ``r`` is the layer's optional residual input. All intermediates fit int32:
:mod:`sysmol.network.checks` proves it from the weights. In ``f32`` networks ``y = clamp(acc * M + B + r, lo, hi)`` in
float32, ``M`` absent for 1.
"""

import numpy as np

from sysmol.network.geometry import layer_classes
from sysmol.network.model import ZERO_POINT_SHIFT, Array, Layer, Network, need
from sysmol.network.operations import operation


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
    taps = zero_point_taps(net, layer)
    inside = [[taps[:, top:bottom, left:right].sum((1, 2)) for left, right in columns] for top, bottom in rows]
    return taps.sum((1, 2)) - np.array(inside)


def border_constants(sums: Array, M: Array) -> Array:
    """What B holds at an image's border beyond its value where every tap counts, int64 ``[row classes, column classes,
    C]``: ``M`` (int ``[C]``) times :func:`border_sums`, rounded to whole numbers.
    """
    factor = M.astype(np.int64)
    largest = float(np.abs(sums).max(initial=0)) * float(np.abs(factor).max(initial=0))
    need(largest < 2**62, "the zero point of a layer's input and its M are too large")
    return (factor * sums + (1 << (ZERO_POINT_SHIFT - 1))) >> ZERO_POINT_SHIFT


def requantised_bound(bound: Array, M: Array, B: Array, reach: Array | None = None, R: Array | None = None) -> Array:
    """Bound on ``|acc * M + B + r * R|`` per channel, ``[C]``: ``bound`` on ``|acc|``, ``reach`` on ``|r|``, both
    ``[C]``; ``B [..., C]``. Whole numbers, int64 or float64."""
    total = bound * _size(M) + _size(B).reshape(-1, B.shape[-1]).max(axis=0)
    return np.asarray(total if reach is None or R is None else total + reach * _size(R))


def _size(constants: Array) -> Array:
    return np.abs(constants if constants.dtype.kind == "f" else constants.astype(np.int64))
