"""Other work in the same folder: commands leave nothing of what an earlier run put there, and reuse nothing of it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sysmol.files import sha256_file

Run = Callable[..., tuple[int, str, str]]

OWN = """
from torch import nn

class Tiny(nn.Sequential):
    def __init__(self, channels, classes):
        super().__init__(
            nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(128, classes),
        )
"""
SPEC = """
dataset = "own.npz"
model = "own.py:Tiny"
seeds = [0]
variants = [{variants}]
[schedule]
calibration = 32
statistics = 32
samples = 2
[phase]
batch = 32
[phases]
fp32 = {{ epochs = 1 }}
int8 = {{ epochs = 1 }}
uniform = {{ epochs = 1 }}
noise = {{ epochs = 1 }}
tune = {{ epochs = 1 }}
"""


def write(folder: Path, seed: int, *variants: str) -> None:
    """A module, data of its own under the same name, and a spec."""
    (folder / "own.py").write_text(OWN)
    rng = np.random.default_rng(seed)
    count = {"train": 64, "test": 32}
    arrays = {f"{split}_images": rng.integers(0, 256, (n, 8, 8), np.uint8) for split, n in count.items()}
    arrays |= {f"{split}_labels": rng.integers(0, 2, n) for split, n in count.items()}
    np.savez(folder / "own.npz", **arrays)
    (folder / "spec.toml").write_text(SPEC.format(variants=", ".join(f'"{name}"' for name in variants)))


@pytest.mark.slow
def test_an_experiment_of_another_spec_and_other_data(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"

    def experiment() -> dict[str, dict[str, str]]:
        """Networks by folder; a data set of the user's has one for every content."""
        status, _, error = run("experiments", tmp_path / "spec.toml", "--out", out)
        assert status == 0, error
        found: dict[str, dict[str, str]] = {}
        for path in out.glob("own*/*.network.safetensors"):
            assert (path.parent / path.name.replace(".network.safetensors", ".row.json")).is_file()
            found.setdefault(path.parent.name, {})[path.name.partition(".")[0]] = sha256_file(path)
        assert len(list(out.glob("own*/*.row.json"))) == sum(map(len, found.values()))
        return found

    write(tmp_path, 1, "fp32", "w4")
    ((name, first),) = experiment().items()
    write(tmp_path, 1, "fp32", "w2")
    ((same, other),) = experiment().items()
    assert same == name and set(other) == {"fp32", "w2"} and other["fp32"] == first["fp32"]
    write(tmp_path, 2, "fp32", "w2")
    whole = experiment()
    assert whole.pop(name) == other and len(whole) == 1, "other data have a folder of their own"
    (foreign,) = whole.values()
    assert set(foreign) == set(other) and not foreign.items() & other.items(), "trained on the other images"
    write(tmp_path, 1, "fp32", "w4")
    assert experiment()[name] == first, "the store still knows it"


@pytest.mark.slow
def test_a_training_on_other_data(tmp_path: Path, run: Run) -> None:
    found = []
    for seed in (1, 2, 1):
        write(tmp_path, seed)
        words = ("train", tmp_path / "own.npz", "--model", f"{tmp_path}/own.py:Tiny", "--preset", "quick")
        status, _, error = run(*words, "--out", tmp_path / "out")
        assert status == 0, error
        found.append({path.name: sha256_file(path) for path in (tmp_path / "out").glob("*.network.safetensors")})
    assert found[0] == found[2] and not found[0].items() & found[1].items()
