"""Register tiles whose accumulators belong to one output each, lanes added up at the end: ``vmac`` and ``sdot``."""

from collections.abc import Sequence

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import plus
from sysmol.kernels_c.micro.base import MicroKernel
from sysmol.kernels_c.micro.step import SdotStep, Step, VmacStep
from sysmol.kernels_c.plan.heuristic import CORE, Core
from sysmol.kernels_c.plan.layout import Block, Place
from sysmol.kernels_c.targets import Target
from sysmol.network import Array, Layer
from sysmol.schedule import PER_OUTPUT, Schedule


class PerOutput(MicroKernel):
    """A register of accumulators per output: ``s<channel>_<pixel>``, one multiply-accumulate each per step.

    Lanes without a channel have no accumulator. :meth:`end` adds up the lanes of four registers at a time.
    """

    same_lanes = True
    prefetches = True
    step_class: type[Step]

    @classmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        return cls.step_class.serves(layer, source, target)

    @classmethod
    def work(cls, blocks: int, pixels: int, core: Core = CORE) -> float:
        """As for every style, with as many multiply-accumulates as there are outputs, and their sums at the end."""
        outputs = 8 * blocks * pixels
        if outputs > PER_OUTPUT["vmac"]:
            return float("inf")
        return max(outputs, 8) + core.load * (8 * blocks + pixels)

    def __init__(
        self, layer: Layer, source: Place, blocks: Sequence[Block], schedule: Schedule, limits: tuple[int, int]
    ) -> None:
        super().__init__(layer, source, blocks, schedule, limits)
        self.step = self.step_class(layer, source)
        lanes = [channel for block in self.blocks for group in block.groups for channel in group]
        self.channels = [index for index, channel in enumerate(lanes) if channel >= 0]
        self.logical = [lanes[index] for index in self.channels]

    @property
    def count(self) -> int:
        return len(self.channels) * len(self.pixels)

    @property
    def chain(self) -> int:
        return self.layer.kernel[1] * self.step.vectors

    def begin(self, em: Emitter) -> None:
        for c in self.channels:
            for p in range(len(self.pixels)):
                em.line(f"vec s{c}_{p} = v_clear();")

    @property
    def steps(self) -> int:  # type: ignore[override]
        return self.chain

    def row(self, em: Emitter) -> None:
        width, rest = self.layer.kernel[1], self.source.pixel_bytes - 16 * self.step.vectors
        if not rest and len(self.step.runs()) == 1:
            self.repeat(em, "i", self.chain, lambda: self._vector(em, 0))
            return
        whole = self.schedule.unroll >= self.steps
        with em.loop("kx", 1 if whole else width):
            for _ in range(width if whole else 1):
                for first, count in self.step.runs():
                    self.repeat(em, "i", count, lambda first=first: self._vector(em, first))  # type: ignore[misc]
                if rest:
                    em.line(f"x += {rest};", scalar=1)

    def _vector(self, em: Emitter, vector: int) -> None:
        with em.block():
            self._multiply(em, vector)

    def _multiply(self, em: Emitter, vector: int) -> None:
        self.prefetch(em, 16 * len(self.channels))
        for p in range(len(self.pixels)):
            em.line(f"const vec x{p} = v_load({plus('x', self.at[p])});")
        for number, c in enumerate(self.channels):
            with em.block():
                em.line(f"const vec wc = v_load({plus('w', 16 * number)});")
                for p in range(len(self.pixels)):
                    em.line(self.step.operation(0, vector, f"s{c}_{p}", "wc", f"x{p}"))
        self._advance(em, 16, 16 * len(self.channels))

    def end(self, em: Emitter) -> None:
        used = set(self.channels)
        for g in range(self.groups):
            for p in range(len(self.pixels)):
                terms = [f"s{c}_{p}" if c in used else "v_zero()" for c in range(4 * g, 4 * g + 4)]
                em.line(f"vec a{g}_{p} = v_sum4({', '.join(terms)}, zero);")

    def pack(self, weight: Array) -> Array:
        # uint8 [KH, KW, vectors, 1, 16] per channel -> [KH, KW, vectors, channels, 16]
        return np.concatenate([self.step.pack(weight, (channel,)) for channel in self.logical], axis=3)


class SmolMac(PerOutput):
    """SMOL ``vmac``."""

    style = "vmac"
    step_class = VmacStep


class SdotTile(PerOutput):
    """int8 ``sdot`` of whole registers (NEON)."""

    style = "sdot"
    step_class = SdotStep
