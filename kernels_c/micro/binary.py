"""Binary networks without SMOL instructions: exclusive or and population count on uniform 1-bit tensors.

With codes 0 and 1 for -1 and +1 the dot product of n pairs is ``n - 2 * (bits in which they differ)``; the accumulators
of the network file count in units of 2^-6, so the kernels return 64 times that. Unused slots and borders hold the codes
that ``vdot`` would meet, so results agree with it bit for bit.
"""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import plus
from sysmol.kernels_c.micro.base import MicroKernel
from sysmol.kernels_c.plan.heuristic import CORE, Core
from sysmol.kernels_c.plan.layout import Block, Place
from sysmol.kernels_c.targets import Target
from sysmol.network import Array, Layer
from sysmol.pattern import REGISTER_BYTES, UNIFORM
from sysmol.schedule import Schedule


class BitCount(MicroKernel):
    """A register of weights holds 128 input channels of one output channel, as with ``vdot``."""

    def __init__(
        self, layer: Layer, source: Place, blocks: Sequence[Block], schedule: Schedule, limits: tuple[int, int]
    ) -> None:
        super().__init__(layer, source, blocks, schedule, limits)
        self.steps = layer.kernel[1] * len(source.tensor.patterns)
        self.channels = [channel for block in self.blocks for group in block.groups for channel in group]

    @staticmethod
    def uniform(source: Place) -> bool:
        """Whether all vectors hold 128 channels of 1 bit."""
        return source.tensor.format == "smol" and set(source.tensor.patterns) == {UNIFORM[1]} and not source.narrow

    @property
    def chain(self) -> int:
        return self.steps

    def row(self, em: Emitter) -> None:
        with em.loop("i", self.steps):
            self._vector(em)
            self._advance(em, 16, 16 * len(self.channels))

    @abstractmethod
    def _vector(self, em: Emitter) -> None:
        """One vector of every pixel."""

    def pack(self, weight: Array) -> Array:
        # uint8 [K, KH, KW, V, 16] -> [KH, KW, V, lanes, 16]; lanes without a channel get zeros
        own = np.array(self.channels)
        picked = np.where(own[:, None, None, None, None] >= 0, weight[np.maximum(own, 0)], 0).astype(np.uint8)
        return np.moveaxis(picked, 0, 3)

    def _products(self, em: Emitter) -> None:
        """From counts of differing bits to sums of products, in the accumulators."""
        bits = 8 * REGISTER_BYTES * self.steps * self.layer.kernel[0]
        em.line(f"const vec all = v_dup({64 * bits}u), twice = v_dup((uint32_t)-128);")
        for g in range(self.groups):
            for p in range(len(self.pixels)):
                em.line(f"a{g}_{p} = v_madd(a{g}_{p}, twice, all);")


class VectorCount(BitCount):
    """Four output channels at a time (NEON): ``eor`` and ``cnt`` for each, pairwise sums of bytes (``addp``) bring the
    four side by side, and a dot product with ones adds each one's four bytes to its lane. That is 12 operations for 512
    products, without overflow, and nothing is left to add up in the end."""

    style = "pop"

    @classmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        return cls.uniform(source) and not target.scalar_operand

    @classmethod
    def work(cls, blocks: int, pixels: int, core: Core = CORE) -> float:
        return 24 * blocks * pixels + core.load * (8 * blocks + pixels)

    def _vector(self, em: Emitter) -> None:
        if self.groups <= 2:  # the weights stay in registers, the pixels pass by
            for g in range(self.groups):
                self._weights(em, g)
            for p in range(len(self.pixels)):
                with em.block():
                    self._pixel(em, p)
                    for g in range(self.groups):
                        self._count(em, g, p)
            return
        for p in range(len(self.pixels)):
            self._pixel(em, p)
        for g in range(self.groups):
            with em.block():
                self._weights(em, g)
                for p in range(len(self.pixels)):
                    self._count(em, g, p)

    def _weights(self, em: Emitter, g: int) -> None:
        for lane in range(4):
            em.line(f"const vec w{g}_{lane} = v_load(w + {16 * (4 * g + lane)});")

    def _pixel(self, em: Emitter, p: int) -> None:
        em.line(f"const vec x{p} = v_load({plus('x', self.at[p])});")

    def _count(self, em: Emitter, g: int, p: int) -> None:
        em.line(f"v_pop4(a{g}_{p}, x{p}, w{g}_0, w{g}_1, w{g}_2, w{g}_3);")

    def end(self, em: Emitter) -> None:
        self._products(em)


class ScalarCount(BitCount):
    """RVV without Zvbb has no population count of elements, but one of mask bits, into a scalar register: ``vmxor.mm``
    and ``vcpop.m`` over 128 mask bits, then a scalar addition. A tile's sums are in scalar registers, so it is small;
    they move into vectors for the epilogue."""

    style = "pop"
    SUMS = 16

    @classmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        return cls.uniform(source) and target.scalar_operand

    @classmethod
    def work(cls, blocks: int, pixels: int, core: Core = CORE) -> float:
        """Per vector: two vector operations and a scalar one per sum, and the loads, through the front end."""
        sums = 8 * blocks * pixels
        if sums > cls.SUMS:
            return float("inf")
        loads = 8 * blocks + pixels
        return max(2 * sums, (3 * sums + 2 * loads + 2) / 2)

    def begin(self, em: Emitter) -> None:
        em.line("v_begin_bits();")
        for c in range(len(self.channels)):
            for p in range(len(self.pixels)):
                em.line(f"uint64_t n{c}_{p} = 0;", scalar=1)

    def _vector(self, em: Emitter) -> None:
        for p in range(len(self.pixels)):
            em.line(f"const vec x{p} = v_load({plus('x', self.at[p])});")
        # Groups of four: gem5 v24.0 makes every vector operation wait for its destination's old value.
        for first in range(0, len(self.channels), 4):
            own = range(first, min(first + 4, len(self.channels)))
            with em.block():
                for c in own:
                    em.line(f"const vec w{c} = v_load(w + {16 * c});")
                for p in range(len(self.pixels)):
                    for c in own:
                        em.line(f"const vec t{c}_{p} = v_xor_bits(w{c}, x{p});")
                for p in range(len(self.pixels)):
                    for c in own:
                        em.line(f"v_count_bits(n{c}_{p}, t{c}_{p});", scalar=1)

    def end(self, em: Emitter) -> None:
        em.line("v_begin();")
        for g in range(self.groups):
            for p in range(len(self.pixels)):
                counts = ", ".join(f"n{4 * g + lane}_{p}" for lane in range(4))
                em.line(f"vec a{g}_{p} = v_from_scalars({counts});")
        self._products(em)
