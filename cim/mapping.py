"""From a layer to descriptors: which weights go into which array, in which order, and what is stored where.

A layer is cut three ways. *Row tiles*: pieces of its taps and channels of one precision that fit the rows of an array.
*Column tiles*: output channels that fit its columns. *Strips*: output rows (or parts of one) whose input, residual and
sums fit the scratchpad and the accumulators, twice where that is possible, so that one strip is fetched while another
is computed. Weights stay in their contexts as long as there is room; what was used longest ago is replaced.

The tile knows no borders and no grid without zero: it reads the pads around the image, which hold code 0, and what that
adds to a sum is taken back by the constant ``add`` of each border class. A strip is therefore stored in as many
rectangles as it has classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sysmol.cim.descriptor import CONSTANT_BYTES, LAYOUT, MOST_DESCRIPTORS, Descriptor, Flag, Kind, make
from sysmol.cim.layout import Layout, Run, runs
from sysmol.cim.model import NOWHERE, Array, place
from sysmol.cim.tile import Tile
from sysmol.errors import SysmolError
from sysmol.grid import PRODUCT_SHIFT
from sysmol.network import Layer, Network, Output
from sysmol.network.geometry import layer_classes
from sysmol.network.model import HIGH
from sysmol.network.operations import operation
from sysmol.network.sums import RESIDUAL_SHIFT
from sysmol.network.values import dense_weight

BLOB = "blob"
"""Symbol of the weights and constants that a program brings along; all others are names of tensors."""
RESIDUALS = ("smol", "s8", "s16", "s32")
SLOTS = 64
"""Constants of so many outputs and border classes stay in the scratchpad, at most."""


class Unmappable(SysmolError):
    """A layer that this tile cannot compute, and why."""


@dataclass(frozen=True)
class Piece:
    """A row tile of a column tile: ``taps`` from ``first`` on of ``elements`` of a run from element ``start`` on, for
    ``outputs`` sums from ``output`` on. ``weights``: offset and size in the blob."""

    run: Run
    start: int
    elements: int
    first: int
    taps: int
    output: int
    outputs: int
    depthwise: bool
    offset: int
    row_bytes: int
    opens: bool
    """Whether it is the first of its outputs."""
    batch: int = 0
    """Number of the column tiles that take turns with it."""

    @property
    def rows(self) -> int:
        return self.taps * self.elements


@dataclass
class Program:
    """Descriptors whose ``memory`` counts from their symbols, and the ``blob``. ``strips``, ``pieces``: how the layer
    was cut."""

    layer: str
    descriptors: list[Descriptor]
    blob: bytes
    strips: int = 0
    pieces: int = 0

    def placed(self, bases: Mapping[str, int]) -> list[Descriptor]:
        """With addresses; those of computations have none."""
        return [d.at(bases[d.symbol]) if d.symbol else d for d in self.descriptors]


@dataclass(frozen=True)
class Strip:
    """Output rows from ``y`` on and columns from ``x`` on."""

    y: int
    x: int
    height: int
    width: int


@dataclass
class _Blob:
    data: bytearray = field(default_factory=bytearray)

    def add(self, data: bytes) -> int:
        """Offset of data, at a multiple of 64 bytes."""
        self.data += bytes(-len(self.data) % 64)
        at = len(self.data)
        self.data += data
        return at


class Mapper:
    """One layer of a network on a tile, with the layouts of the tensors that it reads and writes, by name."""

    def __init__(self, net: Network, layer: Layer, tile: Tile, layouts: Mapping[str, Layout]) -> None:
        self.net, self.layer, self.tile, self.layouts = net, layer, tile, layouts
        check(net, layer)
        self.source = layouts[layer.input]
        self.target = net.tensors[layer.targets[0]]
        self.residual = layouts[layer.residual] if layer.residual else None
        self.depthwise = not operation(layer).mixes_channels
        self.weight = dense_weight(net, layer)
        self.blob = _Blob()
        self.sums = 0
        self.order: list[int] = []
        """Logical output channel of every sum, -1 where it belongs to none."""
        self.pieces = list(self._depthwise_pieces() if self.depthwise else self._dense_pieces())
        self.adds = self._adds()

    # --- rows and columns ---

    def _dense_pieces(self) -> Iterator[Piece]:
        layer, tile = self.layer, self.tile
        part, each = self.net.tensors[layer.input].channels // layer.groups, self.target.channels // layer.groups
        self.sums, self.order = self.target.channels, list(range(self.target.channels))
        column_tiles: list[list[Piece]] = []
        for group in range(layer.groups):
            found = runs(self.source, range(group * part, (group + 1) * part))
            most = min(tile.columns // run.bits for run in found)
            if not most:
                raise Unmappable(f"layer {layer.name}: an array of {tile.columns} columns holds no weight")
            cuts = [(run, *cut) for run in found for cut in self._cut(run)]
            for output in range(group * each, (group + 1) * each, most):
                outputs = min(most, (group + 1) * each - output)
                column_tiles.append(
                    [self._piece(*cut, output, outputs, number == 0) for number, cut in enumerate(cuts)]
                )
        # Computations on the same sums wait for each other: column tiles take turns, as many as there are arrays.
        for batch, first in enumerate(range(0, len(column_tiles), tile.arrays)):
            for turn in itertools.zip_longest(*column_tiles[first : first + tile.arrays]):
                yield from (replace(piece, batch=batch) for piece in turn if piece is not None)

    def _depthwise_pieces(self) -> Iterator[Piece]:
        layer, tile = self.layer, self.tile
        taps = layer.kernel[0] * layer.kernel[1]
        for run in runs(self.source, range(self.target.channels)):
            most = min(tile.rows // taps, tile.columns // run.bits)
            if not most:
                raise Unmappable(f"layer {layer.name}: {taps} taps of a channel do not fit an array")
            for start in range(0, len(run.channels), most):
                elements = min(most, len(run.channels) - start)
                output, self.sums = self.sums, self.sums + elements
                self.order += run.channels[start : start + elements]
                piece = self._piece(run, start, elements, 0, taps, output, elements, True)
                yield replace(piece, batch=output)

    def _cut(self, run: Run) -> Iterator[tuple[int, int, int, int]]:
        """First element, elements, first tap and taps of the row tiles of a run."""
        rows = self.tile.rows
        taps, most = self.layer.kernel[0] * self.layer.kernel[1], min(len(run.channels), rows)
        for start in range(0, len(run.channels), most):
            elements = min(most, len(run.channels) - start)
            together = rows // elements
            for first in range(0, taps, together):
                yield start, elements, first, min(together, taps - first)

    def _piece(
        self, run: Run, start: int, elements: int, first: int, taps: int, output: int, outputs: int, opens: bool
    ) -> Piece:
        data, row_bytes = self._weights(run, start, elements, first, taps, output, outputs)
        offset = self.blob.add(data)
        return Piece(run, start, elements, first, taps, output, outputs, self.depthwise, offset, row_bytes, opens)

    def _weights(
        self, run: Run, start: int, elements: int, first: int, taps: int, output: int, outputs: int
    ) -> tuple[bytes, int]:
        """Packed rows of a context, and bytes per row. Elements of no channel have the weight +1 (0 of 8 bits)."""
        channels, wide = np.array(run.channels[start : start + elements]), self.layer.kernel[1]
        tap = np.arange(first, first + taps)
        filler = 0 if run.bits == 8 else 1
        if self.depthwise:
            values = self.weight[tap // wide, tap % wide][:, channels]  # [taps, elements]
            values = np.where(channels >= 0, values, filler).reshape(-1, 1)
        else:
            part = self.weight.shape[-1]
            own = self.weight[output : output + outputs][:, tap // wide, tap % wide][..., channels % part]
            values = np.where(channels >= 0, own, filler).reshape(outputs, -1).T
        return pack_rows(values, run.bits)

    # --- constants ---

    def _adds(self) -> Array:
        """What every sum gets added, int64 ``[row classes, column classes, sums]``: pads and elements of no channel
        count with code 0 where they should not count."""
        (_, rows), (_, columns) = layer_classes(self.net, self.layer)
        height, wide = self.layer.kernel
        adds = np.zeros((len(rows), len(columns), self.sums), dtype=np.int64)
        for piece in self.pieces:
            bits = piece.run.bits
            if bits == 8:
                continue
            unit = ((1 << bits) - 1) << PRODUCT_SHIFT[bits]
            channels = np.array(piece.run.channels[piece.start : piece.start + piece.elements])
            by_tap = self._sums_by_tap(piece, channels) * unit  # [taps, outputs], what code 0 takes away
            fillers = int((channels < 0).sum()) * unit
            for r, c in itertools.product(range(len(rows)), range(len(columns))):
                outside = np.ones((height, wide), dtype=bool)
                outside[slice(*rows[r]), slice(*columns[c])] = False
                mask = outside.reshape(-1)[piece.first : piece.first + piece.taps]
                into = adds[r, c, piece.output : piece.output + piece.outputs]
                into += by_tap[mask].sum(axis=0)
                if not self.depthwise:
                    into += fillers * piece.taps
        return adds

    def _sums_by_tap(self, piece: Piece, channels: Array) -> Array:
        """Sums over a piece's channels of the weights of each tap, int64 ``[taps, outputs]``."""
        tap, wide = np.arange(piece.first, piece.first + piece.taps), self.layer.kernel[1]
        if self.depthwise:
            return np.where(channels >= 0, self.weight[tap // wide, tap % wide][:, channels], 0)
        own = self.weight[piece.output : piece.output + piece.outputs][:, tap // wide, tap % wide]
        used = channels[channels >= 0] % self.weight.shape[-1]
        return np.asarray(own[..., used].sum(axis=-1).T)

    def _constants(self, out: Output, row: int, column: int) -> bytes:
        """The constants of all sums for one output and border class."""
        layout, table = self.layouts[out.tensor], np.zeros((self.sums, 6), dtype=np.int64)
        assert out.M is not None
        b = np.asarray(out.B)[row, column]
        for number, channel in enumerate(self.order):
            if channel < 0:
                table[number, 4:] = NOWHERE
                continue
            table[number, 0] = self.adds[row, column, number]
            table[number, 1:3] = out.M[channel], b[channel]
            table[number, 4] = place(layout.positions[channel], layout.widths[channel])
            table[number, 5] = NOWHERE
            if self.residual is not None and out.R is not None:
                table[number, 3] = out.R[channel]
                table[number, 5] = place(self.residual.positions[channel], self.residual.widths[channel])
        return (table & 0xFFFFFFFF).astype("<u4").tobytes()

    # --- strips ---

    def strips(self, height: int, width: int) -> list[Strip]:
        """The output in strips of at most that size, row by row."""
        return [
            Strip(y, x, min(height, self.target.height - y), min(width, self.target.width - x))
            for y in range(0, self.target.height, height)
            for x in range(0, self.target.width, width)
        ]

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and bytes per row of the input of a strip."""
        rows = (height - 1) * self.layer.stride[0] + self.layer.kernel[0]
        columns = (width - 1) * self.layer.stride[1] + self.layer.kernel[1]
        return rows, columns * self.source.pixel_bytes

    def buffer_bytes(self, height: int, width: int) -> tuple[int, int]:
        """Scratchpad for the input and for the residual of a strip, in multiples of 16 bytes."""
        rows, row_bytes = self.input_size(height, width)
        residual = height * width * self.residual.pixel_bytes if self.residual is not None else 0
        return -(-rows * row_bytes // 16) * 16, -(-residual // 16) * 16

    def fits(self, height: int, width: int, copies: int) -> bool:
        """Whether so many strips of that size fit at once, beside the constants of one class."""
        scratch = copies * sum(self.buffer_bytes(height, width)) + CONSTANT_BYTES * self.sums
        words = copies * self.sums * height * width
        return scratch <= self.tile.scratch_bytes and words <= self.tile.accumulators and height * width <= 0xFFFF

    def best_strip(self) -> tuple[int, int, int]:
        """Height, width and copies of the strips: two copies where they fit, as many pixels as possible, and at least
        as many strips as copies where the image allows it."""
        full_h, full_w = self.target.height, self.target.width
        sizes = [(h, full_w) for h in range(full_h, 0, -1)] + [(1, w) for w in range(full_w - 1, 0, -1)]
        for copies in (2, 1):
            for height, width in sizes:
                if copies == 2 and height * width == full_h * full_w and full_h > 1:
                    continue
                if self.fits(height, width, copies):
                    return height, width, copies
        raise Unmappable(
            f"layer {self.layer.name}: a pixel of its output needs more than the scratchpad or the accumulators"
        )

    # --- the list ---

    def program(self, strip: tuple[int, int, int] | None = None) -> Program:
        """Descriptors of the whole layer; ``strip``: height, width and copies, else :meth:`best_strip`."""
        return _List(self, *(strip or self.best_strip())).program()


class _List:
    """The descriptors of a mapped layer."""

    def __init__(self, mapper: Mapper, height: int, width: int, copies: int) -> None:
        self.m, self.copies = mapper, copies
        self.all = mapper.strips(height, width)
        self.input_bytes, self.residual_bytes = mapper.buffer_bytes(height, width)
        self.words = mapper.sums * height * width
        self.constant_bytes = CONSTANT_BYTES * mapper.sums
        self.first_constant = copies * (self.input_bytes + self.residual_bytes)
        room = (mapper.tile.scratch_bytes - self.first_constant) // self.constant_bytes
        self.slots: list[object] = [None] * max(1, min(room, SLOTS))
        self.contexts: dict[int, tuple[int, int]] = {}
        self.used: dict[tuple[int, int], int] = {}
        self.offsets: dict[tuple[int, int, int], int] = {}
        self.next_slot = self.clock = 0
        self.descriptors: list[Descriptor] = []

    def program(self) -> Program:
        m = self.m
        self.fetch(0)
        for number in range(len(self.all)):
            if self.copies > 1 and number + 1 < len(self.all):
                self.fetch(number + 1)
            elif self.copies == 1 and number:
                self.fetch(number)
            order = range(len(m.pieces))
            for index in order if number % 2 == 0 else self.back(order):
                self.compute(number, index)
            self.store(number)
        first = self.descriptors[0]
        self.descriptors[0] = Descriptor(first.kind, first.values, first.flags | Flag.FENCE, symbol=first.symbol)
        return Program(m.layer.name, self.descriptors, bytes(m.blob.data), len(self.all), len(m.pieces))

    def back(self, order: Sequence[int]) -> list[int]:
        """Batches of column tiles from the last to the first, so that the contexts used last are used again; the pieces
        of a batch keep their order, since the first of a column tile clears the sums."""
        return sorted(order, key=lambda index: -self.m.pieces[index].batch)

    def fetch(self, number: int) -> None:
        m, strip, copy = self.m, self.all[number], number % self.copies
        rows, row_bytes = m.input_size(strip.height, strip.width)
        top, left = m.layer.padding[:2]
        self.add(
            Kind.FETCH,
            symbol=m.layer.input,
            rows=rows,
            row_bytes=row_bytes,
            memory=m.source.at(strip.y * m.layer.stride[0] - top, strip.x * m.layer.stride[1] - left),
            memory_stride=m.source.row_bytes,
            scratch=copy * self.input_bytes,
            scratch_stride=row_bytes,
        )
        if m.residual is not None:
            size = strip.width * m.residual.pixel_bytes
            self.add(
                Kind.FETCH,
                symbol=m.layer.residual,
                rows=strip.height,
                row_bytes=size,
                memory=m.residual.at(strip.y, strip.x),
                memory_stride=m.residual.row_bytes,
                scratch=self.residual_at(number),
                scratch_stride=size,
            )

    def residual_at(self, number: int) -> int:
        return self.copies * self.input_bytes + number % self.copies * self.residual_bytes

    def load(self, index: int) -> tuple[int, int]:
        """Array and context of a piece's weights, which are loaded where they are not there."""
        tile, self.clock = self.m.tile, self.clock + 1
        if index not in self.contexts:
            # Neighbours go to different arrays, which compute at the same time.
            array = index % tile.arrays
            own = [(array, context) for context in range(tile.contexts)]
            place = min(own, key=lambda each: self.used.get(each, -1))
            for other, held in list(self.contexts.items()):
                if held == place:
                    del self.contexts[other]
            piece = self.m.pieces[index]
            self.add(
                Kind.WEIGHTS,
                symbol=BLOB,
                rows=piece.rows,
                row_bytes=piece.row_bytes,
                memory=piece.offset,
                array=place[0],
                context=place[1],
            )
            self.contexts[index] = place
        self.used[self.contexts[index]] = self.clock
        return self.contexts[index]

    def compute(self, number: int, index: int) -> None:
        m, strip, piece = self.m, self.all[number], self.m.pieces[index]
        array, context = self.load(index)
        pixels = strip.height * strip.width
        flags = (Flag.CLEAR if piece.opens else 0) | (Flag.DEPTHWISE if piece.depthwise else 0)
        byte, bit = divmod(8 * piece.run.byte + piece.start * piece.run.bits, 8)
        self.add(
            Kind.COMPUTE,
            flags,
            bits=piece.run.bits,
            taps_wide=m.layer.kernel[1],
            elements=piece.elements,
            outputs=piece.outputs,
            tap_first=piece.first,
            taps=piece.taps,
            array=array,
            context=context,
            height=strip.height,
            width=strip.width,
            stride_y=m.layer.stride[0],
            stride_x=m.layer.stride[1],
            pixel_stride=m.source.pixel_bytes,
            row_stride=m.input_size(strip.height, strip.width)[1],
            scratch=number % self.copies * self.input_bytes + byte,
            accumulator=number % self.copies * self.words + piece.output * pixels,
            channel_stride=pixels,
            bit=bit,
        )

    def store(self, number: int) -> None:
        """Every output of a strip, one rectangle per border class."""
        m, strip = self.m, self.all[number]
        (rows, _), (columns, _) = layer_classes(m.net, m.layer)
        bands = list(_bands(rows, strip.y, strip.height))
        sides = list(_bands(columns, strip.x, strip.width))
        for which, out in enumerate(m.layer.outputs):
            for (y, height, row), (x, width, column) in itertools.product(bands, sides):
                self.store_part(number, which, out, (y, x, height, width), (row, column))

    def store_part(
        self, number: int, which: int, out: Output, part: tuple[int, int, int, int], classes: tuple[int, int]
    ) -> None:
        m, strip, (y, x, height, width) = self.m, self.all[number], part
        layout, inside = m.layouts[out.tensor], (y - strip.y) * strip.width + x - strip.x
        values = {
            "shift": out.shift,
            "pre": out.pre,
            "channels": m.sums,
            "height": height,
            "width": width,
            "accumulator": number % self.copies * self.words + inside,
            "channel_stride": strip.height * strip.width,
            "row_stride": strip.width,
            "pixel_bytes": layout.pixel_bytes,
            "constants": self.constants(which, out, classes),
            "memory_stride": layout.row_bytes,
            "lo": int(out.lo),
            "hi": int(out.hi),
            "memory": layout.at(y, x),
        }
        flags = Flag.HIGH if out.multiply == HIGH else 0
        if m.residual is not None and out.R is not None:
            size = m.residual.pixel_bytes
            flags |= Flag.RESIDUAL | (Flag.RESIDUAL_HIGH if out.residual_multiply == HIGH else 0)
            values["residual"] = self.residual_at(number) + inside * size
            values["residual_row"], values["residual_pixel"] = strip.width * size, size
            values["residual_left"] = RESIDUAL_SHIFT[m.net.tensors[m.layer.residual].format]
        self.add(Kind.STORE, flags, symbol=out.tensor, **values)

    def constants(self, which: int, out: Output, classes: tuple[int, int]) -> int:
        """Where the constants of an output and class stand in the scratchpad; they are fetched where they do not."""
        key = (which, *classes)
        if key in self.slots:
            return self.first_constant + self.slots.index(key) * self.constant_bytes
        slot, self.next_slot = self.next_slot, (self.next_slot + 1) % len(self.slots)
        self.slots[slot] = key
        if key not in self.offsets:
            self.offsets[key] = self.m.blob.add(self.m._constants(out, *classes))
        at = self.first_constant + slot * self.constant_bytes
        self.add(Kind.FETCH, symbol=BLOB, rows=1, row_bytes=self.constant_bytes, memory=self.offsets[key], scratch=at)
        return at

    def add(self, kind: Kind, flags: int = 0, symbol: str = "", **values: int) -> None:
        where = f"layer {self.m.layer.name}"
        if len(self.descriptors) == MOST_DESCRIPTORS:
            raise Unmappable(f"{where} takes more than the {MOST_DESCRIPTORS:,} descriptors of a list")
        for name, value in values.items():
            if value >> 8 * LAYOUT[kind][name][1] > 0:
                raise Unmappable(f"{where}: {name} of a descriptor would be {value:,}, which it has no room for")
        self.descriptors.append(make(kind, flags, symbol, **values))


def _bands(classes: Sequence[int], first: int, count: int) -> Iterator[tuple[int, int, int]]:
    """Runs of positions of one class: first position, length, class."""
    at = first
    for kind, members in itertools.groupby(classes[first : first + count]):
        length = len(list(members))
        yield at, length, kind
        at += length


def pack_rows(values: Array, bits: int) -> tuple[bytes, int]:
    """Rows ``[rows, outputs]`` of odd integers (signed numbers of 8 bits) as the contexts hold them, and bytes per
    row."""
    codes = values & 0xFF if bits == 8 else (values + (1 << bits) - 1) // 2
    spread = codes[..., None] >> np.arange(bits) & 1
    packed = np.packbits(spread.reshape(len(values), -1).astype(np.uint8), axis=1, bitorder="little")
    return packed.tobytes(), packed.shape[1]


def check(net: Network, layer: Layer) -> None:
    """:class:`Unmappable` where a tile cannot compute a layer, whatever its size."""
    kind, where = operation(layer), f"layer {layer.name}"
    if not kind.has_weights or not kind.requantises:
        raise Unmappable(f"{where}: a tile computes convolutions, depthwise ones and linear layers, no {kind.name}")
    if net.tensors[layer.input].format not in ("smol", "s8"):
        raise Unmappable(f"{where} reads {net.tensors[layer.input].format}, a tile codes and 8-bit numbers")
    if any(net.tensors[name].format == "f32" for name in layer.targets):
        raise Unmappable(f"{where} writes floating-point numbers")
    if layer.residual and net.tensors[layer.residual].format not in RESIDUALS:
        raise Unmappable(f"{where} adds a tensor of format {net.tensors[layer.residual].format}")
    if layer.dilation != (1, 1):
        raise Unmappable(f"{where} is dilated: taps of a tile are neighbours")
    if layer.kernel[1] > 255 or max(layer.stride) > 255:
        raise Unmappable(f"{where} has a kernel or a stride of more than 255")


def map_layer(net: Network, layer: Layer, tile: Tile, layouts: Mapping[str, Layout]) -> Program:
    """Descriptors of a layer; :class:`Unmappable` where this tile cannot compute it."""
    return Mapper(net, layer, tile, layouts).program()
