"""Random programs: drawn from a seed, interpreted, run on every core model; a wrong meaning is found and located."""

import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from sysmol import isa as table
from sysmol.cli import run_command_line
from sysmol.configs_gem5.launch import find_gem5, why_no_gem5
from sysmol.errors import SysmolError
from sysmol.files import atomic_write_json
from sysmol.machine import load_machine, pattern_set
from sysmol.verify import assembly, campaign, faults
from sysmol.verify.batch import NODES
from sysmol.verify.operations import OPERATIONS, Step
from sysmol.verify.program import Generator, Guard, Node, Program, Repeat, Smol, Vill, run_program
from sysmol.verify.state import State, first_difference
from sysmol.verify.traps import TRAPS

SEED = 20260711


def draw(isa: str, seed: int, has: table.Capabilities = table.EVERYTHING) -> tuple[Program, State]:
    print(f"seed {seed}")
    rng = random.Random(seed)
    program = Generator(rng, isa, has).program(NODES, 3)
    return program, State.random(rng, isa, 16)


def words(nodes: tuple[Node, ...], guarded: bool = False) -> Iterator[tuple[Smol, bool]]:
    """All SMOL words, and whether they stand behind a branch that is always taken."""
    for node in nodes:
        if isinstance(node, Smol):
            yield node, guarded
        elif isinstance(node, Vill):
            yield from ((word, guarded) for word in node.words)
        elif isinstance(node, Guard):
            yield from words(node.body, guarded or node.condition == "never")
        elif isinstance(node, Repeat):
            yield from words(node.body, guarded)


def test_a_seed_gives_one_program(isa: str) -> None:
    (first, state), (second, other) = draw(isa, SEED), draw(isa, SEED)
    assert assembly.source(isa, [first], [state]) == assembly.source(isa, [second], [other])
    assert assembly.source(isa, [draw(isa, SEED + 1)[0]], [state]) != assembly.source(isa, [first], [state])


def test_programs_cover_the_instruction_set(isa: str) -> None:
    """Every row of the table, every pattern, every operation, and hazards; illegal words only where nothing comes."""
    generator = Generator(random.Random(SEED), isa, table.EVERYTHING)
    drawn = [generator.smol() for _ in range(20_000)]
    assert {(word.fn, word.field6) for word in drawn} == set(table.words())
    operations: set[str] = set()
    shapes: set[str] = set()
    has = load_machine("o3-n1-matrix").with_patterns(pattern_set("P4")).with_smol("forms=0+4").smol.capabilities
    for seed in range(SEED, SEED + 16):
        program, _ = draw(isa, seed, has)
        operations |= {node.operation.name for node in program.body if isinstance(node, Step)}
        shapes |= {type(node).__name__ for node in program.body}
        for word, behind in words(program.body):
            assert has.executes(word.fn, word.field6) or behind
    assert operations == {op.name for op in OPERATIONS if op.on(isa)}
    assert shapes == {"Step", "Smol", "Guard", "Repeat"} | ({"Vill"} if isa == "riscv" else set())


def test_a_prefix_is_the_beginning(isa: str) -> None:
    """A program cut after all nodes of its last pass is the whole program; cut after none, one pass less."""
    program, state = draw(isa, SEED)
    whole, cut, shorter = state.copy(), state.copy(), state.copy()
    run_program(program, whole)
    run_program(Program(program.body, program.iterations, len(program.body)), cut)
    assert whole.block() == cut.block()
    run_program(Program(program.body, program.iterations, 0), cut := state.copy())
    run_program(Program(program.body, program.iterations - 1), shorter)
    assert shorter.block() == cut.block() != whole.block()


def test_first_difference_names_the_place() -> None:
    state = State.random(random.Random(SEED), "arm", 16)
    expected = state.block()
    assert first_difference(expected, expected, 16) == ""
    for register, name in ((5 * 16 + 3, "v5"), (32 * 16 + 8 * 11, "s11"), (32 * 16 + 96 + 0x44, "memory+0x40")):
        found = bytearray(expected)
        found[register] ^= 1
        assert first_difference(expected, bytes(found), 16).startswith(f"{name} is ")


def test_bad_settings_are_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["verify-gem5", "--isa", "x86"]) == 2
    assert run_command_line(["verify-gem5", "--cpu", "fast"]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2 and "there is no ISA 'x86'" in lines[0] and "there is no CPU 'fast'" in lines[1]
    with pytest.raises(SysmolError, match="there is no machine"):
        campaign.run_campaign(campaign.Settings(machine="none"), Path("unused"), print)


@pytest.mark.gem5
def test_core_models_agree_with_the_python_model(gem5: Path, isa: str, tmp_path: Path) -> None:
    settings = campaign.Settings(isas=(isa,), seed=SEED, batches=1, programs=6, gem5=gem5)
    rows = campaign.run_campaign(settings, tmp_path, print)
    assert [row.cpu for row in rows] == list(campaign.CPUS)
    assert [difference.text() for row in rows for difference in row.differences] == []
    assert campaign.totals(rows)[isa] > 4 * 2000


@pytest.mark.gem5
def test_longer_registers(tmp_path: Path) -> None:
    """RISC-V with VLEN = 256: SMOL words clear the upper half."""
    gem5 = find_gem5("riscv")
    if gem5 is None:
        pytest.skip(why_no_gem5("riscv"))
    data = load_machine("o3-n1").to_json()
    machine = atomic_write_json(tmp_path / "long.json", {**data, "core": {**data["core"], "vector_bits": 256}})
    settings = campaign.Settings(
        isas=("riscv",), cpus=("o3",), seed=SEED, batches=1, programs=4, machine=str(machine), gem5=gem5
    )
    (row,) = campaign.run_campaign(settings, tmp_path, print)
    assert row.differences == []


@pytest.mark.gem5
def test_a_wrong_word_is_found_and_located(
    gem5: Path, isa: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One word means something else: the campaign names the seed, and the node after which the state differs."""
    right = table.execute
    wrong_word = (2, 0x13)

    def execute(fn: int, field6: int, vd: bytes, vn: bytes, vm: bytes) -> bytes:
        result = right(fn, field6, vd, vn, vm)
        return bytes([result[0] ^ 1]) + result[1:] if (fn, field6) == wrong_word else result

    monkeypatch.setattr(table, "execute", execute)
    settings = campaign.Settings(isas=(isa,), cpus=("atomic",), seed=SEED, batches=1, programs=20, gem5=gem5)
    (row,) = campaign.run_campaign(settings, tmp_path, print)
    (difference,) = row.differences
    assert difference.seed == SEED and "first after pass" in difference.located
    last = difference.located.rsplit("; ", 1)[-1]
    assert table.mnemonic(*wrong_word) in last


def test_words_outside_the_formats(isa: str) -> None:
    """The two pages fill what is claimed of their spaces; of RISC-V's custom-1 most functions are illegal."""
    assert faults.formless_bits(isa, table.encode(isa, 0, 0, 1, 2, 3)) == []
    # Bit 5 leads from custom-0 to custom-1.
    assert faults.formless_bits(isa, table.encode(isa, 14, 0, 1, 2, 3)) == ([5] if isa == "riscv" else [])
    if isa == "riscv":
        assert faults.formless_bits(isa, table.encode_access(isa, 16, 1, 2, 3)) == [13, 14]


@pytest.mark.gem5
@pytest.mark.parametrize("cpu", campaign.CPUS)
@pytest.mark.parametrize(("machine", "patterns"), [("o3-n1", "P4"), ("o3-n1-matrix", "P45")])
def test_faults_are_the_architecture_s(
    gem5: Path, isa: str, cpu: str, machine: str, patterns: str, tmp_path: Path
) -> None:
    """Every illegal word, every instruction and pattern that the hardware lacks, and the unit off: on every core
    model."""
    count, wrong = faults.check_faults(isa, cpu, SEED, machine, patterns, gem5, tmp_path)
    assert count > 400 and wrong == []


@pytest.mark.gem5
def test_a_wrong_trap_is_found(gem5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isa: str) -> None:
    """The comparison fires: other causes are expected than the core gives."""
    monkeypatch.setitem(TRAPS, isa, dataclasses.replace(TRAPS[isa], off_cause=5))
    count, wrong = faults.check_faults(isa, "atomic", SEED, "o3-n1", "P4", gem5, tmp_path)
    assert 0 < len(wrong) < count and all("unit off" in line for line in wrong)
