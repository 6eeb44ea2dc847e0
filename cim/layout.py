"""Where the elements of a tensor lie in memory, as a tile sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sysmol.cim.model import packed, place
from sysmol.network import RANGES, Layer, Network, Tensor, operation
from sysmol.packing import slot_precisions
from sysmol.pattern import CHUNK_BITS, REGISTER_BYTES

BITS = {name: (most - least).bit_length() for name, (least, most) in RANGES.items()}
"""Of an element of plain integers."""


@dataclass(frozen=True)
class Layout:
    """``pads``: pixels above, left, below and right of the image, which hold code 0 and are part of the buffer. Bit
    ``positions`` in a pixel and ``widths`` in bits of every channel. What no channel has holds code 0 too."""

    height: int
    width: int
    pads: tuple[int, int, int, int]
    pixel_bytes: int
    positions: tuple[int, ...]
    widths: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """Bytes from a pixel to the one below it."""
        return self.pixel_bytes * (self.width + self.pads[1] + self.pads[3])

    @property
    def bytes(self) -> int:
        """Of the whole buffer."""
        return self.row_bytes * (self.height + self.pads[0] + self.pads[2])

    def at(self, y: int, x: int) -> int:
        """Byte offset of a pixel in the buffer; pixels of the pads have coordinates below 0 or behind the last."""
        return (y + self.pads[0]) * self.row_bytes + (x + self.pads[1]) * self.pixel_bytes


def plain(tensor: Tensor, pads: Sequence[int] = (0, 0, 0, 0)) -> Layout:
    """Registers of a SMOL tensor as the network file has them, plain numbers in logical order."""
    top, left, bottom, right = pads
    if tensor.format == "smol":
        widths = slot_precisions(tensor.patterns)
        starts = np.cumsum(widths) - widths
        size, slots = REGISTER_BYTES * len(tensor.patterns), np.asarray(tensor.slots)
        positions, own = starts[slots], widths[slots]
    else:
        bits = BITS[tensor.format]
        size, positions = bits // 8 * tensor.channels, bits * np.arange(tensor.channels)
        own = np.full(tensor.channels, bits)
    places = tuple(int(v) for v in positions)
    return Layout(tensor.height, tensor.width, (top, left, bottom, right), size, places, tuple(int(v) for v in own))


def plain_layouts(net: Network) -> dict[str, Layout]:
    """:func:`plain` of all tensors, with the pads that the layers with weights read."""
    pads = {name: [0, 0, 0, 0] for name in net.tensors}
    for layer in net.layers:
        if operation(layer).has_weights:
            pads[layer.input] = [max(a, b) for a, b in zip(pads[layer.input], _read_pads(net, layer), strict=True)]
    return {name: plain(tensor, pads[name]) for name, tensor in net.tensors.items() if tensor.format in (*BITS, "smol")}


def _read_pads(net: Network, layer: Layer) -> tuple[int, int, int, int]:
    """Pixels around its input that a layer reads."""
    x, target = net.tensors[layer.input], net.tensors[layer.targets[0]]
    top, left = layer.padding[:2]
    bottom = (target.height - 1) * layer.stride[0] + layer.kernel[0] - top - x.height
    right = (target.width - 1) * layer.stride[1] + layer.kernel[1] - left - x.width
    return top, left, max(bottom, 0), max(right, 0)


def write(layout: Layout, values: npt.NDArray[np.int64]) -> bytes:
    """The buffer of a tensor with these codes or numbers ``[height, width, channels]``, its pads 0."""
    whole = np.zeros((layout.bytes // layout.row_bytes, layout.row_bytes), dtype=np.uint8)
    top, left = layout.pads[:2]
    start = left * layout.pixel_bytes
    places = np.array(
        [place(bit, bits) for bit, bits in zip(layout.positions, layout.widths, strict=True)], dtype=np.int64
    )
    whole[top : top + layout.height, start : start + layout.width * layout.pixel_bytes] = packed(
        values, places, layout.pixel_bytes
    )
    return whole.tobytes()


@dataclass(frozen=True)
class Run:
    """Elements of ``bits`` bits side by side from ``byte`` of a pixel on; ``channels``: the logical channel of every
    element, -1 where it has none."""

    bits: int
    byte: int
    channels: tuple[int, ...]


def runs(layout: Layout, channels: Sequence[int]) -> list[Run]:
    """The runs that hold these channels; gaps of less than a chunk of 16 bits do not end a run, elements of no channel
    among these belong to it."""
    found: list[Run] = []
    for bits in sorted({layout.widths[c] for c in channels}, reverse=True):
        own = sorted((layout.positions[c], c) for c in channels if layout.widths[c] == bits)
        current: list[int] = []
        start = 0
        for position, channel in own:
            if not current or position - (start + bits * len(current)) >= CHUNK_BITS:
                if current:
                    found.append(Run(bits, start // 8, tuple(current)))
                start, current = position // 8 * 8, []
            current += [-1] * ((position - start) // bits - len(current))
            current.append(channel)
        found.append(Run(bits, start // 8, tuple(current)))
    return found
