"""Micro-kernels: the multiply-accumulates of one register tile, and the order in which they read weights.

Each computes ``acc[group][pixel] += sum over the taps of a kernel row``; weights are packed, when the code is
generated, in the order in which the micro-kernel reads them, so that a kernel only ever advances one weight pointer.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from kernels_c.codegen.emitter import Emitter
from kernels_c.codegen.epilogue import lanes, plus
from kernels_c.codegen.layout import ELEMENT_BYTES, Block, Place
from kernels_c.codegen.schedule import Schedule
from sysmol.errors import SysmolError
from sysmol.network import Array, Layer


class MicroKernel(ABC):
    """The multiply-accumulates of a tile of ``blocks`` of output channels and ``schedule.pixels`` pixels.

    ``limits`` bound the activations (0 included).
    ``x`` in C points at the first byte that the tile's first pixel reads in a kernel row, ``w`` at the weights; both
    advance. ``chain`` is the number of dependent multiply-accumulates per accumulator and kernel row. Where ``whole``
    is set, one call of :meth:`row` does all rows of the kernel.
    """

    whole = False

    def __init__(
        self, layer: Layer, source: Place, blocks: Sequence[Block], schedule: Schedule, limits: tuple[int, int]
    ) -> None:
        self.limits = limits
        self.layer = layer
        self.source = source
        self.blocks = tuple(blocks)
        self.groups = sum(len(block.groups) for block in blocks)
        self.schedule = schedule
        self.pixels = [(r, c) for r in range(schedule.rows) for c in range(schedule.columns)]
        sy, sx = layer.stride
        self.at = [r * sy * source.row_bytes + c * sx * source.pixel_bytes for r, c in self.pixels]

    def begin(self, em: Emitter) -> None:
        """Declare and clear the accumulators."""
        for g in range(self.groups):
            for p in range(len(self.pixels)):
                em.line(f"vec a{g}_{p} = v_zero();")

    def end(self, em: Emitter) -> None:  # noqa: B027 - most have nothing to do
        """Bring the accumulators into the registers that :meth:`accumulators` names."""

    def accumulators(self) -> list[list[list[str]]]:
        """C expressions of the accumulators, ``[block][pixel][group in block]``."""
        result, first = [], 0
        for block in self.blocks:
            own = range(first, first + len(block.groups))
            result.append([[f"a{g}_{p}" for g in own] for p in range(len(self.pixels))])
            first += len(block.groups)
        return result

    def agree(self, others: Sequence["MicroKernel"]) -> None:  # noqa: B027 - most have nothing to agree on
        """Fix what tiles that run the same code must share; ``others`` are all of them."""

    def order(self) -> Array:
        """Constants that the tile reads beside the weights, flat."""
        return np.zeros(0, dtype=np.uint16)

    @property
    def count(self) -> int:
        """Independent accumulator registers."""
        return self.groups * len(self.pixels)

    @property
    @abstractmethod
    def chain(self) -> int:
        """Dependent multiply-accumulates per accumulator and kernel row."""

    @abstractmethod
    def row(self, em: Emitter) -> None:
        """Multiply-accumulates of one kernel row."""

    @abstractmethod
    def pack(self, weight: Array) -> Array:
        """Weights of the tile's blocks in reading order, any dtype, flat."""

    def reads(self, subs: int) -> list[tuple[int, int]]:
        """Weight registers of a step in reading order: (multiply-accumulate of the step, group)."""
        return [(s, g) for s in range(subs) for g in range(self.groups)]

    def _step(self, em: Emitter, subs: int, operation: str) -> None:
        """``subs`` multiply-accumulates into every accumulator; ``operation`` has places for s (lane), acc, w, x.

        Whichever is fewer stays in registers meanwhile: the weights, or the activations of the tile's pixels.
        """
        reads = self.reads(subs)
        if len(reads) <= 8:
            for number, (s, g) in enumerate(reads):
                em.line(f"const vec w{s}_{g} = v_load(w + {16 * number});")
            for p in range(len(self.pixels)):
                with em.block():
                    em.line(f"const vec xp = v_load({plus('x', self.at[p])});")
                    for s, g in reads:
                        em.line(operation.format(s=s, acc=f"a{g}_{p}", w=f"w{s}_{g}", x="xp") + ";")
            return
        for p in range(len(self.pixels)):
            em.line(f"const vec x{p} = v_load({plus('x', self.at[p])});")
        for number, (s, g) in enumerate(reads):
            with em.block():
                em.line(f"const vec wg = v_load(w + {16 * number});")
                for p in range(len(self.pixels)):
                    em.line(operation.format(s=s, acc=f"a{g}_{p}", w="wg", x=f"x{p}") + ";")

    def _advance(self, em: Emitter, x: int, w: int) -> None:
        em.line(f"x += {x};", scalar=1)
        em.line(f"w += {w};", scalar=1)


class SmolDot(MicroKernel):
    """SMOL ``vdot``: a register of weights holds one output channel, all input channels of a vector; lane = channel.

    Lanes without a channel are left out: a tile does as many ``vdot`` as it has channels, whatever the packing.
    """

    def reads(self, subs: int) -> list[tuple[int, int]]:
        used = [lane for block in self.blocks for lane in block.lanes]
        return [(s, g) for s, g in super().reads(subs) if used[g][s]]

    @property
    def chain(self) -> int:
        return 4 * self.layer.kernel[1] * len(self.source.tensor.patterns)

    def _vector(self, em: Emitter, pattern: int) -> None:
        with em.block():
            self._step(em, 4, f"v_dot({{s}}, {pattern}, {{acc}}, {{w}}, {{x}})")
            self._advance(em, 16, 16 * len(self.reads(4)))

    def row(self, em: Emitter) -> None:
        patterns = self.source.tensor.patterns
        width = self.layer.kernel[1]
        if len(set(patterns)) == 1:
            with em.loop("i", width * len(patterns)):
                self._vector(em, patterns[0])
            return
        with em.loop("kx", width):
            for pattern, run in groupby(patterns):
                count = len(list(run))
                em.comment(f"{count} vector(s) of pattern {pattern}")
                with em.loop("i", count):
                    self._vector(em, pattern)

    def pack(self, weight: Array) -> Array:
        # uint8 [K, KH, KW, V, 16] -> [KH, KW, V, registers of a step, 16]
        groups = [group for block in self.blocks for group in block.groups]
        channels = [groups[g][s] for s, g in self.reads(4)]
        return np.moveaxis(weight[channels], 0, 3)


def row_matrix(layer: Layer, source: Place) -> Array:
    """Weights as they meet a kernel row in memory: ``[K, KH, elements of KW pixels]``, zeros where nothing lies."""
    assert layer.weight is not None
    k, height, width, _ = layer.weight.shape
    per_pixel = source.pixel_bytes // ELEMENT_BYTES[source.tensor.format]
    matrix = np.zeros((k, height, width, per_pixel), dtype=layer.weight.dtype)
    matrix[..., source.positions()] = layer.weight
    return matrix.reshape(k, height, width * per_pixel)


class LaneDot(MicroKernel):
    """Four bytes (int8 dot products) or one float of an activation register meet four output channels (NEON).

    A kernel row lies in memory as one run of pixels, so its reduction runs over registers that cross pixel borders.
    """

    def __init__(
        self, layer: Layer, source: Place, blocks: Sequence[Block], schedule: Schedule, limits: tuple[int, int]
    ) -> None:
        super().__init__(layer, source, blocks, schedule, limits)
        self.operation = "v_sdot" if source.tensor.format == "s8" else "v_ffma_lane"
        self.subs = -(-source.pixel_bytes * layer.kernel[1] // 4)

    @property
    def chain(self) -> int:
        return self.subs

    def row(self, em: Emitter) -> None:
        full, rest = divmod(self.subs, 4)
        operation = f"{self.operation}({{s}}, {{acc}}, {{w}}, {{x}})"
        if full:
            with em.loop("i", full):
                self._step(em, 4, operation)
                self._advance(em, 16, 64 * self.groups)
        if rest:
            with em.block():
                self._step(em, rest, operation)
                self._advance(em, 0, 16 * rest * self.groups)

    def pack(self, weight: Array) -> Array:
        matrix = row_matrix(self.layer, self.source)
        per = 4 // matrix.dtype.itemsize
        k, height, length = matrix.shape
        padded = np.zeros((k, height, self.subs * per), dtype=matrix.dtype)
        padded[..., :length] = matrix
        picked = lanes(self.blocks, np.moveaxis(padded, 0, -1))  # [KH, elements, groups, 4]
        return np.transpose(picked.reshape(height, self.subs, per, self.groups, 4), (0, 1, 3, 4, 2))


class RvvFloat(MicroKernel):
    """A scalar float activation meets registers of four output channels (RVV ``vfmacc.vf``)."""

    UNROLL = 4

    @property
    def length(self) -> int:
        """Floats in a kernel row."""
        return self.source.pixel_bytes // 4 * self.layer.kernel[1]

    @property
    def chain(self) -> int:
        return self.length

    def _elements(self, em: Emitter, count: int) -> None:
        for e in range(count):
            with em.block():
                for g in range(self.groups):
                    em.line(f"const vec w{g} = v_load(w + {16 * (e * self.groups + g)});")
                for p in range(len(self.pixels)):
                    em.line(f"const float x{p} = m_get_f32({plus('x', self.at[p])}, {e});")
                for p in range(len(self.pixels)):
                    for g in range(self.groups):
                        em.line(f"v_ffma_scalar(a{g}_{p}, w{g}, x{p});")
        self._advance(em, 4 * count, 16 * count * self.groups)

    def row(self, em: Emitter) -> None:
        full, rest = divmod(self.length, self.UNROLL)
        if full:
            with em.loop("i", full):
                self._elements(em, self.UNROLL)
        if rest:
            with em.block():
                self._elements(em, rest)

    def pack(self, weight: Array) -> Array:
        return lanes(self.blocks, np.moveaxis(row_matrix(self.layer, self.source), 0, -1))


class RvvInt8(MicroKernel):
    """A scalar int8 activation meets eight output channels (RVV).

    Products accumulate in 16-bit lanes (``vmul.vx``, ``vmacc.vx``) and are widened into 32-bit pairs of registers after
    as many terms as the weights prove safe, whatever the activations. The order of the whole reduction is free, so
    large weights are spread over the windows of terms; a table gives the place of every term's activation.
    """

    whole = True
    LONGEST = 12

    def __init__(
        self, layer: Layer, source: Place, blocks: Sequence[Block], schedule: Schedule, limits: tuple[int, int]
    ) -> None:
        super().__init__(layer, source, blocks, schedule, limits)
        matrix = row_matrix(layer, source)
        _, height, length = matrix.shape
        places = np.arange(height)[:, None] * source.row_bytes + np.arange(length)
        used = matrix.any(axis=0)  # elements that no channel weighs are left out
        self.places = places[used]
        own = lanes(self.blocks, np.moveaxis(matrix[:, used], 0, -1)).astype(np.int64)
        self.matrix = own.reshape(len(self.places), -1)
        self.sums = [(k, p) for k in range(len(self.blocks)) for p in range(len(self.pixels))]
        self.terms = 1
        self.windows: list[list[int]] = []

    def agree(self, others: Sequence["MicroKernel"]) -> None:
        """The most terms that every tile which shares the code can add up in 16 bits."""
        tiles = [other for other in others if isinstance(other, RvvInt8)]
        count = max(len(tile.places) for tile in tiles)
        for terms in sorted(range(1, min(self.LONGEST, max(count, 1)) + 1), key=lambda n: -(-count // n) * (n + 2)):
            windows = [tile.spread(terms, -(-count // terms)) for tile in tiles]
            if all(found is not None for found in windows):
                for tile, found in zip(tiles, windows, strict=True):
                    tile.terms, tile.windows = terms, found or []
                return

    def spread(self, terms: int, count: int) -> list[list[int]] | None:
        """Elements in ``count`` windows of at most ``terms`` whose sums all fit 16 bits, or None where none is found.

        Largest first, each into the window whose fullest lane it leaves lowest.
        """
        sides = [self.matrix * limit for limit in self.limits]
        up, down = np.maximum(*sides), -np.minimum(*sides)
        each = np.concatenate([up, down], axis=1)
        load = np.zeros((count, each.shape[1]), dtype=np.int64)
        windows: list[list[int]] = [[] for _ in range(count)]
        room = np.full(count, terms)
        for element in np.argsort(-each.max(axis=1, initial=0), kind="stable"):
            peak = np.where(room > 0, (load + each[element]).max(axis=1, initial=0), np.iinfo(np.int64).max)
            best = int(peak.argmin())
            if peak[best] > 32767:
                return None
            windows[best].append(int(element))
            load[best] += each[element]
            room[best] -= 1
        return windows

    @property
    def chain(self) -> int:
        return len(self.windows) * (self.terms + 2)

    def begin(self, em: Emitter) -> None:
        em.line("const uint8_t *o = order;")
        em.line("v_begin16();")
        for k, p in self.sums:
            em.line(f"vecpair d{k}_{p} = v_zero_pair();")

    def end(self, em: Emitter) -> None:
        em.line("v_begin();")
        g = 0
        for k, block in enumerate(self.blocks):
            for half in range(len(block.groups)):
                for p in range(len(self.pixels)):
                    em.line(f"vec a{g}_{p} = {'v_high' if half else 'v_low'}(d{k}_{p});")
                g += 1

    def _products(self, em: Emitter) -> None:
        """``t[block][pixel]`` = a window's sum of products in 16 bits."""
        width = 16 * len(self.blocks)
        for k, p in self.sums:
            em.line(f"vec16 t{k}_{p};")
        for e in range(self.terms):
            with em.block():
                for k in range(len(self.blocks)):
                    em.line(f"const vec16 w{k} = v_load16(w + {width * e + 16 * k});")
                em.line(f"const uint8_t *at = x + m_load16(o + {2 * e});", scalar=1)
                for p in range(len(self.pixels)):
                    em.line(f"const int x{p} = m_get_s8({plus('at', self.at[p])}, 0);")
                for k, p in self.sums:
                    em.line(f"{'v_mla16' if e else 'v_mul16'}(t{k}_{p}, w{k}, x{p});")
        em.line(f"o += {2 * self.terms};", scalar=1)
        em.line(f"w += {width * self.terms};", scalar=1)

    def row(self, em: Emitter) -> None:
        """Windows two by two: widened into a second set of registers, and back in reverse order.

        Every sum moves into the registers that the one before it has left, and back: one spare pair is enough.
        """
        pairs, single = divmod(len(self.windows), 2)
        if pairs:
            with em.loop("i", pairs):
                for k, p in self.sums:
                    em.line(f"vecpair e{k}_{p};")
                with em.block():
                    self._products(em)
                    for k, p in self.sums:
                        em.line(f"v_widen_into(e{k}_{p}, d{k}_{p}, t{k}_{p});")
                with em.block():
                    self._products(em)
                    for k, p in reversed(self.sums):
                        em.line(f"v_widen_into(d{k}_{p}, e{k}_{p}, t{k}_{p});")
        if single:
            with em.block():
                self._products(em)
                for k, p in self.sums:
                    em.line(f"v_widen_add(d{k}_{p}, t{k}_{p});")

    def _terms(self) -> list[int]:
        """Element of every term in reading order, -1 where a window has room left."""
        return [(window + [-1] * self.terms)[e] for window in self.windows for e in range(self.terms)]

    def order(self) -> Array:
        """Byte offset, from the tile's corner, of every term's activation."""
        result = np.array([self.places[e] if e >= 0 else 0 for e in self._terms()], dtype=np.int64)
        if result.max(initial=0) > 0xFFFF:
            raise SysmolError(f"layer {self.layer.name}: the input is too large for int8 kernels on RISC-V")
        return result.astype(np.uint16)

    def pack(self, weight: Array) -> Array:
        terms = np.array(self._terms(), dtype=np.int64)
        picked = np.where(terms[:, None] >= 0, self.matrix[np.maximum(terms, 0)], 0).astype(np.int16)
        ends = np.cumsum([4 * len(block.groups) for block in self.blocks])[:-1]
        padded = [np.pad(part, ((0, 0), (0, 8 - part.shape[1]))) for part in np.split(picked, ends, axis=1)]
        return np.stack(padded, axis=1)
