"""What no training could mend is refused before it: one line, nothing left behind."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sysmol.train.quantise.trainer import Trainer

Run = Callable[..., tuple[int, str, str]]

NETS = """
import torch
from torch import nn


class Two(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.conv, self.pool, self.fc = nn.Conv2d(channels, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Linear(8, classes)

    def forward(self, x):
        return self.fc(torch.flatten(self.pool(torch.relu(self.conv(x))), 1))


class Three(Two):
    def __init__(self, channels, classes):
        super().__init__(channels, classes)
        self.conv = nn.Sequential(nn.Conv2d(channels, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))


class Few(Three):
    def __init__(self, channels, classes):
        super().__init__(channels, classes - 1)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with networks and a data set of three classes, where nothing may be trained."""
    (tmp_path / "nets.py").write_text(NETS)
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    labels = np.arange(40) % 3
    np.savez(tmp_path / "data.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)

    def fit(*_: object, **__: object) -> None:
        raise AssertionError("a training began")

    monkeypatch.setattr(Trainer, "fit", fit)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(name: str, model: str) -> list[str]:
    data = ["data.npz"] if name == "train" else ["--dataset", "data.npz", "--no-gem5"]
    return [name, *data, "--model", f"nets.py:{model}", "--preset", "quick", "--out", "out"]


@pytest.mark.parametrize("name", ["train", "codesign"])
@pytest.mark.parametrize(("model", "said"), [("Few", "2 outputs"), ("Two", "no layer whose precision")])
def test_networks_that_cannot_be_trained(run: Run, folder: Path, name: str, model: str, said: str) -> None:
    status, _, err = run(*command(name, model))
    assert status == 2 and said in err and err.count("\n") == 1, err
    assert not list(folder.glob("out/*.safetensors"))


def test_networks_that_can_be_trained_reach_it(run: Run, folder: Path) -> None:
    for words in (command("train", "Three"), [*command("train", "Two"), "--variant", "fp32", "--variant", "int8"]):
        with pytest.raises(AssertionError, match="a training began"):
            run(*words)
