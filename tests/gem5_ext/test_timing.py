"""The out-of-order core keeps the machine's description: latencies and rates, measured instruction by instruction."""

import copy
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sysmol import isa as table
from sysmol.design import Machine, load_machine
from sysmol.files import atomic_write_json

pytestmark = pytest.mark.gem5

REPEATS = 200
"""As in micro.c."""
LENGTH = 96

RING = "load chain in L2"
L2_LOAD_TO_USE = 11
"""Cycles, a Neoverse N1's (source: the machine's)."""

LANGUAGE = {
    "arm": {
        "word": ".inst",
        "fmla": "fmla v{d}.4s, v1.4s, v2.4s",
        "int8": "sdot v{d}.4s, v1.16b, v2.16b",
        "load": "ldr x9, [x9]",
        "vload": "ldr q{d}, [x9]",
        "add": "add x9, x9, xzr",
    },
    "riscv": {
        "word": ".4byte",
        "fmla": "vfmacc.vv v{d}, v1, v2",
        "int8": "vmacc.vv v{d}, v1, v2",
        "load": "ld t1, 0(t1)",
        "vload": "vl1re8.v v{d}, (t1)",
        "add": "add t1, t1, zero",
    },
}
INT8_CLASS = {"arm": "SimdAlu", "riscv": "SimdMultAcc"}
WORDS = {"vmac": (0, 12), "vdot": (6, 12), "vmul": (1, 0), "vmla": (2, 16), "vqpk": (3, 16)}


Rows = dict[str, tuple[list[str], float]]
"""Name of a body to its instructions and the cycles per instruction that the machine promises."""


def bodies(isa: str, machine: Machine) -> Rows:
    """Chains (latency) and independent sequences (rate) of SMOL and of the instructions that it is compared with."""
    text = LANGUAGE[isa]

    def word(name: str, d: int, n: int) -> str:
        return f"{text['word']} {table.encode(isa, *WORDS[name], d, n, 2):#010x}"

    free = [8 + i % 16 for i in range(LENGTH)]
    rows: Rows = {}
    for name in WORDS:
        # vmul does not read vd: its chain goes through vn.
        rows[f"{name} chain"] = ([word(name, 0, 0 if name == "vmul" else 1)] * LENGTH, machine.smol_latency(name))
        rows[f"{name} rate"] = ([word(name, d, 1) for d in free], 1 / machine.smol_count)
    for name, op_class in (("fmla", "SimdFloatMultAcc"), ("int8", INT8_CLASS[isa])):
        rows[f"{name} chain"] = ([text[name].format(d=0)] * LENGTH, machine.latency(op_class))
        rows[f"{name} rate"] = ([text[name].format(d=d) for d in free], 1 / machine.unit_count(op_class))
    # vmul again: writing one register over and over is no chain, because vd is not read.
    rows["vmul same vd"] = ([word("vmul", 0, 1)] * LENGTH, 1 / machine.smol_count)
    rows["load chain"] = ([text["load"]] * LENGTH, machine.load_to_use)
    rows["vload rate"] = ([text["vload"].format(d=d) for d in free], 1 / machine.unit_count("MemRead"))
    rows[RING] = ([text["load"]] * LENGTH, L2_LOAD_TO_USE)
    rows["add chain"] = ([text["add"]] * LENGTH, machine.latency("IntAlu"))
    return rows


def check(isa: str, machine: str, rows: Rows, compile_program: Callable[..., Path], run_job, folder: Path) -> None:
    """Measure the bodies on a machine (name or file) and compare with what they promise."""
    header = folder / "bodies.inc"
    lines = ["#define BODIES(X) " + " ".join(f"X({k})" for k in range(len(rows)))]
    for k, (instructions, _) in enumerate(rows.values()):
        lines.append(f"#define BODY_{k} " + " ".join(f'"{line}\\n\\t"' for line in instructions))
    lines.append(f"#define RING_BODY {list(rows).index(RING) if RING in rows else -1}")
    header.write_text("\n".join(lines) + "\n")
    program = compile_program("micro.c", isa, f'-DBODIES_FILE="{header}"')
    inputs = b"".join(bytes([k, 0, 0, 0]) for k in range(len(rows)))
    run_job(program, isa, inputs, inputs, 4, 4, cpu="o3", roi=True, regions=1, machine=machine)
    cycles = re.findall(r"^system\.cpu\.numCycles +(\d+)", (folder / "run" / "stats.txt").read_text(), re.MULTILINE)
    assert len(cycles) == len(rows)
    failed = []
    for (name, (_, promised)), count in zip(rows.items(), cycles, strict=True):
        found = int(count) / REPEATS / LENGTH
        print(f"{isa} {name}: {found:.2f} cycles per instruction, {promised:.2f} described")
        # Loop overhead, and the loop's branch, cost a few cycles per pass.
        if not 0.97 * promised <= found <= 1.15 * promised + 0.04:
            failed.append(f"{name}: {found:.2f} cycles, {promised:.2f} described")
    assert not failed, failed


def test_latencies_and_rates(gem5: Path, isa: str, compile_program: Callable[..., Path], run_job, tmp_path: Path):
    check(isa, "o3-n1", bodies(isa, load_machine("o3-n1")), compile_program, run_job, tmp_path)


def test_own_unit(gem5: Path, isa: str, compile_program: Callable[..., Path], run_job, tmp_path: Path):
    """A design point of its own: three SMOL units beside the vector pipes, one function that is not pipelined."""
    data = copy.deepcopy(load_machine("o3-n1").to_json())
    del data["smol"]["share"]
    data["smol"]["count"] = 3
    data["smol"]["functions"]["vdot"] |= {"cycles": 6, "pipelined": False}
    path = atomic_write_json(tmp_path / "own.json", data)
    rows = bodies(isa, load_machine(path))
    chosen = {name: rows[name] for name in ("vmac chain", "vmac rate", "vdot chain", "vdot rate")}
    # A unit that is not pipelined starts the next operation when the last one is done.
    chosen["vdot rate"] = (chosen["vdot rate"][0], 6 / 3)
    check(isa, str(path), chosen, compile_program, run_job, tmp_path)
