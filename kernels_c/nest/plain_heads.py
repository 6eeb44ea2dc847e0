"""Attention's products of bytes and of floats: what stands where weights stand comes from memory.

The rows of a tile (keys, or channels of values) are brought into the order in which the micro-kernels of convolutions
read weights, in the caller's memory, once for all queries; then queries run over them as pixels run over weights.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from sysmol.errors import SysmolError
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import Tile, plus, times
from sysmol.kernels_c.micro.base import MicroKernel
from sysmol.kernels_c.micro.lane import LaneDot, LaneFloat
from sysmol.kernels_c.micro.rvv import RvvFloat, WideBytes
from sysmol.kernels_c.nest.base import tile_origin
from sysmol.kernels_c.nest.heads import LANES, HeadRows, as_offsets, pixel_offsets
from sysmol.kernels_c.nest.kernel import parameters
from sysmol.kernels_c.plan.constants import array_text
from sysmol.kernels_c.plan.heuristic import choose
from sysmol.kernels_c.plan.layout import ELEMENT_BYTES, Block, Place
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer, Network, Tensor
from sysmol.network.operations.attend import BYTE_PRODUCT_BITS, MEAN_BITS
from sysmol.pattern import REGISTER_BYTES
from sysmol.schedule import Schedule

WORD_BYTES = 4


class PlainHeads(HeadRows):
    """``depth`` elements of a query and of a row meet."""

    KINDS: ClassVar[tuple[type[MicroKernel], ...]] = (LaneDot, LaneFloat, RvvFloat, WideBytes)

    def __init__(self, net: Network, layer: Layer, places: dict[str, Place], target: Target, options: Options) -> None:
        super().__init__(net, layer, places, options)
        t = self.source.tensor
        self.depth = t.channels // layer.groups
        self.format = t.format
        self.size = ELEMENT_BYTES[self.format]
        for place in (self.source, self.second):
            if place.positions() != list(range(place.tensor.channels)):
                raise SysmolError(
                    f"layer {layer.name}: the channels of {place.tensor.name} must lie in their own order"
                )
        self.part = Place(Tensor(t.name, t.height, t.width, self.depth, t.format), (), flat=True)
        self.plain = Layer(layer.name, "conv2d", layer.input)
        self.kind = next(kind for kind in self.KINDS if kind.serves(self.plain, self.part, target))
        most = -(-self.per_head // 8)
        self.tile_shape = choose(self.height, self.width, most, self.kind.style, self.kind.work, options.core)

    @property
    def wide(self) -> bool:
        """Whether rows are kept in 16 bits."""
        return self.kind is WideBytes

    @property
    def steps(self) -> int:
        """Registers of a group of rows: each has a word of every row, or an element of eight."""
        return self.depth if self.wide else -(-self.depth * self.size // WORD_BYTES)

    def micro(self, blocks: Sequence[Block], shape: Schedule) -> MicroKernel:
        """Micro-kernel of a tile of ``blocks``."""
        made = self.kind(self.plain, self.part, blocks, shape, (-128, 127))
        made.at = [r * self.source.row_bytes + c * self.source.pixel_bytes for r, c in made.pixels]
        return made

    def tiles(self) -> Iterator[tuple[int, Tile]]:
        """Head and tile: full ones of a run of blocks, and one of what is left."""
        per = max(1, self.tile_shape.channels // 8)
        pixels = tuple((r, c) for r in range(self.tile_shape.rows) for c in range(self.tile_shape.columns))
        for head, first, count in self.runs():
            full, rest = divmod(count, per)
            if full:
                yield head, Tile(first, per, "t", full, pixels)
            if rest:
                yield head, Tile(first + full * per, rest, "t", 1, pixels)

    def emit(self, em: Emitter) -> list[str]:
        """Write the layer's function; returns the text of its constant arrays."""
        text: list[str] = []
        with em.block(f"SMOL_KERNEL {self.name}({parameters(self.layer)}, uint8_t *restrict scratch)"):
            em.line("v_begin();")
            self.epilogue.begin(em)
            self.begin(em, text)
            for number, (head, tile) in enumerate(self.tiles()):
                blocks = self.blocks[tile.first : tile.first + tile.count]
                with em.block():
                    em.comment(f"head {head}: {tile.times} tiles of {LANES * self.group_count(blocks)} rows")
                    with em.loop("t", tile.times):
                        em.line("uint8_t *rows = scratch;")
                        text += self.pack(em, number, head, tile)
                        if self.wide:
                            em.line("v_begin();")
                        self._products(em, head, tile, self.micro(blocks, self.tile_shape))
        em.line()
        return [*text, *self.epilogue.arrays()]

    def _products(self, em: Emitter, head: int, tile: Tile, micro: MicroKernel) -> None:
        source, shape = self.source, self.tile_shape
        self.chains, self.chain_length = max(self.chains, micro.count), micro.chain
        with em.loop("ty", -(-self.height // shape.rows)):
            tile_origin(em, "oy", "ty", shape.rows, self.height)
            with em.loop("tx", -(-self.width // shape.columns)):
                tile_origin(em, "ox", "tx", shape.columns, self.width)
                self.epilogue.tile_corner(em)
                corner = plus(source.start(), times("oy", source.row_bytes), times("ox", source.pixel_bytes))
                em.line(f"const uint8_t *x = in + {corner} + {head * self.depth * self.size};", scalar=3)
                em.line("const uint8_t *w = rows;")
                micro.begin(em)
                micro.row(em)
                micro.end(em)
                sums = micro.accumulators()
                for p, (row, column) in enumerate(micro.pixels):
                    pixel = f"({plus('oy', row)}) * {self.width} + {plus('ox', column)}"
                    self.finish(em, head, pixel, [name for block in sums for name in block[p]])
                self.epilogue.emit(em, tile, sums)

    @staticmethod
    def group_count(blocks: Sequence[Block]) -> int:
        """Groups of four rows."""
        return sum(len(block.groups) for block in blocks)

    def registers(self, blocks: Sequence[Block]) -> int:
        """Registers of a step's rows."""
        return len(blocks) if self.wide else self.group_count(blocks)

    @property
    def rows_bytes(self) -> int:
        """Of the rows of the largest tile, and what a store may write behind them."""
        tiles = [self.blocks[tile.first : tile.first + tile.count] for _, tile in self.tiles()]
        return REGISTER_BYTES * (self.steps * max(self.registers(blocks) for blocks in tiles) + 2)

    @property
    def scratch(self) -> int:
        return self.rows_bytes

    # --- what differs ---

    def begin(self, em: Emitter, text: list[str]) -> None:
        """At the start of the kernel; ``text`` takes the constant arrays."""

    def pack(self, em: Emitter, number: int, head: int, tile: Tile) -> Sequence[str]:
        """Bring the rows of tile ``t`` to ``rows``; returns the text of constant arrays."""
        raise NotImplementedError

    def finish(self, em: Emitter, head: int, pixel: str, names: Sequence[str]) -> None:
        """Turn sums of a query, whose number is the C expression ``pixel``, into accumulators."""


class PlainScores(PlainHeads):
    """A row is a key."""

    def pack(self, em: Emitter, number: int, head: int, tile: Tile) -> Sequence[str]:
        """Word by word; of the last words of keys that are no whole number of them, the bytes behind count as 0."""
        blocks = self.blocks[tile.first : tile.first + tile.count * tile.times]
        per = self.group_count(blocks) // tile.times
        pixels, at = pixel_offsets(self.second), f"{self.name}_at{number}"
        lanes = self.lane_channels(tile.first, len(blocks))
        offsets = [pixels[c % self.per_head] + head * self.depth * self.size for c in lanes]
        for lane in range(LANES * per):
            index = plus(times("t", LANES * per) if tile.times > 1 else "", lane)
            em.line(f"const uint8_t *key{lane} = second + m_get_s32({at}, {index});", scalar=1)
        if self.wide:
            self._wide(em, tile)
        else:
            whole, rest = divmod(self.depth * self.size, WORD_BYTES)
            with em.loop("s", whole):
                self._words(em, per, "s", "")
            if rest:
                with em.block():
                    self._words(em, per, str(whole), f" & 0x{(1 << 8 * rest) - 1:x}u")
        return [array_text(at, as_offsets(offsets), f"every row's key of head {head}")]

    def _words(self, em: Emitter, per: int, step: str, mask: str) -> None:
        for lane in range(LANES * per):
            to = f"rows + {step} * {REGISTER_BYTES * per} + {WORD_BYTES * lane}"
            em.line(f"m_store32({to}, m_load32(key{lane} + {WORD_BYTES} * {step}){mask});")

    def _wide(self, em: Emitter, tile: Tile) -> None:
        blocks = self.blocks[tile.first : tile.first + tile.count]
        with em.loop("s", self.depth):
            lane = 0
            for k, block in enumerate(blocks):
                for own in range(LANES * len(block.groups)):
                    to = f"rows + s * {REGISTER_BYTES * len(blocks)} + {REGISTER_BYTES * k + 2 * own}"
                    em.line(f"m_store16({to}, (uint32_t)m_get_s8(key{lane}, s));")
                    lane += 1


class PlainAttend(PlainHeads):
    """A row is a channel of the values; tokens along it. Sums of bytes are divided by those of the weights."""

    @property
    def scratch(self) -> int:
        shares = 8 * self.height * self.width * self.layer.groups if self.format == "s8" else 0
        return self.rows_bytes + shares

    def begin(self, em: Emitter, text: list[str]) -> None:
        """Shift and factor of every query and head; where the tokens' pixels are."""
        text.append(array_text(f"{self.name}_token", as_offsets(pixel_offsets(self.second)), "pixels of the tokens"))
        text.append(array_text(f"{self.name}_none", np.zeros(REGISTER_BYTES, np.uint8), "values of no token"))
        if self.format != "s8":
            return
        em.line(f"uint8_t *shares = scratch + {self.rows_bytes};", scalar=1)
        full, rest = divmod(self.depth, LANES)
        source, heads = self.source, self.layer.groups
        with em.loop("y", self.height), em.loop("x", self.width), em.loop("head", heads):
            corner = f"{source.start()} + y * {source.row_bytes} + x * {source.pixel_bytes} + head * {self.depth}"
            em.line(f"const uint8_t *weights = in + {corner};", scalar=3)
            em.line("vec sum = v_zero();")
            with em.loop("i", full):
                em.line(f"sum = v_add(sum, v_load_s8(weights + {LANES} * i));")
            em.line("uint32_t total = v_hsum(sum, zero);")
            with em.loop("i", rest):
                em.line(f"total += (uint32_t)m_get_s8(weights, {LANES * full} + i);", scalar=1)
            em.line("int32_t shift;")
            em.line("const int32_t share = (int32_t)m_byte_share(total, &shift);")
            at = f"2 * ((y * {self.width} + x) * {heads} + head)"
            em.line(f"m_put_s32(shares, {at}, shift);", scalar=2)
            em.line(f"m_put_s32(shares, {at} + 1, share);")

    def finish(self, em: Emitter, head: int, pixel: str, names: Sequence[str]) -> None:
        if self.format != "s8":
            return
        with em.block():
            em.line(f"const int at = 2 * (({pixel}) * {self.layer.groups} + {head});", scalar=3)
            em.line("const int shift = m_get_s32(shares, at);")
            em.line("const vec share = v_dup((uint32_t)m_get_s32(shares, at + 1));")
            for name in names:
                em.line(f"{name} = v_sra(v_mul(v_sra({name}, shift), share), {BYTE_PRODUCT_BITS - MEAN_BITS});")

    def pack(self, em: Emitter, number: int, head: int, tile: Tile) -> Sequence[str]:
        blocks = self.blocks[tile.first : tile.first + tile.count * tile.times]
        per = self.group_count(blocks) // tile.times
        first = [next(c for c in group if c >= 0) for block in blocks for group in block.groups]
        base = plus(self.size * first[0], times("t", self.size * LANES * per) if tile.times > 1 else "")
        if self.wide:
            self._wide(em, base, tile)
        elif self.format == "f32":
            with em.loop("s", self.depth):
                em.line(f"const uint8_t *value = second + m_get_s32({self.name}_token, s) + {base};", scalar=1)
                for g in range(per):
                    to = f"rows + s * {REGISTER_BYTES * per} + {REGISTER_BYTES * g}"
                    em.line(f"v_store({to}, v_load(value + {REGISTER_BYTES * g}));")
        else:
            self._bytes(em, base, per)
        return []

    def _bytes(self, em: Emitter, base: str, per: int) -> None:
        """Four tokens of a channel to a word; behind the last one there is none."""
        full, rest = divmod(self.depth, WORD_BYTES)

        def words(step: str, count: int) -> None:
            for n in range(WORD_BYTES):
                value = f"second + m_get_s32({self.name}_token, {WORD_BYTES} * {step} + {n}) + {base}"
                em.line(f"const uint8_t *v{n} = {value if n < count else f'{self.name}_none'};", scalar=1)
            for g in range(0, per, 2):
                to = f"rows + {step} * {REGISTER_BYTES * per} + {REGISTER_BYTES * g}"
                own = [plus(f"v{n}", LANES * g if n < count else 0) for n in range(WORD_BYTES)]
                em.line(f"m_interleave8({to}, {', '.join(own)});")

        if full:
            with em.loop("s", full):
                words("s", WORD_BYTES)
        if rest:
            with em.block():
                words(str(full), rest)

    def _wide(self, em: Emitter, base: str, tile: Tile) -> None:
        em.line("v_begin16();")
        with em.loop("s", self.depth):
            em.line(f"const uint8_t *value = second + m_get_s32({self.name}_token, s) + {base};", scalar=1)
            for k in range(tile.count):
                to = f"rows + s * {REGISTER_BYTES * tile.count} + {REGISTER_BYTES * k}"
                em.line(f"v_store16({to}, v_load_s8x8(value + {8 * k}));")
