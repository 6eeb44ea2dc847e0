"""Energy of a layer's multiply-accumulates, from the cost table of the hardware: pJ, before scaling.

SMOL instructions are told apart by function and precision where a run counted them. Other multiply-accumulates follow
from the style of the kernel: ``sdot``, ``smmla`` and fp32 FMA are in the cost table; a multiply-accumulate of 16-bit
lanes (RVV's int8 kernels, depthwise layers of 8 bits) is taken as the four 8-bit ones that it is made of. A layer
without a style and without SMOL instructions is taken as one of 16-bit lanes, fp32 ones too, which flatters fp32.
Styles of logic operations take what every instruction takes and nothing beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from sysmol import hwcost
from sysmol.analysis.stats import SMOL_FUNCTIONS
from sysmol.errors import SysmolError
from sysmol.grid import PRECISIONS
from sysmol.pattern import UNIFORM, capacity, pattern_name
from sysmol.register_parts import LANES
from sysmol.styles import STYLES

Row = Mapping[Any, Any]

ARRAY = ("array", "P45", 3)
MULTIPLIER = ("mul", "", 2)
PACKER = ("pack", "", 2)
PACKING = ("vqpk", "vqpk.h", "vqpk.s", "vunp.h")
ACCUMULATING = ("vdot", "vmac", "vmul", "vmla", "vmm.w", "vmm.h", "vdw")
"""SMOL instructions by what they do; tables count them (:data:`.SMOL_FUNCTIONS`)."""
OTHERS = {"sdot": ("sdot", "", 2), "smmla": ("smmla", "", 2), "fma4": ("fma4", "", 3)}
"""Points of the cost table that run at one clock (docs/hardware-cost.md)."""
_STYLES = {"dot": ("sdot", 16), "sdot": ("sdot", 16), "mmla": ("smmla", 32), "fma": ("fma4", 4), "mac": ("mac16", 8)}
"""Instruction and its multiply-accumulates, of the styles that have no SMOL instruction."""
_LOGIC = ("pop",)
_UNPACKED = {"arm": "dot", "riscv": "mac"}


@cache
def table(both: bool = False) -> Mapping[tuple[str, int], float]:
    """pJ by instruction and bits: SMOL ones with 4, 2 and 1, others by the width of their numbers. ``both``: of
    hardware with the second page of instructions, whose array is a larger one."""
    costs = hwcost.read()
    found: dict[tuple[str, int], float] = {}
    for p in PRECISIONS:
        for name in ("vdot", "vmac"):
            found[name, p] = _pj(costs, ARRAY, name, pattern_name(UNIFORM[p]))
        for name in ("vmul", "vmla"):
            found[name, p] = _pj(costs, MULTIPLIER, name, f"{p} bits")
        found["vqpk", p] = _pj(costs, PACKER, "vqpk", f"{p} bits")
    if both:
        for unit, names in hwcost.BOTH_BLOCKS.items():
            for name in names:
                known = "vdot" if name == "vmac" else name  # which the table has for both
                for p in PRECISIONS:
                    selector = pattern_name(UNIFORM[p]) if known == "vdot" else f"{p} bits"
                    found[name, p] = _pj(costs, hwcost.BOTH_PAGES[unit], known, selector)
    for name, point in OTHERS.items():
        found[name, 32 if name == "fma4" else 8] = _pj(costs, point, name, "")
    found["mac16", 16] = found["sdot", 8] / 16 * 4 * 8
    return found


def _pj(costs: Mapping[str, Any], point: tuple[str, str, int], instruction: str, selector: str) -> float:
    found = hwcost.energy(hwcost.find(costs, *point), instruction, selector)
    if found is None:
        raise SysmolError(f"the cost table has no energy of {instruction} {selector}: measure it")
    return found


def instruction_energy(name: str, bits: float, both: bool = False) -> float:
    """pJ of an instruction whose elements have so many bits on average, between the precisions that were measured."""
    known = sorted((b, pj) for (n, b), pj in table(both).items() if n == name)
    if not known:
        raise SysmolError(f"the cost table has no energy of {name}: measure it")
    return float(np.interp(bits, [b for b, _ in known], [pj for _, pj in known]))


def layer_energy(row: Row, both: bool = False) -> float:
    """pJ of a layer's multiply-accumulates and packing for one image. ``row``: ``style``, ``isa``, ``macs``, the counts
    of SMOL instructions and what they multiplied, as in the tables of :mod:`sysmol.analysis.runs`; or ``smol``,
    ``smol_all`` and ``weight_bits``, as in results/kernels.csv. ``both``: on hardware with the second page."""
    packing = {name: _number(row, SMOL_FUNCTIONS[name]) for name in PACKING}
    packed = sum(packing.values())
    if not packed:
        packing["vqpk"] = max(_number(row, "smol_all") - _number(row, "smol"), 0.0)
    energy = sum(count * instruction_energy(name, 2, both) for name, count in packing.items() if count)
    # Where packing has counts of its own, the other one is without them.
    accumulating = _number(row, "smol") - (0.0 if "smol_all" in row else packed)
    if accumulating > 0:
        return energy + _smol(row, accumulating, both)
    style, macs = str(row.get("style") or ""), _number(row, "macs")
    if style == "unpack":
        style = _UNPACKED[str(row["isa"])]
    if style in _LOGIC:
        return energy
    instruction, each = _STYLES.get(style, ("mac16", 8))
    return energy + macs / each * instruction_energy(instruction, 0)


def _smol(row: Row, accumulating: float, both: bool) -> float:
    """pJ of the accumulating SMOL instructions: by their own counts where a run has them, else by the style."""
    counts = {name: _number(row, SMOL_FUNCTIONS[name]) for name in ACCUMULATING}
    if not any(counts.values()):
        style = STYLES.get(str(row.get("style") or ""))
        named = style.smol if style is not None and style.smol in ACCUMULATING else "vdot"
        lanes = str(row.get("op")) == "depthwise" and named != "vdw"
        counts = {"vmla" if lanes else named: accumulating}
    lanes = counts.get("vmul", 0.0) + counts.get("vmla", 0.0) > counts.get("vdot", 0.0) + counts.get("vmac", 0.0)
    shares = _precisions(row, lanes)
    return sum(
        count * share * instruction_energy(name, bits, both)
        for name, count in counts.items()
        for bits, share in shares.items()
        if count
    )


def _precisions(row: Row, lanes: bool) -> dict[float, float]:
    """Share of the instructions by the bits of their elements."""
    macs = {p: _number(row, f"smol_macs{p}") for p in PRECISIONS}
    each = {p: LANES[p] if lanes else capacity(UNIFORM[p]) for p in PRECISIONS}
    counts = {float(p): macs[p] / each[p] for p in PRECISIONS if macs[p]}
    if not counts:
        return {_number(row, "weight_bits") or float(max(PRECISIONS)): 1.0}
    return {p: count / sum(counts.values()) for p, count in counts.items()}


def _number(row: Row, name: str) -> float:
    """A count; 0 where the row has none."""
    value = row.get(name)
    return 0.0 if value is None or (isinstance(value, float) and math.isnan(value)) else float(value)
