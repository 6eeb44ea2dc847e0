"""What attention's operations share: sequences, heads, and the checks of both.

A *sequence* of N tokens is a tensor whose pixels, row by row, are the tokens. The channels of H heads lie one head
after the other: head h has the channels ``h * d`` to ``(h + 1) * d - 1`` of its queries, keys and values, and ``h * N``
to ``(h + 1) * N - 1`` of its scores and weights, one per token. ``Layer.groups`` is the number of heads.
"""

import numpy as np

from sysmol.network.model import Array, Layer, Network, Tensor, need
from sysmol.network.values import group_tensor
from sysmol.packing import slot_precisions

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


def check_heads(layer: Layer, t: Tensor) -> None:
    """Refuse channels that the layer's heads do not share evenly, with :class:`SysmolError`."""
    need(layer.groups >= 1, f"layer {layer.name} has {layer.groups} groups")
    need(
        t.channels % layer.groups == 0,
        f"layer {layer.name}: {t.name} has {t.channels} channels, no multiple of its {layer.groups} heads",
    )


def check_own_vectors(layer: Layer, t: Tensor) -> None:
    """Refuse a SMOL tensor whose heads lack vectors of their own, equally many each, with :class:`SysmolError`."""
    where, heads = f"layer {layer.name}", layer.groups
    need(
        len(t.patterns) % heads == 0,
        f"{where}: {t.name} has {len(t.patterns)} vectors; each of {heads} heads needs as many of its own",
    )
    for number in range(heads):
        part = group_tensor(t, heads, number)
        slots, total = np.asarray(part.slots), len(slot_precisions(part.patterns))
        need(
            bool((slots >= 0).all() and (slots < total).all()),
            f"{where}: head {number} of {t.name} has channels outside its {len(part.patterns)} vectors",
        )


def head_precisions(layer: Layer, t: Tensor) -> Array:
    """Bits of every head's channels, int64 ``[heads]``; :class:`SysmolError` where a head has several."""
    bits = t.precisions.reshape(layer.groups, -1)
    need(
        bool((bits == bits[:, :1]).all()),
        f"layer {layer.name}: the channels of a head of {t.name} differ in precision; all of a head's need the same",
    )
    return np.asarray(bits[:, 0])


def check_formats(net: Network, layer: Layer, formats: tuple[str, ...]) -> None:
    """Refuse inputs of other formats than these, with :class:`SysmolError`."""
    for name in layer.inputs:
        form = net.tensors[name].format
        need(form in formats, f"layer {layer.name}: a {layer.op} reads {' and '.join(formats)}, not {form} as {name}")


def check_plain_window(layer: Layer) -> None:
    """Refuse kernels, strides and paddings, with :class:`SysmolError`."""
    plain = layer.kernel == layer.stride == (1, 1) and not any(layer.padding)
    need(plain, f"layer {layer.name}: a {layer.op} takes every pixel by itself")
