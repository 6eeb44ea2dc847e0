"""Experiments on a few digits: rows of every kind of variant, a kill at any moment, tables, figures, bad specs."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sysmol.analysis.accuracy import by_variant, draw, family, markdown, measured
from sysmol.cli import run_command_line
from sysmol.errors import SysmolError
from sysmol.network import Network, load, operation, reference
from sysmol.pattern import registers
from sysmol.patterns.slots import vector_instructions
from sysmol.train.frontend.data import load_digits
from sysmol.train.recipes.variants import variant
from sysmol.workbench.experiments.run import find_rows, run_experiments, seed_folder, take_networks
from sysmol.workbench.experiments.spec import Spec, load_spec
from sysmol.workbench.experiments.table import COLUMNS, read_table, take
from sysmol.workbench.store import Store

VARIANTS = ["fp32", "fp32-longer", "w2", "P4-2.0", "P4-2.0-longer", "P45-2.0-random", "P4-2.0-sensitivity",
            "P45-2.0-separate", "w2-symmetric", "P8-2.0-clamp", "w4", "P4-2.0-c40"]  # fmt: skip
TEXT = """
dataset = "digits"
model = "digits_net"
seeds = [0, 1]
variants = {variants}

[schedule]
calibration = 64
statistics = 250
samples = 4

[phase]
lr = 4e-3
limit = {limit}

[phases]
fp32 = {{ epochs = {epochs} }}
int8 = {{ epochs = 1 }}
uniform = {{ epochs = 1 }}
noise = {{ epochs = {epochs}, size_weight = 1 }}
tune = {{ epochs = 1 }}
"""


def write(folder: Path, variants: list[str] = VARIANTS, limit: int = 64, epochs: int = 1) -> Spec:
    path = folder / "spec.toml"
    path.write_text(TEXT.format(variants=json.dumps(variants), limit=limit, epochs=epochs))
    return load_spec(path)


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = load_digits()
    few = replace(digits, test_images=digits.test_images[:40], test_labels=digits.test_labels[:40])
    monkeypatch.setattr("sysmol.train.recipes.pipeline.load", lambda name: few)


def instructions(net: Network) -> float:
    """SMOL multiply-accumulates of all layers, narrow pixels counted as the part of a register that they are."""
    total = 0.0
    for layer in net.layers:
        x, out = net.tensors[layer.input], net.tensors[layer.targets[0]]
        if x.format == "smol":
            each = vector_instructions(operation(layer), layer.kernel, out.channels, out.height * out.width)
            total += each * registers(x.patterns, x.used_slots)
    return total


def test_rows_of_every_kind_of_variant(tmp_path: Path, few_images: None) -> None:
    spec, said = write(tmp_path), []
    made = run_experiments(spec, tmp_path / "out", said.append, "a command", seeds=[1], quiet=True)
    assert [row["variant"] for row in made] == VARIANTS and made == find_rows(spec, tmp_path / "out")
    assert len(said) == len(VARIANTS)
    for row in made:
        chosen = variant(row["variant"])
        assert tuple(row) == COLUMNS and row["seed"] == 1 and row["command"] == "a command" and row["seconds"] > 0
        epochs = {"fp32": 1, "w2": 2, "w4": 2, "mixed": 3}[chosen.policy] + chosen.longer
        assert row["epochs"] == epochs
        path = tmp_path / "out" / "digits_net-digits-1" / f"{row['variant']}.network.safetensors"
        assert path.is_file() == chosen.exported == (row["file_bytes"] is not None)
        if chosen.bits is not None:
            assert row["bits_per_parameter"] <= chosen.bits + 1e-6
        if chosen.exported:
            net = load(path)
            assert net.samples is not None and net.metrics["file_bytes"] == row["file_bytes"]
            if chosen.scores == "random":
                assert np.array_equal(reference.evaluate(net, net.samples.images[:1]), net.samples.logits[:1])
    whole, limited = (
        load(tmp_path / "out" / "digits_net-digits-1" / f"{name}.network.safetensors") for name in ("w4", "P4-2.0-c40")
    )
    assert 0.3 * instructions(whole) < instructions(limited) <= 0.4 * instructions(whole)
    assert run_experiments(spec, tmp_path / "out", said.append, "", seeds=[1], quiet=True) == []
    only = run_experiments(spec, tmp_path / "out", said.append, "", seeds=[1], only="^w2$", again=True, quiet=True)
    before = next(row for row in made if row["variant"] == "w2")
    differs = {name for name in COLUMNS if only[0][name] != before[name]}
    assert differs <= {"command", "date", "network_sha256"}  # nothing was trained: the checkpoints' seconds stand


@pytest.mark.parametrize(("name", "least"), [("P4-0.9", r"stores 1\.\d+"), ("P4-c20", r"the least are 25\.0%")])
def test_limits_out_of_reach_are_refused_before_any_training(
    name: str, least: str, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    spec = write(tmp_path, ["fp32", name])
    status, _, error = run("experiments", spec.path, "--out", tmp_path / "out")
    assert status == 2 and re.search(rf"variant {name}: .*{least}", error) and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


KILLED = """
import sys
from pathlib import Path
import torch
from sysmol.workbench.experiments.run import run_experiments
from sysmol.workbench.experiments.spec import load_spec
torch.set_num_threads(1)
run_experiments(load_spec(sys.argv[1]), sys.argv[2], print, "", seeds=[0], quiet=True)
"""


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_process_killed_at_any_moment_goes_on(tmp_path: Path, seed: int, one_thread: None) -> None:
    """kill -9 in the middle of training, started again: the weights are those of a run that was left alone."""
    spec = write(tmp_path, ["P4-2.0"], limit=256, epochs=4)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run_experiments(spec, whole, lambda _: None, "", seeds=[0], quiet=True)
    command = [sys.executable, "-c", KILLED, str(spec.path), str(cut)]
    phase = ("fp32", "mixed-noise")[seed % 2]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 100
    while not list(cut.glob(f"store/resume/*/{phase}.checkpoint.pt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not find_rows(spec, cut)
    run_experiments(spec, cut, lambda _: None, "", seeds=[0], quiet=True)
    assert len(list(cut.glob("store/resume/*"))) == 1  # it went on where the other was killed
    assert find_rows(spec, cut)[0]["accuracy_float"] == find_rows(spec, whole)[0]["accuracy_float"]
    name = "digits_net-digits-0/phases/P4-2.0-tune.phase.pt"
    assert_same_states(whole / name, cut / name)


def assert_same_states(one: Path, other: Path) -> None:
    """The ends of two phases hold the same numbers, bit for bit."""
    states = [torch.load(path, weights_only=True)["model"] for path in (one, other)]
    for key, tensor in states[0].items():
        value = states[1][key]
        assert torch.equal(tensor, value) if isinstance(tensor, torch.Tensor) else tensor == value, key


def test_another_computer_goes_on_from_the_ends_of_phases(tmp_path: Path) -> None:
    """It has the files of full precision and of phase 1 alone, trains what is missing, and ends at the same figures."""
    spec, here, there = write(tmp_path, ["P4-2.0"]), tmp_path / "here", tmp_path / "there"
    (row,) = run_experiments(spec, here, lambda _: None, "", seeds=[0], quiet=True)
    ends = here / "digits_net-digits-0" / "phases"
    assert sorted(path.name for path in ends.iterdir()) == [
        f"{name}.phase.pt" for name in ("P4-2.0-tune", "fp32", "mixed-noise")
    ]
    assert all(path.stat().st_size < 350_000 for path in ends.iterdir())  # checkpoints take six times that
    taken = there / "from" / "digits_net-digits-0" / "phases"
    taken.mkdir(parents=True)
    for name in ("fp32", "mixed-noise"):
        shutil.copy(ends / f"{name}.phase.pt", taken)
    starts = there / "from"
    (other,) = run_experiments(spec, there / "out", lambda _: None, "", seeds=[0], quiet=True, starts=starts)
    assert [path.name.split(".checkpoint")[0] for path in (there / "out").glob("store/resume/*/*.checkpoint.pt")] == [
        "P4-2.0-tune"
    ]
    figures = [name for name in COLUMNS if name not in ("seconds", "date", "network_sha256", "command")]
    assert {name: other[name] for name in figures} == {name: row[name] for name in figures}
    tuned = "digits_net-digits-0/phases/P4-2.0-tune.phase.pt"
    assert_same_states(here / tuned, there / "out" / tuned)
    assert find_rows(spec, there / "out") == [] and find_rows(spec, there / "out", starts) == [other]
    # Of other settings they are no start.
    changed = write(tmp_path, ["fp32"], limit=32)
    run_experiments(changed, there / "out", lambda _: None, "", seeds=[0], quiet=True, starts=starts)
    assert list((there / "out").glob("store/resume/*/fp32.checkpoint.pt"))


def test_networks_come_with_their_rows(tmp_path: Path) -> None:
    spec = write(tmp_path, ["fp32", "w4"])
    rows = run_experiments(spec, tmp_path / "out", lambda _: None, "", seeds=[0], quiet=True)
    table = take(rows, tmp_path / "results" / "training.csv")
    named = take_networks(spec, tmp_path / "out", rows, table)
    assert list(named) == ["digits_net digits fp32 0", "digits_net digits w4 0"]
    files = list(named.values())
    assert [path.name for path in files] == [
        f"digits_net-digits-0-{name}.network.safetensors" for name in ("fp32", "w4")
    ]
    net = load(files[1])
    assert net.samples is None and set(net.provenance) <= {"logit_scale"}
    whole = load(tmp_path / "out" / "digits_net-digits-0" / "w4.network.safetensors")
    assert whole.samples is not None
    assert np.array_equal(reference.evaluate(net, whole.samples.images[:2]), whole.samples.logits[:2])


def test_two_processes_do_not_take_the_same_seed(tmp_path: Path) -> None:
    spec, said = write(tmp_path, ["fp32"]), []
    lock = Store(tmp_path / "out" / "store").claim(seed_folder(spec, tmp_path, 0).name)
    assert lock is not None
    with lock:
        assert run_experiments(spec, tmp_path / "out", said.append, "", seeds=[0], quiet=True) == []
    assert len(said) == 1 and "another process" in said[0]


def fake(name: str, seed: int, accuracy: float, bits: float) -> dict[str, object]:
    facts = {"network": "n", "dataset": "d", "variant": name, "seed": seed, "accuracy_fp32": 0.9}
    facts |= {"accuracy_float": accuracy, "accuracy_integer": accuracy, "bits_per_parameter": bits, "file_bytes": 100}
    return dict.fromkeys(COLUMNS) | facts | {"compression": 16.0, "seconds": 1.0}


def summary_file(folder: Path, mismatches: int = 0) -> Path:
    """What `sysmol evaluate` leaves, of one network on the host, on AArch64 and as an estimate."""
    place = {"variant": "w4", "images": 2, "mismatches": mismatches}
    record = {
        "format": "sysmol-summary", "version": 1, "networks": {"w4": {"sha256": "aa"}},
        "agreement": [
            place | {"what": "generated C on the host", "isa": "host", "images": 32},
            place | {"what": "gem5 24.0.0.1 atomic", "isa": "arm"}, place | {"what": "gem5 24.0.0.1 o3", "isa": "arm"},
        ],
        "cycles": [
            {"variant": "w4", "isa": "arm", "cpu": "o3", "source": "gem5 24.0.0.1 o3", "machine": "m", "cycles": 70},
            {"variant": "w4", "isa": "riscv", "cpu": "estimate", "source": "estimate", "machine": "m", "cycles": 60},
        ],
    }  # fmt: skip
    path = folder / "summary.json"
    path.write_text(json.dumps(record))
    return path


def test_simulations_join_rows(tmp_path: Path) -> None:
    """Measured cycles alone, of the very network; none of another export, an error where logits differ."""
    row = fake("w4", 0, 0.9, 4.1) | {"network_sha256": "aa"}
    assert measured(row, tmp_path / "summary.json") == {}
    path = summary_file(tmp_path)
    found = measured(row, path)
    assert found == {
        "cycles_arm": 70, "simulator": "gem5 24.0.0.1 o3, m", "logits_verified_by": "arm atomic: 2, arm o3: 2, host: 32"
    }  # fmt: skip
    assert measured(row | {"network_sha256": "bb"}, path) == {}
    full = fake("fp32", 0, 0.9, 32.0) | {"cycles_arm": 700}
    text = markdown(by_variant([full, row | found]))
    assert "| 100 | 16.0x | 70 | 10.0x |" in text and "RISC-V" not in text
    with pytest.raises(SysmolError, match=r"logits of w4 differ .* generated C on the host, host; gem5"):
        measured(row, summary_file(tmp_path, mismatches=3))


def test_rows_are_taken_and_shown(tmp_path: Path) -> None:
    path = tmp_path / "training.csv"
    rows = [fake("P4-2.0", 0, 0.88, 2.0), fake("P4-2.0", 1, 0.90, 1.9), fake("w4", 0, 0.9, 4.1)]
    take(rows, path)
    take([fake("P4-2.0", 1, 0.92, 1.9) | {"accuracy_integer": None, "file_bytes": None}], path)
    take([fake("P45-2.0-separate", 0, 0.86, 2.0) | {"accuracy_integer": None}], path)
    table = by_variant(read_table(path))
    assert list(table["variant"]) == ["P4-2.0", "w4", "P45-2.0-separate"] and list(table["seeds"]) == [2, 1, 1]
    text = markdown(table)
    assert "| P4-2.0 | 2 | 90.00 ± 2.83 | 88.00 | – | -2.00 | 1.95 | 100 | 16.0x |" in text
    assert "| 86.00 | – | – | -4.00 |" in text  # nothing exported: floating point's
    assert "| w4 | 1 | 90.00 | 90.00 | – | +0.00 | 4.10 | 100 | 16.0x |" in text
    assert draw(table).count("<svg") == 1 and "cycles" not in draw(table)
    timed = draw(table.assign(cycles_arm=[70.0, 90.0, 80.0]))
    assert "cycles per image, AArch64" in timed and "RISC-V" not in timed
    assert [family(name) for name in ("w4", "w2", "w2-clamp", "P4-2.0-random")] == [
        "uniform", "uniform", "w2-clamp", "P4-random"
    ]  # fmt: skip
    new = read_table(path)
    path.write_text(path.read_text().replace(",logits_verified_by", ",agree"))  # as older files name it
    assert read_table(path) == new
    path.write_text("a,b\n1,2\n")
    with pytest.raises(SysmolError, match="other columns"):
        take(rows, path)


def test_the_command_line_shows_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, rows = write(tmp_path), tmp_path / "training.csv"
    own = {"network": "digits_net", "dataset": "digits"}
    take([fake("w2", 0, 0.8, 2.1) | own, fake("w4", 0, 0.9, 4.1)], rows)  # the latter is another network's
    shown = ["experiments", str(spec.path), "--out", str(tmp_path / "out"), "--rows", str(rows), "--table"]
    assert run_command_line([*shown, "--plot", str(tmp_path / "a.svg")]) == 0
    out = capsys.readouterr().out
    assert "| w2 | 1 | 80.00 |" in out and "w4" not in out and (tmp_path / "a.svg").is_file()
    assert run_command_line(["experiments", str(spec.path), "--out", str(tmp_path / "out"), "--table"]) == 2
    assert "no rows yet" in capsys.readouterr().err


def test_bad_specs_are_one_line(tmp_path: Path) -> None:
    good = TEXT.format(variants=json.dumps(VARIANTS), limit=1, epochs=1)
    for old, new, words in (
        ("digits_net", "vgg", "unknown model 'vgg'"),
        ('"w2"', '"w3"', "unknown variant 'w3'"),
        ('"w2"', '"P45-separate"', "needs bits"),
        ("seeds = [0, 1]", "seeds = []", "seeds must be a list with at least one entry"),
        ("seeds = [0, 1]", "seeds = [0.5]", "seeds.0 must be a valid integer, not 0.5"),
        ("limit = 1", "limits = 1", "unknown field 'phase.limits': choose from epochs, lr"),
        ("limit = 1", "batch = 0", "phase.batch must be greater than or equal to 1, not 0"),
        ("lr = 4e-3", 'lr = "fast"', "phase.lr must be a valid number, not 'fast'"),
        ("tune = { epochs = 1 }", "", "epochs are missing"),
        ("[phase]", "[phase", "is no TOML"),
    ):
        assert old in good
        path = tmp_path / "spec.toml"
        path.write_text(good.replace(old, new))
        with pytest.raises(SysmolError, match=words) as error:
            load_spec(path)
        assert "\n" not in str(error.value)
    with pytest.raises(SysmolError, match="cannot read"):
        load_spec(tmp_path / "none.toml")
    with pytest.raises(SysmolError, match="no variant matches"):
        run_experiments(write(tmp_path), tmp_path, print, "", only="w9")
    with pytest.raises(SysmolError, match="has the seeds 0, 1"):
        run_experiments(write(tmp_path), tmp_path, print, "", seeds=[5])


def test_the_specs_here_are_good() -> None:
    paths = sorted((Path(__file__).parents[2] / "benchmarks" / "training").glob("*.toml"))
    assert len(paths) >= 4
    for path in paths:
        schedule = load_spec(path).schedule
        assert schedule.noise.epochs + schedule.tune.epochs == schedule.uniform.epochs, path.name
