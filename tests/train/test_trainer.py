"""Resuming, seeds, augmentation and the pull of the size penalty, on a few of the bundled digits."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sysmol.errors import SysmolError
from sysmol.train.frontend.data import Dataset, load_digits, to_real
from sysmol.train.quantise.prepared import Prepared, prepare
from sysmol.train.quantise.trainer import Phase, Trainer, accuracy, augment, settle_statistics


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


def resumed(data: Dataset, phase: Phase, folder: Path, place: Path) -> int:
    """Epochs that a training takes from a checkpoint in a copy of ``folder``."""
    taken = []

    class Watched(Trainer):
        def _load(self, *given: Any) -> tuple[int, list[dict[str, float]]]:
            found = super()._load(*given)
            taken.append(found[0])
            return found

    shutil.copytree(folder, place)
    assert len(Watched(data, 7, place, quiet=True).fit(start(data), phase)) == 1
    return sum(taken)


def test_checkpoints_of_other_settings_and_damaged_ones_are_not_used(digits: Dataset, tmp_path: Path) -> None:
    short, folder = replace(NOISE, epochs=1, limit=64), tmp_path / "first"
    folder.mkdir()
    Trainer(digits, 7, folder, quiet=True).fit(start(digits), short)
    assert resumed(digits, short, folder, tmp_path / "again") == 1
    for number, other in enumerate((replace(short, lr=0.1), replace(short, size_weight=9.0))):
        assert resumed(digits, other, folder, tmp_path / f"other{number}") == 0
    # Another fold of a cross-validation: same name, same source, other images.
    images, labels = digits.train_images[::-1].copy(), digits.train_labels[::-1].copy()
    fold = replace(digits, train_images=images, train_labels=labels)
    assert (fold.name, fold.source) == (digits.name, digits.source)
    assert resumed(fold, short, folder, tmp_path / "fold") == 0
    path = folder / "noise.checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    assert resumed(digits, short, folder, tmp_path / "damaged") == 0


def test_a_stronger_size_penalty_leaves_fewer_bits(digits: Dataset) -> None:
    bits = []
    for size_weight in (0.0, 0.3, 3.0):
        prepared = start(digits)
        log = Trainer(digits, 1, quiet=True).fit(prepared, replace(NOISE, size_weight=size_weight))
        bits.append(log[-1]["bits"])
    assert bits[0] > bits[1] > bits[2] >= 1


def test_the_size_penalty_rests_at_its_floor(digits: Dataset) -> None:
    """Adam's momentum carries precisions a little below it, not to the bottom."""
    strong = replace(NOISE, size_weight=3.0, epochs=6, precision_lr=0.1)
    bits = []
    for floor in (0.0, 3.0):
        log = Trainer(digits, 1, quiet=True).fit(start(digits), replace(strong, floor_bits=floor))
        bits.append(log[-1]["bits"])
    assert bits[0] < 2 and bits[0] + 0.3 < bits[1] < 3


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


def test_calibration_does_not_trust_running_statistics(digits: Dataset) -> None:
    """Noise and coarse codes leave statistics that do not fit what the grids are fitted to."""
    prepared = start(digits)
    prepared.freeze()
    images = to_real(digits.train_images[:64])

    def scales() -> dict[str, torch.Tensor]:
        prepared.calibrate(images)
        return {name: x.clone() for name, x in prepared.state_dict().items() if "log_scale" in name or "ratio" in name}

    right = scales()
    norms = [module for module in prepared.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    for norm in norms:
        norm.eval()
        norm.running_mean.add_(3)
        norm.running_var.mul_(100)
    kept = [norm.running_var.clone() for norm in norms]
    found = scales()
    assert all(torch.equal(found[name], scale) for name, scale in right.items())
    assert all(torch.equal(norm.running_var, before) for norm, before in zip(norms, kept, strict=True))
    assert not any(norm.training for norm in norms) and all(norm.track_running_stats for norm in norms)
    prepared.calibrate(images[:1])  # one image has no statistics of its own


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


OLD_FINGERPRINT = "ef258ac60b75155461ff80c132ac64d9533e41eebc9f00d429f7081660e0b9d6"


def test_checkpoints_of_older_versions_stay_good(digits: Dataset) -> None:
    """Settings that came later leave the fingerprint of settings without them as it was."""
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.fill_(0.5)
        model.bias.fill_(0.25)
    trainer, phase = Trainer(digits, 7), Phase("fp32", 20, lr=4e-3, batch=256, shift=4, flip=True)
    assert trainer._fingerprint(model, phase, "") == OLD_FINGERPRINT
    assert trainer._fingerprint(model, replace(phase, distil=0.5), "") != OLD_FINGERPRINT
    assert Trainer(digits, 7, amp=True)._fingerprint(model, phase, "") != OLD_FINGERPRINT


def test_a_teacher_pulls_towards_itself(digits: Dataset) -> None:
    torch.manual_seed(0)
    teacher, images = Tiny(), to_real(digits.test_images)
    Trainer(digits, 3, quiet=True).fit(teacher, Phase("fp32", epochs=4, lr=1e-2, shift=0))
    before = {name: tensor.clone() for name, tensor in teacher.eval().state_dict().items()}
    distances = []
    for distil in (0.0, 1.0):
        torch.manual_seed(1)
        student = Tiny()
        phase = Phase("student", epochs=1, lr=5e-3, shift=0, limit=512, distil=distil)
        Trainer(digits, 3, quiet=True).fit(student, phase, teacher=teacher)
        with torch.no_grad():
            differences = student.eval()(images).log_softmax(1) - teacher(images).log_softmax(1)
            distances.append(float(differences.abs().mean()))
    assert distances[1] < distances[0]
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())
    with pytest.raises(SysmolError, match="no teacher"):
        Trainer(digits, 3, quiet=True).fit(student, phase)


def test_products_in_bfloat16(digits: Dataset) -> None:
    """Both phases train with them, differently from float32, and parameters stay float32."""
    losses = []
    for amp in (False, True):
        prepared = start(digits)
        row = Trainer(digits, 7, quiet=True, amp=amp).fit(prepared, replace(NOISE, epochs=1))[-1]
        prepared.freeze(bits=3.0)
        row |= Trainer(digits, 7, quiet=True, amp=amp).fit(prepared, replace(NOISE, epochs=1, name="tune"))[-1]
        losses.append(row["loss"])
        assert {parameter.dtype for parameter in prepared.parameters()} == {torch.float32}
    assert losses[0] != losses[1] and abs(losses[0] - losses[1]) < 0.1 * losses[0]


@pytest.mark.parametrize(
    "policy, mode", [("mixed", "noise"), ("mixed", "frozen"), ("w2", "frozen"), ("int8", "frozen")]
)
def test_a_prepared_network_stays_on_its_device(digits: Dataset, policy: str, mode: str) -> None:
    """PyTorch's meta device stands for a GPU: a tensor left on the CPU is an error there too."""
    images = to_real(digits.train_images[:16])
    prepared = prepare(Tiny(), images[:1], policy)
    prepared.calibrate(images)
    if mode == "noise":
        prepared.start_noise()
    else:
        prepared.freeze()
    prepared.to("meta")
    (prepared(images.to("meta")).sum() + prepared.size_penalty()).backward()
    gradients = [parameter.grad for parameter in prepared.parameters() if parameter.grad is not None]
    assert gradients and all(gradient.is_meta for gradient in gradients)


def test_an_unknown_device_is_one_line(digits: Dataset) -> None:
    with pytest.raises(SysmolError, match="cannot compute on device 'gpu'") as error:
        Trainer(digits, device="gpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("count", [2, 240, 250, 499, 501, 1000])
def test_statistics_count_every_image(count: int) -> None:
    """Means over all images, whatever their number: an image more or less than a batch changes nothing else."""
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(4, 2))
    images = np.random.default_rng(count).integers(0, 256, (count, 2, 2, 1), dtype=np.uint8)
    settle_statistics(model, images)
    real = to_real(images)
    norm = model[0]
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
    assert float(norm.running_mean) == pytest.approx(float(real.mean()), abs=0.01)
    assert float(norm.running_var) == pytest.approx(float(real.var()), rel=0.05)
