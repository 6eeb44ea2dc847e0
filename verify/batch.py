"""Batches: several random programs in one executable, drawn from one seed, with the states that they must leave."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sysmol.machine import Machine
from sysmol.verify.assembly import assemble, source
from sysmol.verify.program import Generator, Program, run_program
from sysmol.verify.state import State

PROGRAMS, NODES, PASSES = 40, 80, 10
"""Programs in a batch, nodes in a program's body (about), passes through it."""


@dataclass
class Interpreted:
    """What the interpreter made of programs: their states afterwards, SMOL instructions that each executes, and the
    functions with field6 of all of these."""

    after: list[bytes]
    smol: list[int]
    words: set[tuple[int, int]]


@dataclass
class Batch(Interpreted):
    """Programs with their states before and after, as the interpreter has them, and their executable."""

    isa: str
    seed: int
    programs: list[Program]
    before: list[State]
    elf: Path


def make_batch(isa: str, seed: int, machine: Machine, folder: Path, programs: int = PROGRAMS) -> Batch:
    """Draw a batch, interpret it and assemble it to ``folder/<isa>-<seed>``."""
    size = register_bytes(isa, machine)
    drawn, before = [], []
    for index in range(programs):
        # A generator of its own for each program: program k is the same in batches of any length.
        rng = random.Random(f"{isa} {seed} {index}")
        generator = Generator(rng, isa, machine.smol.capabilities)
        drawn.append(generator.program(NODES, PASSES))
        before.append(State.random(rng, isa, size))
    return interpret_and_assemble(isa, seed, drawn, before, folder / f"{isa}-{seed}")


def register_bytes(isa: str, machine: Machine) -> int:
    """Bytes of a vector register."""
    return 16 if isa == "arm" else machine.core.vector_bits // 8


def interpret(programs: Sequence[Program], before: Sequence[State]) -> Interpreted:
    """Run programs on copies of their states."""
    made = Interpreted([], [], set())
    for program, state in zip(programs, before, strict=True):
        final = state.copy()
        count = run_program(program, final)
        made.smol.append(count.smol)
        made.words |= count.words
        made.after.append(final.block())
    return made


def interpret_and_assemble(
    isa: str, seed: int, programs: Sequence[Program], before: Sequence[State], target: Path
) -> Batch:
    made = interpret(programs, before)
    elf = assemble(isa, source(isa, programs, before), target)
    return Batch(made.after, made.smol, made.words, isa, seed, list(programs), list(before), elf)
