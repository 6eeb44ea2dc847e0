"""Cycles of layers on tiles in closed form, thousands at a time.

The rules are those of :mod:`sysmol.cim.timing`, summed up per strip instead of followed descriptor by descriptor. A
strip passes three stages: it is fetched (F), computed (A) and stored (S). With two buffers the stages of neighbouring
strips overlap, so that n strips take ``F + A + S + (n - 1) * max(F, A, S)``; with one they take ``n * (F + A + S)``. A
layer takes at least what all its fetches take, one after the other.

===== ================================================================================================================
F     fetches of input, residual and constants: each the larger of what its port and what the memory takes
A     all computations over the arrays that can work at the same time: those on the same sums take turns; where weights
      do not stay, also what their loads take, and with a single context both after each other
S     per rectangle ``start_cycles`` and a latency of the memory, per pixel the channels / ``store_lanes``
===== ================================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from sysmol.cim.descriptor import BYTES, CONSTANT_BYTES
from sysmol.cim.layout import Layout, runs
from sysmol.cim.mapping import SLOTS, check
from sysmol.cim.tile import Tile
from sysmol.cim.timing import CHUNK, MemoryTiming
from sysmol.network import Layer, Network
from sysmol.network.geometry import layer_classes
from sysmol.network.operations import operation

Floats = npt.NDArray[np.float64]
BITS = (8, 4, 2, 1)


@dataclass(frozen=True)
class Shape:
    """What the estimate needs to know of a layer. ``elements_P``: elements per tap of P bits; ``bands``, ``sides``:
    border classes of its rows and columns; ``store_bytes``: of a pixel of all ``outputs`` together."""

    height: int
    width: int
    channels: int
    kernel_y: int
    kernel_x: int
    stride_y: int
    stride_x: int
    groups: int
    depthwise: int
    elements_8: int
    elements_4: int
    elements_2: int
    elements_1: int
    pixel_bytes: int
    residual_bytes: int
    store_bytes: int
    outputs: int
    bands: int
    sides: int


def shape_of(net: Network, layer: Layer, layouts: Mapping[str, Layout]) -> Shape:
    """Of a layer; :class:`~sysmol.cim.mapping.Unmappable` where no tile computes it."""
    check(net, layer)
    source, target = layouts[layer.input], net.tensors[layer.targets[0]]
    depthwise = not operation(layer).mixes_channels
    inputs = net.tensors[layer.input].channels
    part = inputs if depthwise else inputs // layer.groups
    found = dict.fromkeys(BITS, 0)
    for run in runs(source, range(part)):
        found[run.bits] += len(run.channels)
    (_, rows), (_, columns) = layer_classes(net, layer)
    residual = layouts[layer.residual].pixel_bytes if layer.residual else 0
    return Shape(
        target.height, target.width, sum(found.values()) if depthwise else target.channels, *layer.kernel,
        *layer.stride, layer.groups, int(depthwise), found[8], found[4], found[2], found[1], source.pixel_bytes,
        residual, sum(layouts[name].pixel_bytes for name in layer.targets), len(layer.targets), len(rows),
        len(columns),
    )  # fmt: skip


class _Columns:
    """Numbers of many points by name."""

    def __init__(self, rows: Sequence[Shape] | Sequence[Tile]) -> None:
        names = [each.name for each in fields(rows[0])]
        table = np.array([[getattr(row, name) for name in names] for row in rows], dtype=np.float64)
        self.__dict__.update({name: table[:, index] for index, name in enumerate(names)})

    def __getattr__(self, name: str) -> Floats:
        raise AttributeError(name)


def estimate(shapes: Sequence[Shape], tiles: Sequence[Tile], memory: MemoryTiming | None = None) -> Floats:
    """Cycles of the tile for every pair of a layer and a tile, float64 ``[n]``; NaN where the layer does not fit."""
    s, t, of = _Columns(shapes), _Columns(tiles), memory or MemoryTiming()
    latency, rate = of.latency_ns * t.clock_ghz, of.bytes_per_ns / t.clock_ghz
    height, width, copies = _strips(s, t)
    fits = (height > 0) & ((s.depthwise == 0) | (t.rows >= s.kernel_y * s.kernel_x))
    height = np.maximum(height, 1)
    strips = np.ceil(s.height / height) * np.ceil(s.width / width)
    total, longest, loads, load, pieces, own = _computations(s, t, height * width, latency, rate)
    fetch, constants, fetches = _fetches(s, t, height, width, copies, latency, rate, strips)
    store, rectangles = _stores(s, t, height, width, latency, rate, strips)
    resident, single = pieces <= t.arrays * t.contexts, t.contexts == 1
    # Column tiles go on side by side; so do strips, where the window reaches from one to the next.
    side_by_side = np.maximum(pieces / np.maximum(own, 1), 1)
    reaches = pieces * np.where(resident, 1, 2) < t.window
    alone = np.maximum(total / np.minimum(t.arrays, side_by_side), longest)
    compute = np.where(reaches, np.maximum(total / np.minimum(t.arrays, copies * side_by_side), longest), alone)
    # What a strip leaves in the contexts, whole column tiles, the next one finds there.
    stay = np.floor(t.arrays * t.contexts / np.maximum(own, 1)) * own
    again = loads * np.maximum(1 - stay / np.maximum(pieces, 1), 0)
    steady = np.where(resident, compute, np.where(single, compute + loads, np.maximum(compute, again)))
    first = np.where(single, alone + loads, np.maximum(alone, loads))
    period = np.where(copies == 2, np.maximum(np.maximum(fetch, steady), store), fetch + steady + store)
    descriptors = strips * (fetches + pieces + rectangles) + pieces
    start = latency + BYTES * np.minimum(descriptors, CHUNK) / rate
    body = np.maximum(fetch, load) + first + store + (strips - 1) * period
    all_fetches = strips * fetch + constants + store / np.maximum(rectangles, 1)
    cycles = start + np.maximum(body, all_fetches)
    return np.where(fits, cycles, np.nan)


def _strips(s: _Columns, t: _Columns) -> tuple[Floats, Floats, Floats]:
    """Height, width and copies as :meth:`sysmol.cim.mapping.Mapper.best_strip` has them, height 0 where none fits."""
    height, width, copies = (np.zeros(len(s.height)) for _ in range(3))
    room = t.scratch_bytes - CONSTANT_BYTES * s.channels
    for count in (2, 1):
        whole_row = ((s.width - 1) * s.stride_x + s.kernel_x) * s.pixel_bytes
        each = s.stride_y * whole_row + s.width * s.residual_bytes
        rows = np.floor((room / count - (s.kernel_y - s.stride_y) * whole_row) / each)
        rows = np.minimum(rows, np.floor(t.accumulators / (count * s.channels * s.width)))
        most = np.where((count == 2) & (s.height > 1), s.height - 1, s.height)
        rows = np.minimum(rows, most)
        per_pixel = s.kernel_y * s.stride_x * s.pixel_bytes + s.residual_bytes
        columns = np.floor((room / count - s.kernel_y * (s.kernel_x - s.stride_x) * s.pixel_bytes) / per_pixel)
        columns = np.minimum(columns, np.floor(t.accumulators / (count * s.channels)))
        columns = np.minimum(columns, s.width)
        open_ = height == 0
        by_rows, by_columns = open_ & (rows >= 1), open_ & (rows < 1) & (columns >= 1)
        height = np.where(by_rows, rows, np.where(by_columns, 1, height))
        width = np.where(by_rows, s.width, np.where(by_columns, columns, width))
        copies = np.where(by_rows | by_columns, count, copies)
    return height, np.maximum(width, 1), np.maximum(copies, 1)


def _computations(
    s: _Columns, t: _Columns, pixels: Floats, latency: Floats, rate: Floats
) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]:
    """Of a strip: cycles of all computations, of the longest one, of loading all weights, of loading one piece's; the
    number of pieces, and of those that add to the same sums."""
    taps = s.kernel_y * s.kernel_x
    total, loads, pieces, longest = (np.zeros(len(taps)) for _ in range(4))
    widest = np.select([s.elements_8 > 0, s.elements_4 > 0, s.elements_2 > 0], [8.0, 4.0, 2.0], 1.0)
    per_group = np.maximum(np.floor(t.columns / widest), 1)
    column_tiles = s.groups * np.ceil(s.channels / s.groups / per_group)
    outputs = np.minimum(per_group, s.channels / s.groups)
    for bits in BITS:
        elements: Floats = getattr(s, f"elements_{bits}")
        there = elements > 0
        most = np.maximum(np.minimum(elements, t.rows), 1)
        lone = np.maximum(np.minimum(np.floor(t.rows / taps), np.floor(t.columns / bits)), 1)
        together = np.minimum(np.maximum(np.floor(t.rows / most), 1), taps)
        rows = np.where(s.depthwise > 0, np.minimum(lone, elements) * taps, most * together)
        own = np.where(s.depthwise > 0, np.ceil(elements / lone), np.ceil(elements / most) * np.ceil(taps / together))
        fed = np.ceil(np.ceil(rows * bits / 8) / t.feed_bytes)
        cycles = t.start_cycles + pixels * np.maximum(bits, fed)
        row_bytes = np.where(s.depthwise > 0, 1, np.ceil(outputs * bits / 8))
        load = np.maximum(rows * row_bytes / rate + latency, np.maximum(rows, rows * row_bytes / t.weight_bytes))
        count = np.where(there, own * np.where(s.depthwise > 0, 1, column_tiles), 0)
        total += count * cycles
        loads += count * load
        pieces += count
        longest = np.maximum(longest, np.where(there, cycles, 0))
    same_sums = np.where(s.depthwise > 0, 1, pieces / column_tiles)
    return total, longest, loads, loads / np.maximum(pieces, 1), pieces, same_sums


def _fetches(
    s: _Columns, t: _Columns, height: Floats, width: Floats, copies: Floats, latency: Floats, rate: Floats,
    strips: Floats,
) -> tuple[Floats, Floats, Floats]:  # fmt: skip
    """Cycles of a strip's fetches, and of the constants that are fetched once; the number of a strip's fetches."""

    def fetch(size: Floats) -> Floats:
        return np.maximum(size / rate + latency, size / t.fetch_bytes)

    rows = ((height - 1) * s.stride_y + s.kernel_y) * ((width - 1) * s.stride_x + s.kernel_x) * s.pixel_bytes
    residual = height * width * s.residual_bytes
    cycles = fetch(rows) + np.where(s.residual_bytes > 0, fetch(residual), 0)
    classes = s.outputs * s.bands * s.sides
    room = t.scratch_bytes - copies * (rows + residual)
    kept = np.minimum(np.floor(room / (CONSTANT_BYTES * s.channels)), SLOTS) >= classes
    constants = fetch(CONSTANT_BYTES * s.channels)
    rectangles = s.outputs * s.sides * (strips + s.bands - 1) / strips
    again = np.where(kept, 0, rectangles)
    once = np.where(kept, classes, 0) * constants
    return cycles + again * constants, once, np.where(s.residual_bytes > 0, 2.0, 1.0) + again


def _stores(
    s: _Columns, t: _Columns, height: Floats, width: Floats, latency: Floats, rate: Floats, strips: Floats
) -> tuple[Floats, Floats]:
    """Cycles of a strip's stores, and their number."""
    whole = width >= s.width
    rectangles = s.outputs * np.where(whole, s.sides, 1) * (strips + np.where(whole, s.bands, 1) - 1) / strips
    pixels = height * width
    written = np.maximum(pixels * s.outputs * np.ceil(s.channels / t.store_lanes), pixels * s.store_bytes / rate)
    written = np.maximum(written, pixels * s.store_bytes / t.store_bytes)
    return rectangles * (t.start_cycles + latency) + written, rectangles
