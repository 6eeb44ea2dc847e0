"""What a program writer asks of an ISA."""

from typing import Protocol

from sysmol.verify.state import SCALARS


class Language(Protocol):
    """Assembler text of what stands around the random operations of a program. Programs never touch the registers that
    an ISA's file names."""

    scalars: tuple[str, ...]
    """Names of the scalar registers that programs use."""
    start: str
    """Open the results (openat with O_WRONLY, O_CREAT, O_TRUNC) and point at the first block."""
    end: str
    """Leave with status 0; at the label ``short`` with status 1."""

    def guard(self, condition: str, a: str, b: str, number: int, end: str) -> str:
        """A branch to ``end`` where the condition does not hold on registers ``a`` and ``b``, or on bit ``number``."""

    def repeat(self, scalar: str) -> str:
        """1 + (scalar & 3) repetitions are left."""

    def repeat_again(self, label: str) -> str:
        """Back to the label while there are repetitions left."""

    def load(self, size: int, passes: int) -> str:
        """Registers from the block; vector registers have ``size`` bytes; ``passes`` are left."""

    def in_last_pass(self, label: str) -> str:
        """To the label in the last pass."""

    def pass_again(self, label: str) -> str:
        """Back to the label while there are passes left."""

    def store(self, size: int, total: int) -> str:
        """Registers to the block, its ``total`` bytes to the results, and on to the next block."""


def scalar_offsets(first: int) -> list[int]:
    """Places of the scalars behind the offset of the first one."""
    return [first + 8 * index for index in range(SCALARS)]
