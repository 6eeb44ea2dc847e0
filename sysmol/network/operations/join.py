"""The channels of two tensors, one after the other."""

from collections.abc import Sequence

import numpy as np

from sysmol.network.model import Array, Layer, Network, Tensor, need
from sysmol.network.operations.base import Operation, register
from sysmol.network.operations.layer_checks import check_plain_window
from sysmol.network.values import magnitude


@register
class Join(Operation):
    """``acc = x`` for the channels of ``input``, then for those of ``second``."""

    name = "join"
    inputs = 2
    keeps_channels = False

    def channels(self, net: Network, layer: Layer) -> int:
        return sum(net.tensors[name].channels for name in layer.inputs)

    def check_channels(self, layer: Layer, x: Tensor, target: Tensor) -> None:
        """Nothing yet: :meth:`check_groups` knows the second input."""

    def check_groups(self, net: Network, layer: Layer) -> None:
        super().check_groups(net, layer)
        x, y = (net.tensors[name] for name in layer.inputs)
        where = f"layer {layer.name}"
        need((x.height, x.width) == (y.height, y.width), f"{where}: {x.name} and {y.name} differ in size")
        for name in layer.targets:
            count, wanted = net.tensors[name].channels, self.channels(net, layer)
            need(count == wanted, f"{where} makes {wanted} channels, {name} has {count}")

    def check(self, net: Network, layer: Layer) -> None:
        super().check(net, layer)
        check_plain_window(layer)
        formats = {net.tensors[name].format == "f32" for name in layer.inputs}
        need(len(formats) == 1, f"layer {layer.name} mixes float and integer tensors")

    def evaluate(self, net: Network, layer: Layer, x: Sequence[Array]) -> Array:
        return np.concatenate(x, axis=-1)

    def accumulator_bound(self, net: Network, layer: Layer) -> Array:
        return np.concatenate([magnitude(net.tensors[name]) for name in layer.inputs])
