"""Sweeps: what runs, what is known, kills at any time, failures, the ledger as a table."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sysmol.cli import run_command_line
from sysmol.configs_gem5.launch import find_gem5, why_no_gem5
from sysmol.errors import SysmolError
from sysmol.files import atomic_write_json
from sysmol.machine import load_machine
from sysmol.network import save
from sysmol.network.builder import Builder, random_network
from sysmol.workbench.store import Store
from sysmol.workbench.sweep import load, load_layers
from sysmol.workbench.sweep.layers import signature, split
from sysmol.workbench.sweep.ledger import COLUMNS, Ledger
from sysmol.workbench.sweep.spec import load_spec

FAKE = Path(__file__).parent / "fake_gem5.py"
UNUSED = next(number for number in range(45) if number not in random_network(1).patterns)
ALL_BUT_ONE = ",".join(str(number) for number in range(45) if number != UNUSED)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one network, three machines, and a program folder that all sweeps of these tests share."""
    folder = tmp_path_factory.mktemp("sweeps")
    save(folder / "tiny.network.safetensors", random_network(1))
    data = load_machine("o3-n1").to_json()
    for name in ("one", "two", "three"):
        atomic_write_json(folder / f"{name}.json", {**data, "name": name})
    return folder


@pytest.fixture
def folder(compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep's place: networks and machines linked in, compiled programs shared, gem5 replaced."""
    for path in compiled.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (compiled / "compile").mkdir(exist_ok=True)
    (tmp_path / "out" / "store").mkdir(parents=True)
    (tmp_path / "out" / "store" / "compile").symlink_to(compiled / "compile")
    gem5 = tmp_path / "gem5"
    gem5.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    gem5.chmod(0o755)
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    return tmp_path


def write_spec(folder: Path, **changes: Any) -> Path:
    """24 points: 2 ISAs x 3 machines x 2 pattern sets x 2 numbers of images."""
    spec = {
        "networks": ["*.network.safetensors"],
        "machines": ["one.json", "two.json", "three.json"],
        "patterns": ["machine", ALL_BUT_ONE],
        "images": [1, 2],
    }
    path = folder / "spec.json"
    path.write_text(json.dumps({**spec, **changes}))
    return path


def sweep(folder: Path, *more: str) -> list[str]:
    return ["sweep", str(folder / "spec.json"), "--out", str(folder / "out"), "--gem5", str(folder / "gem5"), *more]


def starts(folder: Path) -> list[str]:
    log = folder / "log"
    return log.read_text().splitlines() if log.exists() else []


def test_every_point_once_and_then_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_spec(folder, patterns="machine", images=2)
    assert run_command_line(sweep(folder)) == 0
    assert "6 points: 0 known, 6 to run" in capfd.readouterr().out
    assert len(starts(folder)) == len(set(starts(folder))) == 6
    assert run_command_line(sweep(folder)) == 0
    assert "6 points: 6 known before; ran 0" in capfd.readouterr().out
    assert len(starts(folder)) == 6
    # One more image count: only what is new.
    write_spec(folder, patterns="machine", images=[1, 2])
    assert run_command_line(sweep(folder)) == 0
    assert len(starts(folder)) == 12
    table = pd.read_csv(folder / "out" / "ledger.csv")
    assert list(table.columns) == list(COLUMNS) and len(table) == 12 and set(table["status"]) == {"ok"}
    # Another spec in the same folder: its points alone, from what ran before.
    write_spec(folder, patterns="machine", images=[1], machines="two.json")
    assert run_command_line(sweep(folder)) == 0
    assert len(starts(folder)) == 12
    other = pd.read_csv(folder / "out" / "ledger.csv")
    assert len(other) == 2 and set(other["machine"]) == {"two"} and set(other["images"]) == {1}
    write_spec(folder, patterns="machine", images=[1, 2])
    assert run_command_line(sweep(folder)) == 0
    assert len(starts(folder)) == 12 and len(pd.read_csv(folder / "out" / "ledger.csv")) == 12
    # The cold image is left out where there are two.
    assert (table.groupby("images")["cycles"].nunique() == 1).all()
    layers = load_layers(folder / "out")
    assert layers.groupby("key")["cycles"].sum().to_dict() == load(folder / "out").set_index("key")["cycles"].to_dict()


@pytest.mark.slow
def test_killed_three_times_and_complete(folder: Path) -> None:
    """kill -9 while simulations run: nothing is lost but what was under way, nothing runs twice."""
    write_spec(folder)
    command = [sys.executable, "-m", "sysmol", *sweep(folder, "--jobs", "3")]
    ledger = Ledger(folder / "out")
    done = 0
    for wanted in (4, 9, 15):
        ending = len(starts(folder)) + wanted - done
        environment = {**os.environ, "FAKE_ENDING": str(ending)}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 300
        while len(list(ledger.records.glob("*.json"))) < wanted or len(starts(folder)) < ending + 3:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = len(list(ledger.records.glob("*.json")))
        assert done == wanted
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    table = load(folder / "out")
    assert len(table) == 24 and table["key"].is_unique and set(table["status"]) == {"ok"}
    # Started again: the three that were under way at each kill.
    started = starts(folder)
    assert len(set(started)) == 24 and len(started) == 24 + 3 * 3
    assert not list((folder / "out" / "store" / "unfinished").iterdir())
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    assert starts(folder) == started


def test_gem5_ends_with_a_killed_sweep(folder: Path) -> None:
    write_spec(folder, isas=["arm"], machines=["one.json"], patterns="machine", images=1)
    environment = {**os.environ, "FAKE_SECONDS": "60"}
    process = subprocess.Popen(
        [sys.executable, "-m", "sysmol", *sweep(folder)], env=environment, start_new_session=True
    )
    deadline = time.monotonic() + 300
    while not starts(folder):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    marked = f"FAKE_LOG={folder / 'log'}".encode()
    deadline = time.monotonic() + 10
    while left := [p for p in Path("/proc").glob("[0-9]*/environ") if marked in readable(p) and alive(p, folder)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def readable(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def alive(environ: Path, folder: Path) -> bool:
    """Whether this is a process of the sweep, not the test's own."""
    return str(FAKE).encode() in readable(environ.parent / "cmdline")


def test_failures_and_time_limits_stop_nothing(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_spec(folder, isas=["riscv"], patterns=["machine", "P1"], images=1)
    monkeypatch.setenv("FAKE_FAIL", "two")
    assert run_command_line(sweep(folder)) == 0
    table = load(folder / "out").set_index(["machine", "patterns"])
    assert table["status"].to_dict() == {
        ("one", "P1"): "unsupported", ("three", "P1"): "unsupported", ("two", "P1"): "unsupported",
        ("one", "machine"): "ok", ("three", "machine"): "ok", ("two", "machine"): "failed",
    }  # fmt: skip
    failed = table.loc[("two", "machine")]
    assert failed["error"] == "the program met its end"
    assert failed["last_lines"].splitlines() == ["layer 1", "layer 2", "the program met its end"]
    assert "the hardware lacks" in table.loc[("one", "P1")]["error"]
    assert run_command_line(sweep(folder)) == 0 and len(starts(folder)) == 3  # known, though not well
    monkeypatch.setenv("FAKE_FAIL", "")
    monkeypatch.setenv("FAKE_SECONDS", "20")
    write_spec(folder, isas=["riscv"], patterns="machine", images=1, time_limit=1)
    assert run_command_line(sweep(folder, "--retry")) == 0
    (late,) = load(folder / "out").query("status == 'time limit'").to_dict("records")
    assert late["machine"] == "two" and "took more than 1 s" in late["error"]
    monkeypatch.setenv("FAKE_SECONDS", "0")
    write_spec(folder, isas=["riscv"], patterns="machine", images=1, time_limit=100)
    assert run_command_line(sweep(folder)) == 0  # a longer limit than the recorded one: again
    assert set(load(folder / "out").query("patterns == 'machine'")["status"]) == {"ok"}
    capfd.readouterr()


def test_equal_layers_run_once(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Four convolutions that are alike: one of them runs."""
    builder = Builder(np.random.default_rng(3), 6, 6, 24, "alike")
    (x,) = builder.layer("rescale", "image", [[2] * 24])
    for _ in range(4):
        (x,) = builder.layer("conv2d", x, [[2] * 24], 24, (3, 3), padding=(1, 1, 1, 1))
        builder.net.layers[-1].outputs[0].shift &= ~1
    (x,) = builder.layer("avgpool", x, ["s8"], kernel=(6, 6))
    builder.classifier(x)
    save(folder / "alike.network.safetensors", builder.finish())
    write_spec(
        folder,
        networks=["alike.*"],
        isas=["arm"],
        machines=["one.json"],
        patterns="machine",
        images=1,
        layers_once=True,
    )
    assert run_command_line(sweep(folder)) == 0
    assert "every different layer ran alone, equal ones once" in capfd.readouterr().out
    assert len(starts(folder)) == 4  # rescale, convolution, pooling, classifier
    table = load(folder / "out").set_index("kind")
    assert table.loc["layer"].shape[0] == 4
    whole = table.loc["sum of layers"]
    # The stand-in gives region k of a program 1000 + k cycles; only the first layer has none before it.
    assert whole["cycles"] == 1000 + 1001 * 6 and whole["layers"] == 7 and whole["layers_simulated"] == 4
    assert run_command_line(sweep(folder)) == 0 and len(starts(folder)) == 4


def test_single_networks_hold_the_layer() -> None:
    """Every layer of a network with all operations becomes a valid network of its own that keeps its numbers."""
    net = random_network(1)
    singles = split(net)
    assert sum(single.count for single in singles) == len(net.layers)
    for single in singles:
        alone = single.network.layers[single.region]
        assert alone.name == "layer"
        (original,) = [layer for layer in net.layers if f"{layer.op}-{signature(net, layer)}" == single.name][:1]
        assert alone.weight is original.weight and alone.op == original.op
        source, before = single.network.tensors[alone.input], net.tensors[original.input]
        assert source.shape == before.shape and source.patterns == before.patterns


def test_one_sweep_at_a_time(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_spec(folder, isas=["arm"], machines=["one.json"], patterns="machine", images=1)
    with Store(folder / "out" / "store").alone(folder / "out"):
        assert run_command_line(sweep(folder)) == 2
    assert "another sysmol is writing" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": []}, "unknown field 'network'"),
        ({"networks": []}, "networks must be a list with at least one entry"),
        ({"networks": ["none*"]}, "no file matches 'none\\*'"),
        ({"isas": ["x86"]}, "'x86' is none of arm, riscv"),
        ({"cpus": ["fast"]}, "'fast' is none of atomic"),
        ({"machines": ["o4"]}, "there is no machine 'o4'"),
        ({"patterns": ["P9"]}, "pattern set 'P9'"),
        ({"images": 0}, "images.0 must be greater than or equal to 1, not 0"),
        ({"layers_once": 1}, "layers_once must be a valid boolean, not 1"),
        ({"time_limit": "soon"}, "time_limit must be a valid integer, not 'soon'"),
    ],
)
def test_bad_specs(folder: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(SysmolError, match=message):
        load_spec(write_spec(folder, **change))


def test_toml_and_broken_files(folder: Path) -> None:
    path = folder / "spec.toml"
    path.write_text('networks = ["*.network.safetensors"]\ncpus = ["o3", "minor"]\n')
    spec = load_spec(path)
    assert len(spec.points()) == 4 and spec.machines == ("o3-n1",) and spec.time_limit == 3600
    path.write_text("networks = [")
    with pytest.raises(SysmolError, match="is no TOML"):
        load_spec(path)
    with pytest.raises(SysmolError, match="cannot read"):
        load_spec(folder / "absent.toml")
    with pytest.raises(SysmolError, match="holds no sweep"):
        load(folder)


@pytest.mark.gem5
def test_real_gem5(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if find_gem5("arm") is None:
        pytest.skip(why_no_gem5("arm"))
    write_spec(folder, isas=["arm"], machines=["o3-n1"], patterns="machine", cpus=["timing"], images=1)
    assert run_command_line(["sweep", str(folder / "spec.json"), "--out", str(folder / "out")]) == 0
    (row,) = load(folder / "out").to_dict("records")
    assert row["status"] == "ok" and row["cycles"] > 1000 and row["gem5"].startswith("24")
    assert "1 known" not in capfd.readouterr().out
