"""Softmax of a head's scores, as whole numbers in proportion to the exponentials.

Scores t are in 1/16 octaves. Codes of SMOL tensors are weights of 4, 2 or 1 bits, bytes those of 7 bits. With d =
largest score - t, the weight of a token is the integer nearest to ``top * 2**(-d / 16)``, ``top = 2**p - 1`` being that
of the largest score; a half (d = 16) goes up, but down with 1 bit. What weights values
(:mod:`sysmol.network.operations.attend`) divides by the sum of the weights, so no scale is to be chosen.
In full precision the scores are natural logarithms, and the weights add up to 1.
"""

from collections.abc import Sequence

import numpy as np

from sysmol.grid import PRECISIONS
from sysmol.network.model import Array, Layer, Network, Tensor, need
from sysmol.network.operations.base import Operation, register
from sysmol.network.operations.heads import by_heads, from_heads, head_precisions
from sysmol.network.operations.layer_checks import (
    check_formats,
    check_own_vectors,
    check_plain_window,
    check_shared,
)

STEPS = 16
"""Scores of this difference stand in the ratio of 2 to 1."""
BYTE_BITS = 7
"""Precision of weights that are bytes."""
START = {4: (120, 3), 2: (96, 5), 1: (128, 7), BYTE_BITS: (127 << 6, 6)}
"""By precision (A, s): ``top * 2**s`` as it is rounded, and the shift from it to a weight of ``top``."""
REACH = {4: 128, 2: 128, 1: 128, BYTE_BITS: 256}
"""No weight is above 0 where a score lies so far below the largest, ``STEPS * s`` included."""


def mantissas(precision: int) -> Array:
    """``round(A * 2**(i / 16))`` for i = 0 .. 15, int64; with 1 bit the first is 127, so that the half goes down."""
    values = np.round(START[precision][0] * np.exp2(np.arange(STEPS) / STEPS)).astype(np.int64)
    if precision == 1:
        values[0] = 127
    return values


def weights(distance: Array, precision: int) -> Array:
    """Weights u of scores ``distance = t - max t <= 0``, int64: ``u = (T[e & 15] + (2**k >> 1)) >> k`` with ``e =
    max(distance - 16 s, -REACH)`` and ``k = -(e >> 4)``."""
    e = np.maximum(distance - STEPS * START[precision][1], -REACH[precision])
    k = -(e >> 4)
    return np.asarray((mantissas(precision)[e & (STEPS - 1)] + (1 << k >> 1)) >> k)


def weight_table(precision: int) -> Array:
    """:func:`weights` of the distances 0, -1, ... to the first whose weight, and that of all behind it, is 0."""
    table = weights(-np.arange(REACH[precision]), precision)
    return np.asarray(table[: int(np.flatnonzero(table)[-1]) + 2])


@register
class Softmax(Operation):
    """Weights of N tokens per head, no sums. From scores in s16: SMOL codes u of one precision per head, or bytes from
    0 to 127; from floats: floats."""

    name = "softmax"
    requantises = False

    def check_channels(self, layer: Layer, x: Tensor, target: Tensor) -> None:
        super().check_channels(layer, x, target)
        check_shared(layer, x)

    def check_formats(self, net: Network, layer: Layer, target: Tensor) -> None:
        real = net.tensors[layer.input].format == "f32"
        check_formats(net, layer, ("f32",) if real else ("s16",))
        made = ("f32",) if real else ("smol", "s8")
        need(target.format in made, f"layer {layer.name}: a softmax writes {' or '.join(made)}, not {target.format}")

    def check_groups(self, net: Network, layer: Layer) -> None:
        """Refused by :meth:`check_channels`."""

    def check(self, net: Network, layer: Layer) -> None:
        super().check(net, layer)
        check_plain_window(layer)
        need(not layer.residual, f"layer {layer.name}: a softmax has no residual")
        target = net.tensors[layer.output]
        if target.format == "smol":
            check_own_vectors(layer, target)
        weight_bits(layer, target)

    def evaluate(self, net: Network, layer: Layer, x: Sequence[Array]) -> Array:
        """The odd integers ``2u - top`` of weights in SMOL codes, as of every SMOL tensor; else the weights."""
        target = net.tensors[layer.output]
        scores = by_heads(x[0], layer.groups)
        distance = scores - scores.max(axis=2, keepdims=True)
        if target.format == "f32":
            exponentials = np.exp(distance)
            return from_heads(exponentials / exponentials.sum(axis=2, keepdims=True), target.height, target.width)
        each = [weights(d, int(p)) for d, p in zip(distance.astype(np.int64), weight_bits(layer, target), strict=True)]
        u = from_heads(np.stack(each), target.height, target.width)
        return 2 * u - ((1 << target.precisions) - 1) if target.format == "smol" else u


def weight_bits(layer: Layer, target: Tensor) -> Array:
    """Precision of the weights of every head that a softmax writes to ``target``, int64 ``[heads]``; not of floats."""
    if target.format == "smol":
        return head_precisions(layer, target)
    return np.full(layer.groups, BYTE_BITS)


assert set(START) == {*PRECISIONS, BYTE_BITS}
