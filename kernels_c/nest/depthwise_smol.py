"""Depthwise convolutions of SMOL tensors, by ``vmul`` and ``vmla``.

One part of a vector at a time gives 8 lanes of 16 bits or 16 lanes of 8 bits. The proof that lanes do not overflow:
225 * 145, 9 * 14 and 1 * 127 are the most taps.

Where the output has the input's slots, sums are requantised by 16-bit multiplications into 32 bits and packed by
``vqpk``: a whole vector for one store. Elsewhere they are widened to groups of 32-bit lanes by byte or half (even and
odd elements, that is: the blocks here have their own lane order) for the common epilogue.
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from sysmol.errors import SysmolError
from sysmol.grid import PRODUCT_SHIFT
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import Epilogue, Tile, plus, times
from sysmol.kernels_c.nest.depthwise import CACHED, HELD_TAPS, tile_columns, tiles, window
from sysmol.kernels_c.nest.kernel import Kernel, parameters
from sysmol.kernels_c.plan.constants import array_text, held_products, identifier, physical, wrap32
from sysmol.kernels_c.plan.layout import Block, Group, Place, slot_channels
from sysmol.kernels_c.plan.options import DEFAULT, Options
from sysmol.network import INT32_MAX, Layer, Network, accumulator_bound, alignment, layer_classes
from sysmol.pattern import CHUNK_BITS, REGISTER_BYTES, chunk_precisions
from sysmol.register_parts import EIGHT_CODES, FOUR_CODES, LANE_BITS, MOST_PRODUCTS, PIECE_CODES, used_parts, words

ACCUMULATORS = 16
HALVES = ("low", "high")


class PartBlock(NamedTuple):
    """A part of a SMOL tensor's vector, its selector in ``vmla`` and its channels as a block of the epilogue."""

    vector: int
    selector: int
    block: Block


class Piece(NamedTuple):
    """Codes that one ``vqpk`` packs: ``part`` of them (place among the vector's parts; None where nothing is used),
    in which ``half`` of its 8-bit lanes (None: 16-bit lanes), and the instruction's ``form``."""

    precision: int
    part: int | None
    half: int | None
    form: int
    channels: tuple[int, ...]

    @property
    def code(self) -> tuple[int | None, int | None, int]:
        """What two pieces must share to be handled by the same code."""
        return self.part, self.half, self.form


def parts(source: Place) -> list[PartBlock]:
    """The parts in use of a SMOL tensor's vectors."""
    channels = slot_channels(source.tensor)
    result = []
    slot = 0
    for vector, number in enumerate(source.tensor.patterns):
        starts = np.cumsum([0] + [CHUNK_BITS // p for p in chunk_precisions(number)])
        for selector, part, own in used_parts(number):
            p = part.precision
            lane_channels, shifts = [], []
            for c in part.chunks:
                for e in range(CHUNK_BITS // p):
                    lane_channels.append(channels[slot + starts[c] + e] if c in own else -1)
                    shifts.append((c - own[0]) * CHUNK_BITS + p * e if c in own else 0)
            block = Block(
                _interleave(lane_channels, p),
                p,
                vector * REGISTER_BYTES + 2 * own[0],
                CHUNK_BITS * len(own),
                _interleave(shifts, p),
            )
            if any(channel >= 0 for channel in lane_channels):
                result.append(PartBlock(vector, selector, block))
        slot += int(starts[-1])
    return result


def _interleave(values: list[int], precision: int) -> tuple[Group, ...]:
    """Groups of 32-bit lanes as :func:`widen` makes them: lane i of group b is element ``i * groups + b``."""
    groups = 32 // LANE_BITS[precision]
    result = []
    for b in range(groups):
        first, second, third, fourth = values[b::groups]
        result.append((first, second, third, fourth))
    return tuple(result)


def widen(name: str, precision: int) -> list[str]:
    """C expressions of a part accumulator's groups of 32-bit lanes."""
    bits = LANE_BITS[precision]
    return [f"v_sext{bits}({name}, {b})" for b in range(32 // bits)]


def pieces(source: Place, vector: int, own: Sequence[int]) -> list[Piece]:
    """The pieces of a vector, lowest bits first; ``own`` are the selectors of its parts in use."""
    channels = slot_channels(source.tensor)
    start = sum(CHUNK_BITS // p for number in source.tensor.patterns[:vector] for p in chunk_precisions(number))
    pattern = source.tensor.patterns[vector]
    precisions = chunk_precisions(pattern)
    selectors = {chunk: used.selector for used in used_parts(pattern) for chunk in used.chunks}
    result: list[Piece] = []
    for chunk, chunks in words(pattern):
        p, selector = precisions[chunk], selectors[chunk]
        count = chunks * CHUNK_BITS // p
        held = channels[start : start + count]
        if not any(channel >= 0 for channel in held):
            result += [Piece(p, None, None, FOUR_CODES, ())] * chunks
        elif p == 4:
            form = EIGHT_CODES[p] if chunks == 2 else FOUR_CODES
            result.append(Piece(p, own.index(selector), None, form, tuple(held)))
        else:
            for number, half in enumerate((0, 1) if p == 1 else (chunk % 2,)):
                codes = tuple(held[PIECE_CODES * number : PIECE_CODES * (number + 1)])
                result.append(Piece(p, own.index(selector), half, EIGHT_CODES[p], codes))
        start += count
    return result


class SmolDepthwise(Kernel):
    """Depthwise convolution of a SMOL tensor, vector by vector, a few pixels of a row at a time."""

    def __init__(self, net: Network, layer: Layer, places: dict[str, Place], options: Options = DEFAULT) -> None:
        if not (options.has.has("vmul") and options.has.has("vmla")):
            raise SysmolError(
                f"layer {layer.name}: the hardware has no vmul and vmla, which depthwise layers of codes need"
            )
        self.net = net
        self.layer = layer
        self.name = identifier(layer.name)
        self.source = places[layer.input]
        self.place = places[layer.targets[0]]
        self.parts = parts(self.source)
        self.height, self.width = self.place.tensor.height, self.place.tensor.width
        self.most = min(MOST_PRODUCTS[part.block.precision] for part in self.parts) // layer.kernel[1]
        if not self.most:
            raise SysmolError(
                f"layer {layer.name}: a depthwise kernel {layer.kernel[1]} wide overflows its lanes; split it"
            )
        held = held_products(net, layer)
        self.constant = physical(net, layer, layer.outputs[0], held)
        self.double = layer.outputs[0].shift % 2
        self.shifts = self._pack_shifts() if options.pack == "vqpk" else None
        self.epilogue = Epilogue(net, layer, places, [part.block for part in self.parts], packed_alike=False, held=held)
        self.held = layer.kernel[0] * layer.kernel[1] <= HELD_TAPS
        self.rows_outside = self.source.bytes + self.place.bytes > CACHED
        self.chain_length = layer.kernel[0] * layer.kernel[1]

    def _pack_shifts(self) -> dict[int, int] | None:
        """Shift of ``vqpk`` by precision where that instruction can do the requantisation, else None.

        It needs 16-bit factors and an even shift. Sums here are not aligned: ``(2**a * acc * M + B) >> S`` is
        ``(acc * M + (B >> a)) >> (S - a)``. An odd shift is made even by doubling sums and B.
        """
        layer, x, out = self.layer, self.source.tensor, self.layer.outputs[0]
        t = self.place.tensor
        same = (
            t.format == "smol" and t.patterns == x.patterns and np.array_equal(np.asarray(t.slots), np.asarray(x.slots))
        )
        if not same or len(layer.outputs) > 1 or layer.residual or self.source.narrow or self.place.narrow:
            return None
        if (
            not self.constant.is_low
            or layer.kernel[0] > self.most
            or out.lo > 0
            or out.hi < (1 << int(x.precisions.max())) - 1
        ):
            return None
        assert out.M is not None
        factors = np.abs(out.M.astype(np.int64))
        reach = (accumulator_bound(self.net, layer) * factors + np.abs(self.constant.B).max(axis=0)) << self.double
        sums = layer.kernel[0] * layer.kernel[1] * (1 << x.precisions.max()) ** 2
        if factors.max() > 32767 or (reach >> alignment(x)).max() > INT32_MAX or sums << self.double > 32767:
            return None
        shifts = {p: out.shift + self.double - PRODUCT_SHIFT[p] for p in set(x.precisions.tolist())}
        return shifts if all(0 <= shift <= 30 for shift in shifts.values()) else None

    @property
    def written(self) -> list[str]:
        vectors = {part.vector for part in self.parts}
        return (
            self.layer.targets if self.shifts is not None and len(vectors) == len(self.source.tensor.patterns) else []
        )

    def emit(self, em: Emitter) -> list[str]:
        """Write the layer's function; returns the text of its constant arrays."""
        assert self.layer.weight is not None
        vectors = self.layer.weight.shape[2]
        own = [[(i, part) for i, part in enumerate(self.parts) if part.vector == v] for v in range(vectors)]
        with em.block(f"SMOL_KERNEL {self.name}({parameters(self.layer)})"):
            arrays = self._emit_unpacked(em, own) if self.shifts is None else self._emit_packed(em, own)
        em.line()
        weights = np.ascontiguousarray(np.transpose(self.layer.weight, (2, 0, 1, 3)))
        return [array_text(f"{self.name}_w", weights, f"weights of {self.layer.name}"), *arrays]

    def _emit_unpacked(self, em: Emitter, own: list[list[tuple[int, PartBlock]]]) -> list[str]:
        em.line("v_begin();")
        self.epilogue.begin(em)
        for vector, used in enumerate(own):
            if used:
                self._vectors(em, vector, 1, used, lambda used, columns: self._unpacked(em, used, columns))
        return self.epilogue.arrays()

    def _emit_packed(self, em: Emitter, own: list[list[tuple[int, PartBlock]]]) -> list[str]:
        packs = [pieces(self.source, v, [part.selector for _, part in used]) for v, used in enumerate(own)]
        em.line("v_begin16();")
        em.line("const vec zero = v_clear();")
        em.line("(void)zero;")
        start = 0
        for _, run in groupby(range(len(own)), key=lambda v: [piece.code for piece in packs[v]]):
            vectors = list(run)
            pack = packs[vectors[0]]
            count = sum(piece.part is not None for piece in pack)
            if count:
                finish = self._packer(em, pack, start, count)
                self._vectors(em, vectors[0], len(vectors), own[vectors[0]], finish)
            start += count * len(vectors)
        return self._pack_arrays([piece for pack in packs for piece in pack if piece.part is not None])

    # --- sums ---

    def _vectors(
        self,
        em: Emitter,
        first: int,
        count: int,
        own: list[tuple[int, PartBlock]],
        finish: Callable[[list[tuple[int, PartBlock]], int], None],
    ) -> None:
        """Loops over ``count`` vectors whose code is the same, rows, and tiles of pixels, each done by ``finish``."""
        size = self.layer.kernel[0] * self.layer.kernel[1] * REGISTER_BYTES
        columns = tile_columns(self.width, max(1, min(4, ACCUMULATORS // len(own))))
        self.chains = max(self.chains, columns * len(own))
        em.comment(f"vectors {first}..{first + count - 1}: {len(own)} parts of {columns} pixels at a time")
        weights = plus(f"{self.name}_w", first * size, times("t", size))

        def hold() -> None:
            if self.held:
                self._weights(em, range(self.layer.kernel[0]))

        with tiles(em, count, self.height, self.width, columns, self.rows_outside, weights, hold):
            sy, sx = self.layer.stride
            corner = plus(
                self.source.start(self.layer.padding[:2]),
                first * REGISTER_BYTES,
                times("t", REGISTER_BYTES),
                times("oy", sy * self.source.row_bytes),
                times("ox", sx * self.source.pixel_bytes),
            )
            em.line(f"const uint8_t *x = in + {corner};", scalar=3)
            finish(own, columns)

    def _weights(self, em: Emitter, rows: range) -> None:
        width = self.layer.kernel[1]
        for ky in rows:
            for kx in range(width):
                em.line(f"const vec w{ky}_{kx} = v_load({plus('w', REGISTER_BYTES * (ky * width + kx))});")

    def _sums(self, em: Emitter, own: list[tuple[int, PartBlock]], columns: int, rows: range) -> None:
        """Set ``u<part>_<pixel>`` to the sums over kernel ``rows``."""
        fresh = set(range(columns))
        for ky in rows:
            with em.block():
                if not self.held:
                    self._weights(em, range(ky, ky + 1))
                for column, uses in window(self.layer, columns):
                    row = ky * self.layer.dilation[0] * self.source.row_bytes
                    at = plus("x", row + column * self.source.pixel_bytes)
                    with em.block():
                        em.line(f"const vec xp = v_load({at});")
                        for p, kx in uses:
                            operation = "v_vmul" if p in fresh else "v_vmla"
                            for index, part in own:
                                em.line(f"{operation}({part.selector}, u{index}_{p}, w{ky}_{kx}, xp);")
                            fresh.discard(p)

    def _declare(self, em: Emitter, own: list[tuple[int, PartBlock]], columns: int) -> None:
        for index, _ in own:
            em.line(f"vec {', '.join(f'u{index}_{p}' for p in range(columns))};")

    # --- packed by vqpk ---

    def _packer(
        self, em: Emitter, pack: list[Piece], start: int, count: int
    ) -> Callable[[list[tuple[int, PartBlock]], int], None]:
        """Finish a tile: per piece ``acc * M + B`` in a pair of registers, which ``vqpk`` shifts, clamps and packs.

        ``start``: pieces in use of the vectors before, ``count`` of this one.
        """
        shifts = self.shifts
        assert shifts is not None

        def finish(own: list[tuple[int, PartBlock]], columns: int) -> None:
            self._declare(em, own, columns)
            self._sums(em, own, columns, range(self.layer.kernel[0]))
            to = plus(
                self.place.start(),
                own[0][1].vector * REGISTER_BYTES,
                times("t", REGISTER_BYTES),
                times("oy", self.place.row_bytes),
                times("ox", self.place.pixel_bytes),
            )
            em.line(f"uint8_t *y = out0 + {to};", scalar=3)
            em.line(f"const uint8_t *m = {plus(f'{self.name}_m', 16 * start, times('t', 16 * count))};", scalar=2)
            for p in range(columns):
                border = ""
                if len(self.constant.B) > 1:
                    border = f"{self.name}_row[oy] + {self.name}_column[{plus('ox', p)}]"
                b = plus(f"{self.name}_b", 32 * start, times("t", 32 * count), border)
                em.line(f"const uint8_t *b{p} = {b};", scalar=4)
            for p in range(columns):
                with em.block():
                    # v_qpk_first uses up its operand, and a copy of zero would cost a setting of vtype on RISC-V.
                    em.line("vec d;" if pack[0].part is not None else "vec d = v_clear();")
                    number = 0
                    for place, piece in enumerate(pack):
                        if piece.part is None:
                            em.line(f"v_qpk({FOUR_CODES << 4}, d, zero, zero);")
                            continue
                        operation = "v_qpk" if place else "v_qpk_first"
                        selector = piece.form << 4 | shifts[piece.precision] // 2
                        terms = f"u{own[piece.part][0]}_{p}"
                        terms = f"v_as16({terms})" if piece.half is None else f"v_half8_{HALVES[piece.half]}({terms})"
                        if self.double:
                            terms = f"v_twice16({terms})"
                        with em.block():
                            em.line(f"vecpair q = v_load_pair({plus(f'b{p}', 32 * number)});")
                            em.line(f"v_wide_mla(q, {terms}, v_load16({plus('m', 16 * number)}));")
                            em.line(f"{operation}({selector}, d, v_low(q), v_high(q));")
                        number += 1
                    em.line(f"v_store_whole({plus('y', p * self.place.pixel_bytes)}, d);")

        return finish

    def _pack_arrays(self, used: list[Piece]) -> list[str]:
        """M in 16 bits and B, 8 lanes to a piece; offsets of border classes in B."""
        out = self.layer.outputs[0]
        assert out.M is not None
        index = np.array([[*piece.channels, *[-1] * (8 - len(piece.channels))] for piece in used])
        lanes = np.maximum(index, 0)
        factors = np.where(index >= 0, out.M[lanes], 0)
        shifted = (self.constant.B << self.double) >> alignment(self.source.tensor)
        offsets = np.where(index >= 0, shifted[:, lanes], 0)
        text = [
            array_text(f"{self.name}_m", factors.astype(np.int16), f"M of {out.tensor}"),
            array_text(f"{self.name}_b", wrap32(offsets), f"B of {out.tensor}: {len(offsets)} border classes"),
        ]
        (rows, _), (columns, classes) = layer_classes(self.net, self.layer)
        if len(offsets) > 1:
            step = 32 * len(used)
            for axis, own, factor in (("row", rows, len(classes)), ("column", columns, 1)):
                values = ", ".join(str(v * factor * step) for v in own)
                text.append(
                    f"/* Byte offset in B of the border class of every output {axis}. */\n"
                    f"static const uint32_t {self.name}_{axis}[] = {{{values}}};\n"
                )
        return text

    # --- the common epilogue ---

    def _unpacked(self, em: Emitter, own: list[tuple[int, PartBlock]], columns: int) -> None:
        """Finish a tile in the common epilogue; more taps than a lane can add up go through memory."""
        height = self.layer.kernel[0]
        self.epilogue.tile_corner(em)
        pixels = tuple((0, column) for column in range(columns))
        stages = [range(start, min(start + self.most, height)) for start in range(0, height, self.most)]
        if len(stages) == 1:
            self._declare(em, own, columns)
            self._sums(em, own, columns, stages[0])
            for index, part in own:
                accumulators = [widen(f"u{index}_{p}", part.block.precision) for p in range(columns)]
                self.epilogue.emit(em, Tile(index, 1, "t", 1, pixels), [accumulators])
            return
        em.line(f"uint8_t sums[{64 * columns * len(own)}];")

        def at(number: int, p: int, g: int) -> str:
            return f"sums + {64 * (number * columns + p) + 16 * g}"

        for stage, rows in enumerate(stages):
            with em.block():
                self._declare(em, own, columns)
                self._sums(em, own, columns, rows)
                for number, (index, part) in enumerate(own):
                    for p in range(columns):
                        for g, text in enumerate(widen(f"u{index}_{p}", part.block.precision)):
                            total = f"v_add(v_load({at(number, p, g)}), {text})" if stage else text
                            em.line(f"v_store({at(number, p, g)}, {total});")
        for number, (index, part) in enumerate(own):
            loads = [[f"v_load({at(number, p, g)})" for g in range(len(part.block.groups))] for p in range(columns)]
            self.epilogue.emit(em, Tile(index, 1, "t", 1, pixels), [loads])
