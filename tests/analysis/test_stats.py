"""The parser of gem5's statistics and the table of a run folder, on small hand-written samples."""

import json
import math
from pathlib import Path

import pytest

from sysmol.analysis.runs import load_run, totals
from sysmol.analysis.stats import block_counts, op_class_kind, parse_blocks
from sysmol.errors import SysmolError
from sysmol.files import sha256_file

# As gem5 24.0.0.1 prints a dump of an O3 CPU: padded columns, shares of vectors, a histogram, a one-line vector.
BLOCK = """
---------- Begin Simulation Statistics ----------
simSeconds                                   0.000021                       # Number of seconds simulated (Second)
simInsts                                         3000                       # Number of instructions simulated (Count)
system.clk_domain.clock                           333                       # Clock period in ticks (Tick)
system.cpu.numCycles                           {cycles}                       # Number of cpu cycles simulated (Cycle)
system.cpu.ipc                               1.500000                       # IPC (core level) ((Count/Cycle))
system.cpu.numIssuedDist::samples                2000                       # Number of insts issued each cycle (Count)
system.cpu.numIssuedDist::mean               1.562106                       # Number of insts issued each cycle (Count)
system.cpu.statFuBusy::No_OpClass                   0      0.00%      0.00% # attempts
system.cpu.statFuBusy::IntAlu                       7     70.00%     70.00% # attempts
system.cpu.statFuBusy::SimdAes                      3     30.00%    100.00% # attempts
system.cpu.commit.branchMispredicts                11                       # mispredicted
system.cpu.commitStats0.numInsts                 3000                       # committed (Count)
system.cpu.commitStats0.committedInstType::No_OpClass            2      0.07%      0.07% # Class
system.cpu.commitStats0.committedInstType::IntAlu          500     16.67%     16.73% # Class
system.cpu.commitStats0.committedInstType::SimdAlu          98      3.27%     20.00% # Class
system.cpu.commitStats0.committedInstType::SimdAes         1000     33.33%     53.33% # Class
system.cpu.commitStats0.committedInstType::SimdSha1Hash         24      0.8%     53.33% # Class
system.cpu.commitStats0.committedInstType::MemRead         1000     33.33%     86.67% # Class
system.cpu.commitStats0.committedInstType::SimdWholeRegisterLoad          300     10.00%     96.67% # Class
system.cpu.commitStats0.committedInstType::FloatMemWrite           70      2.33%     99.00% # Class
system.cpu.commitStats0.committedInstType::SimdConfig            6      0.20%    100.00% # Class
system.cpu.commitStats0.committedInstType::total         3000                       # Class
system.cpu.commitStats0.committedControl::IsControl           40                       # Class
system.cpu.dcache.overallMisses::cpu.data           5                       # number
system.cpu.dcache.overallMisses::total              5                       # number
system.cpu.dcache.overallAccesses::total         1370                       # number
system.cpu.icache.overallAccesses::total         1370                       # number
system.l2cache.overallMisses::total                 4                       # number
system.mem_ctrl.rdQLenPdf |           0      0.00%      0.00% |           3    100.00%    100.00% # length
system.cpu.rename.rate                            nan                       # (Count/Cycle)

---------- End Simulation Statistics   ----------
"""


SMOL = {"vmac": "SimdAes", "vdot": "SimdSha1Hash"}


def stats_text(cycles: list[int]) -> str:
    """A file with one block per entry of ``cycles``."""
    return "".join(BLOCK.format(cycles=value) for value in cycles)


def write_run(folder: Path, cycles: list[int], images: int, cpu: str = "o3") -> Path:
    """A run folder of a network of two regions, and its manifest beside it."""
    folder.mkdir(parents=True)
    regions = [
        {
            "name": name,
            "op": "conv2d",
            "macs": macs,
            "bytes_weights": 100,
            "bytes_in": 20,
            "bytes_out": 3,
            "mix": {},
        }
        for name, macs in (("conv1", 4000), ("conv2", 8000))
    ]
    manifest = {
        "format": "sysmol-manifest",
        "version": 1,
        "name": "net",
        "variant": "mixed",
        "isa": "arm",
        "network": {"path": "net.safetensors", "sha256": ""},
        "patterns": [],
        "regions": regions,
        "elf": {"path": "mixed.arm", "sha256": "e" * 64},
    }
    path = folder.parent / "mixed.arm.json"
    path.write_text(json.dumps(manifest))
    run = {
        "format": "sysmol-run",
        "version": 1,
        "isa": "arm",
        "cpu": cpu,
        "machine": {"name": "test-machine", "smol": {"functions": {f: {"class": c} for f, c in SMOL.items()}}},
        "manifest": {"path": "../mixed.arm.json", "sha256": sha256_file(path)},
        "elf_sha256": "e" * 64,
        "variant": "mixed",
        "name": "net",
        "images": images,
        "gem5": {"version": "24.0.0.1"},
    }
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "stats.txt").write_text(stats_text(cycles))
    return folder


def test_blocks_and_values() -> None:
    blocks = list(parse_blocks(stats_text([2000, 2500]).splitlines()))
    assert [block["system.cpu.numCycles"] for block in blocks] == [2000, 2500]
    assert blocks[0]["system.cpu.commitStats0.committedInstType::SimdAes"] == 1000
    assert math.isnan(blocks[0]["system.cpu.rename.rate"])
    assert "system.mem_ctrl.rdQLenPdf" not in blocks[0]


def test_counts_of_a_block() -> None:
    (block,) = parse_blocks(stats_text([2000]).splitlines())
    row = block_counts(block, SMOL.values())
    assert row["cycles"] == 2000 and row["insts"] == 3000 and row["branch"] == 40
    assert row["smol"] == 1024 and row["simd"] == 98 and row["vset"] == 6
    assert row["load"] == 1300 and row["store"] == 70 and row["scalar"] == 502
    assert row["fu_busy"] == 10 and row["mispredicts"] == 11
    assert row["l1d_misses"] == 5 and row["l1i_misses"] == 0 and row["l2_misses"] == 4


def test_every_class_of_gem5_has_a_kind() -> None:
    kinds = {
        "IntAlu": "scalar",
        "IprAccess": "scalar",
        "FloatMultAcc": "simd",
        "SimdFloatMultAcc": "simd",
        "SimdMatMultAcc": "simd",
        "SimdPredAlu": "simd",
        "SimdExt": "simd",
        "SimdConfig": "vset",
        "FloatMemRead": "load",
        "InstPrefetch": "load",
        "SimdUnitStrideFaultOnlyFirstLoad": "load",
        "SimdUnitStrideSegmentedLoad": "load",
        "SimdUnitStrideMaskStore": "store",
        "SimdWholeRegisterStore": "store",
        "SimdAes": "smol",
        "SimdAesMix": "simd",
    }
    assert {name: op_class_kind(name, {"SimdAes"}) for name in kinds} == kinds


@pytest.mark.parametrize("cut", [1, 3, 10, 25, 40])
def test_a_file_cut_anywhere_is_refused_or_shorter(cut: int) -> None:
    text = stats_text([1, 2, 3])
    kept = text[: len(text) * cut // 41]
    try:
        blocks = list(parse_blocks(kept.splitlines()))
    except SysmolError as error:
        assert "cut short" in str(error) and "\n" not in str(error)
    else:
        assert len(blocks) < 3


def test_a_block_within_a_block_is_refused() -> None:
    lines = stats_text([1]).splitlines()
    with pytest.raises(SysmolError, match="inside another"):
        list(parse_blocks(lines[:9] + lines))


def test_layers_of_a_run(tmp_path: Path) -> None:
    # two regions, three images, and the dump that gem5 makes when it exits
    folder = write_run(tmp_path / "mixed-arm-o3", [1000, 4000, 400, 1600, 600, 2000, 77], images=3)
    layers = load_run(folder)
    assert layers["layer"].tolist() == ["conv1", "conv2"]
    assert layers["cycles"].tolist() == [500.0, 1800.0]
    assert layers["cycles_low"].tolist() == [400.0, 1600.0] and layers["cycles_high"].tolist() == [600.0, 2000.0]
    assert layers["cycles_cold"].tolist() == [1000.0, 4000.0]
    assert layers["macs_per_cycle"].tolist() == [8.0, 8000 / 1800]
    assert layers["ipc"].tolist() == [6.0, 3000 / 1800]
    assert set(layers["source"]) == {"gem5 24.0.0.1 o3"}
    assert layers["bytes"].tolist() == [123, 123]
    table = totals(layers)
    assert len(table) == 1
    assert table["cycles"].iloc[0] == 2300 and table["cycles_cold"].iloc[0] == 5000 and table["macs"].iloc[0] == 12000
    assert table["smol"].iloc[0] == 2048


def test_one_image_is_its_own_mean(tmp_path: Path) -> None:
    layers = load_run(write_run(tmp_path / "run", [1000, 4000, 5], images=1))
    assert layers["cycles"].tolist() == layers["cycles_cold"].tolist() == [1000.0, 4000.0]


def test_atomic_gives_counts_but_no_cycles(tmp_path: Path) -> None:
    layers = load_run(write_run(tmp_path / "run", [1000, 4000], images=1, cpu="atomic"))
    assert layers["cycles"].isna().all() and layers["cycles_cold"].isna().all()
    assert layers["insts"].tolist() == [3000.0, 3000.0]


def test_missing_blocks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SysmolError, match="3 blocks where 2 images of 2 regions need 4"):
        load_run(write_run(tmp_path / "run", [1, 2, 3], images=2))


def test_an_incomplete_run_is_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [1, 2], images=1)
    (folder / "run.json").unlink()
    with pytest.raises(SysmolError, match=r"no run\.json"):
        load_run(folder)


def test_a_newer_run_is_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [1, 2], images=1)
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(run | {"version": 2}))
    with pytest.raises(SysmolError, match="newer than version 1"):
        load_run(folder)


def test_a_manifest_of_another_executable_is_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [1, 2], images=1)
    manifest = json.loads((tmp_path / "mixed.arm.json").read_text())
    manifest["elf"]["sha256"] = "f" * 64
    (tmp_path / "mixed.arm.json").write_text(json.dumps(manifest))
    with pytest.raises(SysmolError, match="changed since"):
        load_run(folder)
