"""What a core could do at best with each multiply-accumulate: the peak that a layer's rate is held against.

The peak of a layer is the multiply-accumulates of one instruction times the instructions that the machine's units can
start per cycle. It knows nothing of loads, stores, requantisation or unused lanes: those are what keeps a kernel below.

=========  ====================================================================  ======================================
style      instruction                                                           multiply-accumulates of one
=========  ====================================================================  ======================================
vdot vmac  SMOL                                                                  slots of a vector: 32, 64 or 128; the
run                                                                              mean over a layer's vectors
depthwise  SMOL ``vmul``, ``vmla``                                               8 (4 bits) or 16
vdw        SMOL, depthwise                                                       24
nibble     SMOL ``vmm.w``, twice for bytes by weights of 4 bits                  32
dot sdot   ``sdot`` (AArch64)                                                    16
mmla       ``smmla`` (AArch64)                                                   32
mac        RVV multiply-accumulate on 16-bit lanes; widening is extra            8
unpack     weights of 4 bits, unpacked, then as ``dot`` or ``mac``               16 or 8
pop        AArch64: exclusive or, population count, add: three for 128 bits;     128 / 3, 128 / 2
           RISC-V: ``vmxor.mm`` and ``vcpop.m``, then a scalar addition
fma        ``fmla``, ``vfmacc``                                                  4
=========  ====================================================================  ======================================
"""

from collections.abc import Mapping
from typing import Any

from sysmol import isa
from sysmol import schedule as schedules
from sysmol.errors import SysmolError
from sysmol.isa.selectors import TAP_PRODUCTS
from sysmol.machine import Machine
from sysmol.network import Layer, Network, operation
from sysmol.pattern import capacity
from sysmol.register_parts import LANES
from sysmol.styles import STYLES

ACCUMULATING = tuple(row.name for row in isa.TABLE if row.macs)
"""SMOL instructions that multiply; the others pack and unpack."""
NIBBLE_PRODUCTS = 32
"""Of one ``vmm.w``: 64 of codes, two of which are one of a byte."""


def style_of(schedule: str) -> str:
    """Multiply-accumulate that a schedule's name ends with, "" where the layer has no schedule."""
    style = schedules.style_of(schedule)
    return "" if style is None else style.name


def peak(net: Network, layer: Layer, style: str, isa: str, machine: Machine) -> float | None:
    """Multiply-accumulates per cycle at best; None for layers that have none, or whose kernel has no style.

    Raises :class:`SysmolError` for a style without a rate on this ISA.
    """
    x = net.tensors[layer.input]
    kind = operation(layer)
    if style == "vdw":
        return TAP_PRODUCTS * machine.smol_count
    if kind.has_weights and not kind.mixes_channels and x.format == "smol":
        lanes = [LANES[int(p)] for p in x.precisions]
        return machine.smol_count * len(lanes) / sum(1 / n for n in lanes)
    if not style:
        return None
    if style == "nibble":
        return NIBBLE_PRODUCTS * machine.smol_count
    if style in STYLES and STYLES[style].smol:
        each = sum(capacity(i) for i in x.patterns) / len(x.patterns)
        return machine.smol_count * STYLES[style].times * each
    if style not in STYLES or isa not in STYLES[style].rates:
        raise SysmolError(f"style {style!r} has no peak on {isa}: add its rate to sysmol/styles.py")
    op_class, macs = STYLES[style].rates[isa]
    return macs * machine.unit_count(op_class)


def smol_counts(block: Mapping[str, float], machine: Mapping[str, Any]) -> tuple[float, float]:
    """Committed SMOL instructions in a statistics block: those that multiply and accumulate, and all.

    ``machine``: the description as it stands in ``run.json``; its op classes tell the functions apart.
    """
    products: dict[str, bool] = {}
    for name, function in machine["smol"]["functions"].items():
        products[function["class"]] = products.get(function["class"], False) or name in ACCUMULATING
    counted = {"accumulating": 0.0, "all": 0.0}
    for op_class, accumulates in products.items():
        suffix = f".committedInstType::{op_class}"
        count = sum(value for key, value in block.items() if key.endswith(suffix))
        counted["all"] += count
        counted["accumulating"] += count if accumulates else 0.0
    return counted["accumulating"], counted["all"]
