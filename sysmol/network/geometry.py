"""Where a layer's kernel lies on its image, and which of its taps lie outside."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from sysmol.network.model import Array, Layer, Network, span

Axis = tuple[list[int], list[tuple[int, int]]]
"""Along one axis: border class of every output position, and the valid taps ``[lo, hi)`` of every class."""


def output_size(size: int, kernel: int, stride: int, before: int, after: int) -> int:
    """Positions of a kernel along one axis."""
    return (size + before + after - kernel) // stride + 1


def border_classes(size: int, kernel: int, stride: int, before: int, after: int, dilation: int = 1) -> Axis:
    """Border classes along one axis: class of every output position, and each class's valid taps ``[lo, hi)``, of
    taps ``dilation`` apart.

    Positions with the same valid taps share a class; classes are numbered in order of first appearance. With holes
    between the taps a position can lie so that none is valid: ``lo == hi``.
    """
    classes: dict[tuple[int, int], int] = {}
    index = []
    for position in range(output_size(size, span(kernel, dilation), stride, before, after)):
        start = position * stride - before
        first = -(min(start, 0) // dilation)
        last = max(first, min(kernel, -((start - size) // dilation)))
        index.append(classes.setdefault((first, last), len(classes)))
    return index, list(classes)


def layer_classes(net: Network, layer: Layer) -> tuple[Axis, Axis]:
    """Border classes of a layer's rows and of its columns."""
    x = net.tensors[layer.input]
    top, left, bottom, right = layer.padding
    rows = border_classes(x.height, layer.kernel[0], layer.stride[0], top, bottom, layer.dilation[0])
    return rows, border_classes(x.width, layer.kernel[1], layer.stride[1], left, right, layer.dilation[1])


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
            down, along = row_taps[row], column_taps[column]
            patch = x[_pixels(y, down, layer.dilation[0]), _pixels(x0, along, layer.dilation[1])]
            yield Window((oy, ox), (slice(*down), slice(*along)), patch)


def _pixels(start: int, taps: tuple[int, int], dilation: int) -> slice:
    """Where the taps ``[lo, hi)`` of a kernel that begins at ``start`` lie."""
    first, last = (start + tap * dilation for tap in taps)
    return slice(first, max(first, last - dilation + 1), dilation)


def reduce_windows(net: Network, layer: Layer, x: Array, reduce: Callable[[Array], Array]) -> Array:
    """``reduce([taps, C]) -> [C]`` of the valid taps of every output position: ``[OH, OW, C]``."""
    (rows, _), (columns, _) = layer_classes(net, layer)
    result = [reduce(window.patch.reshape(-1, x.shape[-1])) for window in windows(net, layer, x)]
    return np.stack(result).reshape(len(rows), len(columns), -1)
