"""From programs to a static executable: `prog IGNORED RESULTS COUNT` runs all of them and writes their states.

Registers that programs never touch: AArch64 x19 passes left, x20 repetitions left, x21 window, x22 block, x23 file,
x12 scratch; RISC-V s1, s2, s3, s4, s5 and t4 for the same.
"""

from collections.abc import Sequence
from pathlib import Path

from sysmol import isa as table
from sysmol.files import make_folder
from sysmol.kernels_c.targets import TARGETS
from sysmol.kernels_c.toolchain import compile_c, find_compiler
from sysmol.verify.operations import SCALAR_NAMES, Step, set_type_text
from sysmol.verify.program import Guard, Node, Program, Repeat, Smol, Vill
from sysmol.verify.state import SCALARS, VECTORS, State, block_bytes

START = {
    "arm": """
    ldr x1, [sp, #24]
    mov x0, #-100
    mov x2, #0x241
    mov x3, #0x1b6
    mov x8, #56
    svc #0
    mov x23, x0
    adrp x22, blocks
    add x22, x22, :lo12:blocks
""",
    "riscv": """
    ld a1, 24(sp)
    li a0, -100
    li a2, 0x241
    li a3, 0x1b6
    li a7, 56
    ecall
    mv s5, a0
    la s4, blocks
""",
}
"""Open the results (openat with O_WRONLY, O_CREAT, O_TRUNC) and point at the first block."""

END = {
    "arm": """
    mov x0, #0
    mov x8, #94
    svc #0
short:
    mov x0, #1
    mov x8, #94
    svc #0
""",
    "riscv": """
    li a0, 0
    li a7, 94
    ecall
short:
    li a0, 1
    li a7, 94
    ecall
""",
}


class Writer:
    """Assembler text for one ISA; vector registers of ``size`` bytes."""

    def __init__(self, isa: str, size: int) -> None:
        self.isa, self.size = isa, size
        self.lines: list[str] = []
        self.labels = 0

    def add(self, text: str) -> None:
        self.lines.extend("    " + line.strip() for line in text.strip().splitlines())

    def label(self) -> str:
        self.labels += 1
        return f"l{self.labels}"

    def place(self, label: str) -> None:
        self.lines.append(f"{label}:")

    def smol(self, word: Smol) -> None:
        self.add(table.assembly(self.isa, table.encode(self.isa, word.fn, word.field6, word.vd, word.vn, word.vm)))

    def nodes(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            if isinstance(node, Step):
                self.add(node.text(self.isa, self.size))
            elif isinstance(node, Smol):
                self.smol(node)
            elif isinstance(node, Vill):
                # e64 with a quarter of a register is no type: vill is set.
                self.add("vsetvli t4, zero, e64, mf4, tu, mu")
                for word in node.words:
                    self.smol(word)
                self.add(set_type_text(node.width, 0, self.size))
            elif isinstance(node, Guard):
                self.guard(node)
            else:
                self.repeat(node)

    def guard(self, node: Guard) -> None:
        """A branch over the body where the condition does not hold."""
        end, names = self.label(), SCALAR_NAMES[self.isa]
        a, b = names[node.a], names[node.b]
        if self.isa == "arm":
            text = {
                "bit": f"tbz {a}, #{node.b}, {end}",
                "less": f"cmp {a}, {b}\nb.ge {end}",
                "equal": f"eor x12, {a}, {b}\nand x12, x12, #3\ncbnz x12, {end}",
                "never": f"and x12, {a}, #7\ncmp x12, #7\nb.le {end}",
            }
        else:
            text = {
                "bit": f"andi t4, {a}, {1 << node.b % 8}\nbeqz t4, {end}",
                "less": f"bge {a}, {b}, {end}",
                "equal": f"xor t4, {a}, {b}\nandi t4, t4, 3\nbnez t4, {end}",
                "never": f"andi t4, {a}, 7\nslti t4, t4, 8\nbnez t4, {end}",
            }
        self.add(text[node.condition])
        self.nodes(node.body)
        self.place(end)

    def repeat(self, node: Repeat) -> None:
        again, name = self.label(), SCALAR_NAMES[self.isa][node.scalar]
        self.add(f"and x20, {name}, #3" if self.isa == "arm" else f"andi s2, {name}, 3\naddi s2, s2, 1")
        self.add("add x20, x20, #1" if self.isa == "arm" else "")
        self.place(again)
        self.nodes(node.body)
        self.add(f"subs x20, x20, #1\nb.ne {again}" if self.isa == "arm" else f"addi s2, s2, -1\nbnez s2, {again}")

    def program(self, program: Program) -> None:
        """Load the block, run, store it back, append it to the results, and go to the next block."""
        arm, size = self.isa == "arm", self.size
        names = SCALAR_NAMES[self.isa]
        scalars_at, total = VECTORS * size, block_bytes(size)
        window = scalars_at + 8 * SCALARS
        again, stop = self.label(), self.label()
        if arm:
            self.add("\n".join(f"ldr q{r}, [x22, #{16 * r}]" for r in range(VECTORS)))
            self.add("\n".join(f"ldr {name}, [x22, #{scalars_at + 8 * i}]" for i, name in enumerate(names)))
            self.add(f"add x21, x22, #{window}\nmov x19, #{program.iterations}")
        else:
            self.add(f"{set_type_text(32, 0, size)}\nmv t4, s4")
            self.add("\n".join(f"vl1re8.v v{r}, (t4)\naddi t4, t4, {size}" for r in range(VECTORS)))
            self.add("\n".join(f"ld {name}, {8 * i}(t4)" for i, name in enumerate(names)))
            self.add(f"addi s3, t4, {8 * SCALARS}\nli s1, {program.iterations}")
        self.place(again)
        if program.last is None:
            self.nodes(program.body)
        else:
            self.nodes(program.body[: program.last])
            self.add(f"cmp x19, #1\nb.eq {stop}" if arm else f"addi t4, s1, -1\nbeqz t4, {stop}")
            self.nodes(program.body[program.last :])
        self.add(f"subs x19, x19, #1\nb.ne {again}" if arm else f"addi s1, s1, -1\nbnez s1, {again}")
        self.place(stop)
        if arm:
            self.add("\n".join(f"str q{r}, [x22, #{16 * r}]" for r in range(VECTORS)))
            self.add("\n".join(f"str {name}, [x22, #{scalars_at + 8 * i}]" for i, name in enumerate(names)))
            # System calls read memory past Minor's store buffer: wait until it is empty.
            self.add(f"dsb sy\nmov x0, x23\nmov x1, x22\nmov x2, #{total}\nmov x8, #64\nsvc #0")
            self.add(f"cmp x0, #{total}\nb.ne short")
            self.add(f"add x22, x22, #{total}")
        else:
            self.add("mv t4, s4")
            self.add("\n".join(f"vs1r.v v{r}, (t4)\naddi t4, t4, {size}" for r in range(VECTORS)))
            self.add("\n".join(f"sd {name}, {8 * i}(t4)" for i, name in enumerate(names)))
            # A fence does not empty it here; an atomic operation, which changes nothing, does.
            self.add(f"amoor.w zero, zero, (s4)\nmv a0, s5\nmv a1, s4\nli a2, {total}\nli a7, 64\necall")
            self.add(f"li t4, {total}\nbne a0, t4, short")
            self.add("add s4, s4, t4")


def source(isa: str, programs: Sequence[Program], states: Sequence[State]) -> str:
    """Assembler text of an executable that runs ``programs`` on ``states``."""
    writer = Writer(isa, states[0].size)
    writer.lines += ["    .text", "    .globl _start", "_start:"]
    writer.add(START[isa])
    for program in programs:
        writer.program(program)
    writer.add(END[isa])
    writer.lines += ["    .data", "    .balign 64", "blocks:"]
    for state in states:
        content = state.block()
        for at in range(0, len(content), 32):
            words = [content[i : i + 8] for i in range(at, min(at + 32, len(content)), 8)]
            writer.lines.append("    .8byte " + ", ".join(hex(int.from_bytes(w, "little")) for w in words))
    return "\n".join(writer.lines) + "\n"


def assemble(isa: str, text: str, target: Path) -> Path:
    """Assemble and link to ``target``, a static executable without a C library."""
    make_folder(target.parent)
    listing = target.with_suffix(".S")
    listing.write_text(text)
    compiler = find_compiler(TARGETS[isa])
    compile_c(compiler, TARGETS[isa], [listing], [], target, ["-nostdlib"])
    return target
