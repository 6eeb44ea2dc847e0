"""Where a core model first went wrong."""

from collections.abc import Sequence
from pathlib import Path

from sysmol import isa as table
from sysmol.verify.batch import Batch, interpret_and_assemble
from sysmol.verify.operations import Step
from sysmol.verify.program import Guard, Node, Program, Smol, Vill
from sysmol.verify.simulation import compare, simulate


def locate(batch: Batch, index: int, cpu: str, machine: str, gem5: Path, folder: Path) -> str:
    """The first pass and node of a program after which the state differs.

    Two more runs: the program cut after every pass; then, in the first pass that differs, cut after every node.
    """
    program, before = batch.programs[index], batch.before[index]

    def first_wrong(cuts: Sequence[Program], name: str) -> tuple[int, str] | None:
        states = [before] * len(cuts)
        cut = interpret_and_assemble(batch.isa, batch.seed, cuts, states, folder / name)
        return compare(cut, simulate(cut, cpu, machine, gem5, folder / f"{name}-run"))

    passes = [Program(program.body, n) for n in range(1, program.iterations + 1)]
    wrong = first_wrong(passes, "passes")
    if wrong is None:
        return "not seen again when the program runs alone"
    last = wrong[0] + 1
    nodes = [Program(program.body, last, n) for n in range(1, len(program.body) + 1)]
    wrong = first_wrong(nodes, "nodes")
    if wrong is None:
        return f"in pass {last}; not seen again with an exit inside the body"
    node, place = wrong
    shown = "; ".join(describe(n, batch.isa) for n in program.body[max(0, node - 3) : node + 1])
    return f"first after pass {last}, node {node}: {place}; the last nodes: {shown}"


def describe(node: Node, isa: str) -> str:
    """A node on one line."""
    if isinstance(node, Smol):
        if not table.is_legal(node.fn, node.field6):
            return f"illegal {node.fn}/{node.field6}"
        return f"{table.mnemonic(node.fn, node.field6)} v{node.vd}, v{node.vn}, v{node.vm}"
    if isinstance(node, Step):
        return node.text(isa, 16).replace("\n", " | ")
    if isinstance(node, Vill):
        return "vill { " + " | ".join(describe(word, isa) for word in node.words) + " }"
    name = f"if {node.condition} s{node.a}, {node.b}" if isinstance(node, Guard) else f"repeat s{node.scalar}"
    return f"{name} {{ " + " | ".join(describe(inner, isa) for inner in node.body) + " }"
