"""Some consecutive channels of a tensor."""

from collections.abc import Sequence

from sysmol.network.model import Array, Layer, Network, Tensor, need
from sysmol.network.operations.base import Operation, register
from sysmol.network.operations.layer_checks import check_plain_window
from sysmol.network.values import magnitude


@register
class Slice(Operation):
    """``acc[c] = x[begin + c]``: as many channels as the outputs have, from ``Layer.begin`` on."""

    name = "slice"
    keeps_channels = False
    has_begin = True

    def channels(self, net: Network, layer: Layer) -> int:
        return net.tensors[layer.targets[0]].channels

    def check_channels(self, layer: Layer, x: Tensor, target: Tensor) -> None:
        end = layer.begin + target.channels
        need(
            layer.begin >= 0 and end <= x.channels,
            f"layer {layer.name} takes the channels {layer.begin} to {end - 1} of {x.name}, which has {x.channels}",
        )

    def check(self, net: Network, layer: Layer) -> None:
        super().check(net, layer)
        check_plain_window(layer)
        counts = {net.tensors[name].channels for name in layer.targets}
        need(len(counts) == 1, f"layer {layer.name}: its outputs differ in channels")

    def _part(self, net: Network, layer: Layer) -> slice:
        return slice(layer.begin, layer.begin + self.channels(net, layer))

    def evaluate(self, net: Network, layer: Layer, x: Sequence[Array]) -> Array:
        return x[0][..., self._part(net, layer)]

    def accumulator_bound(self, net: Network, layer: Layer) -> Array:
        return magnitude(net.tensors[layer.input])[self._part(net, layer)]
