"""Weights of another tool's file as the start of a training: any module of the same shape takes them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper
from onnx_files import model
from torch import nn

from sysmol.errors import SysmolError
from sysmol.network import Normalisation, load
from sysmol.train.frontend.data import Dataset, to_real
from sysmol.train.frontend.models import BasicBlock, build, conv_bn
from sysmol.train.frontend.readers import read_model
from sysmol.train.frontend.takeover import matched, take_over
from sysmol.train.frontend.trace import trace

Run = Callable[..., tuple[int, str, str]]
RAW = Normalisation((0.0,), (1 / 64,))


class Residual(nn.Module):
    """A stem, a block whose shortcut is a convolution, a classifier; ``bias``: of the classifier."""

    def __init__(self, channels: int = 3, classes: int = 4, width: int = 6, bias: bool = True) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(channels, 5, 3), nn.ReLU())
        self.block = BasicBlock(5, width, 2, same=True)
        self.head = nn.Linear(width, classes, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(self.stem(x)).mean((2, 3)))


def written(folder: Path, seed: int, width: int = 6) -> Path:
    """The same network as an ONNX file for pixels 0 .. 255: normalisation folded into weights, the shortcut first."""
    rng = np.random.default_rng(seed)
    sizes = {
        "a": (5, 3, 3, 3),
        "s": (width, 5, 1, 1),
        "b": (width, 5, 3, 3),
        "c": (width, width, 3, 3),
        "m": (width, 4),
    }
    held = {name: rng.normal(0, 0.3, size).astype(np.float32) for name, size in sizes.items()}
    held["a"] /= 100
    for name in "asbc":
        held[f"{name}_bias"] = rng.normal(size=len(held[name])).astype(np.float32)
    held |= {"m_bias": rng.normal(size=4).astype(np.float32)}
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "a", "a_bias"], ["1"], pads=[1, 1, 1, 1]),
        node("Relu", ["1"], ["2"]),
        node("Conv", ["2", "s", "s_bias"], ["3"], strides=[2, 2]),
        node("Conv", ["2", "b", "b_bias"], ["4"], strides=[2, 2], pads=[0, 0, 1, 1]),
        node("Relu", ["4"], ["5"]),
        node("Conv", ["5", "c", "c_bias"], ["6"], pads=[1, 1, 1, 1]),
        node("Add", ["3", "6"], ["7"]),
        node("Relu", ["7"], ["8"]),
        node("GlobalAveragePool", ["8"], ["9"]),
        node("Flatten", ["9"], ["10"]),
        node("Gemm", ["10", "m", "m_bias"], ["11"]),
        node("Softmax", ["11"], ["y"]),
    ]
    path = folder / "network.onnx"
    path.write_bytes(model(nodes, (1, 3, 8, 8), **held))
    return path


def pixels(seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (40, 3, 8, 8))).float()


def test_a_module_computes_what_the_file_does(tmp_path: Path, seed: int) -> None:
    torch.manual_seed(seed)
    file, module, images = read_model(written(tmp_path, seed)), Residual(), pixels(seed)
    take_over(module, file, RAW, images)
    with torch.no_grad():
        expected = file.module(images)
        found = module(images / 64).softmax(1)
        assert torch.allclose(found, expected, atol=1e-4)
        # In training the statistics are those of the batch, and of these images they are the same.
        assert torch.allclose(module.train()(images / 64).softmax(1), expected, atol=1e-3)


def test_terms_of_a_sum_stand_in_any_order(tmp_path: Path) -> None:
    target, source = trace(Residual(), torch.zeros(1, 3, 8, 8)), read_model(written(tmp_path, 0)).graph()
    pairs = matched(target, source)
    assert pairs is not None and set(pairs.values()) == set(source.units)
    for name, other in pairs.items():
        one, two = target.units[name], source.units[other]
        assert (one.op, one.shape, one.kernel) == (two.op, two.shape, two.kernel)


@pytest.mark.parametrize(
    ("module", "normalisation", "why"),
    [
        (Residual(width=8), RAW, "another shape than Residual"),
        (Residual(bias=False), RAW, "layer 'head' has no bias"),
        (Residual(), Normalisation(), "pads with pixels of 0 0 0, which are not zero here with a mean of 128 128 128"),
        (nn.Sequential(conv_bn(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), RAW, "another shape than Sequential"),
    ],
)
def test_what_does_not_fit_is_refused(
    module: nn.Module, normalisation: Normalisation, why: str, tmp_path: Path
) -> None:
    with pytest.raises(SysmolError, match=why):
        take_over(module, read_model(written(tmp_path, 0)), normalisation, pixels(0))


def test_other_logits_are_refused(tmp_path: Path) -> None:
    """A constant that is folded into a layer, and stays beside the file's weights."""

    class Twice(Residual):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * 2.0

    with pytest.raises(SysmolError, match="gives other logits"):
        take_over(Twice(), read_model(written(tmp_path, 0)), RAW, pixels(0))


def arrays(folder: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    labels = np.arange(64) % 4
    images = rng.integers(0, 256, (64, 8, 8, 3)).astype(np.uint8)
    np.savez(folder / "own.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    return folder / "own.npz"


SPEC = """
dataset = "own.npz"
model = "nets.py:Residual"
weights = "{weights}"
seeds = [0]
variants = ["fp32", "w4"]
amp = true

[schedule]
calibration = 32
statistics = 64
samples = 4

[phases]
fp32 = {{ epochs = 0 }}
int8 = {{ epochs = 1 }}
uniform = {{ epochs = 1, lr = 1e-4 }}
noise = {{ epochs = 1 }}
tune = {{ epochs = 1 }}
"""
NETS = "import sys\nsys.path.append({here!r})\nfrom test_takeover import Residual\n"


def test_a_spec_starts_from_a_file(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """0 epochs of full precision keep the file's network, whose pixels the network file takes over."""
    file = written(tmp_path, seed)
    data = arrays(tmp_path, seed)
    (tmp_path / "nets.py").write_text(NETS.format(here=str(Path(__file__).parent)))
    (tmp_path / "spec.toml").write_text(SPEC.format(weights="$WHERE/network.onnx"))
    monkeypatch.setenv("WHERE", str(tmp_path))
    status, _, error = run("experiments", tmp_path / "spec.toml", "--out", tmp_path / "out", "--threads", 1)
    assert status == 0, error
    (found,) = (tmp_path / "out").glob("*/fp32.network.safetensors")
    net, quantised = load(found), load(found.with_name("w4.network.safetensors"))
    assert net.normalisation == quantised.normalisation and net.normalisation.of_channels(3) == RAW.of_channels(3)
    assert net.provenance["weights"] == "network.onnx" and net.samples is not None
    imported = read_model(file)
    raw = torch.from_numpy(net.samples.images).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        expected = imported.module(raw)
    assert torch.allclose(torch.from_numpy(net.samples.logits).softmax(1), expected, atol=1e-3)
    assert to_real(np.load(data)["train_images"], RAW).min() >= 0


@pytest.mark.parametrize(
    ("weights", "why"),
    [("absent.onnx", "there is no file"), ("own.npz", "is no file of weights"), ("$NOWHERE/a.pt", "no file")],
)
def test_bad_weights_end_in_one_line(weights: str, why: str, tmp_path: Path, run: Run) -> None:
    data = arrays(tmp_path, 0)
    (tmp_path / "nets.py").write_text(NETS.format(here=str(Path(__file__).parent)))
    (tmp_path / "spec.toml").write_text(SPEC.format(weights=weights))
    out = tmp_path / "out"
    status, _, error = run("experiments", tmp_path / "spec.toml", "--out", out)
    assert status == 2 and why in error and error.count("\n") == 1 and not list(out.glob("*/*"))
    options = ("--model", f"{tmp_path / 'nets.py'}:Residual", "--weights", tmp_path / weights, "--out", out)
    status, _, error = run("train", data, *options)
    assert status == 2 and why in error and error.count("\n") == 1


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    from sysmol.train.frontend.checkpoint import start_from

    images = np.zeros((4, 6, 6, 3), np.uint8)
    data = Dataset("small", images, np.zeros(4, np.int64), images, np.zeros(4, np.int64), ("a", "b", "c", "d"), "")
    with pytest.raises(SysmolError, match=r"reads images of 3 x 8 x 8 .* the data's have 3 x 6 x 6"):
        start_from(Residual(), written(tmp_path, 0), data)


def test_the_larger_resnet8_has_the_published_weights() -> None:
    module = build("resnet8_large", 3, 10)
    layers = [each for each in module.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    assert sum(layer.weight.numel() for layer in layers) == 479_480
    assert sorted({layer.out_channels for layer in layers if isinstance(layer, nn.Conv2d)}) == [40, 80, 160]
