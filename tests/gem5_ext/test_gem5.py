"""The instructions inside gem5: every word, whole register files, illegal words; both ISAs, Atomic and O3."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sysmol import isa as table
from sysmol.configs_gem5.launch import run_gem5
from sysmol.configs_gem5.request import Simulation
from sysmol.errors import CheckFailed, SysmolError
from sysmol.files import PACKAGE, atomic_write_json
from sysmol.machine import list_machines, load_machine, pattern_set
from sysmol.verify.simulation import program_manifest

pytestmark = pytest.mark.gem5


EVERYTHING = "o3-n1-matrix"
"""The machine with all instructions."""


@pytest.mark.slow
@pytest.mark.parametrize("cpu", ("atomic", "o3"))
def test_every_word(gem5: Path, isa: str, cpu: str, compile_program: Callable[..., Path], run_job, vectors) -> None:
    """All code pairs, all patterns and parts, edges and random registers: gem5 gives the Python model's bytes."""
    program = compile_program("words.c", isa)
    run = run_job(program, isa, vectors.inputs, vectors.expected, 64, 16, cpu=cpu, machine=EVERYTHING)
    assert run["logits_match"] is True and run["images"] == vectors.count
    assert run["isa_fingerprint"] == table.FINGERPRINT
    print(f"{isa} {cpu}: {vectors.count} records, {run['sim_insts']} instructions, {run['host_seconds']} s")


def random_programs(rng: random.Random, count: int, length: int) -> list[list[tuple[int, int, int, int, int]]]:
    """Straight-line programs of SMOL words on random registers: chains, aliases, every register as every operand."""
    legal = list(table.words())

    def word() -> tuple[int, int, int, int, int]:
        fn, field6 = rng.choice(legal)
        # Few registers half of the time: long chains and vd = vn = vm.
        limit = rng.choice((3, 32))
        return (fn, field6, rng.randrange(limit), rng.randrange(limit), rng.randrange(limit))

    programs = [[word() for _ in range(length)] for _ in range(count)]
    programs[0][:32] = [(0, rng.randrange(45), r, (r + 11) % 32, (r + 19) % 32) for r in range(32)]
    programs[1][:32] = [(1, 0, r, r, r) for r in range(32)]
    return programs


def words_file(programs: list[list[tuple[int, int, int, int, int]]], isa: str) -> str:
    lines = [f"#define PROGRAM_COUNT {len(programs)}"]
    lines.append("#define PROGRAMS(X) " + " ".join(f"X({k})" for k in range(len(programs))))
    for k, program in enumerate(programs):
        text = "".join(f"{table.assembly(isa, table.encode(isa, *word))}\\n\\t" for word in program)
        lines.append(f'#define PROGRAM_{k} "{text}"')
    return "\n".join(lines) + "\n"


def expected_registers(program: list[tuple[int, int, int, int, int]], content: bytes, size: int) -> bytes:
    """The register file after a program; what lies above 128 bits of a written register is zero."""
    registers = [content[size * r : size * (r + 1)] for r in range(32)]
    for fn, field6, vd, vn, vm in program:
        low = table.execute(fn, field6, registers[vd][:16], registers[vn][:16], registers[vm][:16])
        registers[vd] = low + bytes(size - 16)
    return b"".join(registers)


@pytest.mark.slow
@pytest.mark.parametrize("cpu", ("atomic", "o3", "minor"))
def test_random_programs(
    gem5: Path, isa: str, cpu: str, compile_program: Callable[..., Path], run_job, tmp_path: Path, seed: int
) -> None:
    check_programs(isa, cpu, 16, EVERYTHING, compile_program, run_job, tmp_path, seed)


@pytest.mark.slow
def test_longer_registers_are_cleared(
    gem5: Path, isa: str, compile_program: Callable[..., Path], run_job, tmp_path: Path, seed: int
) -> None:
    """With VLEN = 256 an instruction uses the low 128 bits and zeroes the rest of vd."""
    if isa != "riscv":
        pytest.skip("AArch64's V registers end at 128 bits")
    data = load_machine(EVERYTHING).to_json()
    machine = atomic_write_json(tmp_path / "vlen256.json", {**data, "core": {**data["core"], "vector_bits": 256}})
    check_programs(isa, "o3", 32, str(machine), compile_program, run_job, tmp_path, seed)


def check_programs(isa: str, cpu: str, size: int, machine: str, compile_program, run_job, tmp_path, seed) -> None:
    rng = random.Random(seed + 1)
    programs = random_programs(rng, 6, 300)
    header = tmp_path / "words.inc"
    header.write_text(words_file(programs, isa))
    flags = (f"-DREGISTER_BYTES={size}", f'-DWORDS_FILE="{header}"')
    contents = [rng.randbytes(32 * size) for _ in range(2 * len(programs))]
    inputs = b"".join(bytes([i % len(programs)]) + bytes(63) + c for i, c in enumerate(contents))
    expected = b"".join(expected_registers(programs[i % len(programs)], c, size) for i, c in enumerate(contents))
    run = run_job(
        compile_program("programs.c", isa, *flags), isa, inputs, expected, 64 + 32 * size, 32 * size,
        cpu=cpu, machine=machine,
    )  # fmt: skip
    assert run["logits_match"] is True


def one_word(fn: int, field6: int) -> bytes:
    return bytes([fn, field6]) + bytes(62)


ILLEGAL = {
    "pattern 45": (0, 45),
    "pattern 63 in vdot": (6, 63),
    "part selector 3": (1, 0x30),
    "part 4 of 4 bits": (2, 4),
    "an instruction that the machine lacks": (8, 0),
    "no function of the second page": (10, 0),
}


@pytest.mark.parametrize("cpu", ("atomic", "o3"))
@pytest.mark.parametrize("what", ILLEGAL)
def test_illegal_word(
    gem5: Path, isa: str, cpu: str, what: str, compile_program: Callable[..., Path], run_job, tmp_path: Path
) -> None:
    """An illegal word of SMOL's space ends the run with one clear line."""
    fn, field6 = ILLEGAL[what]
    if cpu == "o3" and what != "pattern 45":
        pytest.skip("one word on the out-of-order core is enough: decoding is the same")
    word = table.encode(isa, fn, field6, 1, 2, 3)
    header = tmp_path / "words.inc"
    text = table.assembly(isa, word)
    header.write_text(f'#define PROGRAM_COUNT 1\n#define PROGRAMS(X) X(0)\n#define PROGRAM_0 "{text}\\n\\t"\n')
    program = compile_program("programs.c", isa, "-DREGISTER_BYTES=16", f'-DWORDS_FILE="{header}"')
    with pytest.raises(CheckFailed) as caught:
        run_job(program, isa, bytes(64 + 512), None, 64 + 512, 512, cpu=cpu)
    message = str(caught.value)
    assert "\n" not in message and f"illegal instruction {word:#010x} at pc 0x" in message


def test_missing_pattern(gem5: Path, isa: str, compile_program: Callable[..., Path], run_job) -> None:
    """A pattern that the hardware lacks is illegal; its neighbours run."""
    p4 = pattern_set("P4")
    lacking = next(p for p in range(45) if p not in p4)
    program = compile_program("words.c", isa)
    zero = bytes(16)
    fine = [(fn, p) for fn in (0, 5) for p in p4] + [(1, 0x20)]
    inputs = b"".join(one_word(*word) for word in fine)
    expected = b"".join(table.execute(*word, zero, zero, zero) for word in fine)
    assert run_job(program, isa, inputs, expected, 64, 16, patterns="P4")["patterns"] == list(p4)
    with pytest.raises(CheckFailed, match=rf"vmac\.P{lacking} needs pattern id {lacking}, which this hardware lacks"):
        run_job(program, isa, one_word(0, lacking), None, 64, 16, patterns="P4")


@pytest.mark.parametrize("cpu", ("o3", "minor", "timing"))
@pytest.mark.parametrize("machine", list_machines())
def test_every_machine(
    gem5: Path, isa: str, machine: str, cpu: str, compile_program: Callable[..., Path], run_job
) -> None:
    zero = bytes(16)
    fine = [(fn, 12) for fn in (0, 4, 5, 6, 7)] + [(1, 0x20), (2, 0), (3, 0x12)]
    inputs = b"".join(one_word(*word) for word in fine)
    expected = b"".join(table.execute(*word, zero, zero, zero) for word in fine)
    run = run_job(compile_program("words.c", isa), isa, inputs, expected, 64, 16, cpu=cpu, machine=machine)
    assert run["machine"]["name"] == machine and run["cpu"] == cpu


def test_stock_decoder_knows_no_smol(gem5: Path, isa: str, compile_program: Callable[..., Path], run_job) -> None:
    with pytest.raises(CheckFailed, match=r"gem5: panic: .*nknown instruction"):
        run_job(compile_program("words.c", isa), isa, one_word(0, 0), None, 64, 16, stock_decoder=True)


def test_wrong_results_are_caught(gem5: Path, isa: str, compile_program: Callable[..., Path], run_job) -> None:
    """The comparison in run_net.py fires: one wrong byte in the expected results."""
    zero = bytes(16)
    expected = bytearray(table.execute(0, 0, zero, zero, zero))
    expected[5] ^= 1
    with pytest.raises(CheckFailed, match="1 of 4 logits differ"):
        run_job(compile_program("words.c", isa), isa, one_word(0, 0), bytes(expected), 64, 16)


def test_program_that_fails(gem5: Path, isa: str, compile_program: Callable[..., Path], run_job) -> None:
    with pytest.raises(CheckFailed, match=r"status 1: words: no instruction 0 45"):
        run_job(compile_program("words.c", isa), isa, one_word(0, 45), None, 64, 16)


def test_plugin_of_another_table(gem5: Path, isa: str, compile_program: Callable[..., Path], tmp_path: Path) -> None:
    """run_net.py refuses a gem5 whose plug-in knows another instruction table."""
    copy = tmp_path / "repository"
    rooms = [path.name for path in PACKAGE.iterdir() if path.is_symlink()]
    shutil.copytree(PACKAGE, copy / "sysmol", symlinks=True, ignore=shutil.ignore_patterns("__pycache__", *rooms))
    shutil.copytree(PACKAGE / "configs_gem5", copy / "configs_gem5")
    (copy / "sysmol" / "configs_gem5").symlink_to("../configs_gem5")
    rows = copy / "sysmol" / "isa" / "table.py"
    text, changed = rows.read_text(), '"as vmul, added to the lanes of vd"'
    assert text.count(changed) == 1
    rows.write_text(text.replace(changed, '"changed"'))
    import sysmol.configs_gem5.launch as launch

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SysmolError, match="plug-in is of instruction table"):
        patch.setattr(launch, "RUN_NET", copy / "configs_gem5" / "run_net.py")
        elf = compile_program("words.c", isa)
        manifest = tmp_path / "m.json"
        manifest.write_text(json.dumps(bare_manifest(elf, isa, tmp_path)))
        run_gem5(manifest, tmp_path / "run", Simulation(isa, "atomic", roi=False), gem5=gem5)


def bare_manifest(elf: Path, isa: str, folder: Path) -> dict:
    (folder / "in.bin").write_bytes(one_word(0, 0))
    (folder / "out.bin").write_bytes(bytes(16))
    reference = {"images": "in.bin", "logits": "out.bin", "count": 1, "tolerance": 0}
    return {**program_manifest(isa, Path(shutil.copy(elf, folder)), 64, 16), "reference": reference}
