"""What the plug-in counts is what commits: exact counts on every core model, with wrong-path work in the core."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from sysmol import isa as table
from sysmol.analysis.stats import Block, read_stats
from sysmol.errors import CheckFailed, SysmolError
from sysmol.machine import load_machine
from sysmol.pattern import PATTERNS

pytestmark = pytest.mark.gem5

RECORD = 64
SET, CLEAR = (5, 12), (2, 16)
"""vdot of pattern 12 into lane 1 where a bit is set, vmla of 2-bit part 0 where not."""


def smol_stats(block: Block) -> dict[str, float]:
    return {key.removeprefix("system.cpu.smol."): value for key, value in block.items() if ".cpu.smol." in key}


@pytest.mark.parametrize("cpu", ["atomic", "timing", "minor", "o3"])
def test_wrong_path_does_not_count(
    gem5: Path, isa: str, cpu: str, seed: int, compile_program: Callable[..., Path], run_job, tmp_path: Path
) -> None:
    inputs = random.Random(seed).randbytes(4 * RECORD)
    ones = sum(byte.bit_count() for byte in inputs)
    zeros = 8 * len(inputs) - ones
    flags = [
        f"-DWORD_{name}={table.encode(isa, *fields, 1, 2, 2):#010x}"
        for name, fields in (("SET", SET), ("CLEAR", CLEAR))
    ]
    program = compile_program("speculate.c", isa, *flags)
    expected = b"".join(inputs[at : at + 4] for at in range(0, len(inputs), RECORD))
    run_job(program, isa, inputs, expected, RECORD, 4, cpu=cpu)
    (block,) = read_stats(tmp_path / "run" / "stats.txt")
    found = smol_stats(block)
    cycles = block["system.cpu.numCycles"]
    n4, n2, n1 = PATTERNS[SET[1]]
    assert found == {
        "insts::vdot": ones,
        "insts::vmla": zeros,
        "insts::total": ones + zeros,
        "vdot::P12": ones,
        "vdot::total": ones,
        "vmla::b2.k0": zeros,
        "vmla::total": zeros,
        **{f"macs::{p}bit": count for p, count in ((4, 4 * n4 * ones), (2, 8 * n2 * ones + 16 * zeros)) if count},
        **({"macs::1bit": 16 * n1 * ones} if n1 else {}),
        "macs::total": (4 * n4 + 8 * n2 + 16 * n1) * ones + 16 * zeros,
        "units": 2,
        "slotShare": pytest.approx((ones + zeros) / (2 * cycles), abs=1e-6),
    }
    if cpu == "o3":
        functions = load_machine("o3-n1").smol.functions
        issued = sum(
            value
            for name in ("vdot", "vmla")
            for key, value in block.items()
            if key.endswith(f"::{functions[name].op_class}") and "statIssuedInstType" in key
        )
        print(f"{isa}: {issued:.0f} SMOL instructions issued, {ones + zeros} committed")
        assert issued > 1.05 * (ones + zeros), "no wrong-path work: this test shows nothing"


def test_stock_decoder_counts_nothing(
    gem5: Path, isa: str, compile_program: Callable[..., Path], run_job, tmp_path: Path
) -> None:
    program = compile_program("speculate.c", isa, "-DWORD_SET=NOP", "-DWORD_CLEAR=NOP", "-DNOP=0xd503201f")
    if isa == "riscv":
        program = compile_program("speculate.c", isa, "-DWORD_SET=0x00000013", "-DWORD_CLEAR=0x00000013")
    run_job(program, isa, bytes(RECORD), bytes(4), RECORD, 4, stock_decoder=True)
    (block,) = read_stats(tmp_path / "run" / "stats.txt")
    assert not smol_stats(block)


def test_smol_option_reaches_gem5(
    gem5: Path, isa: str, compile_program: Callable[..., Path], run_job, tmp_path: Path
) -> None:
    """A slow unit of its own takes the time that it says; a pattern that the option leaves out is illegal."""
    flags = [f"-DWORD_{name}={table.encode(isa, *SET, 1, 2, 2):#010x}" for name in ("SET", "CLEAR")]
    program = compile_program("speculate.c", isa, *flags)
    inputs = bytes(4 * RECORD)
    how = {"inputs": inputs, "expected": bytes(4 * 4), "record": RECORD, "result": 4, "cpu": "o3"}
    run = run_job(program, isa, **how, smol="units=3,vdot=20")
    assert run["machine"]["name"] == "o3-n1 (units=3,vdot=20)" and run["machine"]["smol"]["count"] == 3
    (block,) = read_stats(tmp_path / "run" / "stats.txt")
    assert smol_stats(block)["units"] == 3
    # All words add to one register: a chain.
    assert block["system.cpu.numCycles"] > 20 * 8 * len(inputs)
    with pytest.raises(CheckFailed, match="needs pattern id 12, which this hardware lacks"):
        run_job(program, isa, **how, smol="patterns=0+36")
    with pytest.raises(SysmolError, match="'speed=3' is not known"):
        run_job(program, isa, **how, smol="speed=3")
