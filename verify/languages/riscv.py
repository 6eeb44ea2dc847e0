"""RISC-V: s1 passes left, s2 repetitions left, s3 window, s4 block, s5 file, t4 scratch."""

from sysmol.verify.languages.base import scalar_offsets
from sysmol.verify.operations import SCALAR_NAMES, set_type_text
from sysmol.verify.state import SCALARS, VECTORS


class Riscv:
    """See :class:`~sysmol.verify.languages.base.Language`."""

    scalars = SCALAR_NAMES["riscv"]
    start = """
    ld a1, 24(sp)
    li a0, -100
    li a2, 0x241
    li a3, 0x1b6
    li a7, 56
    ecall
    mv s5, a0
    la s4, blocks
"""
    end = """
    li a0, 0
    li a7, 94
    ecall
short:
    li a0, 1
    li a7, 94
    ecall
"""

    def guard(self, condition: str, a: str, b: str, number: int, end: str) -> str:
        return {
            "bit": f"andi t4, {a}, {1 << number % 8}\nbeqz t4, {end}",
            "less": f"bge {a}, {b}, {end}",
            "equal": f"xor t4, {a}, {b}\nandi t4, t4, 3\nbnez t4, {end}",
            "never": f"andi t4, {a}, 7\nslti t4, t4, 8\nbnez t4, {end}",
        }[condition]

    def repeat(self, scalar: str) -> str:
        return f"andi s2, {scalar}, 3\naddi s2, s2, 1"

    def repeat_again(self, label: str) -> str:
        return f"addi s2, s2, -1\nbnez s2, {label}"

    def load(self, size: int, passes: int) -> str:
        lines = [set_type_text(32, 0, size), "mv t4, s4"]
        lines += [f"vl1re8.v v{r}, (t4)\naddi t4, t4, {size}" for r in range(VECTORS)]
        lines += [f"ld {name}, {at}(t4)" for name, at in zip(self.scalars, scalar_offsets(0), strict=True)]
        return "\n".join([*lines, f"addi s3, t4, {8 * SCALARS}", f"li s1, {passes}"])

    def in_last_pass(self, label: str) -> str:
        return f"addi t4, s1, -1\nbeqz t4, {label}"

    def pass_again(self, label: str) -> str:
        return f"addi s1, s1, -1\nbnez s1, {label}"

    def store(self, size: int, total: int) -> str:
        lines = ["mv t4, s4"]
        lines += [f"vs1r.v v{r}, (t4)\naddi t4, t4, {size}" for r in range(VECTORS)]
        lines += [f"sd {name}, {at}(t4)" for name, at in zip(self.scalars, scalar_offsets(0), strict=True)]
        # A fence does not empty Minor's store buffer here; an atomic operation, which changes nothing, does.
        lines += ["amoor.w zero, zero, (s4)", "mv a0, s5", "mv a1, s4", f"li a2, {total}", "li a7, 64", "ecall"]
        return "\n".join([*lines, f"li t4, {total}", "bne a0, t4, short", "add s4, s4, t4"])
