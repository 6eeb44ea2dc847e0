"""The integers that stored elements and weights stand for.

The integer value ``x`` of a stored element is the odd ``g`` of a SMOL code, the number itself in every other format.
"""

from dataclasses import replace

import numpy as np

from sysmol.grid import PRODUCT_SHIFT, integer
from sysmol.network.model import RANGES, Array, Layer, Network, Tensor
from sysmol.packing import slot_precisions, unpack


def values_of(tensor: Tensor, stored: Array) -> Array:
    """Integer values x of stored elements ``[..., C]``."""
    return np.asarray(integer(stored, tensor.precisions)) if tensor.format == "smol" else stored


def codes_of(tensor: Tensor, x: Array) -> Array:
    """Inverse of :func:`values_of`."""
    return (x + (1 << tensor.precisions) - 1) // 2 if tensor.format == "smol" else x


def group_tensor(tensor: Tensor, groups: int, number: int) -> Tensor:
    """The channels of group ``number`` as a tensor of its own: of SMOL tensors the group's vectors and their slots."""
    if groups == 1:
        return tensor
    channels = tensor.channels // groups
    own = slice(number * channels, (number + 1) * channels)
    if tensor.format != "smol":
        return replace(tensor, channels=channels)
    vectors = len(tensor.patterns) // groups
    first = number * vectors
    before = len(slot_precisions(tensor.patterns[:first]))
    return replace(
        tensor,
        channels=channels,
        patterns=tensor.patterns[first : first + vectors],
        slots=np.asarray(tensor.slots)[own] - before,
    )


def group_parts(net: Network, layer: Layer) -> list[tuple[Tensor, slice]]:
    """Per group of a convolution its input as a tensor of its own and its output channels."""
    assert layer.weight is not None
    x, channels = net.tensors[layer.input], len(layer.weight) // layer.groups
    return [(group_tensor(x, layer.groups, g), slice(g * channels, (g + 1) * channels)) for g in range(layer.groups)]


def dense_weight(net: Network, layer: Layer) -> Array:
    """Weights in logical channel order, ``[K, KH, KW, C / groups]`` or depthwise ``[KH, KW, C]``.

    int64 (SMOL: the odd integers g, not aligned), or float32.
    """
    assert layer.weight is not None
    x = net.tensors[layer.input]
    if x.format == "smol" and layer.groups > 1:
        return np.concatenate(
            [
                integer(unpack(layer.weight[own], part.patterns), slot_precisions(part.patterns))[..., part.slots]
                for part, own in group_parts(net, layer)
            ]
        )
    if x.format == "smol":
        return np.asarray(integer(unpack(layer.weight, x.patterns), slot_precisions(x.patterns))[..., x.slots])
    return layer.weight if x.format == "f32" else layer.weight.astype(np.int64)


def alignment(tensor: Tensor) -> Array:
    """Left shift of the products of every logical channel: by precision in SMOL tensors, else 0."""
    if tensor.format != "smol":
        return np.zeros(tensor.channels, dtype=np.int64)
    return np.array([PRODUCT_SHIFT[int(p)] for p in tensor.precisions], dtype=np.int64)


def top_squares(precisions: Array) -> Array:
    """Largest aligned product of two codes of each of these precisions, int64: 225 of 4 bits, 144 of 2, 64 of 1."""
    return ((1 << precisions) - 1) ** 2 << np.array([PRODUCT_SHIFT[int(p)] for p in precisions], dtype=np.int64)


def magnitude(tensor: Tensor) -> Array:
    """Largest ``|x|`` of every logical channel, int64 ``[channels]``."""
    if tensor.format == "smol":
        return (1 << tensor.precisions) - 1
    low, high = RANGES[tensor.format]
    return np.full(tensor.channels, max(-low, high), dtype=np.int64)


def upper_codes(tensor: Tensor, hi: float) -> Array:
    """Upper clamp per logical channel: ``hi``, in SMOL tensors limited to the channel's codes."""
    if tensor.format == "smol":
        return np.minimum(int(hi), (1 << tensor.precisions) - 1)
    return np.full(tensor.channels, hi)
