"""Maxima over windows: stored numbers are moved, never changed."""

from collections.abc import Sequence

import numpy as np

from sysmol.network.geometry import reduce_windows
from sysmol.network.model import Array, Layer, Network, Tensor, need
from sysmol.network.operations.base import Operation, register


@register
class MaxPool(Operation):
    """The largest x of the window. Codes compare as their values do."""

    name = "maxpool"
    requantises = False
    zeros_outside = False

    def check_formats(self, net: Network, layer: Layer, target: Tensor) -> None:
        """Nothing to refuse yet: :meth:`check` asks for the input's own format."""

    def check(self, net: Network, layer: Layer) -> None:
        super().check(net, layer)
        check_moved(net, layer)

    def evaluate(self, net: Network, layer: Layer, x: Sequence[Array]) -> Array:
        return reduce_windows(net, layer, x[0], lambda taps: taps.max(axis=0))


def check_moved(net: Network, layer: Layer) -> None:
    """Refuse a layer that moves stored numbers into a tensor that holds them in another way, with
    :class:`SysmolError`."""
    x, t = net.tensors[layer.input], net.tensors[layer.output]
    same = (
        t.format == x.format
        and t.patterns == x.patterns
        and (t.slots is None or np.array_equal(t.slots, np.asarray(x.slots)))
    )
    need(
        same and not layer.residual,
        f"layer {layer.name}: a {layer.op} keeps format, patterns and slots of its input, and has no residual",
    )
