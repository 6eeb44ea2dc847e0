"""Lane-by-lane dot products and multiply-accumulates of NEON: the int8 and fp32 baselines on AArch64."""

from collections.abc import Sequence

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import lanes
from sysmol.kernels_c.micro.base import MicroKernel, row_matrix
from sysmol.kernels_c.plan.layout import Block, Place
from sysmol.kernels_c.targets import Target
from sysmol.network import Array, Layer
from sysmol.schedule import Schedule


class LaneKernel(MicroKernel):
    """Four bytes of an activation register, an element or several, meet four output channels (NEON).

    A kernel row lies in memory as one run of pixels, so its reduction runs over registers that cross pixel borders.
    """

    operation: str
    prefetches = True

    def __init__(
        self, layer: Layer, source: Place, blocks: Sequence[Block], schedule: Schedule, limits: tuple[int, int]
    ) -> None:
        super().__init__(layer, source, blocks, schedule, limits)
        self.subs = -(-source.pixel_bytes * layer.kernel[1] // 4)

    @property
    def chain(self) -> int:
        return self.subs

    def weight_bytes(self, subs: int) -> int:
        """Bytes of the weights of a step."""
        return 16 * subs * self.groups

    def row(self, em: Emitter) -> None:
        full, rest = divmod(self.subs, 4)
        operation = f"{self.operation}({{s}}, {{acc}}, {{w}}, {{x}})"
        if full:
            with em.loop("i", full):
                self.prefetch(em, self.weight_bytes(4))
                self._step(em, 4, operation)
                self._advance(em, 16, self.weight_bytes(4))
        if rest:
            with em.block():
                self._step(em, rest, operation)
                self._advance(em, 0, self.weight_bytes(rest))

    def pack(self, weight: Array) -> Array:
        matrix = row_matrix(self.layer, self.source)
        per = 4 // matrix.dtype.itemsize
        k, height, length = matrix.shape
        padded = np.zeros((k, height, self.subs * per), dtype=matrix.dtype)
        padded[..., :length] = matrix
        picked = lanes(self.blocks, np.moveaxis(padded, 0, -1))  # [KH, elements, groups, 4]
        return np.transpose(picked.reshape(height, self.subs, per, self.groups, 4), (0, 1, 3, 4, 2))


class LaneDot(LaneKernel):
    """Dot products of four int8 elements (``sdot`` by element)."""

    style = "dot"
    tap_by_tap = True
    operation = "v_sdot"

    @classmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        return source.tensor.format == "s8" and not target.scalar_operand


class LaneFloat(LaneKernel):
    """Multiply-accumulates of a float (``fmla`` by element)."""

    style = "fma"
    tap_by_tap = True
    operation = "v_ffma_lane"

    @classmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        return source.tensor.format == "f32" and not target.scalar_operand
