"""SMOL ``vmm.w`` on elements of 8 bits with weights of 4: bytes as two codes of 4 bits.

A signed byte a is ``u - 128``, and u is ``16 h + l``. In the odd numbers g of codes of 4 bits (docs/isa.md) ::

    2 a + 1 = 2 u - 255 = 16 g(h) + g(l)

so that products with a weight w of the grid, an odd number up to 15, are two of codes, one of them shifted left by 4.
"""

from dataclasses import dataclass

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import plus
from sysmol.kernels_c.micro.matrix import HALF, PIECE_IDS, SHIFTED_IDS, SmolMatrix
from sysmol.kernels_c.plan.heuristic import CORE, Core
from sysmol.kernels_c.plan.layout import Place
from sysmol.kernels_c.targets import Target
from sysmol.network import Array, Layer
from sysmol.pattern import CHUNK_BITS, REGISTER_BYTES

BITS = 4
CODES = CHUNK_BITS // BITS
"""Channels that a pixel has at most: those of a chunk."""
TOP = (1 << BITS) - 1
"""The largest number of a code, and the largest code."""
BYTE_TOP = 17 * TOP
"""Two codes of 0 together are the number -255."""
FILLER = (TOP + 1) // 2
"""Code of the number 1: the weight of channels that a pixel lacks, whose codes are 0."""
TAPS = HALF // (CHUNK_BITS // 8)
"""Pixels in half a register."""


@dataclass
class NibblePlanes(Place):
    """A tensor of bytes as two planes of 16-bit pixels: codes of the upper halves of its bytes, then of the lower."""

    @property
    def pixel_bytes(self) -> int:
        return CHUNK_BITS // 8


def excess(layer: Layer, channels: int) -> Array:
    """What the kernel's sums have more than twice the file's, int64 ``[K]``."""
    assert layer.weight is not None
    weight = layer.weight.astype(np.int64)
    lacking = (CODES - channels) * layer.kernel[0] * layer.kernel[1]
    found: Array = weight.sum(axis=(1, 2, 3)) - lacking * BYTE_TOP
    return found


class SmolNibbles(SmolMatrix):
    """:class:`SmolMatrix` over :class:`NibblePlanes`: the same weights meet one plane, then the other, so that products
    of one accumulator are far apart."""

    style = "nibble"
    prefetches = False

    @staticmethod
    def _chunks(layer: Layer) -> list[tuple[int, ...]]:
        """The precisions in every half register of a kernel row."""
        width = layer.kernel[1]
        return [(BITS,) * min(TAPS, width - first) for first in range(0, width, TAPS)]

    @classmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        return isinstance(source, NibblePlanes)

    @classmethod
    def row_of(cls, layer: Layer, source: Place) -> tuple[list[int], list[bool]]:
        pieces = [PIECE_IDS[own] for own in cls._chunks(layer)]
        return pieces, [True] * len(pieces)

    @classmethod
    def words(cls, layer: Layer, source: Place) -> list[tuple[str, int]]:
        return [("vmm.w", ids[own]) for own in cls._chunks(layer) for ids in (PIECE_IDS, SHIFTED_IDS)]

    @classmethod
    def work(cls, blocks: int, pixels: int, core: Core = CORE) -> float:
        """Per half register: ``vmm.w`` on both planes; pairs that memory does not hold are exchanged."""
        pairs = -(-pixels // 2)
        exchanged = pixels % (2 * TAPS) != 0
        loads = 8 * blocks + (4 if exchanged else 2) * pairs
        return max(8 * blocks * pairs + 2 * pairs * exchanged, core.chain / 4) + core.load * loads

    @classmethod
    def slots_read(cls, source: Place) -> Array | None:
        return None

    @property
    def chain(self) -> int:
        return 2 * len(self.pieces)

    def row(self, em: Emitter) -> None:
        for number, own in enumerate(self._chunks(self.layer)):
            for plane, ids in enumerate((SHIFTED_IDS, PIECE_IDS)):
                with em.block():
                    for q, pair in enumerate(self.pairs):
                        em.line(f"const vec y{q} = {self._activations(pair, plane, HALF * number)};")
                    self._products(em, number, ids[own], [f"y{q}" for q in range(len(self.pairs))])
        self.next_weights(em, 2 * REGISTER_BYTES * self.groups * len(self.pieces))

    def _activations(self, pair: tuple[int, int], plane: int, at: int) -> str:
        """Half a register of either pixel."""
        first, second = (plus("x", plane * self.source.plane_bytes + self.at[pixel] + at) for pixel in pair)
        return f"v_load({first})" if self.direct else f"v_zip_low(v_load({first}), v_load({second}))"

    def pack(self, weight: Array) -> Array:
        # int8 [K, KH, KW, C]
        codes = np.full((*weight.shape[:3], CODES), FILLER, dtype=np.uint8)
        codes[..., : weight.shape[-1]] = (weight.astype(np.int64) + TOP) // 2
        low, high = codes[..., ::2], codes[..., 1::2]
        return self.arranged(low | high << BITS)
