"""Networks whose layers run under every kind of schedule: many small convolutions in one executable."""

from collections.abc import Iterable, Sequence

import numpy as np

from sysmol.network import Layer, Network
from sysmol.network.builder import Builder, Format

SHAPES = [
    # kernel, stride, padding (top, left, bottom, right)
    ((3, 3), (1, 1), (1, 1, 1, 1)),
    ((3, 3), (2, 2), (0, 1, 1, 0)),
    ((1, 1), (1, 1), (0, 0, 0, 0)),
    ((5, 4), (1, 2), (2, 1, 0, 3)),
    ((2, 5), (2, 3), (1, 0, 0, 4)),
    ((1, 1), (2, 2), (0, 0, 0, 0)),
]
"""Kernels, strides and paddings between which every branch of the data flows lies."""


def convolutions(
    seed: int, forms: Sequence[tuple[Format, Sequence[int]]], shapes: Iterable[tuple[int, int]], name: str
) -> Network:
    """Convolutions of one input, one per entry of ``shapes`` (indices of :data:`SHAPES` and of ``forms``).

    The results meet in a classifier through average pooling, so that every one of them decides the logits.
    """
    rng = np.random.default_rng(seed)
    height, width = 7, 11
    b = Builder(rng, height, width, 3, f"{name}{seed}")
    (x,) = b.layer("rescale", "image", ["s8"])
    inputs: dict[int, str] = {}
    total = ""
    for shape, form in shapes:
        if form not in inputs:
            kind, patterns = forms[form]
            channels = 19 if isinstance(kind, str) else len(kind)
            (inputs[form],) = b.layer("conv2d", x, [kind], channels, patterns=[patterns])
        kernel, stride, padding = SHAPES[shape]
        (y,) = b.layer("conv2d", inputs[form], ["s8"], 13, kernel, stride=stride, padding=padding)
        t = b.net.tensors[y]
        (y,) = b.layer("conv2d", y, ["s16"], 4, (t.height, t.width), residual=total)
        total = y
    (y,) = b.layer("rescale", total, ["s8"])
    b.classifier(y, 4)
    return b.finish()


def scheduled(net: Network) -> list[Layer]:
    """The convolutions that ``shapes`` asked for, in order."""
    stem = net.layers[0].targets[0]
    inputs = {layer.targets[0] for layer in net.layers if layer.op == "conv2d" and layer.input == stem}
    return [layer for layer in net.layers if layer.input in inputs]
