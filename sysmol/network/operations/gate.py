"""Channels times factors that come from the image too: gates, as of squeeze-and-excitation."""

from collections.abc import Sequence

import numpy as np

from sysmol.network.model import Array, Layer, Network, need
from sysmol.network.operations.base import Operation, register
from sysmol.network.operations.layer_checks import check_plain_window
from sysmol.network.values import magnitude


@register
class Gate(Operation):
    """``acc[y, x, c] = a[y, x, c] * b[c]``, or ``* b[y, x, c]``: ``second`` has one pixel, or as many as ``input``.

    Of SMOL codes the odd integers g count, whose products are not aligned. Both tensors stand for real numbers without
    an offset.
    """

    name = "gate"
    inputs = 2

    def check_groups(self, net: Network, layer: Layer) -> None:
        super().check_groups(net, layer)
        x, gate = (net.tensors[name] for name in layer.inputs)
        need(
            gate.channels == x.channels and (gate.height, gate.width) in ((1, 1), (x.height, x.width)),
            f"layer {layer.name}: {gate.name} of shape {gate.shape} is no gate of {x.name} of shape {x.shape}",
        )

    def check(self, net: Network, layer: Layer) -> None:
        super().check(net, layer)
        check_plain_window(layer)
        x, gate = (net.tensors[name] for name in layer.inputs)
        need((x.format == "f32") == (gate.format == "f32"), f"layer {layer.name} mixes float and integer tensors")
        alike = x.patterns == gate.patterns and np.array_equal(np.asarray(x.slots), np.asarray(gate.slots))
        need(
            "smol" not in (x.format, gate.format) or x.format != gate.format or alike,
            f"layer {layer.name}: {x.name} and {gate.name} differ in patterns or slots",
        )

    def evaluate(self, net: Network, layer: Layer, x: Sequence[Array]) -> Array:
        return x[0] * x[1]

    def accumulator_bound(self, net: Network, layer: Layer) -> Array:
        a, b = (magnitude(net.tensors[name]) for name in layer.inputs)
        return np.asarray(a * b)

    def macs(self, net: Network, layer: Layer) -> int:
        return net.tensors[layer.input].size
