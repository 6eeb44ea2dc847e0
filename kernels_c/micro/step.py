"""Single multiply-accumulate steps: what the kernels with one accumulator register are made of.

A step brings one register of activations (16 bytes of one pixel) and the registers of weights that go with it into one
accumulator register. Where the accumulator belongs to one output (``channels = 1``) its lanes are partial sums, added
up once at the end; where it holds four output channels (``channels = 4``) it takes four weight registers.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from sysmol.kernels_c.micro.base import row_matrix
from sysmol.kernels_c.plan.layout import Place
from sysmol.kernels_c.targets import Target
from sysmol.network import Array, Layer
from sysmol.pattern import REGISTER_BYTES, UNIFORM


class Step(ABC):
    """A step's instruction for one layer. ``channels``: output channels of an accumulator register."""

    channels = 1

    def __init__(self, layer: Layer, source: Place) -> None:
        self.layer = layer
        self.source = source

    @classmethod
    @abstractmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        """Whether this step can compute ``layer`` from ``source`` on ``target``."""

    @property
    def registers(self) -> int:
        """Weight registers of a step."""
        return self.channels

    @property
    def vectors(self) -> int:
        """Activation registers of a pixel; the last one may reach into the next pixel, under weights of zero."""
        return -(-self.source.pixel_bytes // REGISTER_BYTES)

    def form(self, vector: int) -> int:
        """Vectors of a pixel with the same form share code: the pattern id of SMOL vectors, else 0."""
        return 0

    def runs(self) -> list[tuple[int, int]]:
        """Runs ``(first, count)`` of a pixel's vectors that share code."""
        result, first = [], 0
        for _, run in groupby(range(self.vectors), key=self.form):
            count = len(list(run))
            result.append((first, count))
            first += count
        return result

    @abstractmethod
    def operation(self, register: int, vector: int, acc: str, w: str, x: str) -> str:
        """C statement that accumulates weight register ``register`` of a step with activation vector ``vector``."""

    @abstractmethod
    def pack(self, weight: Array, channels: Sequence[int]) -> Array:
        """Weights of an accumulator's output channels (-1: none), uint8 ``[KH, KW, vectors, registers, 16]``."""

    def partial(self, acc: str) -> str:
        """C expression: the four 32-bit lanes whose sum is the output (``channels = 1``)."""
        return acc

    def total(self, sums: str) -> str:
        """C expression: the layer's accumulators from four outputs' sums of lanes."""
        return sums


class SmolStep(Step):
    """Steps of SMOL instructions."""

    @classmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        return source.tensor.format == "smol" and source.pixel_bytes % REGISTER_BYTES == 0

    def form(self, vector: int) -> int:
        return self.source.tensor.patterns[vector]

    def pack(self, weight: Array, channels: Sequence[int]) -> Array:
        own = np.where(
            np.array(channels)[:, None, None, None, None] >= 0, weight[np.maximum(np.array(channels), 0)], 0
        ).astype(np.uint8)
        return np.moveaxis(own, 0, 3)


class VmacStep(SmolStep):
    """``vmac``: a lane sums the products of two chunks."""

    def operation(self, register: int, vector: int, acc: str, w: str, x: str) -> str:
        return f"v_mac({self.form(vector)}, {acc}, {w}, {x});"


class VdotStep(SmolStep):
    """``vdot``: each of the four weight registers belongs to one output channel, a lane of the accumulator."""

    channels = 4

    def operation(self, register: int, vector: int, acc: str, w: str, x: str) -> str:
        return f"v_dot({register}, {self.form(vector)}, {acc}, {w}, {x});"


class Int8Step(Step):
    """Steps of int8 dot products (NEON)."""

    @classmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        return source.tensor.format == "s8" and not target.scalar_operand

    def padded(self, channels: Sequence[int]) -> Array:
        """int8 ``[channels, KH, KW, bytes of the vectors]``, zeros where nothing lies."""
        matrix = row_matrix(self.layer, self.source)
        k, height, _ = matrix.shape
        pixels = matrix.reshape(k, height, self.layer.kernel[1], -1)
        result = np.zeros((len(channels), *pixels.shape[1:3], self.vectors * REGISTER_BYTES), dtype=np.int8)
        for index, channel in enumerate(channels):
            if channel >= 0:
                result[index, ..., : pixels.shape[3]] = pixels[channel]
        return result


class SdotStep(Int8Step):
    """``sdot``: a lane sums the products of four bytes."""

    def operation(self, register: int, vector: int, acc: str, w: str, x: str) -> str:
        return f"v_sdot4({acc}, {w}, {x});"

    def pack(self, weight: Array, channels: Sequence[int]) -> Array:
        own = self.padded(channels)[0]
        return own.reshape(*own.shape[:2], self.vectors, 1, REGISTER_BYTES).view(np.uint8)


class LaneDotStep(Int8Step):
    """``sdot`` by element: four bytes of the activations meet four output channels."""

    channels = 4

    def operation(self, register: int, vector: int, acc: str, w: str, x: str) -> str:
        return f"v_sdot({register}, {acc}, {w}, {x});"

    def pack(self, weight: Array, channels: Sequence[int]) -> Array:
        own = self.padded(channels)  # [4, KH, KW, bytes] -> [KH, KW, vectors, 4 registers, 4 channels, 4 bytes]
        k, height, width, _ = own.shape
        split = own.reshape(k, height, width, self.vectors, 4, 4)
        return (
            np.ascontiguousarray(np.transpose(split, (1, 2, 3, 4, 0, 5)))
            .view(np.uint8)
            .reshape(height, width, self.vectors, 4, REGISTER_BYTES)
        )


class PopStep(SmolStep):
    """Exclusive or and population count of uniform 1-bit vectors: sum of products = 64 * (128 - 2 * differing bits)."""

    MOST = 65535 // 16
    """Steps that 16-bit counters can add up, 16 bits each."""

    @classmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        return (
            super().serves(layer, source, target)
            and not target.scalar_operand
            and set(source.tensor.patterns) == {UNIFORM[1]}
            and layer.kernel[0] * layer.kernel[1] * len(source.tensor.patterns) <= cls.MOST
        )

    def operation(self, register: int, vector: int, acc: str, w: str, x: str) -> str:
        return f"v_count({acc}, {w}, {x});"

    def partial(self, acc: str) -> str:
        return f"v_wide_counts({acc})"

    def total(self, sums: str) -> str:
        height, width = self.layer.kernel
        bits = 8 * REGISTER_BYTES * height * width * self.vectors
        return f"v_mla(v_dup({64 * bits}u), {sums}, v_dup((uint32_t)-128))"


STEPS: dict[str, type[Step]] = {
    "vdot": VdotStep,
    "vmac": VmacStep,
    "sdot": SdotStep,
    "dot": LaneDotStep,
    "pop": PopStep,
}
"""Steps by style."""
