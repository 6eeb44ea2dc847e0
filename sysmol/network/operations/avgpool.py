"""Sums over windows; the division is part of M."""

from collections.abc import Sequence

from sysmol.network.geometry import reduce_windows
from sysmol.network.model import Array, Layer, Network
from sysmol.network.operations.base import Operation, register
from sysmol.network.values import magnitude


@register
class AveragePool(Operation):
    """``acc = sum of x over the window``."""

    name = "avgpool"

    def evaluate(self, net: Network, layer: Layer, x: Sequence[Array]) -> Array:
        return reduce_windows(net, layer, x[0], lambda taps: taps.sum(axis=0))

    def accumulator_bound(self, net: Network, layer: Layer) -> Array:
        return magnitude(net.tensors[layer.input]) * layer.kernel[0] * layer.kernel[1]
