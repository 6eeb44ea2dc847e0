"""The out-of-order core keeps the machine's description: latencies and rates, measured instruction by instruction.

A chain of n dependent instructions takes n times the latency; independent ones reach the units' number per cycle; a
unit of its own and a shared pipe differ as they should; more units never slow a kernel down; programs without SMOL
words do not feel the plug-in.
"""

import copy
import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sysmol import isa as table
from sysmol.analysis.runs import load_run, totals
from sysmol.configs_gem5.launch import run_gem5
from sysmol.configs_gem5.request import Simulation
from sysmol.files import atomic_write_json
from sysmol.kernels_c.build import compile_network
from sysmol.machine import Machine, list_machines, load_machine
from sysmol.network import save
from sysmol.network.builder import random_network

pytestmark = pytest.mark.gem5

REPEATS = 200
"""As in micro.c."""
LENGTH = 96

RING = "load chain in L2"
L2_LOAD_TO_USE = 11
"""Cycles, a Neoverse N1's (source: the machine's)."""

LANGUAGE = {
    "arm": {
        "fmla": "fmla v{d}.4s, v1.4s, v2.4s",
        "int8": "sdot v{d}.4s, v1.16b, v2.16b",
        "load": "ldr x9, [x9]",
        "vload": "ldr q{d}, [x9]",
        "add": "add x9, x9, xzr",
    },
    "riscv": {
        "fmla": "vfmacc.vv v{d}, v1, v2",
        "int8": "vmacc.vv v{d}, v1, v2",
        "load": "ld t1, 0(t1)",
        "vload": "vl1re8.v v{d}, (t1)",
        "add": "add t1, t1, zero",
    },
}
INT8_CLASS = {"arm": "SimdAlu", "riscv": "SimdMultAcc"}
WORDS = {row.name: (row.fns[-1], row.legal_fields()[len(row.legal_fields()) // 3]) for row in table.TABLE}
"""One word of every SMOL function."""


Rows = dict[str, tuple[list[str], float]]
"""Name of a body to its instructions and the cycles per instruction that the machine promises."""


def smol_word(isa: str, name: str, d: int, n: int) -> str:
    """Assembler text of a SMOL word; its third operand is v2."""
    return table.assembly(isa, table.encode(isa, *WORDS[name], d, n, 2))


FREE = [8 + i % 16 for i in range(LENGTH)]
"""Destinations of independent instructions."""


def smol_bodies(isa: str, machine: Machine) -> Rows:
    """A chain (latency) and an independent sequence (rate) of every SMOL function."""
    rows: Rows = {}
    for row in (row for row in table.TABLE if row.name in machine.smol.functions):
        # A function that does not read vd makes its chain through vn.
        chained = smol_word(isa, row.name, 0, 1 if row.reads_vd else 0)
        rows[f"{row.name} chain"] = ([chained] * LENGTH, machine.smol_latency(row.name))
        rows[f"{row.name} rate"] = ([smol_word(isa, row.name, d, 1) for d in FREE], 1 / machine.smol_count)
        if not row.reads_vd:
            # Writing one register over and over is no chain.
            rows[f"{row.name} same vd"] = ([smol_word(isa, row.name, 0, 1)] * LENGTH, 1 / machine.smol_count)
    return rows


def bodies(isa: str, machine: Machine) -> Rows:
    """SMOL and the instructions that it is compared with, loads and additions."""
    text = LANGUAGE[isa]
    rows = smol_bodies(isa, machine)
    for name, op_class in (("fmla", "SimdFloatMultAcc"), ("int8", INT8_CLASS[isa])):
        rows[f"{name} chain"] = ([text[name].format(d=0)] * LENGTH, machine.latency(op_class))
        rows[f"{name} rate"] = ([text[name].format(d=d) for d in FREE], 1 / machine.unit_count(op_class))
    rows["load chain"] = ([text["load"]] * LENGTH, machine.load_to_use)
    rows["vload rate"] = ([text["vload"].format(d=d) for d in FREE], 1 / machine.unit_count("MemRead"))
    rows[RING] = ([text["load"]] * LENGTH, L2_LOAD_TO_USE)
    rows["add chain"] = ([text["add"]] * LENGTH, machine.latency("IntAlu"))
    return rows


def write_bodies(rows: Rows, header: Path) -> None:
    """The file that micro.c includes."""
    lines = ["#define BODIES(X) " + " ".join(f"X({k})" for k in range(len(rows)))]
    for k, (instructions, _) in enumerate(rows.values()):
        lines.append(f"#define BODY_{k} " + " ".join(f'"{line}\\n\\t"' for line in instructions))
    lines.append(f"#define RING_BODY {list(rows).index(RING) if RING in rows else -1}")
    header.write_text("\n".join(lines) + "\n")


def check(isa: str, machine: str, rows: Rows, compile_program: Callable[..., Path], run_job, folder: Path) -> None:
    """Measure the bodies on a machine (name or file) and compare with what they promise."""
    header = folder / "bodies.inc"
    write_bodies(rows, header)
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


@pytest.mark.parametrize("machine", [name for name in list_machines() if name != "o3-n1"])
def test_smol_on_every_machine(
    gem5: Path, isa: str, machine: str, compile_program: Callable[..., Path], run_job, tmp_path: Path
):
    check(isa, machine, smol_bodies(isa, load_machine(machine)), compile_program, run_job, tmp_path)


def own_units(folder: Path, count: int, **functions: dict) -> Path:
    """o3-n1 with ``count`` SMOL units of its own, functions changed as told."""
    data = copy.deepcopy(load_machine("o3-n1").to_json())
    data["smol"].pop("share", None)
    data["smol"]["count"] = count
    for name, changes in functions.items():
        data["smol"]["functions"][name] |= changes
    return atomic_write_json(folder / f"own{count}.json", data)


def test_own_unit(gem5: Path, isa: str, compile_program: Callable[..., Path], run_job, tmp_path: Path):
    """A design point of its own: three SMOL units beside the vector pipes, one function that is not pipelined."""
    path = own_units(tmp_path, 3, vdot={"cycles": 6, "pipelined": False})
    rows = smol_bodies(isa, load_machine(path))
    chosen = {name: rows[name] for name in ("vmac chain", "vmac rate", "vdot chain", "vdot rate")}
    # A unit that is not pipelined starts the next operation when the last one is done.
    chosen["vdot rate"] = (chosen["vdot rate"][0], 6 / 3)
    check(isa, str(path), chosen, compile_program, run_job, tmp_path)


@pytest.mark.parametrize(
    ("own", "promised"),
    [
        pytest.param(0, 1 / 2, id="shared"),  # two pipes for everything
        pytest.param(1, 1 / 2, id="one-own"),  # half of the instructions wait for one unit
        # Two units and two pipes, 4 per cycle: more than gem5's front end delivers (it pauses between fetch buffers).
        pytest.param(2, 0.3, id="two-own"),
    ],
)
def test_shared_pipes_and_own_units(
    gem5: Path, isa: str, own: int, promised: float, compile_program: Callable[..., Path], run_job, tmp_path: Path
):
    """SMOL words and multiply-adds in turn, all independent: they take each other's slots, or do not."""
    machine = str(own_units(tmp_path, own)) if own else "o3-n1"
    multiply = LANGUAGE[isa]["fmla"]
    mixed = [smol_word(isa, "vmac", d, 1) if i % 2 else multiply.format(d=d) for i, d in enumerate(FREE)]
    check(isa, machine, {"mixed rate": (mixed, promised)}, compile_program, run_job, tmp_path)


def test_more_units_never_slow_a_network_down(gem5: Path, isa: str, tmp_path: Path):
    manifest = compile_network(save(tmp_path / "n.safetensors", random_network(5)), isa, tmp_path)
    cycles = []
    for count in (1, 2, 4):
        run = tmp_path / f"run{count}"
        run_gem5(manifest, run, Simulation(isa, "o3", own_units(tmp_path, count), images=2), gem5=gem5)
        cycles.append(totals(load_run(run))["cycles"].iloc[0])
    print(f"{isa}: {cycles} cycles with 1, 2, 4 SMOL units")
    # Out-of-order issue is greedy: the order of a few instructions may change for the worse.
    assert all(more <= 1.002 * fewer for fewer, more in itertools.pairwise(cycles))


STOCK = "SYSMOL_GEM5_STOCK"
"""Names a gem5 without the plug-in, of the same version, where there is one."""


@pytest.mark.parametrize("cpu", ("o3", "minor"))
def test_stock_programs_do_not_feel_the_plugin(
    gem5: Path, isa: str, cpu: str, compile_program: Callable[..., Path], run_job, tmp_path: Path
):
    """A program without SMOL words: same ticks and instructions with our decoder, with gem5's, and in a stock gem5."""
    rows = {name: row for name, row in bodies(isa, load_machine("o3-n1")).items() if name.split()[0] not in WORDS}
    header = tmp_path / "bodies.inc"
    write_bodies(rows, header)
    program = compile_program("micro.c", isa, f'-DBODIES_FILE="{header}"')
    inputs = b"".join(bytes([k, 0, 0, 0]) for k in range(len(rows)))
    seen = {}
    for name, how in {
        "plug-in": {},
        "gem5's decoder": {"stock_decoder": True},
        "stock gem5": {"stock_decoder": True, "gem5": os.environ.get(STOCK)},
    }.items():
        if name == "stock gem5" and how["gem5"] is None:
            continue
        run = run_job(program, isa, inputs, inputs, 4, 4, cpu=cpu, roi=True, regions=1, machine="o3-n1", **how)
        statistics = re.findall(
            r"^(?:simTicks|simInsts|system\.cpu\.numCycles) +(\d+)", (tmp_path / "run" / "stats.txt").read_text(), re.M
        )
        seen[name] = (run["sim_ticks"], run["sim_insts"], statistics)
    assert len({str(facts) for facts in seen.values()}) == 1, seen
    print(f"{isa} {cpu}: {seen['plug-in'][0]} ticks, {seen['plug-in'][1]} instructions in {', '.join(seen)}")
