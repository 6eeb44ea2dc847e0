"""Resuming, seeds, augmentation and the pull of the size penalty, on a few of the bundled digits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sysmol.errors import SysmolError
from train.data import Dataset, load_digits, to_real
from train.prepared import Prepared, prepare
from train.trainer import Phase, Trainer, accuracy, augment, settle_statistics


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(8, 12, 3, stride=2, bias=False), nn.BatchNorm2d(12), nn.ReLU())
        self.head = nn.Linear(12, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.stem(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits()


def start(digits: Dataset) -> Prepared:
    torch.manual_seed(0)
    images = to_real(digits.train_images[:64])
    prepared = prepare(Tiny(), images[:1])
    prepared.calibrate(images)
    prepared.start_noise()
    return prepared


NOISE = Phase("noise", epochs=3, batch=64, limit=256, size_weight=0.5)


class Killed(Exception):
    pass


def test_a_killed_run_resumes_bit_for_bit(digits: Dataset, tmp_path: Path) -> None:
    whole = start(digits)
    log = Trainer(digits, 7, tmp_path / "whole", quiet=True).fit(whole, NOISE)

    trainer = Trainer(digits, 7, tmp_path / "cut", quiet=True)
    saves = 0
    save = trainer._save

    def save_and_die(*args: object) -> None:
        nonlocal saves
        save(*args)  # type: ignore[arg-type]
        saves += 1
        if saves == 2:
            raise Killed

    trainer._save = save_and_die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        trainer.fit(start(digits), NOISE)
    resumed = start(digits)
    again = Trainer(digits, 7, tmp_path / "cut", quiet=True).fit(resumed, NOISE)
    assert len(log) == 3 and [row | {"seconds": 0} for row in again] == [row | {"seconds": 0} for row in log]
    for name, tensor in whole.state_dict().items():
        other = resumed.state_dict()[name]
        assert torch.equal(tensor, other) if isinstance(tensor, torch.Tensor) else tensor == other, name


def test_checkpoints_of_other_settings_and_damaged_ones_are_not_used(digits: Dataset, tmp_path: Path) -> None:
    short = replace(NOISE, epochs=1, limit=64)
    Trainer(digits, 7, tmp_path, quiet=True).fit(start(digits), short)
    path = tmp_path / "noise.checkpoint.pt"
    model = start(digits)
    for other in (replace(short, lr=0.1), replace(short, size_weight=9.0)):
        fingerprint = Trainer(digits, 7)._fingerprint(model, other, "")
        optimiser = torch.optim.AdamW(model.parameters())
        assert Trainer(digits, 7)._load(path, fingerprint, model, optimiser) == (0, [])
    path.write_bytes(path.read_bytes()[:1000])
    assert len(Trainer(digits, 7, tmp_path, quiet=True).fit(start(digits), short)) == 1


def test_a_stronger_size_penalty_leaves_fewer_bits(digits: Dataset) -> None:
    bits = []
    for size_weight in (0.0, 0.3, 3.0):
        prepared = start(digits)
        log = Trainer(digits, 1, quiet=True).fit(prepared, replace(NOISE, size_weight=size_weight))
        bits.append(log[-1]["bits"])
    assert bits[0] > bits[1] > bits[2] >= 1


def test_training_learns_and_freezing_keeps_it(digits: Dataset) -> None:
    torch.manual_seed(0)
    model = Tiny()
    trainer = Trainer(digits, 3, quiet=True)
    trainer.fit(model, Phase("fp32", epochs=8, lr=1e-2, shift=0))
    full = accuracy(model, digits.test_images, digits.test_labels)
    prepared = prepare(model, to_real(digits.test_images[:1]), "w4")
    prepared.calibrate(to_real(digits.train_images[:256]))
    prepared.freeze()
    prepared.calibrate(to_real(digits.train_images[:256]))
    trainer.fit(prepared, Phase("w4", epochs=2, lr=2e-3, shift=0))
    settle_statistics(prepared, digits.train_images)
    assert full > 0.85
    assert accuracy(prepared, digits.test_images, digits.test_labels) > full - 0.08


def test_divergence_is_one_line(digits: Dataset) -> None:
    model = Tiny()
    with torch.no_grad():
        model.head.weight.fill_(float("nan"))
    with pytest.raises(SysmolError, match="diverged"):
        Trainer(digits, 1, quiet=True).fit(model, Phase("fp32", epochs=1, limit=64))


def test_augmentation_moves_whole_images() -> None:
    image = torch.arange(1, 65, dtype=torch.uint8).reshape(1, 8, 8, 1)
    many = augment(image.repeat(200, 1, 1, 1), Phase("x", 1, shift=1, flip=True), torch.Generator().manual_seed(0))
    padded = np.pad(image[0, :, :, 0].numpy(), 1, constant_values=128)
    legal = {
        np.ascontiguousarray(moved).tobytes()
        for y in range(3)
        for x in range(3)
        for moved in (padded[y : y + 8, x : x + 8], padded[y : y + 8, x : x + 8][:, ::-1])
    }
    found = {picture[:, :, 0].numpy().tobytes() for picture in many}
    assert found == legal
