"""int8 matrix multiply-accumulates of NEON (``smmla``): twice the products of ``sdot`` in one instruction."""

from collections.abc import Sequence

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import lanes, plus
from sysmol.kernels_c.micro.base import MicroKernel, row_matrix
from sysmol.kernels_c.plan.heuristic import CORE, Core
from sysmol.kernels_c.plan.layout import Block, Place
from sysmol.kernels_c.targets import Target
from sysmol.network import Array, Layer
from sysmol.pattern import REGISTER_BYTES
from sysmol.schedule import REGISTERS, Schedule

REACH = 8
"""Elements of the reduction that one instruction takes, per pixel and per channel."""


class MatrixDot(MicroKernel):
    """Two pixels x two output channels in one accumulator, 8 elements of the reduction at a time (NEON ``smmla``).

    A register of weights holds 8 elements for each of two channels. Activations lie pixel by pixel, so two registers
    of 16 elements, of two pixels, are exchanged into two registers of 8 elements of both: one more vector operation per
    pair of pixels and 8 elements, which larger tiles of channels make up for. Where pixels are whole registers and the
    stride is 1, a pair is of pixels half a tile apart, so that the next tap needs all pairs but one again. In the end
    two accumulators of a pair of pixels are exchanged into a pixel's four channels each. An odd last pixel is paired
    with itself.
    """

    style = "mmla"
    prefetches = True

    def __init__(
        self, layer: Layer, source: Place, blocks: Sequence[Block], schedule: Schedule, limits: tuple[int, int]
    ) -> None:
        super().__init__(layer, source, blocks, schedule, limits)
        rows, columns, width = schedule.rows, schedule.columns, layer.kernel[1]
        self.subs = -(-source.pixel_bytes * width // REACH)
        self.near = columns // 2 + width - 1
        """Pairs of pixels, half a tile apart, that the taps of a kernel row and a row of the tile meet."""
        registers = 2 * self.groups * rows * columns // 2 + rows * (self.near + columns + width - 1)
        self.shared = (
            (columns % 2, layer.stride[1], source.pixel_bytes % REGISTER_BYTES) == (0, 1, 0)
            and width > 1
            and registers < REGISTERS - 2
        )
        if self.shared:
            first = [r * columns + c for r in range(rows) for c in range(columns // 2)]
            self.pairs = [(p, p + columns // 2) for p in first]
        else:
            last = len(self.pixels) - 1
            self.pairs = [(p, min(p + 1, last)) for p in range(0, len(self.pixels), 2)]

    @classmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        return source.tensor.format == "s8" and not target.scalar_operand

    @classmethod
    def work(cls, blocks: int, pixels: int, core: Core = CORE) -> float:
        """Per 8 elements: ``smmla`` and exchanges in two vector pipes, loads in two memory pipes."""
        pairs = -(-pixels // 2)
        loads = 4 * blocks + pairs
        return max(4 * blocks * pairs + pairs, loads) + 0.2 * loads

    @property
    def count(self) -> int:
        return 2 * self.groups * len(self.pairs)

    @property
    def chain(self) -> int:
        return self.subs

    def begin(self, em: Emitter) -> None:
        for q in range(len(self.pairs)):
            for g in range(self.groups):
                em.line(f"vec m{g}_0_{q} = v_zero(), m{g}_1_{q} = v_zero();")

    def end(self, em: Emitter) -> None:
        for q, (first, second) in enumerate(self.pairs):
            for g in range(self.groups):
                em.line(f"vec a{g}_{first} = v_zip_low(m{g}_0_{q}, m{g}_1_{q});")
                if second != first:
                    em.line(f"vec a{g}_{second} = v_zip_high(m{g}_0_{q}, m{g}_1_{q});")

    def _steps(self, em: Emitter, subs: int) -> None:
        """One or two times 8 elements."""
        self.prefetch(em, 2 * REGISTER_BYTES * self.groups * subs)
        for p in range(len(self.pixels)):
            em.line(f"const vec x{p} = v_load({plus('x', self.at[p])});")
        for s, half in enumerate(("low", "high")[:subs]):
            for q, (first, second) in enumerate(self.pairs):
                em.line(f"const vec y{s}_{q} = v_zip_{half}(x{first}, x{second});")
        number = 0
        for s in range(subs):
            for g in range(self.groups):
                for h in range(2):
                    with em.block():
                        em.line(f"const vec wg = v_load(w + {16 * number});")
                        for q in range(len(self.pairs)):
                            em.line(f"v_mmla(m{g}_{h}_{q}, y{s}_{q}, wg);")
                    number += 1
        self._advance(em, 16, 16 * number)

    def _shared_steps(self, em: Emitter) -> None:
        """16 elements of every tap of a kernel row: neighbouring taps share the pairs of pixels."""
        columns, width = self.schedule.columns, self.layer.kernel[1]
        self.prefetch(em, 4 * REGISTER_BYTES * self.groups * width)
        for r in range(self.schedule.rows):
            for c in range(columns + width - 1):
                at = self.at[r * columns] + c * self.source.pixel_bytes
                em.line(f"const vec x{r}_{c} = v_load({plus('x', at)});")
        number = 0
        for s, half in enumerate(("low", "high")):
            for r in range(self.schedule.rows):
                for c in range(self.near):
                    em.line(f"const vec y{s}_{r}_{c} = v_zip_{half}(x{r}_{c}, x{r}_{c + columns // 2});")
            for kx in range(width):
                for g in range(self.groups):
                    for h in range(2):
                        with em.block():
                            em.line(f"const vec wg = v_load(w + {16 * number});")
                            for q in range(len(self.pairs)):
                                r, c = divmod(q, columns // 2)
                                em.line(f"v_mmla(m{g}_{h}_{q}, y{s}_{r}_{c + kx}, wg);")
                        number += 1
        self._advance(em, 16, 16 * number)

    def row(self, em: Emitter) -> None:
        if self.shared:
            with em.loop("i", self.source.pixel_bytes // REGISTER_BYTES):
                self._shared_steps(em)
            return
        full, rest = divmod(self.subs, 2)
        if full:
            with em.loop("i", full):
                self._steps(em, 2)
        if rest:
            with em.block():
                self._steps(em, 1)

    def pack(self, weight: Array) -> Array:
        matrix = row_matrix(self.layer, self.source)
        _, height, length = matrix.shape
        matrix = np.pad(matrix, ((0, 0), (0, 0), (0, self.subs * REACH - length)))
        picked = lanes(self.blocks, np.moveaxis(matrix, 0, -1))  # [KH, elements, groups, 4]
        if self.shared:
            taps = picked.reshape(height, self.layer.kernel[1], -1, 2, REACH, self.groups, 2, 2)
            return np.transpose(taps, (0, 2, 3, 1, 5, 6, 7, 4))
        pairs = picked.reshape(height, self.subs, REACH, self.groups, 2, 2)
        return np.transpose(pairs, (0, 1, 3, 4, 5, 2))
