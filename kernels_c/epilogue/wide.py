"""The epilogue of sums in 16-bit lanes whose outputs need 32: every sum and every element of a 16-bit residual is
multiplied where it stands by a widening multiply-accumulate, eight at a time, onto B in 32-bit lanes.

Registers of four channels of two pixels, as ``vmm.h`` leaves them, are exchanged into eight channels of a pixel each.
Nothing is rounded before the shift: these are the network file's own products, as far as its M and R fit 16 bits. A
saturating narrowing shift makes elements of 16 bits, ``vqpk`` codes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.pack import Packer, PieceAddress, form_bits, groups_per_piece, piece_form
from sysmol.kernels_c.epilogue.requantise import Epilogue, Tile, lanes, largest_sum, plus
from sysmol.kernels_c.plan.constants import array_text, wrap32
from sysmol.kernels_c.plan.lanes16 import LANE_MOST
from sysmol.network import INT32_MAX, Array, Network

NARROWING = range(1, 17)
"""Shifts that a narrowing operation has."""
ROW, PAIR = 16, 32
"""Bytes of a block's eight constants of 16 bits and of 32 bits."""


@dataclass(frozen=True)
class Wide:
    """``left``: shift of the sums; factors int64 ``[C]`` of the shifted sums and addends int64 ``[classes, C]`` of
    every output."""

    left: int
    factors: list[Array]
    addends: list[Array]


def wide(net: Network, epilogue: Epilogue, tiles: Sequence[Tile], reach: int, rounds: bool) -> Wide | None:
    """Whether and how a layer's outputs are made like that. ``reach``: of the kernel's sums; ``rounds``: whether the
    narrowing shift rounds to the nearest, so that B has to hold half a step less."""
    blocks = epilogue.blocks
    regular = all(len(block.groups) == 2 for block in blocks) and all(epilogue.side_by_side(tile) for tile in tiles)
    residual = epilogue.residual
    if residual is not None and (residual.tensor.format != "s16" or epilogue.one_for_all):
        return None
    if not regular or not all(_serves(epilogue, i) for i in range(len(epilogue.targets))):
        return None
    factors = [constant.M.astype(np.int64) for constant in epilogue.constants if constant.M is not None]
    left = _left(factors, reach)
    if left is None:
        return None
    addends = []
    for i, (place, out) in enumerate(zip(epilogue.targets, epilogue.layer.outputs, strict=True)):
        half = 1 << out.shift - 1 if rounds and place.tensor.format == "s16" else 0
        if half and largest_sum(net, epilogue.layer, out) + half > INT32_MAX:
            return None
        addends.append(epilogue.constants[i].B.astype(np.int64) - half)
    return Wide(left, [each >> left for each in factors], addends)


def _serves(epilogue: Epilogue, i: int) -> bool:
    """Whether the operations can make output ``i``: its format, its shift, its clamps, and R in 16 bits."""
    place, out, constant = epilogue.targets[i], epilogue.layer.outputs[i], epilogue.constants[i]
    if not epilogue.fast[i] or not constant.is_low or (constant.R is not None and not _in_lanes(constant.R)):
        return False
    if place.tensor.format == "s16":
        return out.shift in NARROWING
    forms = [piece_form(block) for block in epilogue.blocks]
    return (
        epilogue.packs[i]
        and epilogue.shifts[i] % 2 == 0
        and all(form is not None and groups_per_piece(form) == 2 for form in forms)
        and all(int(out.hi) >= (1 << block.precision) - 1 for block in epilogue.blocks)
    )


def _in_lanes(factors: Array) -> bool:
    return bool(np.abs(factors.astype(np.int64)).max() <= LANE_MOST)


def _left(factors: Sequence[Array], reach: int) -> int | None:
    """The least left shift of sums up to ``reach`` with which they and what is left of the factors fit 16 bits."""
    for left in range(16):
        divisible = all((each % (1 << left) == 0).all() for each in factors)
        if not divisible or reach << left > LANE_MOST:
            return None
        if all(_in_lanes(each >> left) for each in factors):
            return left
    return None


class WideEpilogue:
    """See the module."""

    def __init__(self, epilogue: Epilogue, how: Wide) -> None:
        self.own = epilogue
        self.how = how
        self.outputs = range(len(epilogue.targets))

    def begin(self, em: Emitter) -> None:
        """At the start of the kernel."""
        em.line("v_begin_narrow();")
        em.line("const vec none = v_clear();")
        em.line("(void)none;")
        if self._interleaved:
            em.line("const vec unzip = v_load(smol_unzip16);")

    @property
    def _interleaved(self) -> bool:
        """Whether the residual's blocks have their two groups interleaved."""
        return self.own.residual is not None and not self.own.residual.split

    def tile_corner(self, em: Emitter) -> None:
        """Once ``oy`` and ``ox`` are known."""
        self.own.tile_corner(em)

    def arrays(self) -> list[str]:
        """Text of the constant arrays that the epilogue reads."""
        own, text = self.own, []
        for i in self.outputs:
            name, tensor, R = f"{own.name}_out{i}", own.layer.outputs[i].tensor, own.constants[i].R
            m = lanes(own.blocks, self.how.factors[i]).astype(np.int16)
            b = wrap32(lanes(own.blocks, self.how.addends[i]))
            text.append(array_text(f"{name}_m", m, f"M of {tensor}"))
            text.append(array_text(f"{name}_b", b, f"B of {tensor}: {len(b)} border classes"))
            if R is not None:
                text.append(array_text(f"{name}_r", lanes(own.blocks, R).astype(np.int16), f"R of {tensor}"))
        return [*text, *own.class_arrays(), *own.offset_arrays()]

    def emit(self, em: Emitter, tile: Tile, pairs: Sequence[tuple[int, int]], sums: Sequence[Sequence[str]]) -> None:
        """Write the tile: ``sums[group][pair]`` names the register of a group and a pair of pixels."""
        for name in (name for group in sums for name in group):
            em.line(f"v_settle({name});")
        em.line(f"const int c = {plus(ROW * tile.first, tile.step(ROW))};", scalar=1)
        self.own.borders(em, tile, f"{PAIR // ROW} * c")
        for i in self.outputs:
            for k in range(tile.count):
                em.line(f"const vec m{i}_{k} = v_load({self.own.name}_out{i}_m + c + {ROW * k});")
                if self.own.residual is not None:
                    em.line(f"const vec r{i}_{k} = v_load({self.own.name}_out{i}_r + c + {ROW * k});")
        packers = self._packers(em, tile, pairs)
        for q, pair in enumerate(pairs):
            with em.block():
                self._pair(em, tile, pair, [group[q] for group in sums], packers)

    def _packers(self, em: Emitter, tile: Tile, pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Packer]:
        """By output and pixel: a register takes pixels as they are made and as they follow each other in memory."""
        apart = pairs[0][1] - pairs[0][0]
        if apart == 1:
            runs = [[pixel for pair in pairs for pixel in pair]]
        else:
            first = range(0, len(pairs), apart)
            runs = [[pair[side] for pair in pairs[q : q + apart]] for q in first for side in range(2)]
        packers: dict[tuple[int, int], Packer] = {}
        for i in (i for i in self.outputs if self.own.packs[i]):
            for number, run in enumerate(runs):
                packer = self._packer(
                    em, i, replace(tile, pixels=tuple(tile.pixels[p] for p in run)), f"z{i}_{number}_"
                )
                packer.declare()
                packers |= {(i, pixel): packer for pixel in run}
        return packers

    def _packer(self, em: Emitter, i: int, tile: Tile, name: str) -> Packer:
        """Of a tile's blocks, side by side in memory, pixel by pixel."""
        own, place = self.own, self.own.targets[i]
        block = own.blocks[tile.first]
        form = piece_form(block)
        assert form is not None
        base, size = plus(f"y{i}", own.block_at(place, tile, 0)), form_bits(form) // 8
        pieces = [
            PieceAddress(base, place.bytes_to(*pixel) + n * size) for pixel in tile.pixels for n in range(tile.count)
        ]
        return Packer(em, name, form, own.shifts[i], pieces, strided=False)

    def _pair(
        self,
        em: Emitter,
        tile: Tile,
        pair: tuple[int, int],
        sums: Sequence[str],
        packers: dict[tuple[int, int], Packer],
    ) -> None:
        """Two pixels, from the registers of all groups."""
        if self.how.left:
            for name in sums:
                em.line(f"{name} = v_sll16({name}, {self.how.left});")
        for k in range(tile.count):
            # The second may overwrite a register that the first needs.
            a, b = sums[2 * k : 2 * k + 2]
            em.line(f"const vec x1_{k} = v_zip16_high({a}, {b});")
            em.line(f"const vec x0_{k} = v_zip16_low({a}, {b});")
        for side, pixel in enumerate(pair):
            for k in range(tile.count):
                with em.block():
                    self._block(em, tile, k, pixel, f"x{side}_{k}", packers)

    def _block(
        self, em: Emitter, tile: Tile, k: int, pixel: int, x: str, packers: dict[tuple[int, int], Packer]
    ) -> None:
        """All outputs of eight channels of a pixel, whose sums are the lanes of ``x``."""
        own, place = self.own, self.own.residual
        if place is not None:
            at = plus("rp", own.block_at(place, tile, k), place.bytes_to(*tile.pixels[pixel]))
            em.line(f"const vec r = {f'v_unzip16(v_load({at}), unzip)' if self._interleaved else f'v_load({at})'};")
        border = f"{PAIR // ROW} * c" if own.classes == 1 else f"border{pixel}"
        for i in self.outputs:
            em.line(f"vecpair s{i} = v_fresh_pair({own.name}_out{i}_b + {border} + {PAIR * k});")
        for i in self.outputs:
            em.line(f"v_widen_mla(s{i}, {x}, m{i}_{k});")
        for i in self.outputs if place is not None else ():
            em.line(f"v_widen_mla(s{i}, r, r{i}_{k});")
        for i in self.outputs:
            target, out = own.targets[i], own.layer.outputs[i]
            if own.packs[i]:
                packers[i, pixel].put(f"v_low(s{i})", f"v_high(s{i})")
                continue
            at = plus(f"y{i}", own.block_at(target, tile, k), target.bytes_to(*tile.pixels[pixel]))
            em.line(f"v_store({at}, v_narrow_pair({out.shift}, {int(out.lo)}, {int(out.hi)}, s{i}, none));")
