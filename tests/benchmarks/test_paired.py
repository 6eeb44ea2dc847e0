"""Two networks on the same images: what each gets right, and whether that is chance."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sysmol.analysis.intervals import paired_p
from sysmol.benchmarks import paired
from sysmol.network import load, reference, save
from sysmol.train import prepare
from sysmol.train.frontend.data import Dataset, load_digits, to_real
from sysmol.train.frontend.models import build
from sysmol.train.quantise.export import export


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    found = load_digits()
    few = replace(found, test_images=found.test_images[:30], test_labels=found.test_labels[:30])
    monkeypatch.setattr(paired, "load_data", lambda name: few)
    return few


def network(folder: Path, policy: str, seed: int, data: Dataset) -> Path:
    torch.manual_seed(seed)
    images = to_real(data.train_images[:16])
    prepared = prepare(build("digits_net", 1, 10), images, policy)
    prepared.freeze()
    prepared.calibrate(images)
    net = export(prepared.eval(), policy, images, samples=0)
    return save(folder / f"{policy}.network.safetensors", net, deploy=True)


def test_the_table_counts_images(
    tmp_path: Path, digits: Dataset, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    files = [network(tmp_path, policy, seed + n, digits) for n, policy in enumerate(("w4", "w2"))]
    assert paired.main(["digits", *map(str, files)]) == 0
    first, second = (
        reference.evaluate(load(path), digits.test_images).argmax(1) == digits.test_labels for path in files
    )
    one, other = int((first & ~second).sum()), int((second & ~first).sum())
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith(f"| w4 | {first.mean():.2%} |")
    points = 100 * (second.mean() - first.mean())
    assert lines[3] == (
        f"| w2 | {second.mean():.2%} | {other} | {one} | {points:+.2f} | {paired_p(one, other):.2g} |"
    )  # fmt: skip


def test_equal_networks_do_not_differ() -> None:
    same = np.array([True, False, True])
    pair = paired.compare(same, same)
    assert (pair.only_one, pair.only_other, pair.points, pair.p) == (0, 0, 0.0, 1.0)


def test_one_network_and_other_images_are_refused(
    tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = network(tmp_path, "w4", 0, digits)
    assert paired.main(["digits", str(file)]) == 2
    assert capsys.readouterr().err == "paired: at least two networks are compared\n"
    larger = replace(
        digits, test_images=np.zeros((3, 9, 9, 1), np.uint8), train_images=np.zeros((3, 9, 9, 1), np.uint8)
    )
    monkeypatch.setattr(paired, "load_data", lambda name: larger)
    assert paired.main(["digits", str(file), str(file)]) == 2
    assert "reads images of another size" in capsys.readouterr().err
