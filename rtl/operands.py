"""Operands for energy: what consecutive instructions of a program find in their registers.

``uniform``: every code equally likely. ``bell``: weights (vn) around zero and activations (vm) at and above zero, as in
a trained network, by the number grid. Each instruction adds to the result of the one before, as an accumulator does.
"""

from collections.abc import Mapping

import numpy as np

from sysmol import grid, isa
from sysmol.packing import pack, slot_precisions
from sysmol.pattern import UNIFORM
from sysmol.rtl import reference
from sysmol.rtl.circuit import Planes
from sysmol.rtl.reference import Registers
from sysmol.rtl.units import Batch

DISTRIBUTIONS = ("uniform", "bell")
WEIGHT_DEVIATION, ACTIVATION_DEVIATION = 0.6, 0.8
"""Standard deviations of bell-shaped values; the grid of 4 bits reaches from -1.875 to 1.875."""


def codes(rng: np.random.Generator, vectors: int, pattern: int, weights: bool) -> Registers:
    """Registers of bell-shaped values in a pattern."""
    precisions = slot_precisions([pattern])
    values = rng.normal(0.0, WEIGHT_DEVIATION if weights else ACTIVATION_DEVIATION, (vectors, len(precisions)))
    packed = pack(grid.encode(values if weights else np.abs(values), precisions), [pattern])
    return packed.reshape(vectors, 16)


def int8(rng: np.random.Generator, vectors: int, weights: bool) -> Registers:
    """Registers of bell-shaped bytes of the same shape relative to their range."""
    values = rng.normal(0.0, WEIGHT_DEVIATION if weights else ACTIVATION_DEVIATION, (vectors, 16)) * (128 / 1.9)
    return np.clip(np.rint(values if weights else np.abs(values)), -128, 127).astype(np.int8).view(np.uint8)


def floats(rng: np.random.Generator, vectors: int, weights: bool) -> Registers:
    """Registers of fp32 values of the same shape."""
    values = rng.normal(0.0, WEIGHT_DEVIATION if weights else ACTIVATION_DEVIATION, (vectors, 4))
    return (values if weights else np.abs(values)).astype("<f4").view(np.uint8)


def small_lanes(rng: np.random.Generator, vectors: int) -> Registers:
    """int32 lanes as sums in mid-layer have them: some hundreds of units."""
    return np.rint(rng.normal(0.0, 1500.0, (vectors, 4))).astype("<i4").view(np.uint8)


def short_lanes(rng: np.random.Generator, vectors: int) -> Registers:
    """int16 lanes of the same size."""
    return np.rint(rng.normal(0.0, 1500.0, (vectors, 8))).astype("<i2").view(np.uint8)


def pair_of(
    name: str, distribution: str, rng: np.random.Generator, vectors: int, selectors: Mapping[str, int]
) -> tuple[dict[str, Planes], dict[str, Planes]]:
    """Operands of ``vectors`` instructions and of those that follow them, as bit planes."""

    def operands() -> tuple[Registers, Registers]:
        if name == "fma4":  # uniform bits are no numbers to speak of: exponents of a program are near one another
            return floats(rng, vectors, True), floats(rng, vectors, distribution == "uniform")
        if name == "vqpk.h":
            return short_lanes(rng, vectors), short_lanes(rng, vectors)
        if name in ("vqpk", "vqpk.s"):
            return small_lanes(rng, vectors), small_lanes(rng, vectors)
        if distribution == "uniform":
            vn, vm = rng.integers(0, 256, (2, vectors, 16), dtype=np.uint8)
            return vn, vm
        if name in reference.PLAIN:
            return int8(rng, vectors, True), int8(rng, vectors, False)
        pattern = _pattern(selectors)
        return codes(rng, vectors, pattern, True), codes(rng, vectors, pattern, False)

    def result(vd: Registers, vn: Registers, vm: Registers) -> Registers:
        if name in reference.PLAIN:
            return reference.PLAIN[name](vd, vn, vm)
        return reference.smol(selectors["fn"], selectors["field6"], vd, vn, vm)

    if name == "fma4":
        vd = floats(rng, vectors, True)
    else:
        vd = short_lanes(rng, vectors) if name in ("vmm.h", "vdw") else small_lanes(rng, vectors)
    first, second = operands(), operands()
    batches = []
    for vn, vm in (first, second):
        batches.append(Batch(name, vd, vn, vm, vd, selectors).planes())
        vd = result(vd, vn, vm)
    return batches[0], batches[1]


def _pattern(selectors: Mapping[str, int]) -> int:
    """Pattern in which an instruction reads its registers."""
    part = isa.part(selectors["field6"])
    row = isa.find(selectors["fn"])
    if row is not None and row.field6 == "part" and part is not None:
        return UNIFORM[part.precision]
    return selectors["field6"]
