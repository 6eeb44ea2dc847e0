"""Depthwise convolutions of plain numbers: nothing is reduced over channels, so lanes are channels.

A tile is a few neighbouring output pixels of one row. Every input pixel of the tile is loaded once and meets all taps
that it takes part in; the weights of small kernels stay in registers over all tiles of a row or image.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import product

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import Epilogue, Tile, expand, lanes, plus, times
from sysmol.kernels_c.nest import tile_origin
from sysmol.kernels_c.nest.kernel import Kernel, parameters
from sysmol.kernels_c.plan.constants import activation_limits, array_text, identifier
from sysmol.kernels_c.plan.layout import Block, Place, segments
from sysmol.kernels_c.plan.options import DEFAULT, Options
from sysmol.network import Array, Layer, Network

HELD_TAPS = 9
"""Taps whose weights stay in registers over all tiles."""
CACHED = 32 * 1024
"""Bytes of activations up to which channels are the outermost loop, so that weights are loaded once."""


def tile_columns(width: int, most: int) -> int:
    """Pixels in a tile, at most ``most``: the fewest computed twice, then the longest tiles."""
    return min(range(1, min(width, most) + 1), key=lambda n: (-(-width // n) * n + 2 * -(-width // n), -n))


def window(layer: Layer, columns: int) -> list[tuple[int, list[tuple[int, int]]]]:
    """The input pixels that a tile of a layer reads in a row: (column, [(output pixel, kernel column)] where it is
    used)."""
    step, dilation = layer.stride[1], layer.dilation[1]
    uses: dict[int, list[tuple[int, int]]] = {}
    for p, tap in product(range(columns), range(layer.kernel[1])):
        uses.setdefault(p * step + tap * dilation, []).append((p, tap))
    return sorted(uses.items())


@contextmanager
def tiles(
    em: Emitter, count: int, height: int, width: int, columns: int, rows_outside: bool, weights: str,
    hold: Callable[[], None],
) -> Iterator[None]:  # fmt: skip
    """Loops over ``count`` blocks ``t``, rows ``oy`` and tiles of ``columns`` pixels from column ``ox`` on.

    ``weights`` is the address of a block's, as ``w`` from then on; ``hold`` may load them into registers. Both stand
    as far outside as they can.
    """
    outer, inner = em.loop("t", count), em.loop("oy", height)
    if rows_outside:
        outer, inner = inner, outer
    with ExitStack() as stack:
        stack.enter_context(outer)
        if rows_outside:
            stack.enter_context(inner)
        em.line(f"const uint8_t *w = {weights};", scalar=2)
        hold()
        if not rows_outside:
            stack.enter_context(inner)
        stack.enter_context(em.loop("tx", -(-width // columns)))
        tile_origin(em, "ox", "tx", columns, width)
        yield


class PlainDepthwise(Kernel):
    """Depthwise convolution of float tensors: four channels to a register, a few pixels at a time."""

    COLUMNS = 4

    def __init__(self, net: Network, layer: Layer, places: dict[str, Place], options: Options = DEFAULT) -> None:
        self.net = net
        self.layer = layer
        self.options = options
        self.name = identifier(layer.name)
        self.source = places[layer.input]
        self.blocks = self.source.blocks
        self.epilogue = Epilogue(net, layer, places, self.blocks)
        output = net.tensors[layer.targets[0]]
        self.height, self.width = output.height, output.width
        self.columns = tile_columns(self.width, self.COLUMNS)
        self.held = layer.kernel[0] * layer.kernel[1] <= HELD_TAPS
        self.rows_outside = self.source.bytes + places[layer.targets[0]].bytes > CACHED
        self.chains = 2 * self.columns
        self.chain_length = layer.kernel[0] * layer.kernel[1]

    # --- what the element type decides ---

    def prepare(self, first: int, count: int) -> None:
        """Decide what blocks ``first`` .. ``first + count - 1``, which run the same code, must share."""

    def weights(self, block: Block, taps: Array) -> Array:
        """Weights of a block from ``taps [KH * KW, C]``, in reading order, flat."""
        return lanes([block], taps).reshape(-1)

    def load_weights(self, em: Emitter, block: Block, tap: int, at: str) -> None:
        """Declare the weights ``w<tap>...`` of a tap."""
        for g in range(len(block.groups)):
            em.line(f"const vec w{tap}_{g} = v_load({plus(at, 16 * g)});")

    def begin(self, em: Emitter, block: Block) -> None:
        """Declare the accumulators."""
        for g in range(len(block.groups)):
            em.line(f"vec {', '.join(f'a{g}_{p}' for p in range(self.columns))};")

    def pixel(self, em: Emitter, block: Block, at: str) -> None:
        """Declare ``e...``: the input pixel at this address."""
        expand(em, self.source, [at], block, ["e"])

    def multiply(self, em: Emitter, block: Block, p: int, tap: int, fresh: set[tuple[int, int]]) -> None:
        """Multiply-accumulate the input pixel into output pixel ``p``; ``fresh`` accumulators are still to be set."""
        for g in range(len(block.groups)):
            product = f"v_fmul(e{g}, w{tap}_{g})" if (p, 0) in fresh else f"v_fmla(a{g}_{p}, e{g}, w{tap}_{g})"
            em.line(f"a{g}_{p} = {product};")
        fresh.discard((p, 0))

    def end(self, em: Emitter, block: Block) -> None:
        """Bring the accumulators into ``a<group>_<pixel>``."""

    # --- loop nest ---

    def emit(self, em: Emitter) -> list[str]:
        """Write the layer's function; returns the text of its constant arrays."""
        assert self.layer.weight is not None
        height, width, channels = self.layer.weight.shape
        taps = self.layer.weight.reshape(height * width, channels)
        packed = [self.weights(block, taps) for block in self.blocks]
        with em.block(f"SMOL_KERNEL {self.name}({parameters(self.layer)})"):
            em.line("v_begin();")
            self.epilogue.begin(em)
            start = 0
            for first, count in segments(self.blocks):
                size = packed[first].nbytes
                self.prepare(first, count)
                self._segment(em, first, count, plus(f"{self.name}_w", start, times("t", size)), size)
                start += size * count
        em.line()
        weights = array_text(f"{self.name}_w", np.concatenate(packed), f"weights of {self.layer.name}")
        return [weights, *self.epilogue.arrays()]

    def _segment(self, em: Emitter, first: int, count: int, weights: str, size: int) -> None:
        """Blocks of one form: loops over them, rows and tiles of pixels."""
        tile = Tile(first, 1, "t", count, tuple((0, column) for column in range(self.columns)))

        def hold() -> None:
            if self.held:
                self._load_weights(em, self.blocks[first], range(self.layer.kernel[0]), size)

        with tiles(em, count, self.height, self.width, self.columns, self.rows_outside, weights, hold):
            self._tile(em, tile, size)

    def _load_weights(self, em: Emitter, block: Block, rows: range, size: int) -> None:
        height, width = self.layer.kernel
        for ky in rows:
            for kx in range(width):
                tap = ky * width + kx
                self.load_weights(em, block, tap, plus("w", tap * size // (height * width)))

    def _tile(self, em: Emitter, tile: Tile, size: int) -> None:
        block = self.blocks[tile.first]
        height, width = self.layer.kernel
        sy, sx = self.layer.stride
        corner = plus(
            self.source.start(self.layer.padding[:2]),
            times("oy", sy * self.source.row_bytes),
            times("ox", sx * self.source.pixel_bytes),
            self.epilogue.block_at(self.source, tile, 0),
        )
        em.line(f"const uint8_t *x = in + {corner};", scalar=3)
        self.epilogue.tile_corner(em)
        self.begin(em, block)
        fresh = {(p, number) for p in range(self.columns) for number in range(height * width)}
        for ky in range(height):
            with em.block():
                if not self.held:
                    self._load_weights(em, block, range(ky, ky + 1), size)
                for column, uses in window(self.layer, self.columns):
                    with em.block():
                        row = ky * self.layer.dilation[0] * self.source.row_bytes
                        at = plus("x", row + column * self.source.pixel_bytes)
                        self.pixel(em, block, at)
                        for p, kx in uses:
                            self.multiply(em, block, p, ky * width + kx, fresh)
        self.end(em, block)
        accumulators = [[f"a{g}_{p}" for g in range(len(block.groups))] for p in range(self.columns)]
        self.epilogue.emit(em, tile, [accumulators])


class Int8Depthwise(PlainDepthwise):
    """Depthwise convolution of int8 tensors: eight channels widened to 16 bits.

    Products are added in 16 bits as far as the weights prove it safe, whatever the activations: the taps are spread
    over the fewest *windows* of which no channel's sum leaves 16 bits. The windows' sums are added in 32.
    """

    COLUMNS = 8

    def prepare(self, first: int, count: int) -> None:
        assert self.layer.weight is not None
        height, width, channels = self.layer.weight.shape
        own = [c for block in self.blocks[first : first + count] for g in block.groups for c in g if c >= 0]
        taps = self.layer.weight.reshape(height * width, channels)[:, own].astype(np.int64)
        limits = activation_limits(self.net, self.layer.input)
        sides = [taps * limit for limit in limits]
        self.windows = spread(np.maximum(*sides), np.minimum(*sides))
        count = max(self.windows) + 1
        self.columns = tile_columns(self.width, max(1, min(self.COLUMNS, 16 // count)))
        self.chains = max(self.chains, count * self.columns)

    def weights(self, block: Block, taps: Array) -> Array:
        own = lanes([block], taps.astype(np.int16)).reshape(len(taps), -1)
        return np.pad(own, ((0, 0), (0, 8 - own.shape[1]))).reshape(-1)

    def load_weights(self, em: Emitter, block: Block, tap: int, at: str) -> None:
        em.line(f"const vec16 w{tap} = v_load16({at});")

    def begin(self, em: Emitter, block: Block) -> None:
        em.line("v_begin16();")
        for p in range(self.columns):
            em.line(f"vec16 {', '.join(f's{number}_{p}' for number in range(max(self.windows) + 1))};")

    def pixel(self, em: Emitter, block: Block, at: str) -> None:
        em.line(f"const vec16 e = v_load_s8x8({at});")

    def multiply(self, em: Emitter, block: Block, p: int, tap: int, fresh: set[tuple[int, int]]) -> None:
        number = self.windows[tap]
        operation = "v_mul8x16" if (p, number) in fresh else "v_mla8x16"
        em.line(f"{operation}(s{number}_{p}, e, w{tap});")
        fresh.discard((p, number))

    def end(self, em: Emitter, block: Block) -> None:
        count = max(self.windows) + 1
        for p in range(self.columns):
            em.line(f"vecpair d{p} = {f'v_wide_sum(s0_{p}, s1_{p})' if count > 1 else f'v_wide(s0_{p})'};")
            for number in range(2, count):
                em.line(f"v_wide_add(d{p}, s{number}_{p});")
        em.line("v_begin();")
        for g in range(len(block.groups)):
            for p in range(self.columns):
                em.line(f"vec a{g}_{p} = {'v_high' if g else 'v_low'}(d{p});")


def spread(most: Array, least: Array) -> list[int]:
    """Window of every tap, for products of at most ``most`` and at least ``least``, both ``[taps, channels]``.

    The fewest windows for which largest-first placement finds sums in 16 bits.
    """
    order = np.argsort(-np.maximum(most, -least).max(axis=1), kind="stable")
    for count in range(1, len(most) + 1):
        up, down = np.zeros((count, most.shape[1]), np.int64), np.zeros((count, most.shape[1]), np.int64)
        result = [0] * len(most)
        for tap in order:
            reach = np.maximum((up + most[tap]).max(axis=1), -(down + least[tap]).min(axis=1) - 1)
            best = int(reach.argmin())
            result[tap] = best
            up[best] += most[tap]
            down[best] += least[tap]
        if up.max() <= 32767 and down.min() >= -32768:
            used = sorted(set(result))
            return [used.index(number) for number in result]
    raise AssertionError("a product of two bytes fits 16 bits")
