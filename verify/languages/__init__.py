"""Assembler texts of the test programs, a file per ISA."""

from sysmol.verify.languages.arm import Arm
from sysmol.verify.languages.base import Language
from sysmol.verify.languages.riscv import Riscv

LANGUAGES: dict[str, Language] = {"arm": Arm(), "riscv": Riscv()}
