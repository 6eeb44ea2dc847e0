"""Every pixel several times: nearest-neighbour upsampling by whole factors."""

from collections.abc import Sequence

import numpy as np

from sysmol.network.model import Array, Layer, Network, Tensor, need
from sysmol.network.operations.base import Operation, register
from sysmol.network.operations.layer_checks import check_moved


@register
class Upsample(Operation):
    """``y[oy, ox] = x[oy // KH, ox // KW]``: the kernel says how many rows and columns a pixel becomes. Stored numbers
    are moved, never changed."""

    name = "upsample"
    requantises = False
    zeros_outside = False

    def size(self, layer: Layer, x: Tensor) -> tuple[int, int]:
        return x.height * layer.kernel[0], x.width * layer.kernel[1]

    def check_formats(self, net: Network, layer: Layer, target: Tensor) -> None:
        """Nothing to refuse yet: :meth:`check` asks for the input's own format."""

    def check(self, net: Network, layer: Layer) -> None:
        super().check(net, layer)
        plain = layer.stride == (1, 1) and not any(layer.padding)
        need(plain, f"layer {layer.name}: an {self.name} has no stride and no padding")
        check_moved(net, layer)

    def evaluate(self, net: Network, layer: Layer, x: Sequence[Array]) -> Array:
        return np.asarray(x[0].repeat(layer.kernel[0], axis=0).repeat(layer.kernel[1], axis=1))
