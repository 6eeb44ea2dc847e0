"""SMOL micro-kernel of narrow tensors: a register of activations holds several taps of the kernel."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import plus
from sysmol.kernels_c.micro.base import MicroKernel
from sysmol.kernels_c.plan.layout import Block, Place
from sysmol.kernels_c.targets import Target
from sysmol.network import Array, Layer
from sysmol.pattern import REGISTER_BYTES
from sysmol.schedule import Schedule

HALF = REGISTER_BYTES // 2
FILLER = 0xF0
"""Weights of bytes without a tap: as many largest as smallest codes of any precision. Their activations hold code 0, so
that their products add up to nothing."""


class Piece(NamedTuple):
    """``length`` bytes from byte ``start`` on of kernel row ``row``."""

    row: int
    start: int
    length: int


def registers(height: int, run: int) -> list[tuple[Piece, ...]]:
    """The registers that hold ``height`` kernel rows of ``run`` bytes: full ones, and what is left of one or two rows.

    Two leftovers share a register, the second in its upper half, where they fit.
    """
    full, rest = divmod(run, REGISTER_BYTES)
    result = [(Piece(row, REGISTER_BYTES * i, REGISTER_BYTES),) for row in range(height) for i in range(full)]
    left = [Piece(row, REGISTER_BYTES * full, rest) for row in range(height)] if rest else []
    step = 2 if rest <= HALF else 1
    return result + [tuple(left[i : i + step]) for i in range(0, len(left), step)]


class SmolRun(MicroKernel):
    """SMOL ``vdot`` over runs of narrow pixels: a kernel row lies in memory as one run of bytes, cut into registers.

    As in :class:`~sysmol.kernels_c.micro.smol.SmolDot` a register of weights belongs to one output channel, which is
    a lane of the accumulators. The last register of a run holds pixels beyond the kernel; they are masked away.
    """

    style = "run"
    whole = True
    same_lanes = True

    @classmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        return source.narrow > 0

    def __init__(
        self, layer: Layer, source: Place, blocks: Sequence[Block], schedule: Schedule, limits: tuple[int, int]
    ) -> None:
        super().__init__(layer, source, blocks, schedule, limits)
        self.registers = registers(layer.kernel[0], layer.kernel[1] * source.narrow)
        self.rest = layer.kernel[1] * source.narrow % REGISTER_BYTES
        used = [lane for block in self.blocks for lane in block.lanes]
        self.dots = [(lane, g) for lane in range(4) for g in range(self.groups) if used[g][lane]]

    @property
    def chain(self) -> int:
        return 4 * len(self.registers)

    def begin(self, em: Emitter) -> None:
        super().begin(em)
        first = [255] * self.rest + [0] * (REGISTER_BYTES - self.rest)
        lengths = {len(register) for register in self.registers if register[-1].length < REGISTER_BYTES}
        if 1 in lengths:
            self._mask(em, "first", first)
        if 2 in lengths and self.rest < HALF:
            self._mask(em, "both", 2 * first[:HALF])

    @staticmethod
    def _mask(em: Emitter, name: str, values: list[int]) -> None:
        text = ", ".join(map(str, values))
        em.line(f"static const uint8_t {name}_bytes[64] __attribute__((aligned(64))) = {{{text}}};")
        em.line(f"const vec {name} = v_load({name}_bytes);")
        em.line(f"(void){name};")

    def _activations(self, register: tuple[Piece, ...], pixel: int) -> str:
        """C expression of a register of activations of one pixel of the tile."""
        at = [plus("x", p.row * self.source.row_bytes + p.start + self.at[pixel]) for p in register]
        if len(register) == 2:
            joined = f"v_join(v_load({at[0]}), v_load({at[1]}))"
            return joined if self.rest == HALF else f"v_and({joined}, both)"
        if register[0].length == REGISTER_BYTES:
            return f"v_load({at[0]})"
        if self.rest in (2, 4, 8):
            return f"v_load_first{self.rest}({at[0]}, first)"
        return f"v_and(v_load({at[0]}), first)"

    def row(self, em: Emitter) -> None:
        pattern = self.source.tensor.patterns[0]
        for register in self.registers:
            em.comment(" and ".join(f"row {p.row}, bytes {p.start}..{p.start + p.length - 1}" for p in register))
            with em.block():
                self._register(em, pattern, register)
                em.line(f"w += {REGISTER_BYTES * len(self.dots)};", scalar=1)

    def _register(self, em: Emitter, pattern: int, register: tuple[Piece, ...]) -> None:
        """All ``vdot`` of one register per pixel; the weights stay in registers where they are few."""
        pixels = range(len(self.pixels))
        if len(self.dots) <= 8:
            for number in range(len(self.dots)):
                em.line(f"const vec w{number} = v_load({plus('w', REGISTER_BYTES * number)});")
            for p in pixels:
                with em.block():
                    em.line(f"const vec xp = {self._activations(register, p)};")
                    for number, (lane, g) in enumerate(self.dots):
                        em.line(f"v_dot({lane}, {pattern}, a{g}_{p}, w{number}, xp);")
            return
        for p in pixels:
            em.line(f"const vec x{p} = {self._activations(register, p)};")
        for number, (lane, g) in enumerate(self.dots):
            with em.block():
                em.line(f"const vec wg = v_load({plus('w', REGISTER_BYTES * number)});")
                for p in pixels:
                    em.line(f"v_dot({lane}, {pattern}, a{g}_{p}, wg, x{p});")

    def pack(self, weight: Array) -> Array:
        # uint8 [K, KH, KW, 1, 16] -> [registers, vdots, 16]
        groups = [group for block in self.blocks for group in block.groups]
        channels = [groups[g][lane] for lane, g in self.dots]
        runs = weight[channels][..., 0, : self.source.narrow].reshape(len(channels), self.layer.kernel[0], -1)
        result = np.full((len(self.registers), len(channels), REGISTER_BYTES), FILLER, dtype=np.uint8)
        for number, register in enumerate(self.registers):
            for half, piece in enumerate(register):
                bytes_ = runs[:, piece.row, piece.start : piece.start + piece.length]
                result[number, :, HALF * half : HALF * half + piece.length] = bytes_
        return result
