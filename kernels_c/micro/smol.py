"""SMOL micro-kernels."""

from itertools import groupby

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.micro.base import MicroKernel
from sysmol.kernels_c.plan.layout import Place
from sysmol.kernels_c.targets import Target
from sysmol.network import Array, Layer


class SmolDot(MicroKernel):
    """SMOL ``vdot``: a register of weights holds one output channel, all input channels of a vector; lane = channel.

    Lanes without a channel are left out: a tile does as many ``vdot`` as it has channels, whatever the packing.
    """

    style = "vdot"
    tap_by_tap = True
    same_lanes = True
    overlaps = True
    prefetches = True

    @classmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        return source.tensor.format == "smol" and not source.narrow

    def reads(self, subs: int) -> list[tuple[int, int]]:
        used = [lane for block in self.blocks for lane in block.lanes]
        return [(s, g) for s, g in super().reads(subs) if used[g][s]]

    @property
    def chain(self) -> int:
        return 4 * self.layer.kernel[1] * len(self.source.tensor.patterns)

    @property
    def steps(self) -> int:  # type: ignore[override]
        return self.layer.kernel[1] * len(self.source.tensor.patterns)

    def _vector(self, em: Emitter, pattern: int) -> None:
        with em.block():
            self.prefetch(em, 16 * len(self.reads(4)))
            self._step(em, 4, f"v_dot({{s}}, {pattern}, {{acc}}, {{w}}, {{x}})")
            self._advance(em, 16, 16 * len(self.reads(4)))

    def row(self, em: Emitter) -> None:
        patterns = self.source.tensor.patterns
        width = self.layer.kernel[1]
        if len(set(patterns)) == 1:
            self.repeat(em, "i", width * len(patterns), lambda: self._vector(em, patterns[0]))
            return
        whole = self.schedule.unroll >= self.steps
        with em.loop("kx", 1 if whole else width):
            for _ in range(width if whole else 1):
                for pattern, run in groupby(patterns):
                    count = len(list(run))
                    em.comment(f"{count} vector(s) of pattern {pattern}")
                    self.repeat(em, "i", count, lambda pattern=pattern: self._vector(em, pattern))  # type: ignore[misc]

    def pack(self, weight: Array) -> Array:
        # uint8 [K, KH, KW, V, 16] -> [KH, KW, V, registers of a step, 16]
        groups = [group for block in self.blocks for group in block.groups]
        channels = [groups[g][s] for s, g in self.reads(4)]
        return np.moveaxis(weight[channels], 0, 3)
