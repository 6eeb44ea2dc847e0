"""The epilogue of sums that two pixels share: registers of two output channels of each of two pixels, as ``vmm.w``
leaves them, become codes without being exchanged first.

The constants of a register stand in its order, so one multiply-add serves it as it serves four channels of a pixel.
``vqpk.s`` then moves the codes of either pixel into a half of its own.
"""

from collections.abc import Sequence

import numpy as np

from sysmol.isa import Capabilities
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.pack import MOST_SHIFT
from sysmol.kernels_c.epilogue.requantise import Epilogue, Tile, lanes, plus
from sysmol.kernels_c.plan.constants import array_text, wrap32
from sysmol.network import INT32_MAX, Array

HALF_BITS = 64
LANES = 4
"""Codes that one ``vqpk.s`` moves into each half: those of a group."""
REGISTERS = 2
"""Of a group and a pair of pixels."""
FORMS = {4: 0, 2: 1, 1: 2}
"""Bits [5:4] of the selector of ``vqpk.s``, by precision."""


def can_pair(epilogue: Epilogue, tiles: Sequence[Tile], has: Capabilities) -> bool:
    """Whether a layer writes nothing but codes that ``vqpk.s`` makes in the order in which memory has them."""
    constant, shift = epilogue.constants[0], epilogue.shifts[0]
    precisions = {block.precision for block in epilogue.blocks}
    if len(epilogue.targets) != 1 or epilogue.residual is not None or not epilogue.packs[0] or not constant.is_low:
        return False
    words = [tile_bits(epilogue, tile) for tile in tiles]
    return (
        shift <= MOST_SHIFT
        and all(LANES * block.precision * len(block.groups) == block.bits for block in epilogue.blocks)
        and all(has.executes(12, FORMS[p] << 4 | shift // 2) for p in precisions)
        and all(epilogue.side_by_side(tile) for tile in tiles)
        and all(HALF_BITS % bits == 0 or bits % HALF_BITS == 0 for bits in words)
    )


def tile_bits(epilogue: Epilogue, tile: Tile) -> int:
    """Bits of a pixel that a tile writes."""
    blocks = epilogue.blocks[tile.first : tile.first + tile.count]
    return sum(LANES * block.precision * len(block.groups) for block in blocks)


class PairEpilogue:
    """See the module; ``epilogue`` is the layer's own, ``apart`` the columns between a pair's pixels."""

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

    @property
    def _one_class(self) -> bool:
        return self.own.classes == 1

    def _paired(self, values: Array, first: Array, second: Array) -> Array:
        """``[..., registers, 4]`` of values by lane: of the first pixel's class, then of the second's."""
        shape = (*values.shape[1:-2], -1, REGISTERS, LANES // REGISTERS)
        a, b = (values[index].reshape(len(index), *shape) for index in (first, second))
        return np.concatenate([a, b], axis=-1)

    def arrays(self) -> list[str]:
        """Text of the constant arrays that the epilogue reads."""
        own, constant = self.own, self.own.constants[0]
        assert constant.M is not None
        tensor = own.layer.outputs[0].tensor
        zero = np.zeros(1, dtype=np.int64)
        m = self._paired(wrap32(lanes(own.blocks, constant.M))[None], zero, zero)
        b = wrap32(lanes(own.blocks, constant.B))
        if self._one_class:
            rows = self._paired(b, zero, zero)
        else:
            by_row = b.reshape(-1, own.column_classes, *b.shape[1:])
            first, second = (np.array([pair[side] for pair in self.classes]) for side in range(2))
            rows = np.stack([self._paired(row, first, second) for row in by_row])
        text = [
            array_text(f"{self.name}_m", m, f"M of {tensor}, two channels for each of two pixels"),
            array_text(f"{self.name}_b", rows, f"B of {tensor}: border classes of two pixels"),
        ]
        if not self._one_class:
            step = 16 * REGISTERS * own.groups
            for axis, index, factor in (("row", own.rows, len(self.classes)), ("column", self.column, 1)):
                values = ", ".join(str(v * factor * step) for v in index)
                text.append(
                    f"/* Byte offset in B of the border class of every output {axis}. */\n"
                    f"static const uint32_t {own.name}_{axis}[] = {{{values}}};\n"
                )
        offsets = ", ".join(str(block.offset) for block in own.blocks)
        text.append("/* First byte of every block in a pixel. */")
        text.append(f"static const uint16_t {own.name}_at[] = {{{offsets}}};\n")
        return text

    def emit(
        self, em: Emitter, tile: Tile, pairs: Sequence[tuple[int, int]], sums: Sequence[Sequence[Sequence[str]]]
    ) -> None:
        """Write the tile: ``sums[group][pair]`` names the two registers of a group and a pair of pixels."""
        for registers in (name for group in sums for pair in group for name in pair):
            em.line(f"v_settle({registers});")
        for name in (
            self._lane(g, q, h) for g in range(len(sums)) for q in range(len(pairs)) for h in range(REGISTERS)
        ):
            em.line(f"vec {name};")
        group = 0
        for k in range(tile.count):
            groups = range(group, group + len(self.own.blocks[tile.first + k].groups))
            with em.block():
                em.comment(f"block {k} of the tile")
                self._requantise(em, tile, k, groups, pairs, sums)
            group = groups.stop
        self._store(em, tile, pairs, len(sums))

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
        own, size = self.own, 16 * REGISTERS
        before = sum(len(block.groups) for block in own.blocks[: tile.first])
        em.line(f"const int c = {plus(size * (before + k * len(groups)), tile.step(size * len(groups)))};", scalar=1)
        places = [(g, h) for g in groups for h in range(REGISTERS)]
        at = {(g, h): size * (g - groups.start) + 16 * h for g, h in places}
        for g, h in places:
            em.line(f"const vec m{g}_{h}_ = v_load({self.name}_m + c + {at[g, h]});")
            if self._one_class:
                em.line(f"const vec b{g}_{h}_ = v_load({self.name}_b + c + {at[g, h]});")
        for q, (first, _) in enumerate(pairs):
            if not self._one_class:
                row, column = tile.pixels[first]
                em.line(
                    f"const uint32_t border{q} = {own.name}_row[{plus('oy', row)}] + "
                    f"{own.name}_column[{plus('ox', column)}] + (uint32_t)c;",
                    scalar=4,
                )
        for q in range(len(pairs)):
            for g, h in places:
                b = f"{self.name}_b + {'c' if self._one_class else f'border{q}'} + {at[g, h]}"
                acc, m = sums[g][q][h], f"m{g}_{h}_"
                text = (
                    f"v_affine({acc}, {m}, b{g}_{h}_, {b})" if self._one_class else f"v_mla(v_fresh({b}), {acc}, {m})"
                )
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

    def _store(self, em: Emitter, tile: Tile, pairs: Sequence[tuple[int, int]], groups: int) -> None:
        """Codes of as many pairs as a register takes; of pixels with more than half a register, of a part of them."""
        precision, bits = self.own.blocks[tile.first].precision, tile_bits(self.own, tile)
        selector = FORMS[precision] << 4 | self.own.shifts[0] // 2
        parts = max(1, bits // HALF_BITS)
        per, width = max(1, HALF_BITS // bits), min(bits, HALF_BITS)
        base = plus("y0", self.own.block_at(self.place, tile, 0))
        number = 0
        for first in range(0, len(pairs), per):
            for part in range(parts):
                chosen = list(range(first, min(first + per, len(pairs))))
                own_groups = range(part * groups // parts, (part + 1) * groups // parts)
                em.line(f"vec z{number};")
                pieces = [(q, g) for q in chosen for g in own_groups]
                for at, (q, g) in enumerate(pieces):
                    start = "_first" if at == 0 else ""
                    n, m = (self._lane(g, q, h) for h in range(REGISTERS))
                    em.line(f"v_qpks{start}({selector}, z{number}, {n}, {m});")
                offset = part * HALF_BITS // 8
                places = [[self._pixel(tile, pairs[q][side]) + offset for q in chosen] for side in range(2)]
                self._words(em, f"z{number}", base, places, width)
                number += 1

    def _pixel(self, tile: Tile, number: int) -> int:
        row, column = tile.pixels[number]
        return row * self.place.row_bytes + column * self.place.pixel_bytes

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
