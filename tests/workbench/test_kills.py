"""kill -9 at random moments of the commands that take long, started again each time: the results are those of a run
that was left alone, and nothing is left over.

SYSMOL_KILLS kills of each command (``make test-kills``: 20); none by default, since every start takes seconds.
"""

import csv
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from sysmol.configs_gem5.launch import find_gem5, why_no_gem5
from sysmol.network import load, save
from sysmol.network.builder import random_network
from sysmol.network.file import container

KILLS = int(os.environ.get("SYSMOL_KILLS", "0"))
PASSING = {
    "seconds",
    "host_seconds",
    "date",
    "created",
    "finished",
    "pid",
    "command",
    "commit",
    "host",
    "train_seconds",
}
"""What two runs of the same work may differ in."""
EXPERIMENT = """
dataset = "own.npz"
model = "own.py:Tiny"
seeds = [0]
variants = ["fp32", "w4", "P4-3.0"]
[schedule]
calibration = 64
statistics = 250
samples = 4
[phase]
lr = 4e-3
batch = 50
[phases]
fp32 = { epochs = 20 }
int8 = { epochs = 10 }
uniform = { epochs = 10 }
noise = { epochs = 20, size_weight = 1 }
tune = { epochs = 10 }
"""
SWEEP = """
networks = "*.network.safetensors"
isas = ["arm", "riscv"]
machines = ["o3-n1"]
cpus = "atomic"
"""
SEARCH = """
format = "sysmol-search"
version = 1
networks = "resnet-digits"
tiles = "tile-4k"
dataset = "digits"
modes = ["joint", "network-hardware", "random"]
seeds = [0]
measurements = 14
settle = 64
drop = 10.0
[training]
whole = 20
kernel = 0
shape = 6
bits = 12
batch = 48
random = 1
rate = 0.1
"""
OWN = """
from torch import nn

class Tiny(nn.Sequential):
    def __init__(self, channels, classes):
        super().__init__(
            nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(256, classes),
        )
"""


def own(folder: Path) -> list[str]:
    """A module and data of its own: bars of two directions."""
    (folder / "own.py").write_text(OWN)
    rng = np.random.default_rng(1)
    arrays = {}
    for split, count in (("train", 250), ("test", 60)):
        labels = np.arange(count) % 2
        images = rng.integers(0, 120, (count, 8, 8), np.uint8)
        for image, label, place in zip(images, labels, rng.integers(0, 8, count), strict=True):
            (image if label else image.T)[place] += 100
        arrays |= {f"{split}_images": images, f"{split}_labels": labels}
    np.savez(folder / "own.npz", **arrays)
    return ["own.npz", "--model", "own.py:Tiny"]


def train(folder: Path) -> list[str]:
    return ["train", *own(folder), "--preset", "quick"]


def experiments(folder: Path) -> list[str]:
    own(folder)
    (folder / "spec.toml").write_text(EXPERIMENT)
    return ["experiments", "spec.toml"]


def codesign(folder: Path) -> list[str]:
    words = "--preset quick --rounds 1 --noise-epochs 1 --tune-epochs 1 --no-gem5"
    return ["codesign", "--dataset", *own(folder), *words.split()]


def search(folder: Path) -> list[str]:
    pytest.importorskip("pymoo", reason="searches need pymoo, the extra search")
    (folder / "spec.toml").write_text(SEARCH)
    return ["search", "run", "spec.toml"]


def demo(folder: Path) -> list[str]:
    return ["demo", "--quick", "--no-gem5", "--jobs", "2"]


def sweep(folder: Path) -> list[str]:
    gem5 = find_gem5("arm")
    if gem5 is None or find_gem5("riscv") is None:
        pytest.skip(why_no_gem5())
    for seed in (1, 2):
        save(folder / f"net{seed}.network.safetensors", random_network(seed))
    (folder / "spec.toml").write_text(SWEEP)
    return ["sweep", "spec.toml", "--jobs", "2"]


COMMANDS: list[Callable[[Path], list[str]]] = [train, experiments, codesign, search, demo, sweep]


@pytest.mark.slow
@pytest.mark.skipif(not KILLS, reason="takes minutes: make test-kills")
@pytest.mark.parametrize("command", COMMANDS, ids=[command.__name__ for command in COMMANDS])
def test_killed_at_random_moments(command: Callable[[Path], list[str]], tmp_path: Path, seed: int) -> None:
    words, out = command(tmp_path), tmp_path / "out"
    start = time.monotonic()
    assert run(words, tmp_path) == 0
    whole = time.monotonic() - start
    wanted = results(out)
    rng = random.Random(f"{seed} {command.__name__}")
    kills = 0
    while kills < KILLS:
        shutil.rmtree(out)  # the same place again, since executables hold its name
        while kills < KILLS:
            moment = rng.uniform(0, whole)
            status = run(words, tmp_path, moment)
            if status == 0:  # it came to its end before
                break
            assert status == -signal.SIGKILL
            kills += 1
            print(f"{command.__name__}: kill {kills} after {moment:.1f} of {whole:.1f} s", flush=True)
        assert run(words, tmp_path) == 0
        assert_same(wanted, results(out), f"SYSMOL_TEST_SEED={seed}, {command.__name__}, kill {kills}")
    left = {path.name for path in (tmp_path / "tmp").iterdir()}
    assert all(name.startswith("torchinductor_") for name in left), left  # PyTorch's cache


def run(words: Sequence[str], folder: Path, seconds: float | None = None) -> int:
    """The exit status of a command, which is killed after so many seconds, with all that it started."""
    (folder / "tmp").mkdir(exist_ok=True)
    settings = {"OMP_NUM_THREADS": "1", "TMPDIR": str(folder / "tmp")}
    process = subprocess.Popen(
        [sys.executable, "-m", "sysmol", *words, "--out", "out"], cwd=folder, env=os.environ | settings,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        _, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return process.returncode
    assert process.returncode == 0, said[-2000:]
    return process.returncode


def results(folder: Path) -> dict[str, Any]:
    """What every file below a folder says, without when and where it was made."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        assert HIDDEN.search(name) is None and "unfinished/" not in name, f"left over: {name}"
        if name.startswith("store/"):  # its keys follow files that hold times
            name = re.sub(r"/[0-9a-f]{16,}", "/KEY", name)
            found[name] = found.get(name, 0) + 1
        elif path.is_file():
            found[name] = content(path)
    return found


HIDDEN = re.compile(r"(^|/)\.[^/]*$")


def content(path: Path) -> Any:
    """What a file says, as far as two runs must agree on it."""
    if path.name.endswith(".network.safetensors"):
        net = load(path)
        return [lasting(net.metrics), container.checksum(arrays(path))]
    if path.suffix == ".json":
        return lasting(json.loads(path.read_text()))
    if path.suffix == ".csv":
        return [lasting(row) for row in csv.DictReader(path.read_text().splitlines())]
    if path.suffix in (".c", ".h", ".bin"):
        return path.read_bytes()
    return None  # pages show dates; checkpoints and logs, seconds


def arrays(path: Path) -> dict[str, Any]:
    """Weights and constants of a network file; the rest of its description names the command."""
    whole = safetensors.numpy.load(path.read_bytes())
    return {name: array for name, array in whole.items() if name != "description"}


def lasting(value: Any) -> Any:
    """A JSON value without what passes: times, and hashes of files that hold times."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k not in PASSING and "sha256" not in k and k != "products"}
        return {name: lasting(inner) for name, inner in kept.items()}
    return [lasting(inner) for inner in value] if isinstance(value, list) else value


def assert_same(wanted: dict[str, Any], found: dict[str, Any], where: str) -> None:
    assert sorted(found) == sorted(wanted), f"{where}: {sorted(set(found) ^ set(wanted))}"
    for name, value in wanted.items():
        assert found[name] == value, f"{where}: {name} differs"


def test_what_is_left_over_is_found(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    with tempfile.NamedTemporaryFile(prefix=".mixed.arm.", dir=tmp_path / "bin"), pytest.raises(AssertionError):
        results(tmp_path)
