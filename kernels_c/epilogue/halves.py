"""The epilogue of sums in 16-bit lanes, as ``vmm.h`` leaves them: a high product, then ``vqpk.h``, for four channels of
two pixels at a time.

What a layer adds besides is in the lanes where they start (:mod:`sysmol.kernels_c.plan.lanes16`), or is added to the
sums times a factor of each channel where more starts have to lie between two sums. A residual of codes is added as its
numbers times a factor of 16 bits, which is exact where R is a multiple of M.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sysmol.isa import BY_NAME, Capabilities
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.pairs import HALF_BITS, LANES, Pairs, fill_words
from sysmol.kernels_c.epilogue.requantise import Epilogue, Tile, lanes, plus
from sysmol.kernels_c.plan.constants import array_text
from sysmol.kernels_c.plan.lanes16 import LANE_MOST, PRECISION_FIELD, Lanes, Sums, lane_constants, scaled_constants
from sysmol.kernels_c.plan.layout import Place
from sysmol.network import Array

VQPK_H, VUNP_H = (BY_NAME[name].fns[0] for name in ("vqpk.h", "vunp.h"))
ROW = 16
"""Bytes of a register: eight lanes of a group."""


@dataclass(frozen=True)
class Halves:
    """What the epilogue needs to know: the lanes' constants, the factors of a residual's numbers, ``[C]``, and those of
    the sums, ``[C]``; without the last the sums start from b."""

    constants: Lanes
    factors: Array | None
    scale: Array | None


def halves(epilogue: Epilogue, tiles: Sequence[Tile], has: Capabilities, sums: Sums) -> Halves | None:
    """Whether and how a layer that writes nothing but codes is requantised in 16-bit lanes. ``sums``: the kernel's,
    the same for all channels (``[1]``)."""
    out, constant = epilogue.layer.outputs[0], epilogue.constants[0]
    precisions = {block.precision for block in epilogue.blocks}
    if len(epilogue.targets) != 1 or not epilogue.packs[0] or not constant.is_low or len(precisions) > 1:
        return None
    (p,) = precisions
    top = (1 << p) - 1
    regular = all(len(block.groups) == 2 and block.bits == 2 * LANES * p for block in epilogue.blocks)
    if not regular or out.hi < top or not all(fill_words(epilogue, tile) for tile in tiles):
        return None
    assert constant.M is not None
    M, B, factors = constant.M.astype(np.int64), constant.B.astype(np.int64), None
    sums = Sums(*(np.repeat(each, len(M)) for each in (sums.reach, sums.grid, sums.first)))
    if epilogue.residual is not None:
        found = _residual(epilogue, M, B, p)
        if found is None or not all(
            has.executes(VUNP_H, PRECISION_FIELD[p] | g) for g in range(HALF_BITS // LANES // p)
        ):
            return None
        B, factors = found
        # A residual's numbers are odd, too.
        grid = np.gcd(sums.grid, 2 * factors)
        sums = Sums(sums.reach + top * np.abs(factors), grid, (sums.first + factors) % grid)
    if sums.reach.max() > LANE_MOST:
        return None
    made, scale = lane_constants(M, B, epilogue.shifts[0], top, sums), None
    if made is None and (scaled := scaled_constants(M, B, epilogue.shifts[0], top, sums)) is not None:
        made, scale = scaled.lanes, scaled.factor
    if made is None or not has.executes(VQPK_H, selector(p, made.shift)):
        return None
    return Halves(made, factors if factors is None or scale is None else factors * scale, scale)


def selector(precision: int, shift: int) -> int:
    """field6 of ``vqpk.h`` that keeps pixels apart."""
    return PRECISION_FIELD[precision] | shift // 2


def _residual(epilogue: Epilogue, M: Array, B: Array, p: int) -> tuple[Array, Array] | None:
    """B and the factors for the residual's odd integers g; None where it is none of such codes in the same order.

    The epilogue's constants are those of codes u, ``g = 2u - t``.
    """
    place, R = epilogue.residual, epilogue.constants[0].R
    assert place is not None and R is not None
    like = place.tensor.format == "smol" and place.blocks == epilogue.blocks
    if not like or epilogue.one_for_all or (R % 2).any() or (M == 0).any() or (R // 2 % M).any():
        return None
    factors = R // 2 // M
    if np.abs(factors).max() > LANE_MOST:
        return None
    return B + R // 2 * ((1 << p) - 1), factors


class HalfEpilogue(Pairs):
    """See the module; ``apart``: the columns between a pair's pixels."""

    registers = 1
    operation = "v_qpkh"

    def __init__(self, epilogue: Epilogue, apart: int, how: Halves) -> None:
        super().__init__(epilogue, apart)
        self.how = how

    def begin(self, em: Emitter) -> None:
        em.line("v_begin16();")

    def _lanes(self, values: Array) -> Array:
        """``[..., groups, 8]``: a group's four channels for either pixel; lanes without a channel have 0."""
        own = lanes(self.own.blocks, values)
        return np.concatenate([own, own], axis=-1)

    def arrays(self) -> list[str]:
        """Text of the constant arrays that the epilogue reads."""
        tensor, made = self.own.layer.outputs[0].tensor, self.how.constants
        text = [array_text(f"{self.name}_m", self._lanes(made.m).astype(np.int16), f"factors of {tensor}, twice")]
        if self.how.factors is not None:
            r = self._lanes(self.how.factors).astype(np.int16)
            text.append(array_text(f"{self.name}_r", r, f"factors of the residual for {tensor}, twice"))
        if self.how.scale is not None:
            scale = self._lanes(self.how.scale).astype(np.int16)
            text.append(array_text(f"{self.name}_scale", scale, f"factors of the sums for {tensor}, twice"))
        rows = self.by_class(lanes(self.own.blocks, made.b), self._beside).astype(np.int16)
        text.append(array_text(f"{self.name}_b", rows, f"starts of sums for {tensor}: border classes of two pixels"))
        return [*text, *self.class_arrays(), *self.own.offset_arrays()]

    @staticmethod
    def _beside(first: Array, second: Array) -> Array:
        return np.concatenate([first, second], axis=-1)

    def start(self, em: Emitter, tile: Tile, pairs: Sequence[tuple[int, int]], sums: Sequence[Sequence[str]]) -> None:
        """Declare the sums with what they start from."""
        em.line(f"const int c = {self._constants_at(tile)};", scalar=1)
        self.borders(em, tile, pairs)
        for g, group in enumerate(sums):
            for q, name in enumerate(group):
                em.line(f"vec {name} = {'v_clear()' if self.how.scale is not None else self._start(g, q)};")

    def _start(self, group: int, pair: int) -> str:
        return f"v_fresh({self.name}_b + {self.border(pair)} + {ROW * group})"

    def _constants_at(self, tile: Tile) -> str:
        before = sum(len(block.groups) for block in self.own.blocks[: tile.first])
        return plus(ROW * before, tile.step(2 * ROW))

    def emit(self, em: Emitter, tile: Tile, pairs: Sequence[tuple[int, int]], sums: Sequence[Sequence[str]]) -> None:
        """Write the tile: ``sums[group][pair]`` names the register of a group and a pair of pixels."""
        for name in (name for group in sums for name in group):
            em.line(f"v_settle({name});")
        for g, group in enumerate(sums if self.how.scale is not None else ()):
            with em.block():
                em.line(f"const vec scale = v_load({self.name}_scale + c + {ROW * g});")
                for q, name in enumerate(group):
                    em.line(f"{name} = v_mac16({self._start(g, q)}, {name}, scale);")
        if self.how.factors is not None:
            self._add_residual(em, tile, pairs, sums)
        for g, group in enumerate(sums):
            with em.block():
                em.line(f"const vec m = v_load_high16({self.name}_m + c + {ROW * g});")
                for name in group:
                    em.line(f"{name} = v_mulh16({name}, m);")
        self.store(em, tile, pairs)

    def _add_residual(
        self, em: Emitter, tile: Tile, pairs: Sequence[tuple[int, int]], sums: Sequence[Sequence[str]]
    ) -> None:
        place, p = self.own.residual, self.own.blocks[0].precision
        assert place is not None
        codes = HALF_BITS // LANES // p
        base = plus("rp", self.own.block_at(place, tile, 0))
        for g in range(len(sums)):
            em.line(f"const vec r{g} = v_load({self.name}_r + c + {ROW * g});")
        for first in range(0, len(sums), codes):
            at = p * LANES * first // 8
            loaded: set[int] = set()
            for q, pair in enumerate(pairs):
                name, shift = self._residual_register(em, place, tile, base, pair, at, loaded)
                for g in range(first, min(first + codes, len(sums))):
                    with em.block():
                        em.line("vec g;")
                        em.line(f"v_unph({PRECISION_FIELD[p] | g - first + shift}, g, {name});")
                        em.line(f"{sums[g][q]} = v_mac16({sums[g][q]}, g, r{g});")

    def _residual_register(
        self, em: Emitter, place: Place, tile: Tile, base: str, pair: tuple[int, int], at: int, loaded: set[int]
    ) -> tuple[str, int]:
        """The register with both pixels' 8 bytes from byte ``at`` on, and the group of codes that they begin with."""
        first, second = (self.pixel(place, tile, number) for number in pair)
        if second - first == HALF_BITS // 8 and place.pixel_bytes <= HALF_BITS // 8:
            start = first // 8 * 8
            if start not in loaded:
                em.line(f"const vec x{at}_{start} = v_load({plus(base, start)});")
                loaded.add(start)
            return f"x{at}_{start}", (first - start) * 8 // (LANES * self.own.blocks[0].precision)
        name = f"x{at}_{first}"
        em.line(f"const vec {name} = v_zip16_low(v_load({plus(base, first + at)}), v_load({plus(base, second + at)}));")
        return name, 0

    def selector(self, precision: int) -> int:
        return selector(precision, self.how.constants.shift)

    def pieces(self, pair: int, groups: range) -> list[tuple[str, str]]:
        """Registers of a pair two by two, as the instruction takes them."""
        return [(f"h{g}_{pair}", f"h{g + 1}_{pair}") for g in groups[::2]]
