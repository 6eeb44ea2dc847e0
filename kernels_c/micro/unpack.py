"""4-bit weights with int8 activations: weights are stored as nibbles and unpacked to int8 in the kernel.

That is what libraries do for 4-bit networks on processors without instructions for them: half of the weights' memory,
and the speed of int8 less the unpacking. The network is an int8 one whose weights lie in -8..7.
"""

from collections.abc import Sequence

import numpy as np

from sysmol.errors import SysmolError
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import plus
from sysmol.kernels_c.micro.lane import LaneDot
from sysmol.kernels_c.micro.rvv import RvvInt8
from sysmol.kernels_c.plan.heuristic import CORE, Core
from sysmol.kernels_c.plan.layout import Block, Place
from sysmol.kernels_c.targets import Target
from sysmol.network import Array, Layer
from sysmol.schedule import REGISTERS, Schedule

LOW, HIGH = -8, 7
SCALE_BITS = 4
"""The unpacked weights are 16 times the real ones: a nibble is left at the top of its byte."""


def check_weights(layer: Layer) -> None:
    """:class:`SysmolError` where a weight does not fit four bits, or where 16 times a sum might leave 32."""
    assert layer.weight is not None
    least, most = int(layer.weight.min()), int(layer.weight.max())
    if least < LOW or most > HIGH:
        raise SysmolError(
            f"layer {layer.name}: style unpack stores weights in 4 bits, {LOW}..{HIGH}, but they go from {least} to "
            f"{most}: export the network with 4-bit weights or choose another style"
        )
    if np.abs(layer.weight.astype(np.int64)).sum(axis=(1, 2, 3)).max() * 128 >= 1 << (31 - SCALE_BITS):
        raise SysmolError(f"layer {layer.name}: too many weights per output channel for style unpack")


class LaneUnpack(LaneDot):
    """``sdot`` on nibbles (NEON): one shift or one mask per register of 16 weights, whose value is 16 times the
    weights'; the sums are divided by 16 in the end."""

    style = "unpack"

    def __init__(
        self, layer: Layer, source: Place, blocks: Sequence[Block], schedule: Schedule, limits: tuple[int, int]
    ) -> None:
        super().__init__(layer, source, blocks, schedule, limits)
        check_weights(layer)

    @classmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        return source.tensor.format == "s8" and not target.scalar_operand

    def weight_bytes(self, subs: int) -> int:
        return 16 * -(-subs * self.groups // 2)

    def _step(self, em: Emitter, subs: int, operation: str) -> None:
        reads = self.reads(subs)
        hold = len(reads) <= 8
        if not hold:
            for p in range(len(self.pixels)):
                em.line(f"const vec x{p} = v_load({plus('x', self.at[p])});")
        for number in range(0, len(reads), 2):
            own = reads[number : number + 2]
            if hold:
                self._unpack(em, number, own)
                continue
            with em.block():
                self._unpack(em, number, own)
                for s, g in own:
                    for p in range(len(self.pixels)):
                        em.line(operation.format(s=s, acc=f"a{g}_{p}", w=f"w{s}_{g}", x=f"x{p}") + ";")
        for p in range(len(self.pixels)) if hold else ():
            with em.block():
                em.line(f"const vec xp = v_load({plus('x', self.at[p])});")
                for s, g in reads:
                    em.line(operation.format(s=s, acc=f"a{g}_{p}", w=f"w{s}_{g}", x="xp") + ";")

    def _unpack(self, em: Emitter, number: int, reads: Sequence[tuple[int, int]]) -> None:
        """Declare the weight registers of two reads, or of the last one."""
        em.line(f"const vec n{number} = v_load(w + {8 * number});")
        for half, (s, g) in zip(("low", "high"), reads, strict=False):
            em.line(f"const vec w{s}_{g} = v_nibbles_{half}(n{number});")

    def end(self, em: Emitter) -> None:
        for g in range(self.groups):
            for p in range(len(self.pixels)):
                em.line(f"a{g}_{p} = v_sra(a{g}_{p}, {SCALE_BITS});")

    def pack(self, weight: Array) -> Array:
        plain = super().pack(weight)  # [KH, subs, groups, 4, 4]
        height = len(plain)
        full = self.subs // 4 * 4
        steps = [plain[:, first : first + 4] for first in range(0, full, 4)]
        if full < self.subs:
            steps.append(plain[:, full:])
        return np.concatenate([_nibbles(step.reshape(height, -1, 16)) for step in steps], axis=1)


def _nibbles(registers: Array) -> Array:
    """int8 ``[rows, registers, 16]`` two by two: the first in the lower nibbles, the second in the upper ones."""
    even = np.pad(registers, ((0, 0), (0, registers.shape[1] % 2), (0, 0)))
    return ((even[:, 0::2] & 15) | (even[:, 1::2] << 4)).astype(np.uint8).reshape(len(registers), -1)


class RvvUnpack(RvvInt8):
    """Four weights of 4 bits in every 16-bit lane (RVV): a shift or two per register unpacks one of them. Sums of so
    small products fit 16 bits for some 30 terms, so that widening costs little."""

    style = "unpack"
    RUNS = (4,)
    LONGEST = 32

    def __init__(
        self, layer: Layer, source: Place, blocks: Sequence[Block], schedule: Schedule, limits: tuple[int, int]
    ) -> None:
        super().__init__(layer, source, blocks, schedule, limits)
        check_weights(layer)

    @classmethod
    def work(cls, blocks: int, pixels: int, core: Core = CORE) -> float:
        sums = blocks * pixels
        if 3 * sums + 3 + blocks > REGISTERS:
            return float("inf")
        slots = 1.06 * sums + 1.75 * blocks
        return max(slots, pixels + 0.25 * blocks + 0.25, (slots + pixels + 0.5 * blocks + 0.5) / 2, core.chain / 4)

    def _weights(self, em: Emitter, e: int) -> None:
        r, i = divmod(e, self.plan.run)
        for k in range(len(self.blocks)):
            if not i:
                em.line(f"const vec16 n{r}_{k} = v_load16(w + {16 * (r * len(self.blocks) + k)});")
            em.line(f"const vec16 w{e}_{k} = v_nibble16(n{r}_{k}, {i});")

    @property
    def window_bytes(self) -> int:
        return 16 * len(self.blocks) * self.plan.length

    def pack(self, weight: Array) -> Array:
        terms = super().pack(weight).astype(np.int64) & 15  # [runs, 4, blocks, 8]
        return (terms << np.array([0, 4, 8, 12])[:, None, None]).sum(axis=1).astype(np.uint16)
