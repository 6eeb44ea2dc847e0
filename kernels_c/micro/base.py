"""What all micro-kernels share: the accumulators of a register tile, and the order in which weights are read.

Each computes ``acc[group][pixel] += sum over the taps of a kernel row``; weights are packed, when the code is
generated, in the order in which the micro-kernel reads them, so that a kernel only ever advances one weight pointer.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import plus
from sysmol.kernels_c.plan.heuristic import CORE, Core, step_work
from sysmol.kernels_c.plan.layout import ELEMENT_BYTES, Block, Place
from sysmol.kernels_c.targets import Target
from sysmol.network import Array, Layer
from sysmol.schedule import REGISTERS, Schedule
from sysmol.styles import STYLES

CACHE_LINE = 64


class MicroKernel(ABC):
    """The multiply-accumulates of a tile of ``blocks`` of output channels and ``schedule.pixels`` pixels.

    ``limits`` bound the activations (0 included).
    ``x`` in C points at the first byte that the tile's first pixel reads in a kernel row, ``w`` at the weights; both
    advance. ``chain`` is the number of dependent multiply-accumulates per accumulator and kernel row. Where ``whole``
    is set, one call of :meth:`row` does all rows of the kernel.
    """

    style: ClassVar[str]
    """Name in :data:`sysmol.styles.STYLES`."""
    whole = False
    steps = 0
    """Steps of a kernel row that the class can unroll; 0: it cannot."""
    overlaps = False
    """Whether the heuristic makes tiles small and straight, so that epilogues overlap with the next tile."""
    tap_by_tap = False
    """Whether one tap, a run of bytes, can be computed by itself (convolutions with groups ask for that)."""
    prefetches = False
    """Whether the class can prefetch weights."""
    same_lanes = False
    """Whether blocks handled by one piece of code must have a channel in the same lanes."""

    @classmethod
    @abstractmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        """Whether this class can compute ``layer`` from ``source`` on ``target``."""

    @classmethod
    def suits(cls, layer: Layer, source: Place) -> bool:
        """Whether it is worth it whatever epilogue follows."""
        return True

    @classmethod
    def words(cls, layer: Layer, source: Place) -> list[tuple[str, int]]:
        """SMOL instructions with their field6 that the hardware must have; those of patterns are the network's."""
        name = STYLES[cls.style].smol
        return [(name, number) for number in source.tensor.patterns] if name else []

    @classmethod
    def unit_shift(cls, layer: Layer, source: Place) -> int:
        """How far the sums are to be shifted left to have the file's unit."""
        return 0

    @classmethod
    def slots_read(cls, source: Place) -> Array | None:
        """The slots of a SMOL pixel whose products are in the sums, bool ``[slots]``; None: all that its bytes hold."""
        return None

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

    @classmethod
    def work(cls, blocks: int, pixels: int, core: Core = CORE) -> float:
        """Vector slots that a tile of ``blocks`` and ``pixels`` takes per reduction step; infinite where its registers
        do not suffice. Only the ratio between tiles matters."""
        return step_work(blocks, pixels, core)

    def begin(self, em: Emitter) -> None:
        """Declare and clear the accumulators."""
        for g in range(self.groups):
            for p in range(len(self.pixels)):
                em.line(f"vec a{g}_{p} = v_clear();")

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

        The activations of the tile's pixels stay in registers meanwhile, where these suffice: one accumulator's
        multiply-accumulates are then as far apart as can be, and the last of a tile are complete soon. Else weights do.
        """
        reads = self.reads(subs)
        if self.count + len(self.pixels) > REGISTERS - 4 and len(reads) <= 8:
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

    def repeat(self, em: Emitter, variable: str, count: int, body: Callable[[], None]) -> None:
        """``count`` steps, of which the schedule unrolls some."""
        per = min(self.schedule.unroll or 1, count)
        full, rest = divmod(count, per)
        with em.loop(variable, full):
            for _ in range(per):
                body()
        for _ in range(rest):
            body()

    def prefetch(self, em: Emitter, size: int) -> None:
        """Ask for the weights (``size`` bytes to a step) that the schedule wants ahead of time."""
        for line in range(0, size if self.schedule.prefetch else 0, CACHE_LINE):
            em.line(f"m_prefetch(w + {self.schedule.prefetch * size + line});")

    def _advance(self, em: Emitter, x: int, w: int) -> None:
        em.line(f"x += {x};", scalar=1)
        em.line(f"w += {w};", scalar=1)


def row_matrix(layer: Layer, source: Place) -> Array:
    """Weights as they meet a kernel row in memory: ``[K, KH, elements of KW pixels]``, zeros where nothing lies."""
    assert layer.weight is not None
    k, height, width, _ = layer.weight.shape
    per_pixel = source.pixel_bytes // ELEMENT_BYTES[source.tensor.format]
    matrix = np.zeros((k, height, width, per_pixel), dtype=layer.weight.dtype)
    matrix[..., source.positions()] = layer.weight
    return matrix.reshape(k, height, width * per_pixel)
