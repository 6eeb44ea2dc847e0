"""SMOL matrix multiply-accumulates: two pixels x two output channels in one accumulator, or x four in 16-bit lanes."""

from collections.abc import Sequence

import numpy as np

from sysmol.grid import integer
from sysmol.isa import ALIGN, FORMS, PIECES, Form
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import plus
from sysmol.kernels_c.micro.base import MicroKernel
from sysmol.kernels_c.plan.heuristic import CORE, Core
from sysmol.kernels_c.plan.layout import Block, Place
from sysmol.kernels_c.targets import Target
from sysmol.network import Array, Layer
from sysmol.packing import slot_precisions, unpack
from sysmol.pattern import CHUNK_BITS, REGISTER_BYTES, chunk_precisions
from sysmol.schedule import Schedule

HALF, WORD = REGISTER_BYTES // 2, REGISTER_BYTES // 4
CHUNK_BYTES = CHUNK_BITS // 8
PIECE_IDS = {piece.chunks: number for number, piece in enumerate(PIECES) if not piece.shift}


FORM_IDS = {p: FORMS.index(Form((p,) * (WORD // CHUNK_BYTES), p)) for p in (4, 2, 1)}
"""Forms of words of one precision, whose sums count products as they are."""
LANE_MOST = (1 << 15) - 1


def direct_distance(layer: Layer, source: Place) -> int:
    """Output pixels whose first taps lie 8 bytes apart, 0 where none do."""
    step = layer.stride[1] * source.pixel_bytes
    return HALF // step if HALF % step == 0 else 0


def pixel_pairs(schedule: Schedule, apart: int) -> list[tuple[int, int]]:
    """Pixels of a tile two by two: ``apart`` columns from each other where that covers a row, else neighbours; an odd
    last pixel is paired with itself."""
    columns = schedule.columns
    if apart and columns % (2 * apart) == 0:
        firsts = [first + j for first in range(0, columns, 2 * apart) for j in range(apart)]
        return [(r * columns + c, r * columns + c + apart) for r in range(schedule.rows) for c in firsts]
    last = schedule.pixels - 1
    return [(p, min(p + 1, last)) for p in range(0, schedule.pixels, 2)]


def row_pieces(layer: Layer, source: Place) -> list[int]:
    """Piece pattern of every 8 bytes of a kernel row, which lies in memory as one run of pixels; the last may hold less
    than 8 bytes of the row, and its pattern leaves the others out."""
    per_pixel = [p for number in source.tensor.patterns for p in chunk_precisions(number)]
    run = per_pixel[: source.pixel_bytes // CHUNK_BYTES] * layer.kernel[1]
    per_half = HALF // CHUNK_BYTES
    return [PIECE_IDS[tuple(run[at : at + per_half])] for at in range(0, len(run), per_half)]


class SmolMatrix(MicroKernel):
    """SMOL ``vmm.w``: a register of weights holds 8 bytes of a kernel row for each of two output channels, one of
    activations the same bytes of two pixels.

    ``apart``: pixels of a tile's row between those of a pair. Where narrow pixels lie so that 16 bytes of memory are
    such a register, it is loaded (``direct``); elsewhere the registers of two pixels are exchanged into two, one vector
    operation for each. In the end two accumulators of a pair of pixels are exchanged into a pixel's four channels each.
    An odd last pixel is paired with itself.
    """

    style = "vmm"

    def __init__(
        self, layer: Layer, source: Place, blocks: Sequence[Block], schedule: Schedule, limits: tuple[int, int]
    ) -> None:
        super().__init__(layer, source, blocks, schedule, limits)
        self.pieces = row_pieces(layer, source)
        self.apart = direct_distance(layer, source)
        self.direct = self.apart > 0 and schedule.columns % (2 * self.apart) == 0
        self.pairs = pixel_pairs(schedule, self.apart)

    @classmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        if source.tensor.format != "smol" or layer.groups > 1 or layer.dilation != (1, 1):
            return False
        per_pixel = [p for number in source.tensor.patterns for p in chunk_precisions(number)]
        return bool(source.narrow) or len(per_pixel) * CHUNK_BYTES == source.pixel_bytes

    @classmethod
    def words(cls, layer: Layer, source: Place) -> list[tuple[str, int]]:
        return [("vmm.w", piece) for piece in row_pieces(layer, source)]

    @classmethod
    def work(cls, blocks: int, pixels: int, core: Core = CORE) -> float:
        """Per 8 bytes: ``vmm.w``, exchanges for half of the layers, loads."""
        pairs = -(-pixels // 2)
        loads = 4 * blocks + pairs
        # A tile with more channels stores wider words of fewer pixels.
        return max(4 * blocks * pairs + pairs / 2, core.chain / 4) + core.load * loads + 1 / blocks

    @property
    def side_by_side(self) -> bool:
        """Whether all pairs are of two pixels of a row, equally far apart."""
        columns = self.schedule.columns
        return len({b - a for a, b in self.pairs}) == 1 and all(
            a < b and a // columns == b // columns for a, b in self.pairs
        )

    def sums(self) -> list[list[list[str]]]:
        """C variables ``[group][pair]`` of the two registers of a group of four channels and a pair of pixels."""
        return [[[f"m{g}_{h}_{q}" for h in range(2)] for q in range(len(self.pairs))] for g in range(self.groups)]

    @property
    def count(self) -> int:
        return 2 * self.groups * len(self.pairs)

    @property
    def chain(self) -> int:
        return len(self.pieces)

    def begin(self, em: Emitter) -> None:
        for q in range(len(self.pairs)):
            for g in range(self.groups):
                em.line(f"vec m{g}_0_{q} = v_clear(), m{g}_1_{q} = v_clear();")

    def end(self, em: Emitter) -> None:
        for q, (first, second) in enumerate(self.pairs):
            for g in range(self.groups):
                # The first may overwrite a register that the second needs.
                if second != first:
                    em.line(f"vec a{g}_{second} = v_zip_high(m{g}_0_{q}, m{g}_1_{q});")
                em.line(f"vec a{g}_{first} = v_zip_low(m{g}_0_{q}, m{g}_1_{q});")

    def _products(self, em: Emitter, number: int, piece: int, activations: Sequence[str]) -> None:
        """One unit of 8 bytes with all pairs of channels and of pixels; its weights are the ``number``-th of a step."""
        for g in range(self.groups):
            for h in range(2):
                with em.block():
                    at = REGISTER_BYTES * (2 * (number * self.groups + g) + h)
                    em.line(f"const vec wg = v_load({plus('w', at)});")
                    for q, x in enumerate(activations):
                        em.line(f"v_mmw({piece}, m{g}_{h}_{q}, {x}, wg);")

    def _loaded(self, em: Emitter, units: Sequence[int]) -> None:
        """Units whose registers memory holds, from ``x`` on."""
        for number, unit in enumerate(units):
            with em.block():
                for q, (first, _) in enumerate(self.pairs):
                    em.line(f"const vec y{q} = v_load({plus('x', HALF * number + self.at[first])});")
                self._products(em, number, unit, [f"y{q}" for q in range(len(self.pairs))])

    def _exchanged(self, em: Emitter, units: Sequence[int]) -> None:
        """Units two by two, of registers with 16 bytes of a pixel's taps."""
        for number in range(0, len(units), 2):
            two = units[number : number + 2]
            with em.block():
                for q, pair in enumerate(self.pairs):
                    for side, p in zip("nm", pair, strict=True):
                        em.line(f"const vec {side}{q} = v_load({plus('x', HALF * number + self.at[p])});")
                    # The first may overwrite a register that the second needs.
                    for s in reversed(range(len(two))):
                        em.line(f"const vec y{s}_{q} = v_zip_{('low', 'high')[s]}(n{q}, m{q});")
                for s, unit in enumerate(two):
                    self._products(em, number + s, unit, [f"y{s}_{q}" for q in range(len(self.pairs))])

    def _units(self, em: Emitter, units: Sequence[int], advance: bool) -> None:
        (self._loaded if self.direct else self._exchanged)(em, units)
        if advance:
            em.line(f"x += {HALF * len(units)};", scalar=1)
        em.line(f"w += {2 * REGISTER_BYTES * self.groups * len(units)};", scalar=1)

    def row(self, em: Emitter) -> None:
        if self.source.narrow:
            with em.block():
                self._units(em, self.pieces, advance=False)
            return
        width = self.layer.kernel[1]
        per = len(self.pieces) // width
        pixel = self.pieces[:per]
        if pixel == pixel[:2] * (per // 2):
            with em.loop("i", width * per // 2):
                self._units(em, pixel[:2], advance=True)
            return
        with em.loop("kx", width):
            self._units(em, pixel, advance=True)

    def pack(self, weight: Array) -> Array:
        # uint8 [K, KH, KW, V, 16] -> [KH, units, groups, 2, 2, 8]
        count, height, width = weight.shape[:3]
        row = weight.reshape(count, height, width, -1)[..., : self.source.pixel_bytes].reshape(count, height, -1)
        row = np.pad(row, ((0, 0), (0, 0), (0, HALF * len(self.pieces) - row.shape[-1])))
        channels = np.array([group for block in self.blocks for group in block.groups])  # [groups, 4]
        picked = row.reshape(count, height, -1, HALF)[np.maximum(channels, 0)]  # [groups, 4, KH, units, 8]
        pairs = picked.reshape(self.groups, 2, 2, height, -1, HALF)
        return np.ascontiguousarray(np.transpose(pairs, (3, 4, 0, 1, 2, 5)))


def largest_sum(layer: Layer, source: Place) -> int:
    """Bound on the sums of products of a tensor of one precision, as they are, over all taps and slots of a pixel."""
    assert layer.weight is not None
    patterns = source.tensor.patterns
    precisions = slot_precisions(patterns)
    read = np.cumsum(precisions) <= 8 * source.pixel_bytes
    weights = np.abs(integer(unpack(layer.weight, patterns), precisions))[..., read]
    return int((weights * ((1 << precisions[read]) - 1)).sum(axis=(1, 2, 3)).max())


class SmolMatrixHalf(MicroKernel):
    """SMOL ``vmm.h``: a register of weights holds 4 bytes of a kernel row for each of four output channels, one of
    activations 8 bytes of two pixels, of which field6 chooses 4.

    For narrow tensors whose sums fit 16 bits. Pairs of pixels as in :class:`SmolMatrix`; a register serves all taps and
    pairs whose 4 bytes lie in it. In the end a pair's accumulator is widened to a pixel's four channels each.
    """

    style = "vmmh"

    def __init__(
        self, layer: Layer, source: Place, blocks: Sequence[Block], schedule: Schedule, limits: tuple[int, int]
    ) -> None:
        super().__init__(layer, source, blocks, schedule, limits)
        apart = direct_distance(layer, source)
        self.direct = apart > 0 and schedule.columns % (2 * apart) == 0
        self.pairs = pixel_pairs(schedule, apart)
        self.units = source.pixel_bytes * layer.kernel[1] // WORD
        self.form = self.form_of(source)

    @staticmethod
    def form_of(source: Place) -> int:
        return FORM_IDS[chunk_precisions(source.tensor.patterns[0])[0]]

    @classmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        # With 8 bytes vmm.w needs no more instructions, and codes alone no exchange of its sums.
        suits = source.narrow == WORD or (source.narrow == HALF and bool(layer.residual or len(layer.targets) > 1))
        return suits and SmolMatrix.serves(layer, source, target) and largest_sum(layer, source) <= LANE_MOST

    @classmethod
    def words(cls, layer: Layer, source: Place) -> list[tuple[str, int]]:
        return [("vmm.h", cls.form_of(source) | words << 4) for words in range(2)]

    @classmethod
    def unit_shift(cls, source: Place) -> int:
        return ALIGN[FORMS[cls.form_of(source)].unit]

    @classmethod
    def work(cls, blocks: int, pixels: int, core: Core = CORE) -> float:
        """Per 4 bytes: ``vmm.h``, loads of weights, and of activations that two units share."""
        pairs = -(-pixels // 2)
        # A tile with more channels stores wider words of fewer pixels.
        return max(2 * blocks * pairs, core.chain / 4) + core.load * (2 * blocks + pairs / 2) + 2 / blocks

    @property
    def count(self) -> int:
        return self.groups * len(self.pairs)

    @property
    def chain(self) -> int:
        return self.units

    def begin(self, em: Emitter) -> None:
        for q in range(len(self.pairs)):
            for g in range(self.groups):
                em.line(f"vec h{g}_{q} = v_clear();")

    def end(self, em: Emitter) -> None:
        for q, (first, second) in enumerate(self.pairs):
            for g in range(self.groups):
                if second != first:
                    em.line(f"vec a{g}_{second} = v_half16_high(h{g}_{q});")
                em.line(f"vec a{g}_{first} = v_half16_low(h{g}_{q});")

    def _operand(self, pair: int, unit: int) -> tuple[int, int]:
        """Byte offset of the register that holds a unit of a pair of pixels, a multiple of 8, and which words of it."""
        at = self.at[self.pairs[pair][0]] + WORD * unit
        return at // HALF * HALF, at // WORD % 2

    def row(self, em: Emitter) -> None:
        with em.block():
            places = [[self._operand(q, u) for q in range(len(self.pairs))] for u in range(self.units)]
            if self.direct:
                for at in sorted({at for unit in places for at, _ in unit}):
                    em.line(f"const vec x{at} = v_load({plus('x', at)});")
            for u, unit in enumerate(places):
                with em.block():
                    if self.direct:
                        operands = [(f"x{at}", words) for at, words in unit]
                    else:
                        operands = [(f"y{q}", u % 2) for q in range(len(self.pairs))]
                        self._exchange(em, u)
                    for g in range(self.groups):
                        em.line(f"const vec w{g} = v_load({plus('w', REGISTER_BYTES * (u * self.groups + g))});")
                        for q, (x, words) in enumerate(operands):
                            em.line(f"v_mmh({self.form | words << 4}, h{g}_{q}, {x}, w{g});")
            em.line(f"w += {REGISTER_BYTES * self.groups * self.units};", scalar=1)

    def _exchange(self, em: Emitter, unit: int) -> None:
        """The 8 bytes of each of two pixels in which the unit lies, side by side."""
        for q, pair in enumerate(self.pairs):
            first, second = (plus("x", self.at[p] + WORD * unit // HALF * HALF) for p in pair)
            em.line(f"const vec y{q} = v_zip_low(v_load({first}), v_load({second}));")

    def pack(self, weight: Array) -> Array:
        # uint8 [K, KH, KW, 1, 16] -> [KH, units, groups, 4, 4]
        count, height = weight.shape[:2]
        row = weight[..., 0, : self.source.pixel_bytes].reshape(count, height, self.units, WORD)
        channels = np.array([group for block in self.blocks for group in block.groups])  # [groups, 4]
        return np.ascontiguousarray(np.transpose(row[np.maximum(channels, 0)], (2, 3, 0, 1, 4)))
