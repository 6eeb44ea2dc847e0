"""What the benchmarks measure: shapes, variants, ISAs and machines, as lists of jobs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sysmol.benchmarks.files import FOLDER, network_files
from sysmol.benchmarks.machines import ONE_MULTIPLIER, SLOW_VDOTS
from sysmol.benchmarks.measure import Job, Variant
from sysmol.benchmarks.networks import CODES, LEAN, SMOL_VARIANTS, STEM
from sysmol.benchmarks.shapes import load_shapes
from sysmol.isas import ISAS

MACHINE = "o3-n1"
MATRIX_MACHINE = "o3-n1-matrix"
"""The core of :data:`MACHINE` with both pages of SMOL instructions."""
OTHER_LATENCIES = ("o3-n1-chosen", "o3-n1-sdot3")
"""The core of :data:`MACHINE` with other latencies of SMOL instructions: chosen ones, and RTL's for an sdot of 3 cycles
instead of 2."""
FILE = "file"
"""Variant of network files: their names say what they are."""
HARDWARE = "P4"
"""Patterns of the simulated hardware wherever SMOL instructions run."""

FP32, INT8 = Variant("fp32", "fp32"), Variant("int8", "int8")
MMLA = Variant("int8-mmla", "int8", styles=(("s8", "mmla"),))
UNPACK = Variant("int8w4-unpack", "int8w4", styles=(("s8", "unpack"),))
POP = Variant("w1-pop", "w1", styles=(("smol", "pop"),), options=(("pack", "simd"),))
AHEAD = 4
"""Steps by which the variants ``-prefetch`` ask for weights ahead of time."""
PREFETCH = tuple(
    replace(each, name=f"{each.name}-prefetch", options=(("prefetch", AHEAD),)) for each in (FP32, INT8, MMLA)
)
POSITIVE = Variant("int8-positive", "int8-positive")
UNIFORM = tuple(Variant(name, name) for name in ("w4", "w2", "w1"))
MIX = Variant("mixP4", "mixP4")
VMAC = tuple(Variant(f"{name}-vmac", name, styles=(("smol", "vmac"),)) for name in ("w4", "mixP4"))
SIMD_PACK = tuple(Variant(f"{name}-simdpack", name, options=(("pack", "simd"),)) for name in ("w4", "mixP4"))
ONLY = {MMLA: "arm", POSITIVE: "riscv"} | dict.fromkeys(PREFETCH, "arm")
"""The ISA of variants that the other one lacks, or that say nothing new there."""
MAIN = (*UNIFORM, MIX, FP32, INT8, MMLA)

KERNELS: tuple[tuple[str, tuple[Variant, ...]], ...] = (
    ("resnet8", MAIN),
    ("convolutions", MAIN),
    ("mobilenetv2_stem2", MAIN),
    ("convolutions", (POSITIVE, UNPACK, POP, *VMAC)),
    ("resnet8", (UNPACK, POP, *SIMD_PACK)),
    ("mobilenetv2_stem2", SIMD_PACK),
)
"""Shape files of ``make bench-kernels`` with their variants, what matters most first."""


def jobs_of(shapes: str, variants: Sequence[Variant], machine: str = MACHINE) -> list[Job]:
    """Every network of a shape file in every variant on both ISAs, as far as the ISA has the instruction."""
    return [
        Job(shape, variant, isa, machine, HARDWARE if machine != MATRIX_MACHINE else None)
        for variant in variants
        for shape in load_shapes(shapes)
        for isa in ISAS
        if ONLY.get(variant, isa) == isa
    ]


def latency_jobs() -> list[Job]:
    """ResNet-8 with the SMOL latencies of :data:`MACHINE`, and with others (docs/hardware-cost.md). Programs without
    SMOL instructions take as long on all of them."""
    return [job for machine in (MACHINE, *OTHER_LATENCIES) for job in jobs_of("resnet8", (*UNIFORM, MIX), machine)]


def file_jobs(folder: Path = FOLDER) -> list[Job]:
    """Every network file of a folder on both ISAs; :class:`SysmolError` where there is none."""
    return [Job(each, Variant(FILE, FILE), isa, MACHINE) for each in network_files(folder) for isa in ISAS]


def kernel_jobs() -> list[Job]:
    """``make bench-kernels``."""
    return [job for shapes, variants in KERNELS for job in jobs_of(shapes, variants)]


def _matrix(name: str) -> tuple[Variant, ...]:
    return tuple(Variant(name + ending, name + ending) for ending in (STEM, LEAN, CODES, ""))


def _ahead(variants: Sequence[Variant]) -> tuple[Variant, ...]:
    """The variants whose network has no other one, with prefetches."""
    return tuple(
        replace(each, name=f"{each.name}-prefetch", options=(("prefetch", AHEAD),))
        for each in variants
        if not each.name.endswith((LEAN, CODES, STEM))
    )


MATRIX: tuple[tuple[str, tuple[Variant, ...]], ...] = (
    ("resnet20", _matrix("w2")),
    ("resnet8", (*_matrix("w4"), *_matrix("w2"))),
    ("resnet8_large", (*_matrix("w2"), *_matrix("mixP4"), *_matrix("w4"))),
    ("mobilenetv2_small", _matrix("w4")),
    ("mobilenetv2_stem2", _matrix("w4")),
    ("convolutions", UNIFORM),
)
"""Shape files of ``matrix`` with the variants that use the second page of instructions."""
LEVERS = (("resnet8", "w2-stem4"), ("resnet20", "w2-stem4"), ("mobilenetv2_small", "w4-stem4"))
"""Networks and variants of which one thing after the other is taken away."""
WITHOUT = {
    "vmm.h": ("vmm.h",),
    "vqpk.h": ("vqpk.h", "vunp.h"),
    "vqpk.s": ("vqpk.s",),
    "lq": ("lq", "sq"),
    "vmm": ("vmm.w", "vmm.h"),
    "vdw": ("vdw",),
}
"""Instructions that are taken away together, by the first of them, as names of variants have it."""


def lacking(variant: str, name: str) -> Variant:
    """A variant whose programs use none of the instructions ``WITHOUT[name]``."""
    return Variant(f"{variant}-no-{name}", variant, without=WITHOUT[name])


def lever_jobs() -> list[Job]:
    """Networks with all of the second page, without a part of it, with other stems and residuals, and with the first
    page alone; the first of them also on cores that differ in one thing."""
    jobs: list[Job] = []
    for shape, name in LEVERS:
        full, bare = Variant(name, name), name.split("-")[0]
        others = [Variant(each, each) for each in (bare, bare + LEAN)]
        depthwise = shape.startswith("mobilenet")
        left_out = [lacking(name, each) for each in WITHOUT if each != "vdw" or depthwise]
        jobs += jobs_of(shape, [full, *others, *left_out], MATRIX_MACHINE)
        jobs += jobs_of(shape, [full])
    first = jobs_of(LEVERS[0][0], [Variant(LEVERS[0][1], LEVERS[0][1])])
    jobs += [replace(job, machine=ONE_MULTIPLIER, patterns=None) for job in first]
    jobs += [replace(job, machine=machine) for machine in SLOW_VDOTS.values() for job in first]
    return [job for job in jobs if job.isa == "riscv" or job.variant.without != WITHOUT["lq"]]


ENCODERS = ("encoder", "attention")
"""Shape files of transformers."""


def encoder_jobs() -> list[Job]:
    """An encoder layer and a head of it: codes with both pages of instructions, and baselines."""
    codes = UNIFORM[:2]
    return [
        job
        for shapes in ENCODERS
        for job in (*jobs_of(shapes, (FP32, INT8, *codes)), *jobs_of(shapes, codes, MATRIX_MACHINE))
    ]


def matrix_jobs() -> list[Job]:
    """The second page of instructions beside fp32, the 8-bit baselines and the first page of the same core; what each
    part of it brings."""
    baselines = (FP32, INT8, MMLA, *PREFETCH)
    jobs = [
        job
        for shapes, variants in MATRIX
        for job in (
            *jobs_of(shapes, baselines),
            *jobs_of(shapes, [each for each in variants if each.name in SMOL_VARIANTS]),
            *jobs_of(shapes, variants, MATRIX_MACHINE),
            *(job for job in jobs_of(shapes, _ahead(variants), MATRIX_MACHINE) if job.isa == "arm"),
        )
    ]
    return list(dict.fromkeys([*jobs, *lever_jobs()]))
