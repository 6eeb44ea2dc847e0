"""All elements of an image into the channels of a single pixel."""

from collections.abc import Sequence

import numpy as np

from sysmol.network.model import Array, Layer, Network, Tensor, need
from sysmol.network.operations.base import Operation, register
from sysmol.network.operations.rescale import Rescale
from sysmol.network.values import magnitude


@register
class Flatten(Operation):
    """``acc[(y * W + x) * C + c] = x[y, x, c]``: row, column, channel. The kernel covers the image. It may read the
    network's input, as a ``rescale`` may."""

    name = "flatten"
    keeps_channels = False
    reads_image = True

    def channels(self, net: Network, layer: Layer) -> int:
        return net.tensors[layer.input].size

    def check_channels(self, layer: Layer, x: Tensor, target: Tensor) -> None:
        where = f"layer {layer.name} makes {x.size} channels"
        need(target.channels == x.size, f"{where}, {target.name} has {target.channels}")

    def check_formats(self, net: Network, layer: Layer, target: Tensor) -> None:
        Rescale().check_formats(net, layer, target)

    def check(self, net: Network, layer: Layer) -> None:
        super().check(net, layer)
        x = net.tensors[layer.input]
        whole = layer.kernel == (x.height, x.width) and layer.stride == (1, 1) and not any(layer.padding)
        need(whole and not layer.residual, f"layer {layer.name}: a flatten takes the whole image, and no residual")

    def evaluate(self, net: Network, layer: Layer, x: Sequence[Array]) -> Array:
        return x[0].reshape(1, 1, -1)

    def accumulator_bound(self, net: Network, layer: Layer) -> Array:
        x = net.tensors[layer.input]
        return np.tile(magnitude(x), x.height * x.width)
