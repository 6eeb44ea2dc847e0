"""The units that are built, checked and measured: the whole SMOL unit and its blocks, and what they are compared
with."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from sysmol import isa
from sysmol.errors import SysmolError
from sysmol.rtl import reference, stimulus
from sysmol.rtl.circuit import Planes, from_planes, to_planes
from sysmol.rtl.hardware import Hardware
from sysmol.rtl.reference import Registers

REGISTERS = {"vd": 128, "vn": 128, "vm": 128}
WIDTHS = {"fn": 4, "field6": 6}
"""Bits of the selectors; a unit of the first page alone has no use for the highest of ``fn``."""
BLOCK_CUTS = {
    "vmac": ("chunk", "rows", "lane", "total"),
    "vdot": ("chunk", "rows", "lane", "total"),
    "vmul": ("product",),
    "vmla": ("product",),
    "vqpk": ("code",),
}
SECOND_CUTS: dict[str, tuple[str, ...]] = {
    "vmm.w": BLOCK_CUTS["vdot"],
    "vmm.h": BLOCK_CUTS["vdot"],
    "vqpk.h": BLOCK_CUTS["vqpk"],
    "vqpk.s": BLOCK_CUTS["vqpk"],
    "vunp.h": (),
    "vdw": ("taps", "tap_sum"),
}
"""Pipeline cuts that an instruction passes, on the first page and on the second."""

PLAIN_CUTS = {"sdot": ("ROWS", "SUM"), "smmla": ("ROWS", "SUM"), "fma4": ("PRODUCT", "SUM")}
"""Pipeline cuts of the units that the SMOL unit is compared with, as their parameters CUT_*."""


def selectors(hardware: Hardware) -> dict[str, int]:
    """Width of a unit's inputs beside registers. The second page's function codes are those from 8 on."""
    return {"fn": 4 if hardware.is_second else 3, "field6": 6}


@dataclass(frozen=True)
class Batch:
    """Operands of one check, and the register that must come out: ``fn`` and ``field6`` where the unit has
    selectors."""

    name: str
    vd: Registers
    vn: Registers
    vm: Registers
    expected: Registers
    selectors: Mapping[str, int] = field(default_factory=dict)

    def planes(self) -> dict[str, Planes]:
        """The operands as bit planes."""
        count = len(self.vd)
        planes = {name: to_planes(getattr(self, name), width) for name, width in REGISTERS.items()}
        for name, value in self.selectors.items():
            planes[name] = to_planes(np.full(count, value), WIDTHS[name])
        return planes

    def wrong(self, outputs: Mapping[str, Planes]) -> int:
        """Vectors whose result, or whose legality, is not what it must be."""
        differs = (from_planes(outputs["result"], len(self.vd)) != self.expected).any(axis=1)
        if "legal" in outputs:
            differs |= from_planes(outputs["legal"], len(self.vd))[:, 0] != 1
        return int(differs.sum())


def smol_batch(fn: int, field6: int, vd: Registers, vn: Registers, vm: Registers) -> Batch:
    """A batch of one SMOL instruction."""
    expected = reference.smol(fn, field6, vd, vn, vm)
    return Batch(isa.mnemonic(fn, field6), vd, vn, vm, expected, {"fn": fn, "field6": field6})


def words(hardware: Hardware, name: str = "") -> list[tuple[int, int]]:
    """Function and field6 of every word that the unit executes, of one instruction or all."""
    chosen = []
    for fn, field6 in isa.words():
        row = isa.find(fn)
        assert row is not None
        known = field6 in hardware.values(row.field6)
        if known and hardware.has(row.name) and name in ("", row.name):
            chosen.append((fn, field6))
    return chosen


def random_batches(hardware: Hardware, name: str, rng: np.random.Generator, vectors: int) -> Iterable[Batch]:
    """At least ``vectors`` random vectors of one instruction, spread over its words."""
    every = words(hardware, name)
    share = -(-vectors // len(every))
    for fn, field6 in every:
        yield smol_batch(fn, field6, *(stimulus.registers(rng, share) for _ in range(3)))


def plain_batches(name: str, rng: np.random.Generator, vectors: int, size: int = 1 << 16) -> Iterable[Batch]:
    """At least ``vectors`` random vectors of a unit without selectors."""
    draw = stimulus.floats if name == "fma4" else stimulus.registers
    for _ in range(-(-vectors // size)):
        vd, vn, vm = (draw(rng, size) for _ in range(3))
        yield Batch(name, vd, vn, vm, reference.PLAIN[name](vd, vn, vm))


def pair_batches(hardware: Hardware) -> Iterable[Batch]:
    """Every pair of codes in every byte of the registers, under every word that multiplies."""
    vn, vm = stimulus.code_pairs()
    vd = np.zeros_like(vn)
    for name in ("vmac", "vmul", "vmm.w", "vmm.h", "vdw"):
        if hardware.has(name):
            for fn, field6 in words(hardware, name):
                yield smol_batch(fn, field6, vd, vn, vm)


def latency(cuts: tuple[str, ...], name: str) -> int:
    """Pipeline registers that an instruction or a unit passes."""
    passed = (BLOCK_CUTS | SECOND_CUTS | PLAIN_CUTS).get(name)
    if passed is None:
        raise SysmolError(f"there is no unit {name!r}")
    return sum(cut in cuts for cut in passed)
