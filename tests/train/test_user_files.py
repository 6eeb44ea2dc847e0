"""A user's own network and data, from two files to a network file and a page."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sysmol.errors import SysmolError
from sysmol.files import atomic_write_text
from sysmol.network import load as load_network
from sysmol.network.reference import evaluate
from sysmol.train.frontend.data import load
from sysmol.train.frontend.models import build
from sysmol.train.frontend.user_files import identity, label, located
from sysmol.workbench.experiments.run import find_row, run_experiments, seed_folder
from sysmol.workbench.experiments.spec import load_spec

Run = Callable[..., tuple[int, str, str]]

NETS = """
from torch import nn
from blocks import WIDTH

class Tiny(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, WIDTH, 3, padding=1), nn.ReLU(), nn.Conv2d(WIDTH, WIDTH, 3, stride=2), nn.ReLU(),
            nn.Flatten(), nn.Linear(9 * WIDTH, classes))

    def forward(self, x):
        return self.body(x)

def broken(channels, classes):
    return Tiny(channels)

def trained(channels, classes):
    tiny = Tiny(channels, classes)
    nn.init.zeros_(tiny.body[-1].weight)
    tiny.body[-1].bias.data[3] = 1.0
    return tiny

def number(channels, classes):
    return 3
"""


def arrays() -> dict[str, np.ndarray]:
    """The digits 0 to 4, with a second channel."""
    digits = load("digits")
    found: dict[str, np.ndarray] = {}
    for split, images, labels in (
        ("train", digits.train_images, digits.train_labels), ("test", digits.test_images, digits.test_labels),
    ):  # fmt: skip
        few = labels < 5
        found[f"{split}_images"] = np.concatenate([images[few], 255 - images[few]], axis=3)
        found[f"{split}_labels"] = labels[few].astype(np.uint8)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """``mine/`` with a network, a module that it needs, and data."""
    mine = tmp_path / "mine"
    atomic_write_text(mine / "nets.py", NETS)
    atomic_write_text(mine / "blocks.py", "WIDTH = 24\n")
    np.savez(mine / "few.npz", **arrays(), classes=np.array(["zero", "one", "two", "three", "four"]))
    return mine


def test_train_own_network_on_own_data(run: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, _, err = run(
        "train", folder / "few.npz", "--model", f"{folder}/nets.py:Tiny", "--preset", "quick", "--out", out,
        "--variant", "P4-3.0",
    )  # fmt: skip
    assert status == 0, err
    net = load_network(out / "P4-3.0.network.safetensors")
    assert net.name == "nets.Tiny-few.npz-P4-3.0" and net.samples is not None
    assert (net.provenance["model"], net.provenance["dataset"]) == ("nets.Tiny", "few.npz")
    assert np.array_equal(evaluate(net, net.samples.images), net.samples.logits)
    assert net.samples.logits.shape[1] == 5 and net.metrics["accuracy_integer"] > 0.8


def test_a_spec_finds_files_beside_it_and_notices_that_they_changed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = atomic_write_text(
        folder / "spec.toml",
        'dataset = "few.npz"\nmodel = "nets.py:Tiny"\nseeds = [0]\nvariants = ["fp32"]\n'
        "[schedule]\ncalibration = 64\nstatistics = 500\n[phase]\nepochs = 1\nlimit = 256\n",
    )
    monkeypatch.chdir(tmp_path)
    spec = load_spec(path)
    (row,) = run_experiments(spec, tmp_path / "out", lambda _: None, "", quiet=True)
    assert (row["network"], row["dataset"]) == ("nets.Tiny", "few.npz") and "SHA-256" in row["source"]
    assert seed_folder(spec, "out", 0).name.startswith("nets.Tiny-few.npz-0-")
    assert find_row(spec, tmp_path / "out", spec.variants[0], 0) == row
    whole = (folder / "nets.py").read_bytes()
    atomic_write_text(folder / "nets.py", NETS.replace("3, stride=2", "3, stride=2, bias=False"))
    assert find_row(spec, tmp_path / "out", spec.variants[0], 0) is None
    (folder / "nets.py").write_bytes(whole)
    np.savez(folder / "few.npz", **{name: array[:50] for name, array in arrays().items()})
    assert find_row(spec, tmp_path / "out", spec.variants[0], 0) is None


def test_weights_that_a_network_comes_with_are_kept(folder: Path, tmp_path: Path) -> None:
    path = atomic_write_text(
        folder / "spec.toml",
        'dataset = "few.npz"\nmodel = "nets.py:trained"\nseeds = [0]\nvariants = ["fp32"]\n'
        "[phase]\nepochs = 1\n[phases.fp32]\nepochs = 0\n",
    )
    (row,) = run_experiments(load_spec(path), tmp_path / "out", lambda _: None, "", quiet=True)
    expected = pytest.approx((arrays()["test_labels"] == 3).mean(), abs=1e-6)
    assert row["accuracy_float"] == expected and row["accuracy_integer"] == expected and row["epochs"] == 0


@pytest.mark.slow
def test_codesign_of_own_network_on_own_data(run: Run, folder: Path, tmp_path: Path) -> None:
    command = ["codesign", "--dataset", folder / "few.npz", "--model", f"{folder}/nets.py:Tiny", "--no-gem5"]
    command += ["--out", tmp_path / "out", "--rounds", "1", "--noise-epochs", "1", "--tune-epochs", "1"]
    status, _, err = run(*command)
    assert status == 2 and "--preset" in err and not (tmp_path / "out").exists()
    status, _, err = run(*command, "--preset", "quick", "--drop", "60")
    assert status == 0, err
    assert "nets.Tiny on few.npz" in (tmp_path / "out" / "codesign.html").read_text()


def test_names() -> None:
    assert (
        label("resnet8") == "resnet8" and label("a/b.c/nets.py:Tiny") == "nets.Tiny" and label("a/few.npz") == "few.npz"
    )
    assert located("digits", Path("x")) == "digits" and located("nets.py:Tiny", Path("x")) == "x/nets.py:Tiny"
    assert located("/a/few.npz", Path("x")) == "/a/few.npz"
    assert identity("resnet8") == "resnet8"  # results of built-in networks keep their keys


def test_content_is_the_identity(folder: Path, tmp_path: Path) -> None:
    for name in ("nets.py", "few.npz"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert identity(f"{folder}/nets.py:Tiny") == identity(f"{tmp_path}/nets.py:Tiny")
    assert identity(f"{folder}/nets.py:Tiny") != identity(f"{folder}/nets.py:number")
    assert identity(f"{folder}/few.npz") == identity(f"{tmp_path}/few.npz")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("Absent", r"nets\.py has no class or function 'Absent'"),
        ("WIDTH", r"no class or function 'WIDTH'"),
        ("broken", r"nets\.py:broken, called with 2 and 5, fails: TypeError: .*\(line 16\)"),
        ("number", r"returns a int, no torch\.nn\.Module"),
    ],
)
def test_networks_that_are_none(folder: Path, function: str, message: str) -> None:
    with pytest.raises(SysmolError, match=message):
        build(f"{folder}/nets.py:{function}", 2, 5)


def test_data_is_no_network_and_a_network_no_data(folder: Path) -> None:
    with pytest.raises(SysmolError, match=r"unknown model '.*few\.npz'"):
        build(f"{folder}/few.npz", 2, 5)
    with pytest.raises(SysmolError, match=r"unknown data set '.*nets\.py:Tiny'"):
        load(f"{folder}/nets.py:Tiny")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_like_it\n", r"cannot be imported: ModuleNotFoundError: .* \(line 1\)"),
        ("x = 1\nif x:\n", "cannot be imported: (IndentationError|SyntaxError): .*line"),
        (None, "there is no file"),
    ],
)
def test_files_that_cannot_be_imported(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "bad.py").write_text(text)
    with pytest.raises(SysmolError, match=message):
        build(f"{tmp_path}/bad.py:Net", 1, 10)


FAULTS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray], str]] = {
    "float": (
        "train_images",
        lambda a: a.astype(np.float32),
        r"train_images must be u8 .*, not float32 \[.*, 8, 8, 2\]",
    ),
    "rank": ("test_images", lambda a: a[:, 0, 0], "test_images must be u8"),
    "empty": ("test_images", lambda a: a[:0], "test_images must be u8"),
    "shape": ("test_images", lambda a: a[:, 1:], r"\[8, 8, 2\] for training and \[7, 8, 2\] for the test"),
    "count": ("test_labels", lambda a: a[1:], "test_labels must be .* whole numbers, not uint8"),
    "fraction": ("test_labels", lambda a: a / 2, "test_labels must be .* not float64"),
    "negative": ("train_labels", lambda a: a.astype(int) - 1, "a label is -1; classes count from 0"),
    "classes": ("classes", lambda a: a[:4], "a label is 4, but there are 4 classes"),
    "pickle": ("train_labels", lambda a: a.astype(object), "no whole .npz file of plain arrays"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_arrays_that_are_no_data_set(tmp_path: Path, fault: str) -> None:
    name, spoil, message = FAULTS[fault]
    found = arrays() | {"classes": np.array(list("abcde"))}
    np.savez(tmp_path / "bad.npz", **(found | {name: spoil(found[name])}))
    with pytest.raises(SysmolError, match=message):
        load(f"{tmp_path}/bad.npz")


def test_data_files_that_are_not_whole(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "few.npz").read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.npz").write_bytes(whole[:size])
        with pytest.raises(SysmolError, match="is no whole"):
            load(f"{tmp_path}/cut.npz")
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 1  # inside an array: the archive's checksum
    (tmp_path / "cut.npz").write_bytes(flipped)
    with pytest.raises(SysmolError, match="is no whole"):
        load(f"{tmp_path}/cut.npz")
    np.savez(tmp_path / "less.npz", train_images=np.zeros((2, 8, 8), np.uint8))
    with pytest.raises(SysmolError, match="has no array train_labels"):
        load(f"{tmp_path}/less.npz")
    np.save(tmp_path / "one", np.zeros(3))
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    with pytest.raises(SysmolError, match="is no whole"):
        load(f"{tmp_path}/one.npz")
    with pytest.raises(SysmolError, match="cannot read"):
        load(f"{tmp_path}/absent.npz")
