"""Every element into other formats, by itself; with a residual, the addition of two tensors."""

from collections.abc import Sequence

from sysmol.network.model import Array, Layer, Network, Tensor, need
from sysmol.network.operations.base import Operation, register


@register
class Rescale(Operation):
    """``acc = x``. The one operation that may read the image, and turn integers into floating point there."""

    name = "rescale"
    reads_image = True

    def check_formats(self, net: Network, layer: Layer, target: Tensor) -> None:
        if not net.is_float:
            super().check_formats(net, layer, target)
            return
        need(target.format == "f32", f"layer {layer.name} mixes float and integer tensors")

    def check(self, net: Network, layer: Layer) -> None:
        super().check(net, layer)
        need(layer.kernel == layer.stride == (1, 1), f"layer {layer.name}: a rescale takes every element by itself")

    def evaluate(self, net: Network, layer: Layer, x: Sequence[Array]) -> Array:
        return x[0]
