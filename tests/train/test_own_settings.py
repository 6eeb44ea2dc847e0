"""A user's normalisation of pixels and bits of single layers, from data, commands and specs to the network file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import frozen, random_images
from torch import nn

from sysmol.errors import SysmolError
from sysmol.network import Network, Normalisation, load, reference
from sysmol.train.frontend.data import load as load_data
from sysmol.train.frontend.data import to_real
from sysmol.train.frontend.policy import POLICIES, USUAL_LAYERS, LayerBits, Policy, layer_bits
from sysmol.train.quantise.export import export
from sysmol.train.quantise.trainer import Phase, augment
from sysmol.train.recipes.pipeline import PRESETS, Schedule
from sysmol.train.recipes.pipeline import run as train
from sysmol.workbench.experiments.spec import load_spec
from sysmol.workbench.steps.train import task

Run = Callable[..., tuple[int, str, str]]
MEAN, STD = (0.4, 0.6), (0.25, 0.5)

NETS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 16, 3, padding=1), nn.BatchNorm2d(16), nn.LeakyReLU(0.1))
        self.body = nn.Sequential(nn.Conv2d(16, 24, 3, padding=2, dilation=2), nn.BatchNorm2d(24), nn.PReLU(24))
        self.more, self.head = nn.Conv2d(24, 20, 3, stride=2), nn.Linear(20, classes)

    def forward(self, x):
        return self.head(torch.relu(self.more(self.body(self.stem(x)))).mean((2, 3)))
"""


def tiny() -> Schedule:
    phases = ("float", "int8", "uniform", "noise", "tune")
    changed = {name: replace(getattr(PRESETS["quick"], name), epochs=1) for name in phases}
    return replace(PRESETS["quick"], **changed, calibration=32, statistics=100, samples=6)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    digits, arrays = load_data("digits"), {}
    for split, images, labels in (
        ("train", digits.train_images[:160], digits.train_labels[:160]),
        ("test", digits.test_images[:60], digits.test_labels[:60]),
    ):
        arrays[f"{split}_images"] = np.concatenate([images, 255 - images // 2], axis=3)
        arrays[f"{split}_labels"] = labels
    np.savez(tmp_path / "plain.npz", **arrays)
    np.savez(tmp_path / "own.npz", **arrays, mean=np.array(MEAN), std=np.array(STD))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def reads(net: Network) -> dict[str, str]:
    """Format, or bits, that every convolution reads, by its first part in the module."""
    found = {}
    for layer in net.layers:
        t = net.tensors[layer.input]
        if layer.weight is not None:
            bits = "/".join(map(str, sorted(set(t.precisions.tolist())))) if t.format == "smol" else t.format
            found[layer.name.partition("_")[0]] = bits
    return found


def test_the_normalisation_of_the_data_is_the_networks(folder: Path) -> None:
    metrics = train("own.npz", "nets.py:Net", folder / "out", tiny(), quiet=True, variants=("fp32", "int8"))
    wanted = Normalisation.of_unit_range(MEAN, STD)
    for name in metrics:
        net = load(folder / "out" / f"{name}.network.safetensors")
        assert net.normalisation == wanted and net.samples is not None
        logits = reference.evaluate(net, net.samples.images[:2])
        assert np.allclose(logits, net.samples.logits[:2], rtol=1e-4, atol=1e-4)
    # What pixels are in the first layer, computed by hand.
    net = load(folder / "out" / "fp32.network.safetensors")
    image = net.samples.images[0] if net.samples else np.zeros(0)
    first = net.layers[0].outputs[0].tensor
    real = (image / 255 - np.array(MEAN)) / np.array(STD)
    assert np.allclose(reference.run(net, image)[first], real, atol=1e-5)
    assert metrics["int8"]["accuracy_integer"] > 0.5 * metrics["int8"]["accuracy_float"] > 0


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (USUAL_LAYERS, {"stem": "s8", "body": "2", "more": "2", "head": "s8"}),
        (LayerBits("same"), {"stem": "2", "body": "2", "more": "2", "head": "2"}),
        (LayerBits(4, (("more", 1),)), {"stem": "4", "body": "2", "more": "1", "head": "4"}),
        (LayerBits(8, (("b*", 8),)), {"stem": "s8", "body": "s8", "more": "2", "head": "s8"}),
    ],
)
def test_bits_of_single_layers(bits: LayerBits, expected: dict[str, str], folder: Path) -> None:
    train("plain.npz", "nets.py:Net", folder / "out", tiny(), quiet=True, variants=("w2",), layer_bits=bits)
    net = load(folder / "out" / "w2.network.safetensors")
    assert reads(net) == expected
    assert bits.words in net.description and net.samples is not None
    assert np.array_equal(reference.evaluate(net, net.samples.images[:1]), net.samples.logits[:1])


def test_learned_precisions_reach_the_edges(folder: Path) -> None:
    train(
        "plain.npz", "nets.py:Net", folder / "o", tiny(), quiet=True, variants=("mixed",), layer_bits=LayerBits("same")
    )
    assert "s8" not in reads(load(folder / "o" / "mixed.network.safetensors")).values()


def test_policies_to_compare_with_stay() -> None:
    own = LayerBits(4, (("stem*", 2),))
    assert own.applied(POLICIES["int8"]) == POLICIES["int8"] and own.applied(POLICIES["fp32"]) == POLICIES["fp32"]
    assert own.applied(POLICIES["w2"]) == Policy(2, edges=4, layers={"stem*": 2})
    assert LayerBits("same", (("a", "same"),)).applied(POLICIES["mixed"]) == Policy(
        edges="learned", layers={"a": "learned"}
    )


def test_what_is_asked_for_is_part_of_the_key(folder: Path) -> None:
    usual = task("plain.npz", "nets.py:Net", "quick", 0)
    others = [
        task("own.npz", "nets.py:Net", "quick", 0),
        task("plain.npz", "nets.py:Net", "quick", 0, layer_bits=LayerBits(4)),
        task("plain.npz", "nets.py:Net", "quick", 0, normalisation=Normalisation.of_unit_range(MEAN, STD)),
    ]
    assert len({each.key for each in (usual, *others)}) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--edges", "3"], "edges: 3 bits"),
        (["--edges", "all"], "edges: all bits"),
        (["--layer", "stem"], "write NAME=BITS"),
        (["--layer", "nothing*=4"], "no layer is called 'nothing*'"),
        (["--mean", "0.5"], "belong together"),
        (["--mean", "0.5,x", "--std", "1"], "numbers with commas"),
        (["--mean", "0.5", "--std", "0"], "deviations are positive"),
        (["--mean", "0.5,0.5,0.5", "--std", "1"], "3 channels for images of 2"),
    ],
)
@pytest.mark.parametrize("command", ["train", "codesign"])
def test_commands_refuse_in_one_line(command: str, options: list[str], words: str, folder: Path, run: Run) -> None:
    data = ["plain.npz"] if command == "train" else ["--dataset", "plain.npz", "--no-gem5"]
    status, _, error = run(command, *data, "--model", "nets.py:Net", "--preset", "quick", "--out", "out", *options)
    assert status == 2 and words in error and len(error.strip().splitlines()) == 1


SPEC = """
dataset = "plain.npz"
model = "nets.py:Net"
seeds = 1
variants = ["w2"]
{more}
[phase]
epochs = 1
"""


def spec(folder: Path, more: str) -> Path:
    path = folder / "spec.toml"
    path.write_text(SPEC.format(more=more))
    return path


def test_specs_have_the_same_fields(folder: Path) -> None:
    made = load_spec(spec(folder, 'mean = [0.4, 0.6]\nstd = 0.5\nedges = "same"\n[layers]\nmore = 8'))
    assert made.schedule.layer_bits == LayerBits("same", (("more", 8),))
    assert made.schedule.normalisation == Normalisation.of_unit_range((0.4, 0.6), (0.5,))
    assert load_spec(spec(folder, "")).schedule.layer_bits == USUAL_LAYERS
    for more, words in (("edges = 5", "edges: 5 bits"), ("mean = 0.5", "belong together"), ("std = [0]", "std")):
        with pytest.raises(SysmolError, match=words):
            load_spec(spec(folder, more))


def test_the_border_of_moved_images_is_the_real_zero() -> None:
    images = torch.full((3, 5, 4, 2), 9, dtype=torch.uint8)
    moved = augment(
        images, Phase("", 1, shift=3), torch.Generator().manual_seed(1), Normalisation.of_unit_range(MEAN, STD)
    )
    found = [set(moved[..., channel].unique().tolist()) for channel in (0, 1)]
    assert found == [{9, 102}, {9, 153}]


def test_texts() -> None:
    assert layer_bits("8", ["a.b=4", "c=d=same"]) == LayerBits(8, (("a.b", 4), ("c=d", "same")))
    assert LayerBits(1, (("a", 8),)).words == "first and last layer at 1 bit; a at 8 bits"


def test_arrays_of_a_file_are_checked(folder: Path) -> None:
    found = dict(np.load(folder / "plain.npz"))
    for more, words in (
        ({"mean": np.array(MEAN)}, "belong together"),
        ({"mean": np.array("a"), "std": np.array(1.0)}, "belong together"),
        ({"mean": np.zeros(3), "std": np.ones(3)}, "3 channels for images of 2"),
        ({"mean": np.zeros(2), "std": np.array([1, -1])}, "positive"),
    ):
        np.savez(folder / "bad.npz", **found, **more)
        with pytest.raises(SysmolError, match=words):
            load_data(str(folder / "bad.npz"))


class Inside(nn.Module):
    """Normalises its images itself."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.3, -0.2]).view(1, 2, 1, 1))
        self.body, self.head = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.PReLU(8)), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body((x - self.mean) / 0.25).mean((2, 3)))


def test_constants_behind_the_image_are_what_its_bytes_stand_for(seed: int) -> None:
    torch.manual_seed(seed)
    images = random_images(seed, 8, (6, 5, 2))
    module = Inside().eval()
    net = export(frozen(module, images, "int8", seed), "inside", to_real(images))
    image = images[0].numpy()
    (name,) = (layer.outputs[0].tensor for layer in net.layers if layer.input == "image")
    stored = reference.run(net, image)[name].reshape(-1, 2)
    real = ((to_real(images)[0] - module.mean[0]) / 0.25).permute(1, 2, 0).reshape(-1, 2).numpy()
    t = net.tensors[name]
    step = (4 * 255 / 64 + (0.3 + 0.2) / 0.25) / 255  # of one grid over what both channels can be
    zero = t.zero_point[0] / 2**16
    assert t.format == "s8" and np.abs(real - (stored - zero) * step).max() <= step * 0.54
