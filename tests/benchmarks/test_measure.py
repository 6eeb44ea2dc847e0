"""Measurements without gem5: resuming, failures, rows; with gem5: a run and its reuse."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sysmol.analysis.costs.energy.model import Interval
from sysmol.analysis.stats import function_counts
from sysmol.benchmarks import hardware_tables
from sysmol.benchmarks.__main__ import main
from sysmol.benchmarks.measure import COLUMNS, Bench, Job, Variant, gem5_of, measure_all
from sysmol.benchmarks.networks import make_network
from sysmol.benchmarks.peaks import peak, smol_counts
from sysmol.benchmarks.plan import file_jobs, kernel_jobs
from sysmol.benchmarks.shapes import NetworkShape, parse_shapes
from sysmol.benchmarks.yflows import FLOWS, OPERANDS
from sysmol.benchmarks.yflows import jobs as yflows_jobs
from sysmol.configs_gem5.launch import find_gem5, why_no_gem5
from sysmol.configs_gem5.request import Simulation
from sysmol.errors import SysmolError
from sysmol.files import content_key, make_folder
from sysmol.isas import ISAS
from sysmol.kernels_c.micro import STYLES as GENERATED
from sysmol.machine import load_machine
from sysmol.network import load, save
from sysmol.network.builder import random_network
from sysmol.network.reference import evaluate
from sysmol.schedule import Schedule
from sysmol.styles import STYLES
from sysmol.workbench.executor import Here
from sysmol.workbench.steps import simulate

TINY = """
network 4x4x3
stem       conv       3   16 3x3 1 1  1 relu  image    -
body       conv      16   16 3x3 1 1  1 relu  stem     stem
pool       avgpool   16   16 4x4 1 0  1 none  body     -
classifier linear    16    3 1x1 1 0  1 none  pool     -
"""
CLASSES = {"vmac": "SimdAes", "vdot": "SimdAesMix"}


def tiny_shape() -> NetworkShape:
    (shape,) = parse_shapes(TINY, "tiny", "tiny")
    return shape


def tiny(variant: str = "w4", isa: str = "riscv", **settings: Any) -> Job:
    return Job(tiny_shape(), Variant(variant, variant, **settings), isa)


def fake_run(cycles: int = 100) -> Callable[..., dict[str, Any]]:
    """Stands for gem5: writes the run folder that it would leave; counts its calls."""

    def run(manifest: Path, out: Path, simulation: Simulation, **_: Any) -> dict[str, Any]:
        run.calls += 1  # type: ignore[attr-defined]
        machine = load_machine(simulation.machine)
        regions = json.loads(Path(manifest).read_text())["regions"]
        vdot = machine.smol.functions["vdot"].op_class
        block = (
            "---------- Begin Simulation Statistics ----------\nsimInsts 9\nsystem.cpu.numCycles {}\n"
            "system.cpu.commitStats0.numInsts 9\nsystem.cpu.commitStats0.committedInstType::" + vdot + " 50\n"
            "---------- End Simulation Statistics   ----------\n"
        )
        text = "".join(
            block.format(cycles * (2 if image == 0 else 1)) for image in range(simulation.images) for _ in regions
        )
        (out / "stats.txt").write_text(text)
        facts = {"machine": machine.to_json(), "gem5": {"version": "test"}}
        (out / "run.json").write_text(json.dumps(facts))
        return facts

    run.calls = 0  # type: ignore[attr-defined]
    return run


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(simulate, "run_gem5", fake_run())
    (tmp_path / "gem5").write_text("a simulator")
    monkeypatch.setattr("sysmol.benchmarks.measure.find_gem5", lambda isa: tmp_path / "gem5")
    return Bench(tmp_path)


def measured(folder: Path, *jobs: Job) -> list[dict[str, Any]]:
    return measure_all(folder, list(jobs), folder / "kernels.csv", Here(), lambda job, rows: None)


def test_rows_and_resuming(bench: Bench, tmp_path: Path) -> None:
    """Equal jobs simulate once; after a change of the options, again."""
    first = measured(tmp_path, tiny(), tiny())
    assert simulate.run_gem5.calls == 1  # type: ignore[attr-defined]
    again = measured(tmp_path, tiny())
    assert simulate.run_gem5.calls == 1 and content_key(again) == content_key(first[: len(again)])  # type: ignore[attr-defined]
    measured(tmp_path, tiny(options=(("pack", "simd"),)))
    assert simulate.run_gem5.calls == 2  # type: ignore[attr-defined]
    (tmp_path / "gem5").write_text("another simulator")
    assert measured(tmp_path, tiny())[0]["gem5_sha256"] != first[0]["gem5_sha256"]
    assert simulate.run_gem5.calls == 3  # type: ignore[attr-defined]

    table = pd.DataFrame(again)
    assert table["layer"].tolist() == ["image_scaled", "stem", "body", "pool", "classifier", "total"]
    body = table[table["layer"] == "body"].iloc[0]
    assert (body["cycles"], body["cycles_cold"], body["macs"]) == (100, 200, 4 * 4 * 16 * 16 * 9)
    units = load_machine("o3-n1").smol_count
    assert body["slot_share"] == pytest.approx(50 / (100 * units))
    assert table["cycles"].iloc[-1] == 500 and table["generation_seconds"].iloc[-1] >= 0
    assert pd.read_csv(tmp_path / "kernels.csv").columns.tolist() == list(COLUMNS)


def test_a_failure_stops_nothing(bench: Bench, tmp_path: Path) -> None:
    rows = measured(tmp_path, tiny(styles=(("smol", "nonsense"),)), tiny(options=(("nothing", "1"),)), tiny())
    assert [row["status"][:6] for row in rows[:2]] == ["failed"] * 2 and rows[2]["status"] == "ok"
    assert "nonsense" in rows[0]["status"] and "'nothing'" in rows[1]["status"]


def test_a_kill_leaves_nothing_half_made(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(simulate, "run_gem5", killed)
    with pytest.raises(KeyboardInterrupt):
        bench.measure(tiny())
    assert not (bench.store.root / "simulate").exists() and not list((bench.store.root / "unfinished").iterdir())
    monkeypatch.setattr(simulate, "run_gem5", fake_run())
    assert bench.measure(tiny())[0]["status"] == "ok"


def test_every_style_has_a_peak() -> None:
    machine = load_machine("o3-n1")
    net = random_network(1)
    layer = next(layer for layer in net.layers if net.tensors[layer.input].format == "smol" and layer.op == "conv2d")
    for style in GENERATED:
        for isa in STYLES[style].rates or ISAS:
            found = peak(net, layer, style, isa, machine)
            assert found is not None and found > 0


def test_vqpk_does_not_count_as_accumulating() -> None:
    classes = {**CLASSES, "vqpk": "SimdSha256Hash2"}
    machine = {"smol": {"functions": {name: {"class": value} for name, value in classes.items()}}}
    prefix = "system.cpu.commitStats0.committedInstType::"
    block = {f"{prefix}SimdAes": 3.0, f"{prefix}SimdAesMix": 4.0, f"{prefix}SimdSha256Hash2": 5.0, f"{prefix}x": 9.0}
    assert smol_counts(block, machine) == (7.0, 12.0)


def test_instructions_of_one_class_count_once() -> None:
    """Two instructions that pack share a class, and the plug-in's statistics have their names without dots."""
    classes = {name: each.op_class for name, each in load_machine("o3-n1-matrix").smol.functions.items()}
    machine = {"smol": {"functions": {name: {"class": value} for name, value in classes.items()}}}
    committed = {"vmm.h": 8.0, "vqpk.h": 3.0, "vunp.h": 1.0}
    block = {f"system.cpu.commitStats0.committedInstType::{classes[name]}": count for name, count in committed.items()}
    assert classes["vqpk.h"] == classes["vqpk.s"] and smol_counts(block, machine) == (8.0, 12.0)
    own = "system.cpu.smol"
    block |= {f"{own}.units": 2.0, f"{own}.vmm_h::(0,2,0).u2.h0": 8.0, f"{own}.vmm_h::total": 8.0}
    counted = function_counts(block, classes)
    assert counted["smol_vmm_h"] == 8.0 and counted["smol_vmm_w"] == 0.0


def test_plans() -> None:
    """Titles are unique; every schedule of the YFlows grid parses; all flows and operands are there."""
    for jobs in (kernel_jobs(), yflows_jobs()):
        titles = [job.title for job in jobs]
        assert len(set(titles)) == len(titles)
    found = yflows_jobs()
    for job in found:
        assert all(str(Schedule.parse(text)) == text for _, text in job.variant.schedules)
    names = {job.variant.name for job in found}
    assert names >= {f"{operands.name}-{flow}" for operands in OPERANDS for flow in FLOWS}


def network_folder(folder: Path) -> Path:
    """A folder with one network file, without samples."""
    save(folder / "mine.network.safetensors", make_network(tiny_shape(), "w2"), deploy=True)
    return folder


def test_network_files_without_samples_get_some(bench: Bench, tmp_path: Path) -> None:
    """Random images with the reference's logits, the same ones for both instruction sets."""
    jobs = file_jobs(network_folder(make_folder(tmp_path / "networks")))
    assert [(job.isa, job.shape.name) for job in jobs] == [(isa, "mine") for isa in ISAS]
    made = load(bench.network(jobs[0]))
    assert made.samples is not None and len(made.samples.images) == jobs[0].images
    assert np.array_equal(evaluate(made, made.samples.images), made.samples.logits)
    assert bench.network(jobs[1]) == bench.network(jobs[0])
    with pytest.raises(SysmolError, match=r"no \*.network.safetensors in"):
        file_jobs(tmp_path)


def test_energy_of_network_files(tmp_path: Path) -> None:
    """Every file has energy with an interval and shares on both instruction sets."""
    rows = [
        {"network": "mine", "variant": "file", "isa": isa, "layer": layer, "op": "conv2d", "machine": "o3-n1",
         "status": "ok", "style": "vdot", "cycles": 1000.0, "insts": 3000.0, "load": 800.0, "store": 20.0,
         "smol": 1500.0, "smol_all": 1600.0, "weight_bits": 2.0, "macs": 96_000, "l1d_misses": 10.0, "l2_misses": 1.0,
         "gem5": "24.0.0.1"}
        for isa in ISAS for layer in ("conv", "total")
    ]  # fmt: skip
    lines = hardware_tables.energy_networks({"networks": pd.DataFrame(rows)}).splitlines()
    assert [line.split(" | ")[:3] for line in lines[2:]] == [["| mine", isa, "1,000"] for isa in ISAS]
    assert all(re.search(r"\(\S+ to \S+\) uJ", line) and line.count("%") == 5 for line in lines[2:])


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kernels", "--list", "--only", "resnet8 w4 "]) == 0
    assert capsys.readouterr().out.split("\n")[:2] == ["resnet8 w4 arm o3-n1", "resnet8 w4 riscv o3-n1"]
    assert main(["kernels", "--only", "nothing at all"]) == 2
    assert main(["kernels", "--only", "("]) == 2
    assert main(["kernels", "--jobs", "0"]) == 2
    assert main(["networks", "--folder", str(Path(__file__).parent)]) == 2
    assert all(line.startswith("benchmarks: ") for line in capsys.readouterr().err.splitlines())


@pytest.mark.gem5
def test_in_gem5(tmp_path: Path) -> None:
    if find_gem5("riscv") is None:
        pytest.skip(why_no_gem5("riscv"))
    job = tiny()
    bench = Bench(tmp_path)
    rows = bench.measure(job)
    assert {row["status"] for row in rows} == {"ok"}, rows[0]["status"]
    assert all(0 < row["slot_share"] <= 1 for row in rows if row["layer"] == "body")
    manifest, _ = bench.program(job)
    before = bench.run(job, manifest)[0].stat().st_mtime_ns
    assert bench.measure(job) == rows
    assert bench.run(job, manifest)[0].stat().st_mtime_ns == before


@pytest.mark.gem5
@pytest.mark.slow
@pytest.mark.parametrize("isa", ISAS)
def test_a_network_file_in_gem5(isa: str, tmp_path: Path) -> None:
    """Compiled, run and checked against the reference; its energy lies in its interval and has its shares."""
    if find_gem5(isa) is None:
        pytest.skip(why_no_gem5(isa))
    (job,) = (job for job in file_jobs(network_folder(make_folder(tmp_path / "networks"))) if job.isa == isa)
    rows = Bench(tmp_path).measure(job)
    assert {row["status"] for row in rows} == {"ok"}, rows[0]["status"]
    ((_, found),) = hardware_tables.energies(pd.DataFrame(rows)).items()
    total = Interval.of(found.total)
    assert 0 < total.low < total.value < total.high
    assert sum(share.value for share in found.shares().values()) == pytest.approx(1, abs=0.02)


def test_no_gem5(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysmol.benchmarks.measure.find_gem5", lambda isa: None)
    with pytest.raises(SysmolError, match="build gem5 with"):
        gem5_of("arm")
