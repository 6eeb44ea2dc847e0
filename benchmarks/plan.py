"""What the benchmarks measure: shapes, variants, ISAs and machines, as lists of jobs."""

from collections.abc import Sequence

from benchmarks.measure import Job, Variant
from benchmarks.shapes import load_shapes

ISAS = ("arm", "riscv")
MACHINE = "o3-n1"
HARDWARE = "P4"
"""Patterns of the simulated hardware wherever SMOL instructions run."""

FP32, INT8 = Variant("fp32", "fp32"), Variant("int8", "int8")
MMLA = Variant("int8-mmla", "int8", styles=(("s8", "mmla"),))
UNPACK = Variant("int8w4-unpack", "int8w4", styles=(("s8", "unpack"),))
POP = Variant("w1-pop", "w1", styles=(("smol", "pop"),))
UNIFORM = tuple(Variant(name, name) for name in ("w4", "w2", "w1"))
MIX = Variant("mixP4", "mixP4")
VMAC = tuple(Variant(f"{name}-vmac", name, styles=(("smol", "vmac"),)) for name in ("w4", "w2", "w1", "mixP4"))
SIMD_PACK = tuple(Variant(f"{name}-simdpack", name, options=(("pack", "simd"),)) for name in ("w4", "w2", "mixP4"))
ARM_ONLY = (MMLA,)

KERNELS: tuple[tuple[str, tuple[Variant, ...]], ...] = (
    ("convolutions", (*UNIFORM, MIX, FP32, INT8, MMLA, UNPACK, POP, *VMAC)),
    ("resnet8", (*UNIFORM, MIX, FP32, INT8, MMLA, UNPACK, POP, *SIMD_PACK)),
    ("mobilenetv2_stem2", (*UNIFORM, MIX, FP32, INT8, MMLA, *SIMD_PACK[2:])),
)
"""Shape files of ``make bench-kernels`` with their variants."""


def jobs_of(shapes: str, variants: Sequence[Variant], machine: str = MACHINE) -> list[Job]:
    """Every network of a shape file in every variant on both ISAs, as far as the ISA has the instruction."""
    return [
        Job(shape, variant, isa, machine, HARDWARE)
        for variant in variants
        for shape in load_shapes(shapes)
        for isa in ISAS
        if isa == "arm" or variant not in ARM_ONLY
    ]


def kernel_jobs() -> list[Job]:
    """``make bench-kernels``."""
    return [job for shapes, variants in KERNELS for job in jobs_of(shapes, variants)]
