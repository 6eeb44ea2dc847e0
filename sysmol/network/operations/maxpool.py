"""Maxima over windows: stored numbers are moved, never changed."""

from collections.abc import Sequence

from sysmol.network.geometry import reduce_windows
from sysmol.network.model import Array, Layer, Network, Tensor
from sysmol.network.operations.base import Operation, register
from sysmol.network.operations.layer_checks import check_moved


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
