"""From accumulators to stored elements: requantise, clamp, pack, for four output channels at a time.

The code is the same behind every kernel: it gets registers of four 32-bit accumulators (one group of a block) for a
pixel, and writes all outputs of the layer. Where an output or the residual has another channel order than the
kernel's blocks, a scalar version moves element by element; training keeps the orders equal, so it is rare.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.pack import MOST_SHIFT, Packer, PieceAddress, form_bits, groups_per_piece, piece_form
from sysmol.kernels_c.plan.constants import (
    Held,
    Operand,
    Physical,
    activation_limits,
    array_text,
    border_arrays,
    identifier,
    physical,
    wrap32,
)
from sysmol.kernels_c.plan.layout import ELEMENT_BYTES, Block, Place, one_for_all
from sysmol.network import (
    INT32_MAX,
    INT32_MIN,
    Array,
    Layer,
    Network,
    Output,
    accumulator_bound,
    layer_classes,
    magnitude,
    requantised_bound,
)


@dataclass(frozen=True)
class Tile:
    """A tile's blocks and pixels, as the loop nest has them in C.

    ``first`` is the first block, ``count`` their number, ``variable`` the C variable that advances by ``count``
    blocks; ``pixels`` are (row, column) offsets from the tile's corner ``oy``, ``ox``.
    """

    first: int
    count: int
    variable: str
    times: int
    pixels: tuple[tuple[int, int], ...]

    def step(self, factor: int) -> str:
        """C term by which something of ``factor`` per block advances with the tile."""
        return times(self.variable, factor * self.count) if self.times > 1 else ""


def lanes(blocks: Sequence[Block], values: Array, empty: float = 0) -> Array:
    """Values ``[..., C]`` in the order of the kernel's lanes ``[..., groups, 4]``; ``empty`` where a lane has none."""
    index = np.array([g for block in blocks for g in block.groups])
    return np.where(index >= 0, values[..., np.maximum(index, 0)], np.asarray(empty, dtype=values.dtype))


def plus(*terms: str | int) -> str:
    """Sum of C terms without the zeros."""
    shown = [str(t) for t in terms if t not in (0, "0", "")]
    return " + ".join(shown) or "0"


def times(variable: str, factor: int) -> str:
    """Product of a C variable and a constant."""
    return "" if factor == 0 else variable if factor == 1 else f"{variable} * {factor}"


def clamp_float(em: Emitter, y: str, out: Output) -> None:
    """Clamp a C variable of one float to an output's limits."""
    for limit, beyond in ((out.lo, "<"), (out.hi, ">")):
        if np.isfinite(limit):
            em.line(f"{y} = {y} {beyond} {float(limit)!r}f ? {float(limit)!r}f : {y};", scalar=1)


def largest_sum(net: Network, layer: Layer, out: Output) -> int:
    """Bound on ``|acc * M + B + r * R|`` over all channels, for the constants of the network file."""
    assert out.M is not None
    reach = magnitude(net.tensors[layer.residual]) if layer.residual else None
    return int(requantised_bound(accumulator_bound(net, layer), out.M, out.B, reach, out.R).max())


def operand_text(operand: Operand, x: str, factor: str, addend: str) -> str:
    """C expression of a high product's first operand: of lanes ``x``, with the factor in a variable and the addend at
    an address."""
    if operand.addend is None:
        return x if operand.factor is None else f"v_mul({x}, {factor})"
    if operand.factor is None:
        return f"v_add({x}, v_load({addend}))"
    return f"v_mla(v_fresh({addend}), {x}, {factor})"


def high_scalar(operand: Operand, x: str, m: str, prefix: str, border: str = "", index: str = "i") -> str:
    """C expression of a high product of one element ``x`` with the factor ``m``; the operand's constants are entries
    ``index`` of the arrays ``<prefix>f`` and ``<prefix>k``."""
    f = "1" if operand.factor is None else f"m_get_s32({prefix}f, {index})"
    k = "0" if operand.addend is None else f"m_get_s32({prefix}k{border}, {index})"
    return f"m_high({x}, {f}, {k}, {m})"


def lane_name(output: int, block: int, pixel: int, group: int) -> str:
    """C variable of four requantised lanes."""
    return f"q{output}_{block}_{pixel}_{group}"


class Epilogue:
    """The epilogue of one layer over the kernel's ``blocks``.

    ``packed_alike``: the blocks are those of the layer's tensors. ``pack``: ``"vqpk"``, or ``"simd"`` for hardware
    without that instruction. ``held``: what the kernel accumulates, where that is not what the file's layer does.
    """

    def __init__(
        self,
        net: Network,
        layer: Layer,
        places: dict[str, Place],
        blocks: Sequence[Block],
        packed_alike: bool = True,
        pack: str = "vqpk",
        held: Held | None = None,
    ) -> None:
        self.layer = layer
        self.name = identifier(layer.name)
        self.blocks = tuple(blocks)
        self.targets = [places[name] for name in layer.targets]
        self.residual = places[layer.residual] if layer.residual else None
        self.natural_residual = bool(layer.residual) and activation_limits(net, layer.residual)[0] >= 0
        self.constants: list[Physical] = [physical(net, layer, out, held) for out in layer.outputs]
        (rows, row_classes), (columns, column_classes) = layer_classes(net, layer)
        self.rows, self.columns = rows, columns
        self.column_classes = len(column_classes)
        self.classes = len(row_classes) * len(column_classes)
        if self.targets[0].tensor.format == "f32":
            self.classes = 1
        self.groups = sum(len(block.groups) for block in self.blocks)
        self.packed_alike = packed_alike
        self.one_for_all = one_for_all(net, layer)
        residual_fits = self.residual is None or self.one_for_all or self._fits(self.residual)
        self.fast = [
            residual_fits and self._fits(place) and not (place.tensor.format == "smol" and out.lo > 0)
            for place, out in zip(self.targets, layer.outputs, strict=True)
        ]
        packable = pack == "vqpk" and all(piece_form(block) is not None for block in self.blocks)
        self.packs = [
            packable and fast and place.tensor.format == "smol"
            for fast, place in zip(self.fast, self.targets, strict=True)
        ]
        self.shifts = [out.shift for out in layer.outputs]
        for i, out in enumerate(layer.outputs):
            # vqpk shifts by even numbers: twice everything, where that fits, makes an odd one even at no cost.
            odd = self.packs[i] and out.shift % 2 and out.shift < MOST_SHIFT
            if odd and self.constants[i].is_low and largest_sum(net, layer, out) <= INT32_MAX // 2:
                self.constants[i] = self.constants[i].doubled()
                self.shifts[i] += 1

    def _fits(self, place: Place) -> bool:
        if place.tensor.format == "smol" and not self.packed_alike:
            ours = [(b.precision, b.offset, b.bits, b.groups, b.shifts) for b in self.blocks]
            return all(block.precision for block in self.blocks) and self._same_slots(place, ours)
        return self.packed_alike and place.blocks == self.blocks

    def _same_slots(self, place: Place, ours: list[tuple]) -> bool:  # type: ignore[type-arg]
        """Whether every lane of ours is where ``place`` has that channel, with as many bits: a channel that is first
        in its word begins at the same bit at every precision."""
        if place.tensor.format != "smol":
            return False
        positions, precisions = place.positions(), place.tensor.precisions
        return all(
            positions[channel] == 8 * offset + shifts[g][lane] and precisions[channel] == precision
            for precision, offset, _, groups, shifts in ours
            for g, group in enumerate(groups)
            for lane, channel in enumerate(group)
            if channel >= 0
        )

    # --- constants ---

    def arrays(self) -> list[str]:
        """Text of the constant arrays that the epilogue reads."""
        text = []
        for i, (out, constant) in enumerate(zip(self.layer.outputs, self.constants, strict=True)):
            name = f"{self.name}_out{i}"
            real = self.targets[i].tensor.format == "f32"
            convert = (lambda v: v.astype(np.float32)) if real else wrap32
            if constant.M is not None:
                text.append(array_text(f"{name}_m", convert(lanes(self.blocks, constant.M)), f"M of {out.tensor}"))
            b = convert(lanes(self.blocks, constant.B))
            text.append(array_text(f"{name}_b", b, f"B of {out.tensor}: {len(b)} border classes"))
            if constant.R is not None:
                text.append(array_text(f"{name}_r", convert(lanes(self.blocks, constant.R)), f"R of {out.tensor}"))
            text.extend(self._operand_arrays(f"{name}_", constant.high, f"sums for {out.tensor}"))
            text.extend(self._operand_arrays(f"{name}_r", constant.high_residual, f"residuals for {out.tensor}"))
            if not self.fast[i]:
                at = np.array(self.targets[i].positions())
                text.append(array_text(f"{name}_at", lanes(self.blocks, at, -1).astype(np.int32), "places of lanes"))
                hi = np.minimum(constant.hi, INT32_MAX)
                text.append(array_text(f"{name}_hi", lanes(self.blocks, hi).astype(np.int32), "upper clamps"))
        if self.residual is not None and not all(self.fast):
            at = np.array(self.residual.positions())
            at = np.resize(at, self.targets[0].tensor.channels)
            text.append(array_text(f"{self.name}_r_at", lanes(self.blocks, at).astype(np.int32), "places in residual"))
            for precision_of in [self.residual] if self.residual.tensor.format == "smol" else []:
                p = precision_of.tensor.precisions
                text.append(array_text(f"{self.name}_r_p", lanes(self.blocks, p, 1).astype(np.int32), "precisions"))
        for i, place in enumerate(self.targets):
            if not self.fast[i] and place.tensor.format == "smol":
                p = lanes(self.blocks, place.tensor.precisions, 1).astype(np.int32)
                text.append(array_text(f"{self.name}_out{i}_p", p, "precisions"))
        text += [*self.class_arrays(), *self.offset_arrays()]
        for precision_form, shifts in self._shift_arrays().items():
            text.append(array_text(precision_form, shifts, "left shift of every lane's code in its memory word"))
        return text

    def class_arrays(self) -> list[str]:
        """Text of the arrays that find a pixel's B by its row and its column."""
        if self.classes == 1:
            return []
        return border_arrays(self.name, "B", 16 * self.groups, self.rows, self.columns, self.column_classes)

    def offset_arrays(self) -> list[str]:
        """Text of the array of the blocks' places, where codes have them."""
        offsets = ", ".join(str(block.offset) for block in self.blocks)
        if not any(block.precision for block in self.blocks):
            return []
        wide = 32 if max(block.offset for block in self.blocks) >> 16 else 16
        return [
            "/* First byte of every block in a pixel. */",
            f"static const uint{wide}_t {self.name}_at[] = {{{offsets}}};\n",
        ]

    def _operand_arrays(self, prefix: str, operand: Operand | None, what: str) -> list[str]:
        """Factors and addends that make the operands of high products."""
        parts = () if operand is None else ((operand.factor, "f", "factors"), (operand.addend, "k", "addends"))
        return [
            array_text(f"{prefix}{key}", wrap32(lanes(self.blocks, values)), f"{word} of {what}")
            for values, key, word in parts
            if values is not None
        ]

    def _shift_arrays(self) -> dict[str, Array]:
        return {
            self.shift_name(index): np.array(block.shifts, dtype=np.int32)
            for index, block in enumerate(self.blocks)
            if block.precision and self.shift_name(index) == f"{self.name}_shift{index}"
        }

    def shift_name(self, index: int) -> str:
        """Array of the shifts of block ``index``: that of the first block of its form."""
        first = next(i for i, block in enumerate(self.blocks) if block.form == self.blocks[index].form)
        return f"{self.name}_shift{first}"

    # --- code ---

    def begin(self, em: Emitter) -> None:
        """At the start of the kernel."""
        em.line("const vec zero = v_zero();")
        em.line("(void)zero;")

    def tile_corner(self, em: Emitter) -> None:
        """Once ``oy`` and ``ox`` are known: where the tile's corner lies in the outputs and the residual."""
        for i, place in enumerate(self.targets):
            em.line(f"uint8_t *y{i} = out{i} + {self._corner(place)};", scalar=3)
        if self.residual is not None:
            em.line(f"const uint8_t *rp = residual + {self._corner(self.residual)};", scalar=3)

    @staticmethod
    def _corner(place: Place) -> str:
        return plus(place.start(), times("oy", place.row_bytes), times("ox", place.pixel_bytes))

    def block_at(self, place: Place, tile: Tile, k: int) -> str:
        """C expression: first byte of block ``k`` of the tile in a pixel of ``place``."""
        index = tile.first + k
        if place.tensor.format == "smol":
            offsets = self._offsets(tile, k)
            steps = {b - a for a, b in pairwise(offsets)}
            if len(steps) <= 1:
                return plus(offsets[0], times(tile.variable, steps.pop()) if steps else "")
            return f"{self.name}_at[{plus(tile.step(1), index)}]"
        step = ELEMENT_BYTES[place.tensor.format] * place.block_elements(self.blocks[index])
        return plus(place.block_base(index), tile.step(step))

    def _offsets(self, tile: Tile, k: int) -> list[int]:
        """First byte of block ``k`` of every tile that this code handles, in a pixel of a SMOL tensor."""
        return [self.blocks[tile.first + n * tile.count + k].offset for n in range(tile.times)]

    def emit(self, em: Emitter, tile: Tile, accumulators: Sequence[Sequence[Sequence[str]]]) -> None:
        """Write the tile: ``accumulators[k][pixel][group]`` are C expressions of the raw accumulators."""
        fast = [i for i, is_fast in enumerate(self.fast) if is_fast]
        # Outputs that leave the accumulators as they are come first.
        order = sorted(fast, key=lambda i: not self.packs[i])
        blocks = range(tile.count)
        if self.packed_alike:
            for text in [acc for block in accumulators for pixel in block for acc in pixel]:
                if text.isidentifier():
                    em.line(f"v_settle({text});")
        together = len(order) == 1 and self.packs[order[0]] and tile.count > 1 and self.side_by_side(tile)
        if together:
            for k in blocks:
                for p in range(len(tile.pixels)):
                    for g in range(len(accumulators[k][p])):
                        em.line(f"vec {lane_name(order[0], k, p, g)};")
        for k in blocks:
            with em.block():
                em.comment(f"block {k} of the tile")
                self._block(em, tile, k, order, accumulators[k], together)
        if together:
            i, pixels = order[0], range(len(tile.pixels))
            packer = self._packer(em, i, tile, blocks)
            packer.declare()
            for p in pixels:
                for k in blocks:
                    names = [lane_name(i, k, p, g) for g in range(len(accumulators[k][p]))]
                    self._put(packer, self.blocks[tile.first + k], names)

    def side_by_side(self, tile: Tile) -> bool:
        """Whether the tile's blocks follow each other in memory, in every tile that this code handles."""
        return len(self.words(tile)) == 1

    def words(self, tile: Tile) -> list[range]:
        """The tile's blocks, cut where one does not follow the last in memory, in any tile that this code handles."""
        size = self.blocks[tile.first].bits // 8
        rows = [self._offsets(tile, k) for k in range(tile.count)]
        apart = [[b - a for a, b in zip(low, high, strict=True)] for low, high in pairwise(rows)]
        cuts = [k for k, steps in enumerate(apart, 1) if any(step != size for step in steps)]
        return [range(a, b) for a, b in pairwise([0, *cuts, tile.count])]

    def _packer(self, em: Emitter, i: int, tile: Tile, blocks: Sequence[int]) -> Packer:
        """Packer of one output for ``blocks`` of the tile, side by side in memory, pixel by pixel."""
        block, place = self.blocks[tile.first + blocks[0]], self.targets[i]
        form = piece_form(block)
        assert form is not None
        base = plus(f"y{i}", self.block_at(place, tile, blocks[0]))
        size = form_bits(form) // 8
        pieces = [
            PieceAddress(base, place.bytes_to(*pixel) + n * size)
            for pixel in tile.pixels
            for n in range(len(blocks) * block.bits // 8 // size)
        ]
        shift = self.shifts[i]
        return Packer(em, f"packed{i}_", form, shift - shift % 2, pieces)

    def borders(self, em: Emitter, tile: Tile, at: str) -> None:
        """Declare where each pixel's B lies, that of the tile from ``at`` on, where border classes differ."""
        for number, (row, column) in enumerate(tile.pixels if self.classes > 1 else ()):
            em.line(
                f"const uint32_t border{number} = {self.name}_row[{plus('oy', row)}] + "
                f"{self.name}_column[{plus('ox', column)}] + (uint32_t){at if at.isidentifier() else f'({at})'};",
                scalar=4,
            )

    @staticmethod
    def _put(packer: Packer, block: Block, names: Sequence[str]) -> None:
        """The pieces of one block and pixel from its groups of requantised lanes."""
        form = piece_form(block)
        assert form is not None
        per = groups_per_piece(form)
        filled = [*names, *["zero"] * (block.bits // form_bits(form) * per - len(names))]
        for first in range(0, len(filled), per):
            packer.put(filled[first], filled[first + 1] if per == 2 else "zero")

    def _block(
        self,
        em: Emitter,
        tile: Tile,
        k: int,
        order: Sequence[int],
        accumulators: Sequence[Sequence[str]],
        together: bool,
    ) -> None:
        """Constants of a block and all its outputs; ``together``: leave the requantised lanes to be packed later."""
        block = self.blocks[tile.first + k]
        per = len(block.groups)
        group_start = sum(len(b.groups) for b in self.blocks[: tile.first])
        em.line(f"const int c = {plus(16 * (group_start + k * per), tile.step(16 * per))};", scalar=1)
        codes = [place for i, place in enumerate(self.targets) if i in order and not self.packs[i]]
        codes += [self.residual] if order and self.residual is not None else []
        if any(place.tensor.format == "smol" for place in codes):
            for g in range(per):
                em.line(f"const vec s{g} = v_load({self.shift_name(tile.first + k)} + {16 * g});")
                em.line(f"(void)s{g};")
        for i in order:
            for g in range(per):
                constant = self.constants[i]
                if constant.M is not None:
                    load = "v_load" if constant.high is None else "v_load_high"
                    em.line(f"const vec m{i}{g} = {load}({self.name}_out{i}_m + c + {16 * g});")
                if constant.R is not None:
                    load = "v_load" if constant.high_residual is None else "v_load_high"
                    em.line(f"const vec r{i}{g} = {load}({self.name}_out{i}_r + c + {16 * g});")
                for operand, prefix in ((constant.high, ""), (constant.high_residual, "r")):
                    if operand is not None and operand.factor is not None:
                        array = f"{self.name}_out{i}_{prefix}f"
                        em.line(f"const vec {prefix}f{i}{g} = v_load({array} + c + {16 * g});")
                if self.classes == 1 and i == order[-1]:
                    em.line(f"const vec b{i}{g} = v_load({self.name}_out{i}_b + c + {16 * g});")
            if self._by_eight(em):
                em.line(f"const vec r{i}_ = v_pack16(r{i}0, r{i}1);")
        self.borders(em, tile, "c")
        if not all(self.fast):
            for number in range(len(tile.pixels)):
                with em.block():
                    self._slow(em, tile, k, block, number, accumulators[number])
        if not order:
            return
        # Accumulators that are registers of their own are overwritten, all pixels side by side; else a few at a time.
        alone = len(order) == 1 and self.packed_alike
        size = len(tile.pixels) if alone or together else max(1, 4 // per) if len(order) == 1 else 1
        packers = {i: self._packer(em, i, tile, [k]) for i in order if self.packs[i] and not together}
        for packer in packers.values():
            packer.declare()
        for first in range(0, len(tile.pixels), size):
            with em.block():
                numbers = list(range(len(tile.pixels)))[first : first + size]
                self._pixels(em, tile, k, order, numbers, accumulators, packers, together)

    def _pixels(
        self,
        em: Emitter,
        tile: Tile,
        k: int,
        order: Sequence[int],
        numbers: list[int],
        accumulators: Sequence[Sequence[str]],
        packers: Mapping[int, Packer],
        together: bool,
    ) -> None:
        """All fast outputs of some pixels of the tile.

        Step by step for all pixels, not pixel by pixel: independent operations stand side by side, and on RISC-V no
        register is written again right away (gem5 v24.0 makes every vector operation wait for its destination's old
        value).
        """
        block = self.blocks[tile.first + k]
        groups = range(len(block.groups))
        shared = len(order) > 1 and self.residual is not None
        if shared:
            self._residual(em, tile, k, block, numbers)
        for i in order:
            self._accumulate(em, i, k, numbers, accumulators, last=i == order[-1], declare=not together)
            for first in range(0, len(numbers) if self.residual is not None else 0, 4):
                part = numbers[first : first + 4]
                with em.block():
                    if not shared:
                        self._residual(em, tile, k, block, part)
                    for g in groups:
                        for p in part:
                            y, x = lane_name(i, k, p, g), f"x{p}_{g}"
                            if self._by_eight(em):
                                em.line(f"v_widen_{('low', 'high')[g]}({y}, x{p}_, r{i}_);")
                            else:
                                em.line(f"{y} = {self._plus_residual(i, g, y, x)};")
            names = [[lane_name(i, k, p, g) for g in groups] for p in numbers]
            self._finish(em, i, block, names)
            if i in packers:
                for lanes_of_pixel in names:
                    self._put(packers[i], block, lanes_of_pixel)
            elif not together:
                base = plus(f"y{i}", self.block_at(self.targets[i], tile, k))
                at = [plus(base, self.targets[i].bytes_to(*tile.pixels[p])) for p in numbers]
                if self._narrows(em, i, block):
                    self._narrow(em, i, at, names)
                else:
                    store(em, self.targets[i], at, block, names, natural=self.layer.outputs[i].lo >= 0)

    def _narrows(self, em: Emitter, i: int, block: Block) -> bool:
        """Whether the target has an operation that shifts, clamps and narrows a block's lanes of output ``i``."""
        form = self.targets[i].tensor.format
        wanted = "v_narrow16" if form == "s16" else "v_store_narrow8" if form == "s8" and len(block.groups) == 2 else ""
        return wanted in em.costs

    def _narrow(self, em: Emitter, i: int, at: Sequence[str], names: Sequence[Sequence[str]]) -> None:
        out = self.layer.outputs[i]
        wide = self.targets[i].tensor.format == "s16"
        shift = min(out.shift, 16 if wide else 24)
        how = f"{shift}, {int(out.lo)}, {int(out.hi)}"
        for address, groups in zip(at, names, strict=True):
            a, b = [*groups, "zero"][:2]
            if out.shift > shift:
                for q in groups:
                    em.line(f"{q} = v_sra({q}, {out.shift - shift});")
            if wide:
                name = "v_narrow_halves" if self.targets[i].split else "v_narrow16"
                em.line(f"v_store({address}, {name}({how}, {a}, {b}));")
            else:
                em.line(f"v_store_narrow8({address}, {how}, {a}, {b}, zero);")

    def _residual(self, em: Emitter, tile: Tile, k: int, block: Block, numbers: list[int]) -> None:
        """Declare ``x<pixel>_<group>``, the residual's raw elements."""
        assert self.residual is not None
        if self.one_for_all:
            for p in numbers:
                at_pixel = plus("rp", self.residual.bytes_to(*tile.pixels[p]))
                em.line(f"const vec x{p}_0 = v_dup((uint32_t)m_get_s16({at_pixel}, 0));")
                for g in range(1, len(block.groups)):
                    em.line(f"const vec x{p}_{g} = x{p}_0;")
            return
        base = plus("rp", self.block_at(self.residual, tile, k))
        at = [plus(base, self.residual.bytes_to(*tile.pixels[p])) for p in numbers]
        if self._by_eight(em):
            for p, address in zip(numbers, at, strict=True):
                em.line(f"const vec x{p}_ = v_load({address});")
            return
        expand(em, self.residual, at, block, [f"x{p}_" for p in numbers], self.natural_residual)

    def _by_eight(self, em: Emitter) -> bool:
        """Whether there are operations that multiply elements of a 16-bit residual where they stand, and R fits."""
        place, constants = self.residual, self.constants
        if place is None or not place.split or self.one_for_all or "v_widen_low" not in em.costs:
            return False
        fits = all(each.is_low and each.R is not None and np.abs(each.R).max() < 1 << 15 for each in constants)
        return fits and all(self.fast) and all(len(block.groups) == 2 for block in self.blocks)

    def _plus_residual(self, i: int, g: int, y: str, x: str) -> str:
        """C expression: lanes ``y`` of output ``i`` and the residual's raw elements ``x``, times R."""
        if self.targets[i].tensor.format == "f32":
            return f"v_fadd({y}, {x})"
        operand = self.constants[i].high_residual
        if operand is None:
            return f"v_mla({y}, {x}, r{i}{g})"
        text = operand_text(operand, x, f"rf{i}{g}", f"{self.name}_out{i}_rk + c + {16 * g}")
        return f"v_add({y}, v_mulh({text}, r{i}{g}))"

    def _accumulate(
        self,
        em: Emitter,
        i: int,
        k: int,
        numbers: list[int],
        accumulators: Sequence[Sequence[str]],
        last: bool,
        declare: bool,
    ) -> None:
        """Set the lanes :func:`lane_name` to acc * M + B; ``last``: the accumulators may be used up."""
        real = self.targets[i].tensor.format == "f32"
        for p in numbers:
            for g, acc in enumerate(accumulators[p]):
                at = f"{self.name}_out{i}_b + {'c' if self.classes == 1 else f'border{p}'} + {16 * g}"
                m = f"m{i}{g}"
                if real:
                    product = acc if self.constants[i].M is None else f"v_fmul({acc}, {m})"
                    b = f"b{i}{g}" if last and self.classes == 1 else f"v_load({at})"
                    text = f"v_fadd({product}, {b})"
                elif (operand := self.constants[i].high) is not None:
                    moved = operand.addend is not None and len(operand.addend) > 1
                    place = f"{self.name}_out{i}_k + {f'border{p}' if moved else 'c'} + {16 * g}"
                    b = f"b{i}{g}" if last and self.classes == 1 else f"v_load({at})"
                    text = f"v_add(v_mulh({operand_text(operand, acc, f'f{i}{g}', place)}, {m}), {b})"
                elif last and self.classes == 1:
                    text = f"v_affine({acc}, {m}, b{i}{g}, {at})"
                else:
                    text = f"v_mla(v_fresh({at}), {acc}, {m})"
                em.line(f"{'vec ' if declare else ''}{lane_name(i, k, p, g)} = {text};")

    def _finish(self, em: Emitter, i: int, block: Block, names: Sequence[Sequence[str]]) -> None:
        """Shift and clamp lanes, or what ``vqpk`` leaves to do of it."""
        out, place = self.layer.outputs[i], self.targets[i]
        steps = []
        if place.tensor.format == "f32":
            if np.isfinite(out.lo):
                steps.append(f"v_fat_least({{q}}, {float(out.lo)!r}f)")
            if np.isfinite(out.hi):
                steps.append(f"v_fat_most({{q}}, {float(out.hi)!r}f)")
        elif self.packs[i]:
            shift = self.shifts[i]
            if shift % 2:
                steps.append("v_sra({q}, 1)")
            # floor(q / 2^S) <= hi exactly where q < (hi + 1) * 2^S
            above = int(out.hi) + 1 << shift - shift % 2
            if int(out.hi) < (1 << block.precision) - 1 and above <= INT32_MAX:
                steps.append(f"v_at_most({{q}}, {above - 1})")
        elif not self._narrows(em, i, block):
            hi = min(int(out.hi), (1 << block.precision) - 1) if place.tensor.format == "smol" else int(out.hi)
            if out.shift:
                steps.append(f"v_sra({{q}}, {out.shift})")
            if out.lo > INT32_MIN:
                steps.append(f"v_at_least({{q}}, {int(out.lo)})")
            if hi < INT32_MAX:
                steps.append(f"v_at_most({{q}}, {hi})")
        for step in steps:
            for pixel in names:
                for q in pixel:
                    em.line(f"{q} = {step.format(q=q)};")

    def _slow(self, em: Emitter, tile: Tile, k: int, block: Block, number: int, accumulators: Sequence[str]) -> None:
        """Element by element through memory, for outputs in another channel order."""
        count, pixel = 4 * len(block.groups), tile.pixels[number]
        em.line(f"uint8_t acc[{4 * count}];")
        for g, acc in enumerate(accumulators):
            em.line(f"v_store(acc + {16 * g}, {acc});")
        with em.loop("lane", count):
            em.line("const int i = c / 4 + lane;", scalar=2)
            r = "0"
            if self.residual is not None:
                at = plus("rp", self.residual.bytes_to(*pixel))
                r = self._get(self.residual, at)
            for i, out in enumerate(self.layer.outputs):
                if self.fast[i]:
                    continue
                place, name = self.targets[i], f"{self.name}_out{i}"
                border = "" if self.classes == 1 else f" + border{number} - c"
                constant = self.constants[i]
                m, rm = f"m_get_s32({name}_m, i)", f"m_get_s32({name}_r, i)" if out.R is not None else "0"
                acc, own = "m_get_s32(acc, lane)", r
                if place.tensor.format == "f32":
                    factor = "" if constant.M is None else f" * m_get_f32({name}_m, i)"
                    with em.block(f"if (m_get_s32({name}_at, i) >= 0)"):
                        em.line(f"float y = m_get_f32(acc, lane){factor} + m_get_f32({name}_b, i) + {r};", scalar=3)
                        clamp_float(em, "y", out)
                        em.line(f"m_put_f32({plus(f'y{i}', place.bytes_to(*pixel))}, m_get_s32({name}_at, i), y);")
                    continue
                if constant.high is not None:
                    moved = constant.high.addend is not None and len(constant.high.addend) > 1
                    acc, m = high_scalar(constant.high, acc, m, f"{name}_", border if moved else ""), "1"
                if constant.high_residual is not None:
                    own, rm = high_scalar(constant.high_residual, r, rm, f"{name}_r"), "1"
                with em.block(f"if (m_get_s32({name}_at, i) >= 0)"):
                    em.line(
                        f"const int32_t y = m_requantise({acc}, {m}, m_get_s32({name}_b{border}, i), {own}, {rm}, "
                        f"{out.shift}, {int(out.lo)}, m_get_s32({name}_hi, i));"
                    )
                    at = plus(f"y{i}", place.bytes_to(*pixel))
                    if place.tensor.format == "smol":
                        em.line(f"m_put_code({at}, m_get_s32({name}_at, i), m_get_s32({name}_p, i), y);")
                    else:
                        em.line(f"m_put_{place.tensor.format}({at}, m_get_s32({name}_at, i), y);")
        em.line("v_begin();")

    def _get(self, place: Place, at: str) -> str:
        where = f"m_get_s32({self.name}_r_at, i)"
        if place.tensor.format == "smol":
            return f"m_get_code({at}, {where}, m_get_s32({self.name}_r_p, i))"
        return f"m_get_{place.tensor.format}({at}, {where})"


def expand(
    em: Emitter, place: Place, at: Sequence[str], block: Block, names: Sequence[str], natural: bool = False
) -> None:
    """Declare ``<name>0``, ``<name>1``, ...: a block's raw elements (codes of SMOL tensors), one per lane.

    Once for every address in ``at`` and its name. SMOL blocks need their shift vectors ``s0``, ``s1`` in scope.
    ``natural``: no element is negative.
    """
    form = place.tensor.format
    groups = range(len(block.groups))
    if form == "smol":
        for address, name in zip(at, names, strict=True):
            em.line(f"const vec {name}word = v_dup(m_load{block.bits}({address}));")
        for g in groups:
            for name in names:
                em.line(f"const vec {name}{g} = v_field({name}word, s{g}, {(1 << block.precision) - 1});")
    elif form == "s16":
        for address, name in zip(at, names, strict=True):
            em.line(f"const vec {name}pair = v_load({address});")
        for g in groups:
            for name in names:
                half = f"v_low16({name}pair)" if natural and g == 0 else f"v_sext16({name}pair, {g})"
                half = f"v_half16_{('low', 'high')[g]}({name}pair)" if place.split else half
                em.line(f"const vec {name}{g} = {half};")
    else:
        load, width = (f"v_load_{form}", 4) if form in ("s8", "u8") else ("v_load", 16)
        for g in groups:
            for address, name in zip(at, names, strict=True):
                em.line(f"const vec {name}{g} = {load}({plus(address, width * g)});")


def store(
    em: Emitter,
    place: Place,
    at: Sequence[str],
    block: Block,
    names: Sequence[Sequence[str]],
    natural: bool = False,
) -> None:
    """Store groups of raw elements (in range) as blocks: ``names[n]`` at address ``at[n]``. They are used up.

    ``natural``: no element is negative. Needs ``zero`` in scope, and the shift vectors ``s0``, ``s1`` for SMOL blocks.
    """
    form = place.tensor.format
    count = len(block.groups)
    if form == "smol":
        for g in range(count):
            for groups in names:
                em.line(f"{groups[g]} = v_sll({groups[g]}, s{g});")
        for g in range(1, count):
            for groups in names:
                em.line(f"{groups[0]} = v_or({groups[0]}, {groups[g]});")
        for address, groups in zip(at, names, strict=True):
            em.line(f"m_store{block.bits}({address}, v_hsum({groups[0]}, zero));")
    elif form == "s16":
        assert not place.split
        for address, groups in zip(at, names, strict=True):
            second = groups[1] if count == 2 else "v_zero()"  # in place, so not the register that stays zero
            em.line(f"v_store({address}, v_{'natural_' if natural else ''}halves({groups[0]}, {second}));")
    else:
        for address, groups in zip(at, names, strict=True):
            for g, name in enumerate(groups):
                where = plus(address, (4 if form == "s8" else 16) * g)
                em.line(f"v_store_s8({where}, {name}, zero);" if form == "s8" else f"v_store({where}, {name});")
