"""The styles of multiply-accumulates: which instruction a kernel's inner loop is made of, as data.

The generator's schedules name them, the estimate and the peaks take their rates from here. Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Rate(NamedTuple):
    """gem5's operation class, whose units bound the rate, and multiply-accumulates per instruction."""

    op_class: str
    macs: float


@dataclass(frozen=True)
class Style:
    """One style. ``smol``: the SMOL instruction that it uses; its multiply-accumulates are the slots of a vector, or
    ``times`` as many.

    ``rates``: by ISA, of the other instructions. ``several``: a multiply-accumulate takes several kinds of vector
    instructions, and the rate is that of all of them together. ``accumulators``: vector registers of a tile, where one
    output has a register to itself, its lanes summed at the end (else 0). ``group``: output channels in the accumulator
    of a single-accumulator kernel. ``pixels``: output pixels whose sums of four channels are in one register of a tile;
    of eight channels half as many.
    """

    name: str
    what: str
    smol: str = ""
    rates: Mapping[str, Rate] = field(default_factory=dict)
    several: bool = False
    accumulators: int = 0
    group: int = 1
    times: int = 1
    pixels: int = 1

    @property
    def rate(self) -> Rate | None:
        """Where one kind of instruction that is no SMOL one does it, its rate: equal on all ISAs that have it."""
        return None if self.several or not self.rates else next(iter(self.rates.values()))


_ALL = (
    Style(
        "vmmh",
        "two pixels x four channels, a quarter of a register each, 16-bit lanes",
        smol="vmm.h",
        times=2,
        pixels=2,
    ),
    Style("vmm", "two pixels x two channels, half a register each", smol="vmm.w", times=2),
    Style("nibble", "bytes by weights of 4 bits: vmm.w on both halves of the bytes", smol="vmm.w", pixels=1),
    Style("vdw", "depthwise: three taps of eight channels, 16-bit lanes", smol="vdw", pixels=2),
    Style("run", "vdot over runs of narrow pixels", smol="vdot"),
    Style("vdot", "all chunks into one lane", smol="vdot", group=4),
    Style("dot", "sdot by element", rates={"arm": Rate("SimdAlu", 16)}, group=4),
    Style("mac", "vmacc.vx on 16-bit lanes; widening is extra", rates={"riscv": Rate("SimdMultAcc", 8)}),
    Style(
        "fma",
        "fmla by element, vfmacc.vf",
        rates={"arm": Rate("SimdFloatMultAcc", 4), "riscv": Rate("SimdFloatMultAcc", 4)},
    ),
    Style("mmla", "smmla", rates={"arm": Rate("SimdMatMultAcc", 32)}),
    Style(
        "unpack",
        "weights of 4 bits, unpacked, then as dot or mac",
        rates={"arm": Rate("SimdAlu", 16), "riscv": Rate("SimdMultAcc", 8)},
        several=True,
    ),
    Style(
        "pop",
        "AArch64: exclusive or, population count, add: three for 128 bits; RISC-V: vmxor.mm and vcpop.m",
        rates={"arm": Rate("SimdAlu", 128 / 3), "riscv": Rate("SimdAlu", 128 / 2)},
        several=True,
    ),
    Style("vmac", "two chunks to a lane", smol="vmac", accumulators=24),
    Style("sdot", "sdot of whole registers", rates={"arm": Rate("SimdAlu", 16)}, accumulators=24),
)
STYLES = {style.name: style for style in _ALL}
"""By name, in the order in which the generator prefers them for a layer that names none."""
