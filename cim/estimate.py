"""Cycles of layers on tiles in closed form, thousands at a time.

The rules are those of :mod:`sysmol.cim.timing`, followed strip by strip instead of descriptor by descriptor, for all
layers at once. The fetch unit, the arrays and the store unit have a strip each; with two buffers the next strip is
fetched while one is computed. Strips between the first and the last are alike: after :data:`FOLLOWED` of them, the time
of one more is what the last ones took.

===== ================================================================================================================
F     fetches of input and residual: each the larger of what its port and what the memory takes
K     the constants that a strip needs for the first time, fetched behind the input of the next strip
A     all computations over the arrays that can work at the same time: those on the same sums take turns; where weights
      do not stay, also what their loads take, and with a single context both after each other
S     per rectangle ``start_cycles`` and a write, per pixel the channels / ``store_lanes``
===== ================================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from sysmol.cim.descriptor import CONSTANT_BYTES
from sysmol.cim.layout import Layout, runs
from sysmol.cim.mapping import SLOTS, check
from sysmol.cim.tile import Tile
from sysmol.cim.timing import CHUNK, LINE, MemoryTiming
from sysmol.network import Layer, Network
from sysmol.network.geometry import layer_classes
from sysmol.network.operations import operation

Floats = npt.NDArray[np.float64]
BITS = (8, 4, 2, 1)


@dataclass(frozen=True)
class Shape:
    """What the estimate needs to know of a layer. ``elements_P``: elements per tap of P bits, in ``runs_P`` runs;
    ``bands``, ``sides``: border classes of its rows and columns; ``store_bytes``: of a pixel of all ``outputs``
    together."""

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
    runs_8: int
    runs_4: int
    runs_2: int
    runs_1: int
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
    found, count = dict.fromkeys(BITS, 0), dict.fromkeys(BITS, 0)
    for run in runs(source, range(part)):
        found[run.bits] += len(run.channels)
        count[run.bits] += 1
    (_, rows), (_, columns) = layer_classes(net, layer)
    residual = layouts[layer.residual].pixel_bytes if layer.residual else 0
    return Shape(
        target.height, target.width, sum(found.values()) if depthwise else target.channels, *layer.kernel,
        *layer.stride, layer.groups, int(depthwise), found[8], found[4], found[2], found[1], count[8], count[4],
        count[2], count[1], source.pixel_bytes, residual, sum(layouts[name].pixel_bytes for name in layer.targets),
        len(layer.targets), len(rows), len(columns),
    )  # fmt: skip


class _Columns:
    """Numbers of many points by name."""

    def __init__(self, rows: Sequence[Shape] | Sequence[Tile]) -> None:
        names = [each.name for each in fields(rows[0])]
        table = np.array([[getattr(row, name) for name in names] for row in rows], dtype=np.float64)
        self.__dict__.update({name: table[:, index] for index, name in enumerate(names)})

    def __getattr__(self, name: str) -> Floats:
        raise AttributeError(name)


FOLLOWED = 12
"""Strips that are followed one by one."""


def estimate(shapes: Sequence[Shape], tiles: Sequence[Tile], memory: MemoryTiming | None = None) -> Floats:
    """Cycles of the tile for every pair of a layer and a tile, float64 ``[n]``; NaN where the layer does not fit."""
    return stages(shapes, tiles, memory)["cycles"]


def stages(shapes: Sequence[Shape], tiles: Sequence[Tile], memory: MemoryTiming | None = None) -> dict[str, Floats]:
    """:func:`estimate` and its parts by name, float64 ``[n]`` each: ``cycles``; of the first strip ``fetch``,
    ``compute``, ``store``; ``loads`` of all weights; numbers of ``strips`` and ``pieces``."""
    s, t, memory = _Columns(shapes), _Columns(tiles), memory or MemoryTiming()
    found = _stages(s, t, _Memory(tiles, memory, np.zeros(len(s.height))))
    if memory.busy_ns:  # the mean delay follows from how long it all takes
        found = _stages(s, t, _Memory(tiles, memory, np.nan_to_num(found["cycles"])))
    return found


def _stages(s: _Columns, t: _Columns, of: _Memory) -> dict[str, Floats]:
    height, width, copies = _strips(s, t)
    fits = (height > 0) & ((s.depthwise == 0) | (t.rows >= s.kernel_y * s.kernel_x))
    height = np.maximum(height, 1)
    whole = width >= s.width
    strips = np.ceil(s.height / height) * np.ceil(s.width / width)
    width = s.width / np.ceil(s.width / width)
    last = np.where(whole, s.height - (np.ceil(s.height / height) - 1) * height, 1)
    parts = [_Strip(s, t, of, rows, width) for rows in (height, last)]
    bands = _bands(s, whole, strips)
    constants = _constants(s, t, of, height, width, copies, bands, strips)
    cycles = _follow(s, t, of, parts, copies, strips, bands, constants)
    first = parts[0]
    return {
        "cycles": np.where(fits, cycles, np.nan),
        "fetch": first.fetch,
        "compute": first.compute,
        "store": bands[0] * first.per_store + first.store,
        "loads": first.loads,
        "strips": strips,
        "pieces": first.pieces,
    }


class _Memory:
    """:class:`MemoryTiming` in cycles of every tile, refreshes and a core that reads as what they delay on average over
    the ``cycles`` that a layer takes."""

    def __init__(self, tiles: Sequence[Tile], memory: MemoryTiming, cycles: Floats) -> None:
        ghz = np.array([tile.clock_ghz for tile in tiles])
        refresh = memory.refresh_ns**2 / (2 * memory.refresh_every_ns)
        rise = cycles / ghz / memory.busy_after_ns  # the delay rises to 1 and stays there
        share = np.where(rise > 1, 1 - 0.5 / np.maximum(rise, 1), rise / 2)
        self.near, self.write = memory.near_ns * ghz, memory.write_ns * ghz
        self.far = (memory.far_ns + refresh + memory.busy_ns * share) * ghz
        self.line = np.maximum(memory.line_ns * ghz, 1)

    def read(self, size: Floats, rows: Floats | float = 1.0) -> Floats:
        """Of a transfer of so many bytes, in rows of memory that follow one another."""
        return self.far + np.maximum(np.ceil(size / LINE) * self.line, np.ceil(size / rows / LINE) * rows)


class _Strip:
    """What a strip of a height and width takes, in cycles: ``fetch``; ``compute`` of its last sums and what the
    ``busiest`` array works for it; ``loads`` of all weights, ``again`` those that a later strip needs; ``store`` of its
    pixels and ``per_store`` of every rectangle. ``pieces``: sets of weights."""

    def __init__(self, s: _Columns, t: _Columns, of: _Memory, height: Floats, width: Floats) -> None:
        pixels = height * width
        rows = (height - 1) * s.stride_y + s.kernel_y
        size = rows * ((width - 1) * s.stride_x + s.kernel_x) * s.pixel_bytes
        residual = pixels * s.residual_bytes
        self.fetch = np.maximum(size / t.fetch_bytes, of.read(size, rows)) + np.where(
            residual > 0, np.maximum(residual / t.fetch_bytes, of.read(residual, height)), 0
        )
        self._computations(s, t, of, pixels)
        self.per_store = t.start_cycles + of.write
        lanes = s.outputs * np.ceil(s.channels / t.store_lanes)
        self.store, self.row, self.port = pixels * lanes, width * lanes, pixels * s.store_bytes / t.store_bytes

    def _computations(self, s: _Columns, t: _Columns, of: _Memory, pixels: Floats) -> None:
        taps = s.kernel_y * s.kernel_x
        total, loads, pieces = (np.zeros(len(taps)) for _ in range(3))
        widest = np.select([s.elements_8 > 0, s.elements_4 > 0, s.elements_2 > 0], [8.0, 4.0, 2.0], 1.0)
        per_group = np.maximum(np.floor(t.columns / widest), 1)
        column_tiles = s.groups * np.ceil(s.channels / s.groups / per_group)
        outputs = np.minimum(per_group, s.channels / s.groups)
        for bits in BITS:
            runs_: Floats = getattr(s, f"runs_{bits}")
            elements = getattr(s, f"elements_{bits}") / np.maximum(runs_, 1)
            most = np.maximum(np.minimum(elements, t.rows), 1)
            lone = np.maximum(np.minimum(np.floor(t.rows / taps), np.floor(t.columns / bits)), 1)
            together = np.minimum(np.maximum(np.floor(t.rows / most), 1), taps)
            own = np.where(
                s.depthwise > 0, np.ceil(elements / lone), np.ceil(elements / most) * np.ceil(taps / together)
            )
            rows = elements * taps / np.maximum(own, 1)
            fed = np.ceil(np.ceil(rows * bits / 8) / t.feed_bytes)
            row_bytes = np.where(s.depthwise > 0, 1, np.ceil(outputs * bits / 8))
            load = np.maximum(np.maximum(rows, rows * row_bytes / t.weight_bytes), of.read(rows * row_bytes))
            count = runs_ * own * np.where(s.depthwise > 0, 1, column_tiles)
            total += count * (t.start_cycles + 1 + pixels * np.maximum(bits, fed))
            loads += count * load
            pieces += count
        pieces = np.maximum(pieces, 1)
        chain = np.where(s.depthwise > 0, 1, pieces / column_tiles)  # pieces that add to the same sums
        mean = total / pieces
        batches = np.where(s.depthwise > 0, np.ceil(pieces / t.arrays), np.ceil(column_tiles / t.arrays) * chain)
        self.pieces, self.loads, self.compute = pieces, loads, batches * mean
        self.resident = pieces <= t.arrays * t.contexts
        self.busiest = np.minimum(np.ceil(pieces / t.arrays) * mean, self.compute)
        # What a strip leaves in the contexts, column tiles that take turns together, the next one finds there.
        together = np.where(s.depthwise > 0, 1, chain * np.minimum(t.arrays, column_tiles))
        stay = np.floor(t.arrays * t.contexts / together) * together
        self.again = np.where(self.resident, 0, loads * np.maximum(1 - stay / pieces, 0))
        self.load, self.mean, self.batches = loads / pieces, mean, batches


def _bands(s: _Columns, whole: npt.NDArray[np.bool_], strips: Floats) -> tuple[Floats, Floats, Floats]:
    """Rectangles that the first, a middle and the last strip are stored in."""
    sides = s.outputs * np.where(whole, s.sides, 1)
    edge = np.where(strips > 1, 1 + (s.bands - 1) / 2, s.bands)
    return sides * np.where(whole, edge, 1), sides, sides * np.where(whole, edge, 1)


def _constants(
    s: _Columns, t: _Columns, of: _Memory, height: Floats, width: Floats, copies: Floats,
    bands: tuple[Floats, Floats, Floats], strips: Floats,
) -> tuple[Floats, Floats, Floats]:  # fmt: skip
    """Cycles of the constants that the first, a middle and the last strip fetch."""
    size = CONSTANT_BYTES * s.channels
    each = np.maximum(size / t.fetch_bytes, of.read(size))
    rows = ((height - 1) * s.stride_y + s.kernel_y) * ((width - 1) * s.stride_x + s.kernel_x) * s.pixel_bytes
    room = t.scratch_bytes - copies * (rows + height * width * s.residual_bytes)
    classes = s.outputs * s.bands * s.sides
    # Places are filled in turns: what fits them all stays, and what a strip shares with the one before is found.
    places = np.maximum(np.minimum(np.floor(room / size), SLOTS), 1)
    shared = places >= bands[1]
    left = np.maximum(classes - bands[0], 0)
    middle = np.where((places >= classes) | shared, 0, bands[1])
    return bands[0] * each, middle * each, np.where(shared, left, bands[2]) * each


def _follow(
    s: _Columns, t: _Columns, of: _Memory, parts: Sequence[_Strip], copies: Floats, strips: Floats,
    bands: tuple[Floats, Floats, Floats], constants: tuple[Floats, Floats, Floats],
) -> Floats:  # fmt: skip
    """When the last of the strips is stored."""
    usual, final = parts
    double, single, residual = copies == 2, t.contexts == 1, s.residual_bytes > 0
    number = np.minimum(strips, FOLLOWED)
    descriptors = strips * (1 + usual.pieces * np.where(usual.resident, 1, 2) + 2 * bands[1]) + bands[0]
    start = of.near + np.minimum(descriptors, CHUNK) * of.line + 1
    zero = np.zeros(len(strips))

    def pick(k: int, first: Floats, middle: Floats, last: Floats) -> Floats:
        return np.where(number == k + 1, last if k else np.where(strips > 1, first, last), first if not k else middle)

    def of_strip(k: int, name: str) -> Floats:
        one, other = getattr(usual, name), getattr(final, name)
        return np.where(number == k + 1, other, one)

    unit = start + of_strip(0, "fetch")
    fetched = [unit]
    computed, stored, loaded, between = [zero, zero], [zero, zero], start, zero
    for k in range(int(number.max())):
        here, more = number > k, number > k + 1
        free = np.maximum(computed[-1], np.where(residual, stored[-1], 0))
        ahead = np.maximum(unit, free) + of_strip(k + 1, "fetch")
        unit = np.where(double & more, ahead, unit)
        fetched.append(unit)
        ready = np.where(double, fetched[k], unit)
        if k:
            late = np.maximum(unit, free) + of_strip(k, "fetch")
            unit = np.where(~double & here, late, unit)
            ready = np.where(double, fetched[k], unit)
        wait = np.where(double, stored[-2], stored[-1])
        loads = usual.loads if k == 0 else usual.again
        begin = np.maximum(ready, wait)
        compute, mean = of_strip(k, "compute"), of_strip(k, "mean")
        # Arrays go on with the next strip as far as the window reaches over the stores between.
        over = (t.window - 1 - between) / (usual.pieces * np.where(usual.resident, 1, 2))
        period = compute - np.clip(over, 0, 1) * (compute - of_strip(k, "busiest"))
        # Where the stores between fill the window, what follows waits for the first of them.
        full = np.clip(1 - (t.window - 1) / np.maximum(between, 1), 0, 1)
        blocked = np.where(full > 0, computed[-1] + full * (stored[-1] - computed[-1]), 0)
        begin, loaded = np.maximum(begin, blocked), np.where(loads > 0, np.maximum(loaded, blocked), loaded)
        loaded = np.where(loads > 0, np.maximum(loaded, np.where(single, computed[-1], 0)) + loads, loaded)
        turns = np.where(single & ~usual.resident, of_strip(k, "batches") * usual.load, 0)
        alone = np.maximum(begin, computed[-1] + period - compute) + compute + turns
        end = np.maximum(alone, np.where(loads > 0, loaded + mean, 0))
        end = np.maximum(end, computed[-1] + period)
        more_constants = pick(k, constants[0], constants[1], constants[2])
        needs = more_constants > 0
        unit = np.where(here & needs, unit + more_constants, unit)
        rectangles = pick(k, bands[0], bands[1], bands[2])
        between = rectangles * np.where(needs, 2, 1)
        begin = np.maximum(np.maximum(end, stored[-1]), np.where(needs, unit, 0))
        # The port takes what the first row of every band has made ready, and what follows.
        port = of_strip(k, "row") * rectangles / bands[1] + of_strip(k, "port")
        written = begin + rectangles * of_strip(k, "per_store") + np.maximum(of_strip(k, "store"), port)
        computed.append(np.where(here, end, computed[-1]))
        stored.append(np.where(here, written, stored[-1]))
    finish = np.maximum(stored[-1], unit)
    if len(stored) > FOLLOWED:
        finish += (strips - number) * (stored[-3] - stored[-7]) / 4
    return finish


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
