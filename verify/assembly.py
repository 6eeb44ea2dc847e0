"""From programs to a static executable: `prog IGNORED RESULTS COUNT` runs all of them and writes their states."""

from collections.abc import Sequence
from pathlib import Path

from sysmol import isa as table
from sysmol.files import make_folder
from sysmol.kernels_c.targets import TARGETS
from sysmol.kernels_c.toolchain import compile_c, find_compiler
from sysmol.verify.languages import LANGUAGES
from sysmol.verify.operations import Step, set_type_text
from sysmol.verify.program import Guard, Node, Program, Repeat, Smol, Vill
from sysmol.verify.state import State, block_bytes


class Writer:
    """Assembler text for one ISA; vector registers of ``size`` bytes."""

    def __init__(self, isa: str, size: int) -> None:
        self.isa, self.size = isa, size
        self.language = LANGUAGES[isa]
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
        end, names = self.label(), self.language.scalars
        self.add(self.language.guard(node.condition, names[node.a], names[node.b], node.b, end))
        self.nodes(node.body)
        self.place(end)

    def repeat(self, node: Repeat) -> None:
        again = self.label()
        self.add(self.language.repeat(self.language.scalars[node.scalar]))
        self.place(again)
        self.nodes(node.body)
        self.add(self.language.repeat_again(again))

    def program(self, program: Program) -> None:
        """Load the block, run, store it back, append it to the results, and go to the next block."""
        again, stop = self.label(), self.label()
        self.add(self.language.load(self.size, program.iterations))
        self.place(again)
        if program.last is None:
            self.nodes(program.body)
        else:
            self.nodes(program.body[: program.last])
            self.add(self.language.in_last_pass(stop))
            self.nodes(program.body[program.last :])
        self.add(self.language.pass_again(again))
        self.place(stop)
        self.add(self.language.store(self.size, block_bytes(self.size)))


def source(isa: str, programs: Sequence[Program], states: Sequence[State]) -> str:
    """Assembler text of an executable that runs ``programs`` on ``states``."""
    writer = Writer(isa, states[0].size)
    writer.lines += ["    .text", "    .globl _start", "_start:"]
    writer.add(writer.language.start)
    for program in programs:
        writer.program(program)
    writer.add(writer.language.end)
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
