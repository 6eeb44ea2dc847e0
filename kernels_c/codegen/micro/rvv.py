"""Baselines on RISC-V: float and int8 multiply-accumulates with a scalar activation."""

from collections.abc import Sequence

import numpy as np

from kernels_c.codegen.emitter import Emitter
from kernels_c.codegen.epilogue import lanes, plus
from kernels_c.codegen.layout import Block, Place
from kernels_c.codegen.micro.base import MicroKernel, row_matrix
from kernels_c.codegen.schedule import Schedule
from kernels_c.codegen.targets import Target
from sysmol.errors import SysmolError
from sysmol.network import Array, Layer


class RvvFloat(MicroKernel):
    """A scalar float activation meets registers of four output channels (RVV ``vfmacc.vf``)."""

    UNROLL = 4

    @classmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        return source.tensor.format == "f32" and target.scalar_operand

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

    @classmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        return source.tensor.format == "s8" and target.scalar_operand

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
