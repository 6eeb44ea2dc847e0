"""What the kernels of attention share: heads, and products of every query of a head with rows of registers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import Epilogue, Tile
from sysmol.kernels_c.nest.base import tile_origin
from sysmol.kernels_c.nest.kernel import Kernel, parameters
from sysmol.kernels_c.plan.constants import Held, identifier
from sysmol.kernels_c.plan.layout import Block, Group, Place, runs
from sysmol.kernels_c.plan.options import Options
from sysmol.network import Array, Layer, Network, Tensor
from sysmol.network.values import top_squares
from sysmol.packing import slot_precisions
from sysmol.pattern import REGISTER_BYTES

LANES = 4
QUERIES = 4
"""Most queries of a tile."""


class Head:
    """A head of a SMOL tensor: its vectors, and which of their slots its channels have, in the channels' order."""

    def __init__(self, t: Tensor, heads: int, number: int) -> None:
        count, channels = len(t.patterns) // heads, t.channels // heads
        before = len(slot_precisions(t.patterns[: number * count]))
        assert t.slots is not None
        self.patterns = t.patterns[number * count : (number + 1) * count]
        self.first_byte = REGISTER_BYTES * number * count
        self.slots = np.asarray(t.slots)[number * channels : (number + 1) * channels] - before
        self.precisions: Array = slot_precisions(self.patterns)

    @property
    def bytes(self) -> int:
        """Of its vectors in a pixel."""
        return REGISTER_BYTES * len(self.patterns)

    @property
    def unused(self) -> Array:
        """bool ``[slots]``: slots without a channel."""
        found = np.ones(len(self.precisions), dtype=bool)
        found[self.slots] = False
        return found


def squares(precisions: Array) -> int:
    """What slots of these precisions add to a product of two registers that hold code 0 there, aligned."""
    return int(top_squares(precisions).sum())


def head_blocks(heads: int, channels: int) -> tuple[Block, ...]:
    """Blocks of plain lanes none of which has channels of two heads."""
    blocks = []
    for head in range(heads):
        own = [head * channels + c for c in range(channels)]
        own += [-1] * (-channels % 8)
        for first in range(0, len(own), 8):
            groups: list[Group] = [(a, b, c, d) for a, b, c, d in (own[first : first + 4], own[first + 4 : first + 8])]
            blocks.append(Block(tuple(g for g in groups if any(c >= 0 for c in g))))
    return tuple(blocks)


class HeadRows(Kernel):
    """Products of every query of a head with rows. A row makes one output channel, as a channel's weights do."""

    def __init__(
        self, net: Network, layer: Layer, places: dict[str, Place], options: Options, held: Held | None = None
    ) -> None:
        self.layer = layer
        self.name = identifier(layer.name)
        self.source, self.second = places[layer.input], places[layer.second]
        outputs = [places[name] for name in layer.targets]
        first = outputs[0].tensor
        self.height, self.width = first.height, first.width
        self.per_head = first.channels // layer.groups
        smol = [place for place in outputs if place.tensor.format == "smol"]
        self.blocks = (smol or outputs)[0].blocks
        if any(len(self._heads_of(block)) > 1 for block in self.blocks):
            self.blocks = head_blocks(layer.groups, self.per_head)
        alike = all(place.blocks == self.blocks for place in outputs)
        self.epilogue = Epilogue(net, layer, places, self.blocks, alike, pack=options.pack, held=held)

    def _heads_of(self, block: Block) -> set[int]:
        return {c // self.per_head for group in block.groups for c in group if c >= 0}

    def runs(self) -> list[tuple[int, int, int]]:
        """Runs of blocks of one form, with the same lanes, and of one head: head, first block, count."""
        return [(head, first, count) for (head,), first, count in runs(self.blocks, self._heads_of)]

    def groups(self, first: int, count: int) -> list[Group]:
        """The groups of some blocks."""
        return [group for block in self.blocks[first : first + count] for group in block.groups]

    def lane_channels(self, first: int, count: int) -> list[int]:
        """Channel of every lane of some blocks, group by group; of lanes without one that of another lane."""
        found = []
        for group in self.groups(first, count):
            some = next(c for c in group if c >= 0)
            found += [c if c >= 0 else some for c in group]
        return found


class HeadsKernel(HeadRows):
    """A row's product with a query's registers is a lane of the sums. Blocks of channels are loops, around tiles of
    queries side by side; a row is loaded once for all of a tile."""

    def __init__(
        self, net: Network, layer: Layer, places: dict[str, Place], options: Options, held: Held | None
    ) -> None:
        super().__init__(net, layer, places, options, held)
        self.heads = [Head(self.source.tensor, layer.groups, h) for h in range(layer.groups)]
        self.queries = min(QUERIES, self.width)

    def emit(self, em: Emitter) -> list[str]:
        """Write the layer's function; returns the text of its constant arrays."""
        text: list[str] = []
        extra = ", uint8_t *restrict scratch" if self.scratch else ""
        with em.block(f"SMOL_KERNEL {self.name}({parameters(self.layer)}{extra})"):
            em.line("v_begin();")
            self.epilogue.begin(em)
            self.begin(em, text)
            for number, (head, first, count) in enumerate(self.runs()):
                with em.block():
                    em.comment(f"head {head}: {count} blocks of {LANES * len(self.blocks[first].groups)} rows")
                    text += self.pack(em, number, head, first, count)
                    self._products(em, number, head, Tile(first, 1, "t", count, self._pixels()))
        em.line()
        return [*text, *self.epilogue.arrays()]

    def _pixels(self) -> tuple[tuple[int, int], ...]:
        return tuple((0, p) for p in range(self.queries))

    def _products(self, em: Emitter, number: int, head: int, tile: Tile) -> None:
        own, pixels, source = self.heads[head], range(self.queries), self.source
        lanes = [[lane for lane, c in enumerate(group) if c >= 0] for group in self.blocks[tile.first].groups]
        per = len(lanes)
        with em.loop("t", tile.times):
            for g, used in enumerate(lanes):
                for lane in used:
                    em.line(f"const uint8_t *row{g}{lane} = {self.row(number, head, per, g, lane)};", scalar=2)
            with self.tiles(em):
                self.epilogue.tile_corner(em)
                corner = f"{source.start()} + oy * {source.row_bytes} + ox * {source.pixel_bytes}"
                em.line(f"const uint8_t *x = in + {corner} + {own.first_byte};", scalar=3)
                for g in range(per):
                    for p in pixels:
                        em.line(f"vec a{g}_{p} = {self.first_sum(g, per)};")
                for vector, pattern in enumerate(own.patterns):
                    with em.block():
                        for p in pixels:
                            at = p * source.pixel_bytes + REGISTER_BYTES * vector
                            em.line(f"const vec x{p} = v_load(x + {at});")
                        for g, used in enumerate(lanes):
                            for lane in used:
                                with em.block():
                                    em.line(f"const vec row = v_load(row{g}{lane} + {REGISTER_BYTES * vector});")
                                    for p in pixels:
                                        em.line(f"v_dot({lane}, {pattern}, a{g}_{p}, row, x{p});")
                for p in pixels:
                    self.finish(em, head, p, [f"a{g}_{p}" for g in range(per)])
                self.epilogue.emit(em, tile, [[[f"a{g}_{p}" for g in range(per)] for p in pixels]])

    @contextmanager
    def tiles(self, em: Emitter) -> Iterator[None]:
        """Loops over tiles of queries with the corner ``oy``, ``ox``."""
        with em.loop("oy", self.height), em.loop("tx", -(-self.width // self.queries)):
            tile_origin(em, "ox", "tx", self.queries, self.width)
            yield

    # --- what differs ---

    def begin(self, em: Emitter, text: list[str]) -> None:
        """At the start of the kernel; ``text`` takes the constant arrays."""

    def pack(self, em: Emitter, number: int, head: int, first: int, count: int) -> Sequence[str]:
        """Make the rows of run ``number``, some blocks of a head; returns the text of constant arrays."""
        raise NotImplementedError

    def row(self, number: int, head: int, per: int, group: int, lane: int) -> str:
        """C expression: the row of a lane; ``t`` counts the run's blocks of ``per`` groups."""
        raise NotImplementedError

    def first_sum(self, group: int, per: int) -> str:
        """C expression that the sums of a group begin with."""
        return "v_zero()"

    def finish(self, em: Emitter, head: int, pixel: int, names: Sequence[str]) -> None:
        """Turn sums of a query into accumulators."""


def pixel_offsets(place: Place) -> list[int]:
    """First byte of every pixel of a tensor in its buffer, row by row."""
    t = place.tensor
    return [
        place.start() + y * place.row_bytes + x * place.pixel_bytes for y in range(t.height) for x in range(t.width)
    ]


def as_offsets(values: Sequence[int]) -> Array:
    """For constant arrays of places."""
    return np.array(values, dtype=np.int32)
