"""A network of Brevitas, exported as QONNX: the same logits as Brevitas itself and as that format's executor."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from qonnx_models import executed
from torch import nn

from sysmol.interchange import evaluation
from sysmol.interchange.qonnx_in import import_qonnx
from sysmol.network import reference

pytest.importorskip("brevitas", reason="needs the package brevitas")
pytest.importorskip("onnxoptimizer", reason="needs the package onnxoptimizer")

import brevitas.nn as qnn
from brevitas.export import export_qonnx
from brevitas.quant import Int8WeightPerChannelFloat, Uint8ActPerTensorFloat

SIZE, CLASSES, IMAGES = 10, 4, 40


def conv(inputs: int, outputs: int, bits: int, kernel: int = 3, **options: int) -> nn.Module:
    """Weights with a scale per output channel."""
    return qnn.QuantConv2d(
        inputs, outputs, kernel, weight_bit_width=bits, weight_quant=Int8WeightPerChannelFloat, **options
    )


def norm(channels: int) -> nn.Module:
    """The mean of all that it has seen: with the usual running statistics of a few images, layers die."""
    return nn.BatchNorm2d(channels, momentum=None)


class Residual(nn.Module):
    """Weights of 2, 3 and 4 bits, activations of 2, 4 and 8; a residual sum of two activations on one grid."""

    def __init__(self) -> None:
        super().__init__()
        self.image = qnn.QuantIdentity(bit_width=8, act_quant=Uint8ActPerTensorFloat)
        self.stem = nn.Sequential(conv(3, 8, 4, padding=1, bias=False), norm(8), qnn.QuantReLU(bit_width=4))
        self.left = nn.Sequential(conv(8, 12, 3, padding=1, stride=2, bias=False), norm(12))
        self.right = conv(8, 12, 2, kernel=1, stride=2)
        self.stream = qnn.QuantIdentity(bit_width=4)
        self.sum = qnn.QuantReLU(bit_width=2)
        self.apart = nn.Sequential(conv(12, 12, 4, groups=12), qnn.QuantReLU(bit_width=4))
        self.pool = nn.MaxPool2d(2, 1)
        self.head = qnn.QuantLinear(12 * 4, CLASSES, bias=True, weight_bit_width=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(self.image(x))
        x = self.sum(self.stream(self.left(x)) + self.stream(self.right(x)))
        return self.head(self.pool(self.apart(x)).flatten(1))


def real(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))


@pytest.fixture
def exported(tmp_path: Path, seed: int) -> tuple[nn.Module, Path]:
    """The module, its activations' scales collected, and its file."""
    torch.manual_seed(seed)
    module, rng = Residual(), np.random.default_rng(seed)
    path = tmp_path / "residual.qonnx.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.no_grad():
            for _ in range(5):
                module(real(rng.integers(0, 256, (32, SIZE, SIZE, 3))))
        module.eval()
        export_qonnx(module, args=torch.zeros(1, 3, SIZE, SIZE), export_path=str(path))
    return module, path


def test_logits_are_brevitas_own(exported, seed):
    module, path = exported
    net, done = import_qonnx(path)
    images = np.random.default_rng(seed + 1).integers(0, 256, (IMAGES, SIZE, SIZE, 3)).astype(np.uint8)
    logits = evaluation.evaluate(net, images)
    assert np.array_equal(logits[:3], reference.evaluate(net, images[:3]))
    found = logits * net.provenance["logit_scale"] + net.provenance["logit_offset"]
    with torch.no_grad():
        wanted = module(real(images)).numpy()
    assert np.ptp(wanted, axis=0).max() > 0.1  # images differ
    for other in (wanted, executed(path.read_bytes(), images)):
        assert np.abs(found - other).max() < 1e-4 * np.abs(wanted).max()
    read = [net.tensors[each.input] for each in net.layers if each.weight is not None]
    found = [x.format if x.format != "smol" else set(x.precisions.tolist()) for x in read]
    # Exact for every seed: a weight's scale makes the largest of each output 7, 3 or 1 (4, 3 or 2 bits), and some of a
    # layer's hundred weights round to 0, or of 4 bits to an even number. Bytes: the image's 256 levels, and activations
    # of 2 bits, whose odd numbers reach 3, where weights reach 7. All other layers are two, by codes of 4 bits: 2w + 1
    # and a row of -1.
    stem, left, right, apart, head = ["s8"], [{4}, {4}], [{4}, {4}], ["s8"], [{4}, {4}]
    assert found == stem + left + right + apart + head
    assert {each.how for each in done} == {"kept", "folded", "dropped"}
