"""AArch64: x19 passes left, x20 repetitions left, x21 window, x22 block, x23 file, x12 scratch."""

from sysmol.verify.languages.base import scalar_offsets
from sysmol.verify.operations import SCALAR_NAMES
from sysmol.verify.state import SCALARS, VECTORS


class Arm:
    """See :class:`~sysmol.verify.languages.base.Language`."""

    scalars = SCALAR_NAMES["arm"]
    start = """
    ldr x1, [sp, #24]
    mov x0, #-100
    mov x2, #0x241
    mov x3, #0x1b6
    mov x8, #56
    svc #0
    mov x23, x0
    adrp x22, blocks
    add x22, x22, :lo12:blocks
"""
    end = """
    mov x0, #0
    mov x8, #94
    svc #0
short:
    mov x0, #1
    mov x8, #94
    svc #0
"""

    def guard(self, condition: str, a: str, b: str, number: int, end: str) -> str:
        return {
            "bit": f"tbz {a}, #{number}, {end}",
            "less": f"cmp {a}, {b}\nb.ge {end}",
            "equal": f"eor x12, {a}, {b}\nand x12, x12, #3\ncbnz x12, {end}",
            "never": f"and x12, {a}, #7\ncmp x12, #7\nb.le {end}",
        }[condition]

    def repeat(self, scalar: str) -> str:
        return f"and x20, {scalar}, #3\nadd x20, x20, #1"

    def repeat_again(self, label: str) -> str:
        return f"subs x20, x20, #1\nb.ne {label}"

    def load(self, size: int, passes: int) -> str:
        first = VECTORS * size
        lines = [f"ldr q{r}, [x22, #{16 * r}]" for r in range(VECTORS)]
        lines += [f"ldr {name}, [x22, #{at}]" for name, at in self._scalars(first)]
        return "\n".join([*lines, f"add x21, x22, #{first + 8 * SCALARS}", f"mov x19, #{passes}"])

    def in_last_pass(self, label: str) -> str:
        return f"cmp x19, #1\nb.eq {label}"

    def pass_again(self, label: str) -> str:
        return f"subs x19, x19, #1\nb.ne {label}"

    def store(self, size: int, total: int) -> str:
        lines = [f"str q{r}, [x22, #{16 * r}]" for r in range(VECTORS)]
        lines += [f"str {name}, [x22, #{at}]" for name, at in self._scalars(VECTORS * size)]
        # System calls read memory past Minor's store buffer: wait until it is empty.
        lines += ["dsb sy", "mov x0, x23", "mov x1, x22", f"mov x2, #{total}", "mov x8, #64", "svc #0"]
        return "\n".join([*lines, f"cmp x0, #{total}", "b.ne short", f"add x22, x22, #{total}"])

    def _scalars(self, first: int) -> list[tuple[str, int]]:
        return list(zip(self.scalars, scalar_offsets(first), strict=True))
