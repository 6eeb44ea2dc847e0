"""The epilogue of sums that two pixels share: registers of two output channels of each of two pixels, as ``vmm.w``
leaves them, become codes without being exchanged first.

The constants of a register stand in its order, so one multiply-add serves it as it serves four channels of a pixel.
``vqpk.s`` then moves the codes of either pixel into a half of its own.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np

from sysmol.isa import BY_NAME, Capabilities
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.pack import MOST_SHIFT
from sysmol.kernels_c.epilogue.requantise import Epilogue, Tile, lanes, plus
from sysmol.kernels_c.plan.constants import array_text, border_arrays, wrap32
from sysmol.kernels_c.plan.lanes16 import PRECISION_FIELD
from sysmol.kernels_c.plan.layout import Place
from sysmol.network import INT32_MAX, Array

HALF_BITS = 64
LANES = 4
"""Codes that one ``vqpk.s`` moves into each half: those of a group."""
VQPK_S = BY_NAME["vqpk.s"].fns[0]


def can_pair(epilogue: Epilogue, tiles: Sequence[Tile], has: Capabilities) -> bool:
    """Whether a layer writes nothing but codes that ``vqpk.s`` makes in the order in which memory has them."""
    constant, shift = epilogue.constants[0], epilogue.shifts[0]
    precisions = {block.precision for block in epilogue.blocks}
    if len(epilogue.targets) != 1 or epilogue.residual is not None or not epilogue.packs[0] or not constant.is_low:
        return False
    return (
        shift <= MOST_SHIFT
        and all(LANES * block.precision * len(block.groups) == block.bits for block in epilogue.blocks)
        and all(has.executes(VQPK_S, PRECISION_FIELD[p] | shift // 2) for p in precisions)
        and all(fill_words(epilogue, tile) for tile in tiles)
    )


def fill_words(epilogue: Epilogue, tile: Tile) -> bool:
    """Whether all that a tile writes of a pixel are words that divide half a register, or are several."""
    words = [word_bits(epilogue, tile, own) for own in epilogue.words(tile)]
    return all(HALF_BITS % bits == 0 or bits % HALF_BITS == 0 for bits in words)


def word_bits(epilogue: Epilogue, tile: Tile, own: range) -> int:
    """Bits of a pixel that some blocks of a tile write."""
    blocks = epilogue.blocks[tile.first + own.start : tile.first + own.stop]
    return sum(LANES * block.precision * len(block.groups) for block in blocks)


class Pairs(ABC):
    """What epilogues of sums that two pixels share have in common: border classes of two pixels, and words of codes of
    which an instruction moves either pixel's into a half of a register.

    ``epilogue`` is the layer's own, ``apart`` the columns between a pair's pixels. ``registers`` of sums belong to a
    group and a pair; ``operation`` packs.
    """

    registers: ClassVar[int]
    operation: ClassVar[str]

    def __init__(self, epilogue: Epilogue, apart: int) -> None:
        self.own = epilogue
        self.apart = apart
        self.name = f"{epilogue.name}_out0"
        self.place = epilogue.targets[0]
        columns = epilogue.columns
        firsts = range(len(columns) - apart)
        both = [(columns[x], columns[x + apart]) for x in firsts]
        self.classes = list(dict.fromkeys(both))
        self.column = [self.classes.index(pair) for pair in both]

    def begin(self, em: Emitter) -> None:
        """At the start of the kernel."""
        self.own.begin(em)

    def tile_corner(self, em: Emitter) -> None:
        """Once ``oy`` and ``ox`` are known."""
        self.own.tile_corner(em)

    @abstractmethod
    def arrays(self) -> list[str]:
        """Text of the constant arrays that the epilogue reads."""

    @abstractmethod
    def selector(self, precision: int) -> int:
        """field6 of the packing instruction."""

    @abstractmethod
    def pieces(self, pair: int, groups: range) -> list[tuple[str, str]]:
        """The packing instruction's operands for some groups of a pair, in the order of their codes."""

    @property
    def one_class(self) -> bool:
        return self.own.classes == 1

    def by_class(self, values: Array, beside: Callable[[Array, Array], Array]) -> Array:
        """Values ``[classes, ...]`` of single pixels as those of pairs: ``beside`` puts first and second together."""
        if self.one_class:
            return beside(values, values)
        by_row = values.reshape(-1, self.own.column_classes, *values.shape[1:])
        first, second = (np.array([pair[side] for pair in self.classes]) for side in range(2))
        return np.stack([beside(row[first], row[second]) for row in by_row])

    def class_arrays(self) -> list[str]:
        """Text of the arrays that find a pair's constants by its row and its first column."""
        if self.one_class:
            return []
        step = 16 * self.registers * self.own.groups
        return border_arrays(self.own.name, "B", step, self.own.rows, self.column, len(self.classes))

    def borders(self, em: Emitter, tile: Tile, pairs: Sequence[tuple[int, int]]) -> None:
        """Declare where each pair's constants lie, those of the tile from ``c`` on."""
        for q, (first, _) in enumerate(() if self.one_class else pairs):
            row, column = tile.pixels[first]
            em.line(
                f"const uint32_t border{q} = {self.own.name}_row[{plus('oy', row)}] + "
                f"{self.own.name}_column[{plus('ox', column)}] + (uint32_t)c;",
                scalar=4,
            )

    def border(self, q: int) -> str:
        """C term: the offset of a pair's constants."""
        return "c" if self.one_class else f"border{q}"

    def store(self, em: Emitter, tile: Tile, pairs: Sequence[tuple[int, int]]) -> None:
        """Codes of as many pairs as a register takes; of pixels with more than half a register, of a part of them."""
        number = group = 0
        for own in self.own.words(tile):
            count = sum(len(self.own.blocks[tile.first + k].groups) for k in own)
            number = self._store_blocks(em, tile, pairs, own, range(group, group + count), number)
            group += count

    def _store_blocks(
        self, em: Emitter, tile: Tile, pairs: Sequence[tuple[int, int]], own: range, groups: range, number: int
    ) -> int:
        """Codes of the tile's blocks ``own``, side by side in memory; ``number``: registers so far."""
        precision, bits = self.own.blocks[tile.first].precision, word_bits(self.own, tile, own)
        chosen = self.selector(precision)
        parts = max(1, bits // HALF_BITS)
        per, width = max(1, HALF_BITS // bits), min(bits, HALF_BITS)
        base = plus("y0", self.own.block_at(self.place, tile, own.start))
        for first in range(0, len(pairs), per):
            for part in range(parts):
                own_pairs = list(range(first, min(first + per, len(pairs))))
                own_groups = groups[part * len(groups) // parts : (part + 1) * len(groups) // parts]
                em.line(f"vec z{number};")
                pieces = [piece for q in own_pairs for piece in self.pieces(q, own_groups)]
                for at, (n, m) in enumerate(pieces):
                    start = "_first" if at == 0 else ""
                    em.line(f"{self.operation}{start}({chosen}, z{number}, {n}, {m});")
                offset = part * HALF_BITS // 8
                places = [
                    [self.pixel(self.place, tile, pairs[q][side]) + offset for q in own_pairs] for side in range(2)
                ]
                self._words(em, f"z{number}", base, places, width)
                number += 1
        return number

    @staticmethod
    def pixel(place: Place, tile: Tile, number: int) -> int:
        """Bytes from the tile's corner to a pixel of it."""
        return place.bytes_to(*tile.pixels[number])

    def _words(self, em: Emitter, register: str, base: str, places: Sequence[Sequence[int]], width: int) -> None:
        """Store a register: each half holds a word of ``width`` bits for every place, the last one at its top."""
        step, full = width // 8, len(places[0]) * width == HALF_BITS
        in_half = full and all(half == list(range(half[0], half[0] + 8, step)) for half in places)
        if in_half and places[1][0] == places[0][0] + 8:
            em.line(f"v_store({plus(base, places[0][0])}, {register});")
            return
        if in_half:
            em.line(f"v_store_halves({plus(base, places[0][0])}, {plus(base, places[1][0])}, {register});")
            return
        with em.block():
            em.line("uint64_t half[2];")
            em.line(f"v_split(half, {register});")
            for side, half in enumerate(places):
                for at, place in enumerate(half):
                    shift = HALF_BITS - (len(half) - at) * width
                    value = f"half[{side}] >> {shift}" if shift else f"half[{side}]"
                    value = value if width == HALF_BITS else f"(uint32_t)({value})"
                    em.line(f"m_store{width}({plus(base, place)}, {value});", scalar=1 if shift else 0)


class PairEpilogue(Pairs):
    """Sums of 32 bits: two registers of a group and a pair, of two channels each."""

    registers = 2
    operation = "v_qpks"

    def _paired(self, first: Array, second: Array) -> Array:
        """``[..., groups, 2, 4]``: two channels of the first pixel, then of the second."""
        a, b = (
            values.reshape(*values.shape[:-1], self.registers, LANES // self.registers) for values in (first, second)
        )
        return np.concatenate([a, b], axis=-1)

    def arrays(self) -> list[str]:
        """Text of the constant arrays that the epilogue reads."""
        own, constant = self.own, self.own.constants[0]
        assert constant.M is not None
        tensor = own.layer.outputs[0].tensor
        m = wrap32(lanes(own.blocks, constant.M))
        rows = self.by_class(wrap32(lanes(own.blocks, constant.B)), self._paired)
        return [
            array_text(f"{self.name}_m", self._paired(m, m), f"M of {tensor}, two channels for each of two pixels"),
            array_text(f"{self.name}_b", rows, f"B of {tensor}: border classes of two pixels"),
            *self.class_arrays(),
            *self.own.offset_arrays(),
        ]

    def emit(
        self, em: Emitter, tile: Tile, pairs: Sequence[tuple[int, int]], sums: Sequence[Sequence[Sequence[str]]]
    ) -> None:
        """Write the tile: ``sums[group][pair]`` names the two registers of a group and a pair of pixels."""
        for registers in (name for group in sums for pair in group for name in pair):
            em.line(f"v_settle({registers});")
        for name in (
            self._lane(g, q, h) for g in range(len(sums)) for q in range(len(pairs)) for h in range(self.registers)
        ):
            em.line(f"vec {name};")
        group = 0
        for k in range(tile.count):
            groups = range(group, group + len(self.own.blocks[tile.first + k].groups))
            with em.block():
                em.comment(f"block {k} of the tile")
                self._requantise(em, tile, k, groups, pairs, sums)
            group = groups.stop
        self.store(em, tile, pairs)

    @staticmethod
    def _lane(group: int, pair: int, register: int) -> str:
        """C variable of a requantised register."""
        return f"q{group}_{pair}_{register}"

    def _requantise(
        self,
        em: Emitter,
        tile: Tile,
        k: int,
        groups: range,
        pairs: Sequence[tuple[int, int]],
        sums: Sequence[Sequence[Sequence[str]]],
    ) -> None:
        """acc * M + B of a block's registers, and what ``vqpk.s`` leaves to do before it."""
        own, size = self.own, 16 * self.registers
        before = sum(len(block.groups) for block in own.blocks[: tile.first])
        em.line(f"const int c = {plus(size * (before + k * len(groups)), tile.step(size * len(groups)))};", scalar=1)
        places = [(g, h) for g in groups for h in range(self.registers)]
        at = {(g, h): size * (g - groups.start) + 16 * h for g, h in places}
        for g, h in places:
            em.line(f"const vec m{g}_{h}_ = v_load({self.name}_m + c + {at[g, h]});")
            if self.one_class:
                em.line(f"const vec b{g}_{h}_ = v_load({self.name}_b + c + {at[g, h]});")
        self.borders(em, tile, pairs)
        for q in range(len(pairs)):
            for g, h in places:
                b = f"{self.name}_b + {self.border(q)} + {at[g, h]}"
                acc, m = sums[g][q][h], f"m{g}_{h}_"
                text = f"v_affine({acc}, {m}, b{g}_{h}_, {b})" if self.one_class else f"v_mla(v_fresh({b}), {acc}, {m})"
                em.line(f"{self._lane(g, q, h)} = {text};")
        for step in self._steps(own.blocks[tile.first + k].precision):
            for q in range(len(pairs)):
                for g, h in places:
                    name = self._lane(g, q, h)
                    em.line(f"{name} = {step.format(q=name)};")

    def _steps(self, precision: int) -> list[str]:
        """As of the epilogue of four channels: an odd shift, an upper clamp below the largest code."""
        shift, hi = self.own.shifts[0], int(self.own.layer.outputs[0].hi)
        steps = ["v_sra({q}, 1)"] if shift % 2 else []
        above = hi + 1 << shift - shift % 2
        if hi < (1 << precision) - 1 and above <= INT32_MAX:
            steps.append(f"v_at_most({{q}}, {above - 1})")
        return steps

    def selector(self, precision: int) -> int:
        return PRECISION_FIELD[precision] | self.own.shifts[0] // 2

    def pieces(self, pair: int, groups: range) -> list[tuple[str, str]]:
        return [(self._lane(g, pair, 0), self._lane(g, pair, 1)) for g in groups]
