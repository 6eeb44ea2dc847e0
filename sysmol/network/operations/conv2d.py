"""Convolutions that mix channels, linear layers among them; with or without groups."""

from collections.abc import Sequence

import numpy as np

from sysmol.network.geometry import windows
from sysmol.network.model import Array, Layer, Network, Tensor
from sysmol.network.operations.base import register
from sysmol.network.operations.convolution import Convolution, largest_products
from sysmol.network.operations.layer_checks import check_own_vectors, check_shared
from sysmol.network.values import alignment, dense_weight, group_parts, group_tensor, magnitude


@register
class Conv2d(Convolution):
    """``acc[k] = sum of x[c] * w[k, tap, c]``, in SMOL tensors of products aligned to one unit.

    With groups (G), output channel k sees the input channels of group ``k // (K / G)`` alone, ``C / G`` in a row. The
    weight array's outer shape is ``[K, KH, KW]``.
    """

    name = "conv2d"
    mixes_channels = True
    weight_axes = (1, 2, 3)

    def channels(self, net: Network, layer: Layer) -> int:
        assert layer.weight is not None
        return len(layer.weight)

    def outer_shape(self, layer: Layer, channels: int) -> tuple[int, ...]:
        return channels, *layer.kernel

    def weight_parts(self, net: Network, layer: Layer) -> list[tuple[tuple[int, ...], Tensor, slice]]:
        x, count = net.tensors[layer.input], net.tensors[layer.targets[0]].channels // layer.groups
        parts = [group_tensor(x, layer.groups, g) for g in range(layer.groups)]
        return [((count, *layer.kernel), part, slice(g * count, (g + 1) * count)) for g, part in enumerate(parts)]

    def check_groups(self, net: Network, layer: Layer) -> None:
        x = net.tensors[layer.input]
        for name in (layer.input, *layer.targets):
            check_shared(layer, net.tensors[name], "group")
        if x.format == "smol" and layer.groups > 1:
            check_own_vectors(layer, x, "group")

    def evaluate(self, net: Network, layer: Layer, x: Sequence[Array]) -> Array:
        weight = aligned_weight(net, layer)
        part = net.tensors[layer.input].channels // layer.groups
        target = net.tensors[layer.targets[0]]
        acc = np.zeros(target.shape, dtype=weight.dtype)
        for window in windows(net, layer, x[0]):
            for g, own in enumerate(np.split(np.arange(target.channels), layer.groups)):
                taps = weight[own][:, *window.taps]
                acc[*window.at, own] = np.tensordot(taps, window.patch[..., g * part : (g + 1) * part], axes=3)
        return acc

    def accumulator_bound(self, net: Network, layer: Layer) -> Array:
        assert layer.weight is not None
        x = net.tensors[layer.input]
        if x.format == "smol":
            weight, parts = layer.weight, group_parts(net, layer)
            sums = [largest_products(weight[own], part.patterns).sum(axis=self.weight_axes) for part, own in parts]
            return np.concatenate(sums)
        each = np.abs(layer.weight.astype(np.int64)) * magnitude(group_tensor(x, layer.groups, 0))
        return np.asarray(each.sum(axis=self.weight_axes))

    def zero_points_by_tap(self, layer: Layer, weight: Array, each: Array) -> Array:
        grouped = weight.reshape(layer.groups, -1, *weight.shape[1:])
        sums = (grouped * each.reshape(layer.groups, 1, 1, 1, -1)).sum(-1)
        return np.asarray(sums).reshape(len(weight), *layer.kernel)

    def weights(self, net: Network, layer: Layer) -> int:
        taps, inputs = layer.kernel[0] * layer.kernel[1], net.tensors[layer.input].channels // layer.groups
        return net.tensors[layer.targets[0]].channels * taps * inputs

    def vector_multiplies(self, pattern: int) -> int:
        return 1


def aligned_weight(net: Network, layer: Layer) -> Array:
    """:func:`dense_weight` of a ``conv2d`` whose products count in one unit: int64, or float64 of float weights."""
    weight = dense_weight(net, layer)
    if net.tensors[layer.input].format == "f32":
        return weight.astype(np.float64)
    return np.concatenate([weight[own] << alignment(part) for part, own in group_parts(net, layer)])
