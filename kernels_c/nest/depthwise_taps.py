"""Depthwise convolutions of SMOL tensors in planes, by ``vdw``: three taps of a row for eight channels at a time.

A register holds four neighbouring pixels of a plane, and serves two output pixels of a row (stride 1) in every kernel
row that reads it. Sums have 16 bits. Where the output has the input's slots and constants of 16 bits give the same
codes (:mod:`sysmol.kernels_c.plan.lanes16`), they are requantised like that, and ``vqpk.h`` packs two blocks of eight
channels after the other into whole registers of pixels. Elsewhere they are widened for the common epilogue.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise, product
from typing import NamedTuple

import numpy as np

from sysmol.isa import BY_NAME
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import Epilogue, Tile, plus, times
from sysmol.kernels_c.nest import tile_origin
from sysmol.kernels_c.nest.kernel import Kernel, parameters
from sysmol.kernels_c.plan.constants import (
    Held,
    Physical,
    array_text,
    border_arrays,
    held_products,
    identifier,
    physical,
)
from sysmol.kernels_c.plan.lanes16 import PRECISION_FIELD, Sums, lane_constants, scaled_constants
from sysmol.kernels_c.plan.layout import PLANE_BYTES, Place, segments
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.plan.planes import (
    LANES,
    WORD_TAPS,
    fillers,
    part_of,
    products_reach,
    row_fillers,
    tap_groups,
)
from sysmol.kernels_c.targets import Target
from sysmol.network import Array, Layer, Network, alignment, layer_classes
from sysmol.pattern import CHUNK_BITS, REGISTER_BYTES, chunk_precisions
from sysmol.register_parts import words
from sysmol.schedule import Schedule

STYLE = "vdw"
VQPK_H = BY_NAME["vqpk.h"].fns[0]
JOINT = 1 << 3
"""Bit of the selector of ``vqpk.h`` that makes one piece of sixteen codes."""
ACCUMULATORS = 16
HELD_WEIGHTS = 6
"""Registers of weights of a plane that stay in registers over a tile."""
ROWS = 4
"""Rows of a tile at most."""


class Codes(NamedTuple):
    """Eight codes of a pixel: the ``plane`` and ``part`` of its word that they are, and their number among the layer's
    pieces; None where no channel is."""

    precision: int
    plane: int
    part: int
    number: int | None


@dataclass(frozen=True)
class Lanes16:
    """Constants of 16 bits, all int64: factors ``m [C]``, starts ``b [classes, C]``, and by precision the shift of
    ``vqpk.h``. ``factors [C]``: what the sums are multiplied with in front, in those of the precisions ``scaled``."""

    m: Array
    b: Array
    shifts: dict[int, int]
    factors: Array
    scaled: frozenset[int]


def lanes16(net: Network, layer: Layer, constant: Physical, options: Options) -> Lanes16 | None:
    """Constants with which sums of products are requantised in 16 bits, None where there are none."""
    x, out = net.tensors[layer.input], layer.outputs[0]
    tops = (1 << x.precisions.astype(np.int64)) - 1
    if not constant.is_low or out.lo > 0 or constant.M is None or (np.asarray(constant.hi) < tops).any():
        return None
    m, b = np.zeros(x.channels, dtype=np.int64), np.zeros((len(constant.B), x.channels), dtype=np.int64)
    factors, shifts, scaled = np.ones_like(m), {}, set()
    reach, taps = products_reach(net, layer), layer.kernel[0] * layer.kernel[1]
    for p in sorted(set(x.precisions.tolist())):
        own = np.flatnonzero(x.precisions == p)
        ones = np.ones(len(own), dtype=np.int64)
        # Products are odd, and so is every term of these sums.
        sums = Sums(reach[own], 2 * ones, taps % 2 * ones)
        M, B = constant.M[own].astype(np.int64), constant.B[:, own].astype(np.int64)
        found = lane_constants(M, B, out.shift, (1 << p) - 1, sums)
        if found is None:
            larger = scaled_constants(M, B, out.shift, (1 << p) - 1, sums)
            if larger is None:
                return None
            found, factors[own] = larger.lanes, larger.factor
            scaled.add(p)
        if not options.has.executes(VQPK_H, PRECISION_FIELD[p] | JOINT | found.shift // 2):
            return None
        m[own], b[:, own], shifts[p] = found.m, found.b - fillers(net, layer)[own] * factors[own], found.shift
    return Lanes16(m, b, shifts, factors, frozenset(scaled))


class SmolTaps(Kernel):
    """Depthwise convolution of a SMOL tensor in planes, vector by vector, a tile of pixels at a time."""

    def __init__(self, net: Network, layer: Layer, places: dict[str, Place], target: Target, options: Options) -> None:
        self.layer = layer
        self.name = identifier(layer.name)
        self.source, self.place = places[layer.input], places[layer.targets[0]]
        self.target = target
        self.height, self.width = self.place.tensor.height, self.place.tensor.width
        self.blocks = self.source.side_by_side
        held = held_products(net, layer)
        self.codes = self._codes()
        self.lanes = self._lanes(net, physical(net, layer, layer.outputs[0], held), options)
        more = fillers(net, layer) << alignment(net.tensors[layer.input])
        self.epilogue = Epilogue(
            net, layer, places, self.blocks, pack=options.pack, held=Held(held.factor, held.excess + more)
        )
        (self.row_class, _), (self.column_class, columns) = layer_classes(net, layer)
        self.column_classes = len(columns)
        side_by_side = max(
            (sum(1 for _ in own) for _, own in groupby(self.blocks, key=lambda b: b.offset // PLANE_BYTES)), default=1
        )
        at_once = 2 if self.lanes is not None and side_by_side == 1 else side_by_side
        rows, columns_ = self._tile_size(max(1, ACCUMULATORS // at_once))
        self.schedule = Schedule("os", LANES, rows, columns_, STYLE)
        self.chain_length = layer.kernel[0] * tap_groups(layer)

    # --- what is computed together ---

    def _codes(self) -> list[list[Codes]]:
        """The pieces of every vector of the input, lowest bits first."""
        numbers = {(block.offset, block.precision): index for index, block in enumerate(self.blocks)}
        result = []
        for vector, pattern in enumerate(self.source.tensor.patterns):
            own: list[Codes] = []
            for chunk, _ in words(pattern, pairs=self.source.narrow != CHUNK_BITS // 8):
                p = chunk_precisions(pattern)[chunk]
                for piece in range(2 if p == 1 else 1):
                    offset = vector * REGISTER_BYTES + 2 * chunk + piece
                    part = 8 * (offset % PLANE_BYTES) // (LANES * p)
                    own.append(Codes(p, offset // PLANE_BYTES, part, numbers.get((offset, p))))
            result.append(own)
        return result

    def _lanes(self, net: Network, constant: Physical, options: Options) -> Lanes16 | None:
        """Constants of 16 bits where pixels can be written by ``vqpk.h``."""
        layer, place = self.layer, self.place
        like = place.tensor.format == "smol" and not place.planes and place.blocks == self.blocks
        if not like or len(layer.outputs) > 1 or layer.residual or place.narrow or options.pack != "vqpk":
            return None
        if not all(self._joined(codes) for codes in self.codes):
            return None
        return lanes16(net, layer, constant, options)

    @staticmethod
    def _joined(codes: Sequence[Codes]) -> list[tuple[Codes, Codes]]:
        """The pieces of a vector two by two, as ``vqpk.h`` takes them; none where it cannot. Where their number is odd,
        the first stands twice: what is too much leaves the register at its end."""
        if any(c.precision == 4 and c.part for c in codes):
            return []
        ordered = [codes[0], *codes] if len(codes) % 2 else list(codes)
        pairs = list(zip(ordered[::2], ordered[1::2], strict=True))
        full = sum(LANES * c.precision for c in codes) == 8 * REGISTER_BYTES
        return pairs if full and all(a.precision == b.precision for a, b in pairs) else []

    def _tile_size(self, most: int) -> tuple[int, int]:
        """Rows and columns of a tile of at most ``most`` pixels: the fewest operations, loads counting half."""
        height, step = self.layer.kernel[0], self.layer.stride[0]

        def work(rows: int, columns: int) -> float:
            tiles = -(-self.height // rows) * -(-self.width // columns)
            operations = rows * columns * (height * tap_groups(self.layer) + 2.5)
            loads = ((rows - 1) * step + height) * len(self._registers(columns)) + height * tap_groups(self.layer)
            return tiles * (operations + loads / 2 + 4)

        sizes = product(range(1, min(self.height, ROWS, most) + 1), range(1, min(self.width, most) + 1))
        return min((s for s in sizes if s[0] * s[1] <= most), key=lambda s: (work(*s), s))

    def _registers(self, columns: int) -> list[int]:
        """First columns, from the tile's on, of the registers of four pixels that a kernel row takes."""
        starts = {column // 2 * 2 for column, _, _ in self._uses(columns)}
        return sorted(starts)

    def _uses(self, columns: int) -> Iterator[tuple[int, int, int]]:
        """(input column, tile's column, group of taps) of every ``vdw`` of a kernel row."""
        for c, group in product(range(columns), range(tap_groups(self.layer))):
            yield c * self.layer.stride[1] + WORD_TAPS * group, c, group

    # --- code ---

    @property
    def written(self) -> list[str]:
        used = all(any(code.number is not None for code in codes) for codes in self.codes)
        return self.layer.targets if self.lanes is not None and used else []

    def describe(self) -> list[str]:
        assert self.schedule is not None
        how = "in lanes of 16 bits" if self.lanes is not None else "in lanes of 32 bits"
        size = f"{self.schedule.rows} x {self.schedule.columns} pixels"
        return [f"loops: t > ty, tx: {size} > planes > rows of the input; requantised {how}"]

    def emit(self, em: Emitter) -> list[str]:
        """Write the layer's function; returns the text of its constant arrays."""
        with em.block(f"SMOL_KERNEL {self.name}({parameters(self.layer)})"):
            if self.lanes is None:
                em.line("v_begin();")
                self.epilogue.begin(em)
                self._masks(em)
                for tile in self._common_tiles():
                    self._common(em, tile)
            else:
                em.line("v_begin16();")
                em.line("const vec zero = v_zero();")
                em.line("(void)zero;")
                self._masks(em)
                self._packed(em)
        em.line()
        arrays = self.epilogue.arrays() if self.lanes is None else self._lane_arrays()
        return [self._weight_array(), *self._mask_arrays(), *arrays]

    def _masks(self, em: Emitter) -> None:
        for first in range(2) if row_fillers(self.layer) else ():
            em.line(f"const vec mask{first} = v_load({self.name}_mask + {REGISTER_BYTES * first});")
            em.line(f"(void)mask{first};")

    def _mask_arrays(self) -> list[str]:
        """For words t0 .. t0+2 of which the last are no taps."""
        empty = row_fillers(self.layer)
        if not empty:
            return []
        masks = np.full((2, REGISTER_BYTES // PLANE_BYTES), 0xFFFFFFFF, dtype=np.uint32)
        for first in range(2):
            masks[first, first + WORD_TAPS - empty : first + WORD_TAPS] = 0
        return [array_text(f"{self.name}_mask", masks, "the words of a last group of taps, from word 0 or 1 on")]

    def _weight_array(self) -> str:
        """Words of three taps: ``[planes, KH, groups, 4, 4]`` bytes."""
        assert self.layer.weight is not None
        height, width = self.layer.kernel
        groups = tap_groups(self.layer)
        taps = self.layer.weight.reshape(height, width, -1, PLANE_BYTES)[:, :, : self.source.planes]
        packed = np.zeros((self.source.planes, height, groups * WORD_TAPS, PLANE_BYTES), dtype=np.uint8)
        packed[:, :, :width] = np.transpose(taps, (2, 0, 1, 3))
        packed = packed.reshape(self.source.planes, height, groups, WORD_TAPS, PLANE_BYTES)
        packed = np.pad(packed, ((0, 0), (0, 0), (0, 0), (0, 1), (0, 0)))
        return array_text(f"{self.name}_w", packed, f"weights of {self.layer.name}, by plane, row and three taps")

    @property
    def _plane_weights(self) -> int:
        """Bytes of a plane's weights."""
        return REGISTER_BYTES * self.layer.kernel[0] * tap_groups(self.layer)

    def _pixels(self, em: Emitter) -> None:
        """Declare ``x``, where the tile's first tap lies in the first plane."""
        sy, sx = self.layer.stride
        corner = plus(
            self.source.start(self.layer.padding[:2]),
            times("oy", sy * self.source.row_bytes),
            times("ox", sx * self.source.pixel_bytes),
        )
        em.line(f"const uint8_t *x = in + {corner};", scalar=3)

    def _sums(self, em: Emitter, plane: str, weights: str, own: Sequence[tuple[str, int, int]]) -> None:
        """Add up the products of a plane into lanes that are declared: ``own`` are the prefix of their names, the
        precision and the part of every block in it. ``plane`` and ``weights`` are its bytes from ``x`` and in the
        array."""
        assert self.schedule is not None
        height, groups = self.layer.kernel[0], tap_groups(self.layer)
        rows, columns = self.schedule.rows, self.schedule.columns
        held = height * groups <= HELD_WEIGHTS
        with em.block():
            em.line(f"const uint8_t *p = x + {plane or 0}, *w = {self.name}_w + {weights or 0};", scalar=2)
            for ky, group in product(range(height), range(groups)) if held else ():
                em.line(f"const vec w{ky}_{group} = v_load({plus('w', REGISTER_BYTES * (ky * groups + group))});")
            taken: dict[int, list[tuple[int, int]]] = {}
            for r, ky in product(range(rows), range(height)):
                taken.setdefault(r * self.layer.stride[0] + ky * self.layer.dilation[0], []).append((r, ky))
            for y, uses in sorted(taken.items()):
                with em.block():
                    if not held:
                        for ky, group in product(sorted({ky for _, ky in uses}), range(groups)):
                            at = plus("w", REGISTER_BYTES * (ky * groups + group))
                            em.line(f"const vec w{ky}_{group} = v_load({at});")
                    for start in self._registers(columns):
                        self._register(em, y, start, uses, own)

    def _register(
        self, em: Emitter, y: int, start: int, uses: Sequence[tuple[int, int]], own: Sequence[tuple[str, int, int]]
    ) -> None:
        """Four input pixels with all taps that take them: ``uses`` are rows of the tile and of the kernel."""
        assert self.schedule is not None
        at = plus("p", y * self.source.row_bytes + start * self.source.pixel_bytes)
        with em.block():
            loaded: set[str] = set()
            for column, c, group in self._uses(self.schedule.columns):
                first = column - start
                if first not in (0, 1):
                    continue
                last = row_fillers(self.layer) and group == tap_groups(self.layer) - 1
                name, text = (f"m{first}", f"v_and(v_load({at}), mask{first})") if last else ("x0", f"v_load({at})")
                if name not in loaded:
                    em.line(f"const vec {name} = {text};")
                    loaded.add(name)
                for r, ky in uses:
                    for prefix, precision, part in own:
                        field6 = PRECISION_FIELD[precision] | part << 2 | first
                        accumulator = f"{prefix}{r * self.schedule.columns + c}"
                        em.line(f"v_dw({field6}, {accumulator}, {name}, w{ky}_{group});")

    @property
    def _shape(self) -> tuple[tuple[int, int], ...]:
        """(row, column) of the tile's pixels."""
        assert self.schedule is not None
        return tuple(product(range(self.schedule.rows), range(self.schedule.columns)))

    def _walk(self, em: Emitter, inside: Callable[[Emitter], None]) -> None:
        """Loops over tiles of pixels, each done by ``inside``."""
        assert self.schedule is not None
        rows, columns = self.schedule.rows, self.schedule.columns
        with em.loop("ty", -(-self.height // rows)):
            tile_origin(em, "oy", "ty", rows, self.height)
            with em.loop("tx", -(-self.width // columns)):
                tile_origin(em, "ox", "tx", columns, self.width)
                self._pixels(em)
                inside(em)

    # --- lanes of 16 bits ---

    def _packed(self, em: Emitter) -> None:
        start = 0

        def code(vector: int) -> list[tuple[int, int, int, bool]]:
            own, first = self.codes[vector], self.codes[vector][0].plane
            return [(c.precision, c.plane - first, c.part, c.number is not None) for c in own]

        for _, run in groupby(range(len(self.codes)), key=code):
            vectors = list(run)
            codes = self.codes[vectors[0]]
            count = sum(c.number is not None for c in codes)
            if count:
                with em.loop("t", len(vectors)):
                    self._vector(em, vectors[0], codes, start)
            start += count * len(vectors)

    def _vector(self, em: Emitter, vector: int, codes: Sequence[Codes], start: int) -> None:
        """All pixels of a vector, the first of those that this code handles; ``start``: pieces of those before."""
        used = [c for c in codes if c.number is not None]
        places = {c: index for index, c in enumerate(used)}
        step = REGISTER_BYTES * len(used)
        em.line(f"const uint32_t c = {plus(REGISTER_BYTES * start, times('t', step))};", scalar=1)

        def tile(em: Emitter) -> None:
            to = plus(
                self.place.start(),
                vector * REGISTER_BYTES,
                times("t", REGISTER_BYTES),
                times("oy", self.place.row_bytes),
                times("ox", self.place.pixel_bytes),
            )
            em.line(f"uint8_t *y = out0 + {to};", scalar=3)
            self._borders(em)
            for p in range(len(self._shape)):
                em.line(f"vec d{p};")
            pairs = self._joined(codes)
            done: set[Codes] = set()
            for number, pair in enumerate(pairs):
                planes = sorted({c.plane for c in pair if c.number is not None and c not in done})
                for plane in planes:
                    own = [c for c in used if c.plane == plane]
                    self._plane(em, own, places, vector)
                    done |= set(own)
                self._join(em, pair, places, number)
            whole = "v_store" if not self.target.accesses else "v_store_whole"
            for p, pixel in enumerate(self._shape):
                em.line(f"{whole}({plus('y', self.place.bytes_to(*pixel))}, d{p});")

        self._walk(em, tile)

    def _borders(self, em: Emitter) -> None:
        """Declare where the starts of each pixel of the tile are."""
        assert self.lanes is not None and self.schedule is not None
        if len(self.lanes.b) == 1:
            return
        for r in range(self.schedule.rows):
            em.line(f"const uint32_t row{r} = {self.name}_row[{plus('oy', r)}] + c;", scalar=2)
        for c in range(self.schedule.columns):
            em.line(f"const uint32_t column{c} = {self.name}_column[{plus('ox', c)}];", scalar=1)
        for p, (r, c) in enumerate(self._shape):
            em.line(f"const uint8_t *b{p} = {self.name}_b + row{r} + column{c};", scalar=2)

    def _start(self, number: int, pixel: int) -> str:
        """C term: the start of the ``number``-th piece of a vector."""
        assert self.lanes is not None
        base = f"{self.name}_b + c" if len(self.lanes.b) == 1 else f"b{pixel}"
        return f"v_fresh({plus(base, REGISTER_BYTES * number)})"

    def _plane(self, em: Emitter, own: Sequence[Codes], places: dict[Codes, int], vector: int) -> None:
        """The requantised sums ``h<piece>_<pixel>`` of a plane's pieces."""
        assert self.lanes is not None
        pixels = range(len(self._shape))
        for c, p in product(own, pixels):
            number = places[c]
            text = "v_clear()" if c.precision in self.lanes.scaled else self._start(number, p)
            em.line(f"vec h{number}_{p} = {text};")
        planes = REGISTER_BYTES // PLANE_BYTES
        local = own[0].plane - vector * planes
        self._sums(
            em,
            plus(own[0].plane * self.source.plane_bytes, times("t", planes * self.source.plane_bytes)),
            plus((vector * planes + local) * self._plane_weights, times("t", planes * self._plane_weights)),
            [(f"h{places[c]}_", c.precision, c.part) for c in own],
        )
        self.chains = max(self.chains, len(own) * len(self._shape))
        for c in own:
            names = [f"h{places[c]}_{p}" for p in pixels]
            with em.block():
                at = f"c + {REGISTER_BYTES * places[c]}"
                em.line(f"const vec m = v_load_high16({self.name}_m + {at});")
                if c.precision in self.lanes.scaled:
                    em.line(f"const vec f = v_load({self.name}_f + {at});")
                    for p, name in zip(pixels, names, strict=True):
                        em.line(f"{name} = v_mac16({self._start(places[c], p)}, {name}, f);")
                for name in names:
                    em.line(f"{name} = v_mulh16({name}, m);")

    def _join(self, em: Emitter, pair: tuple[Codes, Codes], places: dict[Codes, int], number: int) -> None:
        """The next sixteen codes of every pixel."""
        assert self.lanes is not None
        p = pair[0].precision
        chosen = PRECISION_FIELD[p] | JOINT | self.lanes.shifts.get(p, 0) // 2
        for pixel in range(len(self._shape)):
            n, m = (f"h{places[c]}_{pixel}" if c.number is not None else "zero" for c in pair)
            if number == 0 and n != m and pair[0].number is not None:
                em.line(f"v_qpkh_first({chosen}, d{pixel}, {n}, {m});")
                continue
            if number == 0:
                em.line(f"d{pixel} = v_clear();")
            em.line(f"v_qpkh({chosen}, d{pixel}, {n}, {m});")

    def _lane_arrays(self) -> list[str]:
        """Factors and starts, eight lanes to a piece."""
        assert self.lanes is not None
        out = self.layer.outputs[0].tensor
        used = [c for codes in self.codes for c in codes if c.number is not None]
        index = np.full((len(used), LANES), -1)
        for row, c in zip(index, used, strict=True):
            assert c.number is not None
            channels = [channel for group in self.blocks[c.number].groups for channel in group]
            row[: len(channels)] = channels

        def lanes(values: Array) -> Array:
            return np.where(index >= 0, values[..., np.maximum(index, 0)], 0)

        text = [
            array_text(f"{self.name}_m", lanes(self.lanes.m).astype(np.int16), f"factors of {out}"),
            array_text(
                f"{self.name}_b",
                lanes(self.lanes.b).astype(np.int64).astype(np.int16),
                f"starts of {out}: {len(self.lanes.b)} border classes",
            ),
        ]
        if self.lanes.scaled:
            factors = lanes(self.lanes.factors).astype(np.int16)
            text.append(array_text(f"{self.name}_f", factors, f"factors of the sums in front for {out}"))
        if len(self.lanes.b) > 1:
            step = REGISTER_BYTES * len(used)
            text += border_arrays(self.name, "the starts", step, self.row_class, self.column_class, self.column_classes)
        return text

    # --- the common epilogue ---

    def _common_tiles(self) -> list[Tile]:
        """Tiles of the blocks of a word, or of one block where words differ."""
        result = []
        for first, count in segments(self.blocks):
            per = 4 // self.blocks[first].precision
            own = self.blocks[first : first + count]
            regular = count % per == 0 and all(part_of(block) == n % per for n, block in enumerate(own))
            whole = all(own[n].offset // PLANE_BYTES == own[n - n % per].offset // PLANE_BYTES for n in range(count))
            if regular and whole:
                result.append(Tile(first, per, "t", count // per, self._shape))
            else:
                result += [Tile(first + n, 1, "t", 1, self._shape) for n in range(count)]
        return result

    def _plane_of(self, tile: Tile) -> list[int]:
        """The plane that each of the tiles reads."""
        return [self.blocks[tile.first + n * tile.count].offset // PLANE_BYTES for n in range(tile.times)]

    def _common(self, em: Emitter, tile: Tile) -> None:
        own = self.blocks[tile.first : tile.first + tile.count]
        planes = self._plane_of(tile)
        steps = {b - a for a, b in pairwise(planes)}
        with em.loop("t", tile.times):
            if len(steps) > 1:
                em.line(f"static const uint16_t planes[] = {{{', '.join(map(str, planes))}}};")
                em.line("const uint32_t plane = planes[t];", scalar=1)
            else:
                em.line(f"const uint32_t plane = {plus(planes[0], times('t', next(iter(steps), 0)))};", scalar=1)

            def inside(em: Emitter) -> None:
                self.epilogue.tile_corner(em)
                pixels = range(len(self._shape))
                for k, p in product(range(tile.count), pixels):
                    em.line(f"vec h{k}_{p} = v_clear();")
                parts = [(f"h{k}_", block.precision, part_of(block) or 0) for k, block in enumerate(own)]
                self._sums(em, f"plane * {self.source.plane_bytes}", f"plane * {self._plane_weights}", parts)
                self.chains = max(self.chains, tile.count * len(self._shape))
                halves = ("low", "high")
                for k, p in product(range(tile.count), pixels):
                    for g in range(len(own[k].groups)):
                        em.line(f"vec a{k}_{g}_{p} = v_half16_{halves[g]}(h{k}_{p});")
                names = [
                    [[f"a{k}_{g}_{p}" for g in range(len(block.groups))] for p in pixels] for k, block in enumerate(own)
                ]
                self.epilogue.emit(em, tile, names)

            self._walk(em, inside)
