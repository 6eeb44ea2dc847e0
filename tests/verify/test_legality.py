"""Words in a row in gem5: borders of every row, and random ones of all that is claimed; a fault in any instruction,
in what it computes or in whether it is there, is found.

SYSMOL_TEST_WORDS random ones (``make verify-words``), a few by default.
"""

import dataclasses
import os
import random
from pathlib import Path

import pytest

from sysmol import isa as table
from sysmol.files import atomic_write_json
from sysmol.machine import load_machine
from sysmol.verify import legality
from sysmol.verify.batch import interpret, make_batch
from sysmol.verify.campaign import CPUS, legal_words
from sysmol.verify.operations import Step
from sysmol.verify.simulation import compare, simulate
from sysmol.verify.state import State

COUNT = int(os.environ.get("SYSMOL_TEST_WORDS", "1000"))
BOTH_PAGES = "o3-n1-matrix"
PARTS = {
    "first page": "instructions=standard",
    "vdot alone": "instructions=vdot+vqpk,patterns=P4",
    "matrix form alone": "instructions=vmm.h+vmm.w+vqpk.h+vqpk.s+vunp.h+accesses,pieces=0+3+10+14,forms=0+4+9",
    "neither vdw nor accesses": "instructions=standard+vmm.w+vmm.h+vqpk.h+vqpk.s+vunp.h,pieces=0+10+14+34",
}
"""Machines that lack some of the instructions, as changes of the one that has them all."""


def instructions(isa: str) -> list[str]:
    """Names of all instructions on an ISA."""
    names = {name_of(fn) for fn, _ in legal_words(isa, table.EVERYTHING)}
    return [name for name in table.ALL_NAMES if name in names]


def name_of(fn: int) -> str:
    row = table.find(fn) or table.find_access(fn)
    assert row is not None
    return row.name


@pytest.mark.gem5
@pytest.mark.parametrize("cpu", CPUS)
def test_words_of_both_pages(gem5: Path, isa: str, cpu: str, seed: int, tmp_path: Path) -> None:
    count, traps, wrong = legality.check_words(isa, cpu, seed, COUNT, BOTH_PAGES, gem5, tmp_path)
    print(f"{isa} {cpu}: {count} words, {traps} traps")
    assert count > COUNT and 0 < traps < count and wrong == [], f"SYSMOL_TEST_SEED={seed}"


@pytest.mark.gem5
@pytest.mark.parametrize("part", PARTS)
def test_words_that_a_machine_lacks(gem5: Path, isa: str, part: str, seed: int, tmp_path: Path) -> None:
    machine = load_machine(BOTH_PAGES).with_smol(PARTS[part])
    path = atomic_write_json(tmp_path / "machine.json", machine.to_json())
    count, traps, wrong = legality.check_words(isa, "atomic", seed, COUNT, str(path), gem5, tmp_path)
    print(f"{isa}, {part}: {count} words, {traps} traps")
    assert 0 < traps < count and wrong == [], f"SYSMOL_TEST_SEED={seed}"


def test_border_words(isa: str) -> None:
    """Each function has the words at its borders, legal or not, with the lowest and the highest registers."""
    words = [(word, table.fields(isa, word)) for word in legality.border_words(isa, table.EVERYTHING)]
    assert all(table.claims(isa, word) for word, _ in words)
    found = [word for _, word in words if word is not None]
    for fn in table.FUNCTIONS:
        own = [word for word in found if word.fn == fn]
        for operand in ("vd", "vn", "vm"):
            assert {getattr(word, operand) for word in own} == {0, 31}
        fields = {word.field6 for word in own}
        for value in range(63):
            if table.is_legal(fn, value) != table.is_legal(fn, value + 1):
                assert {value, value + 1} <= fields
        assert {0, 63} <= fields
    accesses = [word for word in found if table.find_access(word.fn)]
    assert bool(accesses) == any(not known for _, known in words) == (isa == "riscv")
    assert {word.imm for word in accesses} >= ({-2048, 0, 2047} if isa == "riscv" else set())


def test_random_words_come_from_everything_that_is_claimed(isa: str, seed: int) -> None:
    words = list(legality.random_words(isa, random.Random(seed), 20_000))
    assert all(table.claims(isa, word) for word in words)
    found = [table.fields(isa, word) for word in words]
    assert {word.fn for word in found if word} >= set(table.FUNCTIONS)
    assert any(word is None for word in found) == (isa == "riscv")
    # 20,000 words over at most 2 x 8 x 64 values of one page's fields.
    assert {word.field6 for word in found if word} == set(table.VALUES)


@pytest.mark.gem5
def test_a_fault_in_each_instruction_is_found_by_words(
    gem5: Path, isa: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run of gem5; then, for each instruction, a model with one wrong bit, and a model that lacks it."""
    stream = legality.make_stream(isa, BOTH_PAGES, 1, 1000)
    outcome = legality.run_stream(stream, "o3", BOTH_PAGES, gem5, tmp_path)
    assert outcome.trouble == "" and legality.compare(stream, legality.expect(stream), outcome.found) == []
    right = legality.run_word
    for name in instructions(isa):

        def wrong(word: table.Word, registers: list[bytes], memory: bytearray, name: str = name) -> None:
            right(word, registers, memory)
            if name_of(word.fn) != name:
                return
            if name == "sq":
                memory[legality.REACH + word.imm] ^= 1
            else:
                registers[word.vd] = _one_bit(registers[word.vd])

        with monkeypatch.context() as patch:
            patch.setattr(legality, "run_word", wrong)
            assert legality.compare(stream, legality.expect(stream), outcome.found), name
        rest = [other for other in table.ALL_NAMES if other != name]
        lacking = dataclasses.replace(stream, has=table.capabilities(rest))
        lines = legality.compare(lacking, legality.expect(lacking), outcome.found)
        assert "missing trap" in lines[0], name


@pytest.mark.gem5
def test_a_fault_in_each_instruction_is_found_by_programs(
    gem5: Path, isa: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One batch in gem5; then, for each instruction, the interpreter with one wrong bit in its results."""
    batch = make_batch(isa, 1, load_machine(BOTH_PAGES), tmp_path, 4)
    outcome = simulate(batch, "o3", BOTH_PAGES, gem5, tmp_path / "run")
    assert compare(batch, outcome) is None
    execute, run = table.execute, Step.run
    for name in instructions(isa):

        def wrong_word(fn: int, field6: int, *operands: bytes, name: str = name) -> bytes:
            result = execute(fn, field6, *operands)
            return _one_bit(result) if name_of(fn) == name else result

        def wrong_access(step: Step, state: State, name: str = name) -> None:
            run(step, state)
            if step.operation.needs == name == "lq":
                state.vectors[step.args[0]] = _one_bit(state.vectors[step.args[0]])
            elif step.operation.needs == name:
                state.memory[step.args[1]] ^= 1

        with monkeypatch.context() as patch:
            patch.setattr(table, "execute", wrong_word)
            patch.setattr(Step, "run", wrong_access)
            changed = dataclasses.replace(batch, after=interpret(batch.programs, batch.before).after)
        assert compare(changed, outcome) is not None, name


def _one_bit(register: bytes) -> bytes:
    """A register with another lowest bit."""
    return bytes([register[0] ^ 1]) + register[1:]
