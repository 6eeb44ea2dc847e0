"""Rows and columns of pixels more, or fewer."""

from collections.abc import Sequence

import numpy as np

from sysmol.network.model import Array, Layer, Network, need
from sysmol.network.operations.base import Operation, register


@register
class Pad(Operation):
    """``acc = x`` inside the image and 0 outside: ``Layer.padding`` adds rows and columns, or takes them off where it
    is negative. Two of them, one the other's residual, put tokens side by side."""

    name = "pad"
    any_padding = True

    def check(self, net: Network, layer: Layer) -> None:
        super().check(net, layer)
        need(layer.kernel == layer.stride == (1, 1), f"layer {layer.name}: a pad takes every element by itself")
        x = net.tensors[layer.input]
        grows = max(layer.padding) > 0
        need(not (grows and x.format == "smol"), f"layer {layer.name}: {x.name} holds SMOL codes, which have no zero")
        top, left, bottom, right = (min(each, 0) for each in layer.padding)
        need(
            x.height + top + bottom >= 1 and x.width + left + right >= 1,
            f"layer {layer.name} takes off more than {x.name} has",
        )

    def evaluate(self, net: Network, layer: Layer, x: Sequence[Array]) -> Array:
        t, (top, left, bottom, right) = net.tensors[layer.input], layer.padding
        rows = slice(max(-top, 0), t.height - max(-bottom, 0))
        columns = slice(max(-left, 0), t.width - max(-right, 0))
        around = [(max(a, 0), max(b, 0)) for a, b in ((top, bottom), (left, right), (0, 0))]
        return np.pad(x[0][rows, columns], around)
