"""What the layers of a network of a space ask of a tile, without weights: the shapes that exported networks have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from sysmol.cim.estimate import BITS, Shape, estimate
from sysmol.cim.tile import Tile
from sysmol.network.geometry import border_classes, output_size
from sysmol.pattern import REGISTER_BYTES
from sysmol.search.spaces import Point, Space
from sysmol.search.supernet.families import build, layer_bits

EDGE_BITS = 8
"""Bits of the first and the last layer."""


@dataclass(frozen=True)
class Part:
    """A layer that a tile can compute: its name in the module, its shape with 8-bit inputs, and its weights."""

    name: str
    shape: Shape
    weights: int

    def with_bits(self, bits: int) -> Shape:
        """The shape with inputs of so many bits."""
        inputs = self.shape.elements_8
        elements = {f"elements_{each}": inputs if each == bits else 0 for each in BITS}
        runs = {f"runs_{each}": int(each == bits) for each in BITS}
        return replace(self.shape, pixel_bytes=_pixel_bytes(inputs, bits), **elements, **runs)


def parts_of(space: Space, point: Point, channels: int, classes: int) -> list[Part]:
    """The layers of a network that have weights, in the order in which they are computed."""
    size = int(point["resolution"])
    module = build(space, point, channels, classes).eval()
    found: list[Part] = []

    def before(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        def hook(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            weight = layer.weight
            assert isinstance(weight, torch.Tensor)
            found.append(Part(name, _shape(layer, inputs[0].shape), weight.numel()))

        return hook

    hooks = [
        layer.register_forward_pre_hook(before(name))
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    with torch.no_grad():
        module(torch.zeros(1, channels, size, size))
    for each in hooks:
        each.remove()
    return found


def _shape(layer: nn.Module, size: torch.Size) -> Shape:
    """Of a convolution or a linear layer with 8-bit inputs; results are 4-bit codes, as wide as any."""
    if isinstance(layer, nn.Linear):
        kernel, stride, pad, groups = (1, 1), (1, 1), (0, 0), 1
        height = width = 1
        inputs, outputs = layer.in_features, layer.out_features
    else:
        assert isinstance(layer, nn.Conv2d)
        (kernel, stride, groups) = (layer.kernel_size, layer.stride, layer.groups)  # type: ignore[assignment]
        pad = (int(layer.padding[0]), int(layer.padding[1]))
        inputs, outputs, (height, width) = layer.in_channels, layer.out_channels, size[-2:]
    depthwise = groups == inputs and groups > 1
    classes = [
        len(border_classes(n, k, s, p, p)[1]) for n, k, s, p in zip((height, width), kernel, stride, pad, strict=True)
    ]
    out = [output_size(n, k, s, p, p) for n, k, s, p in zip((height, width), kernel, stride, pad, strict=True)]
    return Shape(
        height=out[0], width=out[1], channels=outputs, kernel_y=kernel[0], kernel_x=kernel[1], stride_y=stride[0],
        stride_x=stride[1], groups=1 if depthwise else groups, depthwise=int(depthwise), elements_8=inputs,
        elements_4=0, elements_2=0, elements_1=0, runs_8=1, runs_4=0, runs_2=0, runs_1=0, pixel_bytes=inputs,
        residual_bytes=0, store_bytes=_pixel_bytes(outputs, 4), outputs=1, bands=classes[0], sides=classes[1],
    )  # fmt: skip


def _pixel_bytes(channels: int, bits: int) -> int:
    """Bytes of a pixel: whole registers of codes, or a byte per channel."""
    return channels if bits == 8 else REGISTER_BYTES * -(-channels * bits // (8 * REGISTER_BYTES))


class Costs:
    """Time and size of networks of a space on tiles, by the closed form. Networks that differ in their bits alone are
    taken apart once."""

    def __init__(self, space: Space, channels: int, classes: int) -> None:
        self.space, self.channels, self.classes = space, channels, classes
        self._parts: dict[tuple[tuple[str, Any], ...], list[Part]] = {}

    def layers(self, point: Point) -> list[tuple[Shape, int]]:
        """Shape, and bits of the weights, of every layer that a tile can compute."""
        key = tuple(sorted((name, value) for name, value in point.items() if not name.startswith("bits")))
        if key not in self._parts:
            self._parts[key] = parts_of(self.space, point, self.channels, self.classes)
        bits = layer_bits(self.space, point)
        each = [(part, bits.get(part.name, EDGE_BITS)) for part in self._parts[key]]
        return [(part.with_bits(own), part.weights * own) for part, own in each]

    def times(self, pairs: Sequence[tuple[Point, Tile]]) -> list[float]:
        """Nanoseconds of all layers for one image, for every network and tile: estimates, infinite where a layer does
        not fit."""
        layers = [[shape for shape, _ in self.layers(point)] for point, _ in pairs]
        tiles = [tile for shapes, (_, tile) in zip(layers, pairs, strict=True) for _ in shapes]
        cycles = estimate([shape for shapes in layers for shape in shapes], tiles)
        ends = np.cumsum([len(shapes) for shapes in layers])[:-1]
        sums = [float(part.sum()) for part in np.split(cycles, ends)]
        times = [each / tile.clock_ghz for each, (_, tile) in zip(sums, pairs, strict=True)]
        return [time if np.isfinite(time) else np.inf for time in times]

    def nanoseconds(self, point: Point, tile: Tile) -> float:
        """:meth:`times` of one network on one tile."""
        return self.times([(point, tile)])[0]

    def kibibytes(self, point: Point) -> float:
        """Of all weights."""
        return sum(bits for _, bits in self.layers(point)) / 8192


def tile_of(space: Space, point: Point) -> Tile:
    """The tile of a point of a space of tiles."""
    values: dict[str, Any] = space.values(point)
    return Tile.of_values(values)
