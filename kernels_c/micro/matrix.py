"""SMOL matrix multiply-accumulates: two pixels x two output channels in one accumulator, or x four in 16-bit lanes."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from sysmol.grid import integer
from sysmol.isa import ALIGN, FORMS, PIECES, Form
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import plus
from sysmol.kernels_c.micro.base import MicroKernel
from sysmol.kernels_c.plan.heuristic import CORE, Core
from sysmol.kernels_c.plan.lanes16 import LANE_MOST, Sums
from sysmol.kernels_c.plan.layout import Block, Place
from sysmol.kernels_c.targets import Target
from sysmol.network import Array, Layer
from sysmol.packing import slot_precisions, unpack
from sysmol.pattern import CHUNK_BITS, REGISTER_BYTES, chunk_precisions
from sysmol.schedule import Schedule

HALF, WORD = REGISTER_BYTES // 2, REGISTER_BYTES // 4
CHUNK_BYTES = CHUNK_BITS // 8
PIECE_IDS = {piece.chunks: number for number, piece in enumerate(PIECES) if not piece.shift}
SHIFTED_IDS = {piece.chunks: number for number, piece in enumerate(PIECES) if piece.shift}
"""Pieces whose products are shifted left by 4 besides."""
FORM_IDS = {
    (p, unit): FORMS.index(Form((p,) * (WORD // CHUNK_BYTES), unit))
    for p in (4, 2, 1)
    for unit in (4, 2, 1)
    if unit >= p
}
"""Forms of words of one precision, by that and their unit. In that of the codes, sums count products as they are."""
REACH = 2032
"""Largest offset of a register that a load reaches: RISC-V's end at 2047."""
FINE_MOST = LANE_MOST * 3 // 4
"""Sums in a finer unit may reach this much of a lane: what the epilogue adds to them needs the rest."""


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


def side_by_side(pairs: Sequence[tuple[int, int]], columns: int) -> bool:
    """Whether all pairs are of two pixels of a row of that many, equally far apart."""
    return len({b - a for a, b in pairs}) == 1 and all(a < b and a // columns == b // columns for a, b in pairs)


def chunks(source: Place) -> list[int]:
    """The precision of every chunk of a pixel's registers."""
    return [p for number in source.tensor.patterns for p in chunk_precisions(number)]


def row_pieces(layer: Layer, source: Place) -> list[int]:
    """Piece pattern of every 8 bytes of a kernel row, which lies in memory as one run of pixels; the last may hold less
    than 8 bytes of the row, and its pattern leaves the others out."""
    run = chunks(source)[: source.pixel_bytes // CHUNK_BYTES] * layer.kernel[1]
    per_half = HALF // CHUNK_BYTES
    return [PIECE_IDS[tuple(run[at : at + per_half])] for at in range(0, len(run), per_half)]


def filled(source: Place, size: int) -> list[bool]:
    """Which of a pixel's parts of ``size`` bytes hold a channel."""
    ends = np.cumsum(slot_precisions(source.tensor.patterns))[source.tensor.slots]
    holding = set(((ends - 1) // (8 * size)).tolist())
    return [part in holding for part in range(source.pixel_bytes // size)]


def slots_in(source: Place, parts: Sequence[bool], size: int) -> Array:
    """The slots of a pixel that lie in the chosen ones of its parts of ``size`` bytes, bool ``[slots]``."""
    part = (np.cumsum(slot_precisions(source.tensor.patterns)) - 1) // (8 * size)
    chosen: Array = np.array([*parts, False])[np.minimum(part, len(parts))]
    return chosen


def kept_halves(source: Place) -> list[bool]:
    """Which parts of 8 bytes of a pixel of whole registers are multiplied: those that hold a channel, and the first of
    a register whose second does."""
    own = filled(source, HALF)
    return [part or (at % 2 == 0 and own[at + 1]) for at, part in enumerate(own)]


class PairedPixels(MicroKernel):
    """Kernels whose registers hold sums of two pixels: ``pairs``, ``apart`` columns from each other; ``direct`` where
    memory holds registers of a pair's activations."""

    def __init__(
        self, layer: Layer, source: Place, blocks: Sequence[Block], schedule: Schedule, limits: tuple[int, int]
    ) -> None:
        super().__init__(layer, source, blocks, schedule, limits)
        self.apart = direct_distance(layer, source)
        self.direct = self.apart > 0 and schedule.columns % (2 * self.apart) == 0
        self.pairs = pixel_pairs(schedule, self.apart)
        self.moved = 0
        """Bytes of weights behind which the pointer to a row's stands."""

    def weights(self, em: Emitter, at: int) -> str:
        """The address of the register of weights ``at`` bytes behind those of a row of the kernel. The pointer moves on
        where its loads do not reach, unseen by the compiler, which would add each of them to where it was."""
        if at - self.moved > REACH:
            em.line(f"w += {at - self.moved};", scalar=1)
            em.line('__asm__("" : "+r"(w));')
            self.moved = at
        return plus("w", at - self.moved)

    def next_weights(self, em: Emitter, size: int) -> None:
        """Move on to the weights behind ``size`` bytes."""
        em.line(f"w += {size - self.moved};", scalar=1)
        self.moved = 0

    def pair_at(self, apart: int) -> None:
        """Pair pixels that far apart, because the outputs lie so, where tiles have the columns for it."""
        if self.schedule.columns % (2 * apart) == 0:
            self.direct = self.direct and apart == self.apart
            self.pairs = pixel_pairs(self.schedule, apart)


class SmolMatrix(PairedPixels):
    """SMOL ``vmm.w``: a register of weights holds 8 bytes of a kernel row for each of two output channels, one of
    activations the same bytes of two pixels.

    ``apart``: pixels of a tile's row between those of a pair. Where narrow pixels lie so that 16 bytes of memory are
    such a register, it is loaded (``direct``); elsewhere the registers of two pixels are exchanged into two, one vector
    operation for each. In the end two accumulators of a pair of pixels are exchanged into a pixel's four channels each.
    An odd last pixel is paired with itself.
    """

    style = "vmm"
    prefetches = True

    def __init__(
        self, layer: Layer, source: Place, blocks: Sequence[Block], schedule: Schedule, limits: tuple[int, int]
    ) -> None:
        super().__init__(layer, source, blocks, schedule, limits)
        self.pieces, self.kept = self.row_of(layer, source)

    @classmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        if source.tensor.format != "smol" or layer.groups > 1 or layer.dilation != (1, 1):
            return False
        return bool(source.narrow) or len(chunks(source)) * CHUNK_BYTES == source.pixel_bytes

    @classmethod
    def row_of(cls, layer: Layer, source: Place) -> tuple[list[int], list[bool]]:
        """The pieces of a kernel row, and which of them are multiplied."""
        pieces = row_pieces(layer, source)
        return pieces, [True] * len(pieces) if source.narrow else kept_halves(source) * layer.kernel[1]

    @classmethod
    def words(cls, layer: Layer, source: Place) -> list[tuple[str, int]]:
        return [("vmm.w", piece) for piece in row_pieces(layer, source)]

    @classmethod
    def slots_read(cls, source: Place) -> Array | None:
        return None if source.narrow else slots_in(source, kept_halves(source), HALF)

    @classmethod
    def work(cls, blocks: int, pixels: int, core: Core = CORE) -> float:
        """Per 8 bytes: ``vmm.w``, exchanges for half of the layers, loads."""
        pairs = -(-pixels // 2)
        loads = 4 * blocks + pairs
        # A tile with more channels stores wider words of fewer pixels.
        return max(4 * blocks * pairs + pairs / 2, core.chain / 4) + core.load * loads + 1 / blocks

    def sums(self) -> list[list[list[str]]]:
        """C variables ``[group][pair]`` of the two registers of a group of four channels and a pair of pixels."""
        return [[[f"m{g}_{h}_{q}" for h in range(2)] for q in range(len(self.pairs))] for g in range(self.groups)]

    @property
    def count(self) -> int:
        return 2 * self.groups * len(self.pairs)

    @property
    def chain(self) -> int:
        return sum(self.kept)

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
                    em.line(f"const vec wg = v_load({self.weights(em, at)});")
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
        """Units two by two, of registers with 16 bytes of a pixel's taps; without those that are left out."""
        done = 0
        for number in range(0, len(units), 2):
            two = [unit for unit, kept in zip(units[number : number + 2], self.kept[number:], strict=False) if kept]
            with em.block():
                for q, pair in enumerate(self.pairs if two else ()):
                    self._exchange(em, q, [HALF * number + self.at[p] for p in pair], len(two))
                for s, unit in enumerate(two):
                    self._products(em, done + s, unit, [f"y{s}_{q}" for q in range(len(self.pairs))])
            done += len(two)

    @staticmethod
    def _exchange(em: Emitter, q: int, at: Sequence[int], count: int) -> None:
        """Declare ``y0_<q>`` and, of two units, ``y1_<q>``: of the two pixels of pair ``q``."""
        if em.costs["v_zip_high"] != em.costs["v_zip_low"]:  # another load costs less
            for s in range(count):
                first, second = (plus("x", place + HALF * s) for place in at)
                em.line(f"const vec y{s}_{q} = v_zip_low(v_load({first}), v_load({second}));")
            return
        for side, place in zip("nm", at, strict=True):
            em.line(f"const vec {side}{q} = v_load({plus('x', place)});")
        # The first may overwrite a register that the second needs.
        for s in reversed(range(count)):
            em.line(f"const vec y{s}_{q} = v_zip_{('low', 'high')[s]}(n{q}, m{q});")

    def _units(self, em: Emitter, units: Sequence[int], advance: bool) -> None:
        size = 2 * REGISTER_BYTES * self.groups * sum(self.kept[: len(units)])
        self.prefetch(em, size)
        (self._loaded if self.direct else self._exchanged)(em, units)
        if advance:
            em.line(f"x += {HALF * len(units)};", scalar=1)
        self.next_weights(em, size)

    def row(self, em: Emitter) -> None:
        if self.source.narrow:
            with em.block():
                self._units(em, self.pieces, advance=False)
            return
        width = self.layer.kernel[1]
        per = len(self.pieces) // width
        pixel = self.pieces[:per]
        if all(self.kept) and pixel == pixel[:2] * (per // 2):
            with em.loop("i", width * per // 2):
                self._units(em, pixel[:2], advance=True)
            return
        with em.loop("kx", width):
            self._units(em, pixel, advance=True)

    def pack(self, weight: Array) -> Array:
        # uint8 [K, KH, KW, V, 16] -> [KH, units, groups, 2, 2, 8]
        count, height, width = weight.shape[:3]
        return self.arranged(weight.reshape(count, height, width, -1)[..., : self.source.pixel_bytes])

    def arranged(self, pixels: Array) -> Array:
        """Weights under the bytes of pixels, uint8 ``[K, KH, KW, bytes]``, in reading order."""
        count, height = pixels.shape[:2]
        row = pixels.reshape(count, height, -1)
        row = np.pad(row, ((0, 0), (0, 0), (0, HALF * len(self.pieces) - row.shape[-1])))
        channels = np.array([group for block in self.blocks for group in block.groups])  # [groups, 4]
        row = row.reshape(count, height, -1, HALF)[:, :, self.kept]
        picked = row[np.maximum(channels, 0)]  # [groups, 4, KH, units, 8]
        pairs = picked.reshape(self.groups, 2, 2, height, -1, HALF)
        return np.ascontiguousarray(np.transpose(pairs, (3, 4, 0, 1, 2, 5)))


def largest_sum(layer: Layer, source: Place) -> int:
    """Bound on the sums of products of a tensor of one precision, as they are, over all taps and slots of the words of
    a pixel that hold a channel."""
    assert layer.weight is not None
    weight, read = layer.weight, slots_in(source, filled(source, WORD), WORD)
    return _largest_sum(weight.tobytes(), weight.shape, source.tensor.patterns, read.tobytes())


@lru_cache(maxsize=256)
def _largest_sum(weight: bytes, shape: tuple[int, ...], patterns: tuple[int, ...], slots: bytes) -> int:
    """Of packed weights: a layer is asked for it each time that one of its tiles is considered."""
    precisions = slot_precisions(patterns)
    read = np.frombuffer(slots, dtype=bool)
    codes = unpack(np.frombuffer(weight, dtype=np.uint8).reshape(shape), patterns)
    weights = np.abs(integer(codes, precisions))[..., read]
    return int((weights * ((1 << precisions[read]) - 1)).sum(axis=(1, 2, 3)).max())


def own_precision(source: Place) -> int:
    """The precision of a tensor's codes, 0 where it has several."""
    found = set(chunks(source))
    return found.pop() if len(found) == 1 else 0


def half_form(layer: Layer, source: Place) -> int | None:
    """The form of ``vmm.h`` with the finest unit in which a layer's sums fit 16 bits; None where they do in none."""
    p = own_precision(source)
    largest = largest_sum(layer, source) if p else 0
    # A residual of codes needs room in the lanes, too: where there may be one, the unit is that of the codes.
    alone = bool(layer.residual) and len(layer.targets) == 1
    for unit in (u for u in (4, 2, 1) if p and (u == p or (u > p and not alone))):
        if largest << (ALIGN[p] - ALIGN[unit]) <= (LANE_MOST if unit == p else FINE_MOST):
            return FORM_IDS[p, unit]
    return None


class SmolMatrixHalf(PairedPixels):
    """SMOL ``vmm.h``: a register of weights holds 4 bytes of a kernel row for each of four output channels, one of
    activations 8 bytes of two pixels, of which field6 chooses 4.

    For tensors of one precision whose sums fit 16 bits. Pairs of pixels as in :class:`SmolMatrix`; a register serves
    all taps and pairs whose 4 bytes lie in it. In the end a pair's accumulator is widened to a pixel's four channels
    each, unless the epilogue takes it as it is (:meth:`sums`).
    """

    style = "vmmh"
    prefetches = True

    def __init__(
        self, layer: Layer, source: Place, blocks: Sequence[Block], schedule: Schedule, limits: tuple[int, int]
    ) -> None:
        super().__init__(layer, source, blocks, schedule, limits)
        self.kept = filled(source, WORD) * layer.kernel[1]
        """Which words of a kernel row are multiplied."""
        self.units = [unit for unit, kept in enumerate(self.kept) if kept]
        self.form = half_form(layer, source) or 0
        p = own_precision(source)
        left = ALIGN[p] - ALIGN[FORMS[self.form].unit]
        products = 8 * WORD * len(self.units) // p * layer.kernel[0] if p else 0
        self.range = Sums(*(np.array([each << left]) for each in (largest_sum(layer, source), 2, products)))
        """Of the sums, in their unit: of products of odd numbers."""
        self.zip = "v_zip_low"
        """What puts 8 bytes of two pixels side by side; another where the vector unit is set to lanes of 16 bits."""

    @classmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        if not SmolMatrix.serves(layer, source, target) or source.pixel_bytes % WORD:
            return False
        return own_precision(source) > 0 and half_form(layer, source) is not None

    @classmethod
    def suits(cls, layer: Layer, source: Place) -> bool:
        # With 8 bytes or more vmm.w needs no more instructions, and codes of 4 bits alone no exchange of its sums.
        if source.narrow == WORD or own_precision(source) in (1, 2):
            return True
        if source.narrow == HALF:
            return bool(layer.residual or len(layer.targets) > 1)
        return not source.narrow and sum(filled(source, WORD)) < 2 * sum(kept_halves(source))

    @classmethod
    def slots_read(cls, source: Place) -> Array | None:
        return slots_in(source, filled(source, WORD), WORD)

    @classmethod
    def words(cls, layer: Layer, source: Place) -> list[tuple[str, int]]:
        form = half_form(layer, source)
        return [] if form is None else [("vmm.h", form | words << 4) for words in range(2)]

    @classmethod
    def unit_shift(cls, layer: Layer, source: Place) -> int:
        form = half_form(layer, source)
        return 0 if form is None else ALIGN[FORMS[form].unit]

    @classmethod
    def work(cls, blocks: int, pixels: int, core: Core = CORE) -> float:
        """Per 4 bytes: ``vmm.h``; for activations that two units share an exchange, which takes a slot of the products
        and waits for two loads; other loads, half of which hide behind so many products. Measured on ``o3-n1-matrix``:
        32 outputs of 4 pixels take 5% fewer cycles than 16 of 8 where pixels are exchanged (3x3, 64 and 128 channels).
        """
        pairs = -(-pixels // 2)
        # A tile with more channels stores wider words of fewer pixels.
        return max(2 * blocks * pairs, core.chain / 4) + pairs + core.load * (2 * blocks + pairs / 2) / 2 + 2 / blocks

    @property
    def count(self) -> int:
        return self.groups * len(self.pairs)

    @property
    def chain(self) -> int:
        return len(self.units)

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

    def sums(self) -> list[list[str]]:
        """C variables ``[group][pair]``: lanes 0..3 are a group's channels of the first pixel, 4..7 of the second."""
        return [[f"h{g}_{q}" for q in range(len(self.pairs))] for g in range(self.groups)]

    def _operand(self, pair: int, unit: int) -> tuple[int, int]:
        """Byte offset of the register that holds a unit of a pair of pixels, a multiple of 8, and which words of it."""
        at = self.at[self.pairs[pair][0]] + WORD * unit
        return at // HALF * HALF, at // WORD % 2

    def row(self, em: Emitter) -> None:
        with em.block():
            size = REGISTER_BYTES * self.groups * len(self.units)
            self.prefetch(em, size)
            (self._loaded if self.direct else self._exchanged)(em)
            self.next_weights(em, size)

    def _products(self, em: Emitter, unit: int, operands: Sequence[tuple[str, int]]) -> None:
        """A unit with all groups and pairs: each pair's register of activations, and which words of it."""
        number = self.units.index(unit)
        for g in range(self.groups):
            with em.block():
                at = REGISTER_BYTES * (number * self.groups + g)
                em.line(f"const vec wg = v_load({self.weights(em, at)});")
                for q, (x, words) in enumerate(operands):
                    em.line(f"v_mmh({self.form | words << 4}, h{g}_{q}, {x}, wg);")

    def _loaded(self, em: Emitter) -> None:
        """Units whose registers memory holds."""
        declared: set[int] = set()
        for unit in self.units:
            places = [self._operand(q, unit) for q in range(len(self.pairs))]
            for at in sorted({at for at, _ in places} - declared):
                em.line(f"const vec x{at} = v_load({plus('x', at)});")
                declared.add(at)
            self._products(em, unit, [(f"x{at}", words) for at, words in places])

    def _exchanged(self, em: Emitter) -> None:
        """Units two by two: the 8 bytes of each of two pixels in which they lie, side by side."""
        for first in sorted({unit // 2 * 2 for unit in self.units}):
            with em.block():
                for q, pair in enumerate(self.pairs):
                    a, b = (plus("x", self.at[p] + WORD * first) for p in pair)
                    em.line(f"const vec y{q} = {self.zip}(v_load({a}), v_load({b}));")
                for unit in (unit for unit in (first, first + 1) if unit in self.units):
                    self._products(em, unit, [(f"y{q}", unit % 2) for q in range(len(self.pairs))])

    def pack(self, weight: Array) -> Array:
        # uint8 [K, KH, KW, V, 16] -> [KH, units, groups, 4, 4]
        count, height, width = weight.shape[:3]
        row = weight.reshape(count, height, width, -1)[..., : self.source.pixel_bytes]
        row = row.reshape(count, height, -1, WORD)[:, :, self.kept]
        channels = np.array([group for block in self.blocks for group in block.groups])  # [groups, 4]
        return np.ascontiguousarray(np.transpose(row[np.maximum(channels, 0)], (2, 3, 0, 1, 4)))
