"""Where a layer's kernel lies on its image, and which of its taps lie outside."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from sysmol.network.model import Array, Layer, Network

Axis = tuple[list[int], list[tuple[int, int]]]
"""Along one axis: border class of every output position, and the valid taps ``[lo, hi)`` of every class."""


def output_size(size: int, kernel: int, stride: int, before: int, after: int) -> int:
    """Positions of a kernel along one axis."""
    return (size + before + after - kernel) // stride + 1


def border_classes(size: int, kernel: int, stride: int, before: int, after: int) -> Axis:
    """Border classes along one axis: class of every output position, and each class's valid taps ``[lo, hi)``.

    Positions with the same valid taps share a class; classes are numbered in order of first appearance.
    """
    classes: dict[tuple[int, int], int] = {}
    index = []
    for position in range(output_size(size, kernel, stride, before, after)):
        start = position * stride - before
        index.append(classes.setdefault((max(0, -start), min(kernel, size - start)), len(classes)))
    return index, list(classes)


def layer_classes(net: Network, layer: Layer) -> tuple[Axis, Axis]:
    """Border classes of a layer's rows and of its columns."""
    x = net.tensors[layer.input]
    top, left, bottom, right = layer.padding
    rows = border_classes(x.height, layer.kernel[0], layer.stride[0], top, bottom)
    return rows, border_classes(x.width, layer.kernel[1], layer.stride[1], left, right)


@dataclass(frozen=True)
class Window:
    """An output position with the ``patch [rows, columns, C]`` of its taps inside the image, ``taps`` of the kernel."""

    at: tuple[int, int]
    taps: tuple[slice, slice]
    patch: Array


def windows(net: Network, layer: Layer, x: Array) -> Iterator[Window]:
    """Every output position of a layer over ``x [H, W, C]``, row by row."""
    (rows, row_taps), (columns, column_taps) = layer_classes(net, layer)
    top, left = layer.padding[:2]
    for oy, row in enumerate(rows):
        for ox, column in enumerate(columns):
            y, x0 = oy * layer.stride[0] - top, ox * layer.stride[1] - left
            (y_lo, y_hi), (x_lo, x_hi) = row_taps[row], column_taps[column]
            patch = x[y + y_lo : y + y_hi, x0 + x_lo : x0 + x_hi]
            yield Window((oy, ox), (slice(y_lo, y_hi), slice(x_lo, x_hi)), patch)


def reduce_windows(net: Network, layer: Layer, x: Array, reduce: Callable[[Array], Array]) -> Array:
    """``reduce([taps, C]) -> [C]`` of the valid taps of every output position: ``[OH, OW, C]``."""
    (rows, _), (columns, _) = layer_classes(net, layer)
    result = [reduce(window.patch.reshape(-1, x.shape[-1])) for window in windows(net, layer, x)]
    return np.stack(result).reshape(len(rows), len(columns), -1)
