"""Convolutions of every channel by itself."""

from collections.abc import Sequence

import numpy as np

from sysmol.network.geometry import windows
from sysmol.network.model import Array, Layer, Network, Tensor
from sysmol.network.operations.base import register
from sysmol.network.operations.convolution import Convolution, largest_products
from sysmol.network.values import alignment, dense_weight, magnitude
from sysmol.register_parts import part_count


@register
class Depthwise(Convolution):
    """``acc[c] = sum of x[c] * w[tap, c]``. The weight array's outer shape is ``[KH, KW]``."""

    name = "depthwise"
    weight_axes = (0, 1)
    accumulates_with = "vmla"

    def outer_shape(self, layer: Layer, channels: int) -> tuple[int, ...]:
        return layer.kernel

    def weight_parts(self, net: Network, layer: Layer) -> list[tuple[tuple[int, ...], Tensor, slice]]:
        return [(layer.kernel, net.tensors[layer.input], slice(None))]

    def evaluate(self, net: Network, layer: Layer, x: Sequence[Array]) -> Array:
        t, weight = net.tensors[layer.input], dense_weight(net, layer)
        weight = weight.astype(np.float64) if t.format == "f32" else weight << alignment(t)
        acc = np.zeros(net.tensors[layer.targets[0]].shape, dtype=weight.dtype)
        for window in windows(net, layer, x[0]):
            acc[window.at] = (window.patch * weight[window.taps]).sum(axis=(0, 1))
        return acc

    def accumulator_bound(self, net: Network, layer: Layer) -> Array:
        assert layer.weight is not None
        x = net.tensors[layer.input]
        if x.format == "smol":
            return np.asarray(largest_products(layer.weight, x.patterns)[..., x.slots].sum(axis=self.weight_axes))
        return np.asarray((np.abs(layer.weight.astype(np.int64)) * magnitude(x)).sum(axis=self.weight_axes))

    def zero_points_by_tap(self, layer: Layer, weight: Array, each: Array) -> Array:
        return np.asarray(weight * each).transpose(2, 0, 1)

    def weights(self, net: Network, layer: Layer) -> int:
        return net.tensors[layer.input].channels * layer.kernel[0] * layer.kernel[1]

    def vector_multiplies(self, pattern: int) -> int:
        return part_count(pattern)
