"""What must trap, a file per ISA."""

from sysmol.verify.traps.arm import ARM
from sysmol.verify.traps.base import Traps, draw
from sysmol.verify.traps.riscv import RISCV

TRAPS = {"arm": ARM, "riscv": RISCV}

__all__ = ["TRAPS", "Traps", "draw"]
