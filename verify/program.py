"""Random programs: what they consist of, how they are drawn from a seed, and what they do to a state.

A program is a body that runs a number of times; steps in it may be guarded by a branch on data, or repeated as often as
a scalar says. SMOL words stand between standard vector, scalar and memory instructions. Words that must fault stand
where the program never comes but a branch predictor may: a core that lets wrong-path work fault is found out.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from sysmol import isa as table
from sysmol.verify.operations import Step, random_step
from sysmol.verify.state import State, signed


@dataclass(frozen=True)
class Smol:
    """One SMOL word. It may be illegal only where it never runs."""

    fn: int
    field6: int
    vd: int
    vn: int
    vm: int


@dataclass(frozen=True)
class Vill:
    """RISC-V: vtype is made illegal, SMOL words run nevertheless, then vtype is set again."""

    words: tuple[Smol, ...]
    width: int


@dataclass(frozen=True)
class Guard:
    """``body`` runs where the condition on scalars holds: ``bit`` (bit b of a), ``less`` (a < b, signed), ``equal``
    (the lowest bytes of a and b), ``never``."""

    condition: str
    a: int
    b: int
    body: tuple["Node", ...]

    def holds(self, state: State) -> bool:
        a = state.scalars[self.a]
        if self.condition == "bit":
            return bool(a >> self.b & 1)
        if self.condition == "less":
            return signed(a, 64) < signed(state.scalars[self.b], 64)
        if self.condition == "equal":
            return (a ^ state.scalars[self.b]) & 3 == 0
        return False


@dataclass(frozen=True)
class Repeat:
    """``body`` runs 1 + (scalar & 3) times."""

    scalar: int
    body: tuple["Node", ...]


Node = Step | Smol | Vill | Guard | Repeat


@dataclass(frozen=True)
class Program:
    """``body`` runs ``iterations`` times; in the last pass only its first ``last`` nodes (``None``: all)."""

    body: tuple[Node, ...]
    iterations: int
    last: int | None = None


@dataclass
class Count:
    """What an interpretation executed: SMOL instructions, others, and which (function, field6) the former were."""

    smol: int = 0
    steps: int = 0
    words: set[tuple[int, int]] = field(default_factory=set)

    def word(self, fn: int, field6: int) -> None:
        self.smol += 1
        self.words.add((fn, field6))


def run_program(program: Program, state: State) -> Count:
    """Apply a program to a state, in place; what it executed."""
    count = Count()
    for k in range(program.iterations):
        final = k == program.iterations - 1
        run_nodes(program.body[: program.last] if final and program.last is not None else program.body, state, count)
    return count


def run_nodes(nodes: Sequence[Node], state: State, count: Count) -> None:
    for node in nodes:
        if isinstance(node, Step):
            node.run(state)
            if node.operation.needs:
                count.word(node.operation.fn, 0)
            else:
                count.steps += 1
        elif isinstance(node, Smol):
            run_smol(node, state)
            count.word(node.fn, node.field6)
        elif isinstance(node, Vill):
            for word in node.words:
                run_smol(word, state)
                count.word(word.fn, word.field6)
            state.sew, state.vl = node.width, state.size * 8 // node.width
        elif isinstance(node, Guard):
            if node.holds(state):
                run_nodes(node.body, state, count)
        else:
            for _ in range(1 + (state.scalars[node.scalar] & 3)):
                run_nodes(node.body, state, count)


def run_smol(word: Smol, state: State) -> None:
    """The Python model's meaning; what lies above bit 127 of vd becomes zero."""
    vd, vn, vm = (state.vectors[r][:16] for r in (word.vd, word.vn, word.vm))
    result = table.execute(word.fn, word.field6, vd, vn, vm)
    state.vectors[word.vd] = result + bytes(state.size - 16)


class Generator:
    """Draws programs for one ISA. ``has``: what the hardware executes."""

    def __init__(self, rng: random.Random, isa: str, has: table.Capabilities) -> None:
        self.rng, self.isa, self.has = rng, isa, has
        by_row: dict[str, list[tuple[int, int]]] = {}
        self.illegal: list[tuple[int, int]] = []
        for fn, field6 in table.candidates():
            row = table.find(fn)
            if row is None or not has.executes(fn, field6):
                self.illegal.append((fn, field6))
            else:
                by_row.setdefault(row.name, []).append((fn, field6))
        self.words = list(by_row.values())
        self.registers = 32

    def vector(self) -> int:
        return self.rng.randrange(self.registers)

    def smol(self, legal: bool = True) -> Smol:
        fn, field6 = self.rng.choice(self.rng.choice(self.words) if legal else self.illegal)
        return Smol(fn, field6, self.vector(), self.vector(), self.vector())

    def chain(self) -> tuple[Node, ...]:
        """Words that depend on each other through vd, through vn, or only overwrite: read after write, write after
        write, write after read."""
        rng, target = self.rng, self.vector()
        words = []
        for _ in range(rng.randrange(3, 7)):
            word = self.smol()
            kind = rng.randrange(3)
            if kind == 0:
                word = Smol(word.fn, word.field6, target, word.vn, word.vm)
            elif kind == 1:
                word = Smol(word.fn, word.field6, word.vd, target, word.vm)
            else:
                word = Smol(word.fn, word.field6, target, target, target)
            words.append(word)
        return tuple(words)

    def leaves(self, length: int) -> tuple[Node, ...]:
        nodes: list[Node] = []
        while len(nodes) < length:
            # Now and then few registers: hazards everywhere.
            self.registers = self.rng.choice((3, 6, 32))
            for _ in range(self.rng.randrange(2, 8)):
                draw = self.rng.random()
                if draw < 0.45:
                    nodes.append(self.smol())
                elif draw < 0.52:
                    nodes.extend(self.chain())
                else:
                    group = "vector" if draw < 0.70 else "memory" if draw < 0.87 else "scalar"
                    nodes.append(random_step(self.rng, self.isa, group, self.vector, self.has))
        return tuple(nodes[:length])

    def guard(self) -> Guard:
        rng = self.rng
        condition = rng.choice(("bit", "bit", "less", "equal", "never"))
        body = self.leaves(rng.randrange(1, 6))
        if condition == "never":
            body = (*body, self.smol(legal=False), *body[:1])
        b = rng.randrange(8) if condition == "bit" else rng.randrange(12)
        return Guard(condition, rng.randrange(12), b, body)

    def program(self, length: int, iterations: int) -> Program:
        """About ``length`` nodes; ``iterations`` passes."""
        rng = self.rng
        body: list[Node] = []
        while len(body) < length:
            draw = rng.random()
            body.extend(self.leaves(rng.randrange(2, 9)))
            if draw < 0.45:
                body.append(self.guard())
            elif draw < 0.55:
                body.append(Repeat(rng.randrange(12), self.leaves(rng.randrange(1, 6))))
            elif draw < 0.62 and self.isa == "riscv":
                body.append(Vill(tuple(self.smol() for _ in range(3)), rng.choice((8, 16, 32))))
        return Program(tuple(body), iterations)
