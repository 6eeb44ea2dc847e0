"""What attention's operations share: sequences and heads.

A *sequence* of N tokens is a tensor whose pixels, row by row, are the tokens. The channels of H heads lie one head
after the other: head h has the channels ``h * d`` to ``(h + 1) * d - 1`` of its queries, keys and values, and ``h * N``
to ``(h + 1) * N - 1`` of its scores and weights, one per token. ``Layer.groups`` is the number of heads.
"""

import numpy as np

from sysmol.network.model import Array, Layer, Tensor, need

MOST_TOKENS = 4096
"""Tokens that a head sees at most: 1 / sum of the weights keeps 9 bits (:mod:`sysmol.network.operations.attend`)."""


def tokens(t: Tensor) -> int:
    """Tokens of a sequence."""
    return t.height * t.width


def sequence(x: Array) -> Array:
    """``[H, W, C]`` as ``[tokens, C]``."""
    return x.reshape(-1, x.shape[-1])


def by_heads(x: Array, heads: int) -> Array:
    """``[H, W, heads * d]`` as ``[heads, tokens, d]``."""
    return sequence(x).reshape(-1, heads, x.shape[-1] // heads).transpose(1, 0, 2)


def from_heads(x: Array, height: int, width: int) -> Array:
    """Inverse of :func:`by_heads`."""
    return x.transpose(1, 0, 2).reshape(height, width, -1)


def head_precisions(layer: Layer, t: Tensor) -> Array:
    """Bits of every head's channels, int64 ``[heads]``; :class:`SysmolError` where a head has several."""
    bits = t.precisions.reshape(layer.groups, -1)
    need(
        bool((bits == bits[:, :1]).all()),
        f"layer {layer.name}: the channels of a head of {t.name} differ in precision; all of a head's need the same",
    )
    return np.asarray(bits[:, 0])
