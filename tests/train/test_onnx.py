"""Float ONNX models: what torch exports comes back as the units of the module itself; damaged files."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sysmol.errors import SysmolError
from sysmol.train import prepare
from sysmol.train.frontend.models import DigitsNet, InvertedResidual
from sysmol.train.frontend.readers import read_model

onnx: Any = pytest.importorskip("onnx", reason="needs the extra onnx: pip install 'sysmol[onnx]'")

from damage import read_damaged  # noqa: E402
from onnx import TensorProto, helper  # noqa: E402
from onnx_files import model, small  # noqa: E402


class Varied(nn.Module):
    """What the built-in networks have not: groups, dilation, pooling of both kinds, concatenation, padding."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, 2, padding="valid"), nn.BatchNorm2d(8), nn.ReLU())
        self.grouped = nn.Sequential(nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=2), nn.ReLU6())
        self.block = InvertedResidual(8, 8, 1, 2)
        self.largest = nn.MaxPool2d(3, 2, padding=1, ceil_mode=True)
        self.average = nn.AvgPool2d(2, 1)
        self.last = nn.Conv2d(16, 12, 2)
        self.hidden, self.classes = nn.Linear(12 * 16, 7), nn.Linear(7, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        x = torch.cat([self.largest(self.grouped(x)), self.largest(self.block(x))], 1)
        x = self.last(nn.functional.pad(self.average(x), (0, 1, 1, 0)))
        x = torch.relu(self.hidden(torch.relu(x).flatten(1)))
        return torch.log_softmax(self.classes(x), 1)


def trained_like(module: nn.Module, seed: int) -> nn.Module:
    """Batch normalisation with statistics that are not neutral, weights that give logits of some size."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                assert layer.running_mean is not None and layer.running_var is not None
                layer.running_mean.normal_(0, 0.2)
                layer.running_var.uniform_(0.5, 2)
                layer.weight.uniform_(0.5, 2)
                layer.bias.normal_(0, 0.2)
            elif isinstance(layer, nn.Linear):
                layer.weight.mul_(10)
    return module.eval()


def exported(module: nn.Module, x: torch.Tensor, path: Path, **options: Any) -> Path:
    """The module as torch writes it, quietly."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            torch.onnx.export(module, (x,), str(path), **options)
        finally:
            logging.disable(logging.NOTSET)
    return path


KEPT = {"dynamo": False, "do_constant_folding": False, "training": torch.onnx.TrainingMode.PRESERVE}
"""Batch normalisation stays an operator of its own."""
DYNAMIC = {"dynamo": False, "input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}}


@pytest.mark.parametrize("options", [DYNAMIC, KEPT], ids=["dynamic", "unfolded"])
@pytest.mark.parametrize(("make", "shape"), [(Varied, (3, 17, 20)), (DigitsNet, (1, 8, 8))], ids=["varied", "digits"])
def test_a_module_comes_back(make, shape, options, tmp_path, seed):
    module = trained_like(make(), seed)
    x = torch.randn(6, *shape)
    network = read_model(exported(module, x[:1], tmp_path / "a.onnx", **options))
    steps = {(step.operator, step.how) for step in network.table()}
    assert ("BatchNormalization", "folded") in steps or options is DYNAMIC
    with torch.no_grad():
        assert torch.allclose(network.module(x), module(x), atol=1e-5, rtol=1e-5)
        own, other = (prepare(each, x, policy="fp32").eval()(x) for each in (module, network.module))
    assert torch.allclose(own, other, atol=1e-5, rtol=1e-5) and own.abs().max() > 0.1
    assert network.graph().dropped == ("log_softmax" if make is Varied else "")


@pytest.mark.slow
def test_the_newer_exporter(tmp_path, seed):
    pytest.importorskip("onnxscript", reason="torch's newer exporter needs the package onnxscript")
    module = trained_like(Varied(), seed)
    x = torch.randn(6, 3, 17, 20)
    network = read_model(exported(module, x[:1], tmp_path / "a.onnx", dynamo=True, external_data=False, verbose=False))
    with torch.no_grad():
        assert torch.allclose(network.module(x), module(x), atol=1e-5, rtol=1e-5)


def test_a_model_by_hand(tmp_path, seed):
    from onnx.reference import ReferenceEvaluator

    rng = np.random.default_rng(seed)
    (tmp_path / "a.onnx").write_bytes(small(rng))
    network = read_model(tmp_path / "a.onnx")
    assert network.normalisation.mean == (10, 20) and network.normalisation.scale == pytest.approx((1 / 3, 1 / 4))
    x = rng.uniform(0, 30, (3, 2, 4, 4)).astype(np.float32)
    wanted = [ReferenceEvaluator(str(tmp_path / "a.onnx")).run(None, {"x": each[None]})[0][0] for each in x]
    with torch.no_grad():
        found = network.module(network.normalised(torch.from_numpy(x)))
    assert np.abs(found.numpy() - np.stack(wanted)).max() < 1e-5
    assert {step.how for step in network.table() if step.operator in ("Add", "Sub", "Div")} == {"folded"}


class Standardised(nn.Module):
    """Of vectors, whose numbers have a mean and a scale each."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.spread = nn.Parameter(torch.rand(9)), nn.Parameter(0.5 + torch.rand(9))
        self.layers = nn.Sequential(nn.Linear(9, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers((x - self.mean) / self.spread)


def test_vectors_are_images_of_one_pixel(tmp_path, seed):
    module = trained_like(Standardised(), seed)
    x = torch.rand(6, 9)
    network = read_model(exported(module, x[:1], tmp_path / "a.onnx", **KEPT))
    assert network.shape == (9, 1, 1)
    assert network.normalisation.mean == pytest.approx(module.mean.tolist(), abs=1e-6)
    with torch.no_grad():
        found = network.module(network.normalised(x[..., None, None]))
        assert torch.allclose(found, module(x), atol=1e-5, rtol=1e-5)


def refusal(tmp_path: Path, content: bytes) -> str:
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(SysmolError) as caught:
        read_model(tmp_path / "a.onnx").table()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_not_understood_is_named(tmp_path):
    def one(op: str, shape: tuple[Any, ...] = ("n", 2, 4, 4), **more: Any) -> str:
        constants = more.pop("constants", {})
        node = helper.make_node(op, ["x", *constants], ["y"], **more)
        return refusal(tmp_path, model([node], shape, **constants))

    assert "Tanh 'y' is not supported: supported are Conv, Gemm" in one("Tanh")
    assert "org.strange.Quant 'y' is not supported" in one("Quant", domain="org.strange")
    assert "only [n, C, H, W] and [n, C] of a fixed size" in one("Relu", ("n", 2, "h", 4))
    assert "axes [1]" in one("ReduceMean", axes=[1])
    assert "the divisor differs" in one("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    assert "only to 0 .. 6 or from 0 on" in one("Clip", constants={"low": np.float32(-1), "high": np.float32(1)})
    assert "larger than" in one("Pad", constants={"pads": np.int64([0, 0, 1 << 30, 1 << 30, 0, 0, 0, 0])})
    assert "the images must stay apart" in one("Reshape", constants={"to": np.int64([2, 16])})
    assert "weights have shape" in one("Conv", constants={"w": np.zeros((2, 2, 3), np.float32)})
    assert "must end in logits" in one("Relu")
    assert "is no ONNX model" in refusal(tmp_path, b"something else altogether")
    assert "is no ONNX model" in refusal(tmp_path, b"")


def test_constants_in_other_files_are_refused(tmp_path):
    found = onnx.load_model_from_string(small(np.random.default_rng(0)))
    tensor = found.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")
    assert "lies in another file" in refusal(tmp_path, found.SerializeToString())


def test_names_that_are_no_text(tmp_path):
    content = small(np.random.default_rng(0))
    assert content.count(b"Squeeze") == 1
    assert "Sq\ufffdeeze" in refusal(tmp_path, content.replace(b"Squeeze", b"Sq\xffeeze"))


def test_damaged_files(tmp_path, seed):
    """Each ends in one line or, where the damage does no harm, in a network; memory stays bounded."""
    rng = np.random.default_rng(seed)
    read = read_damaged(rng, small(rng), 200, tmp_path / "b.onnx", lambda path: read_model(path).table())
    assert 0 < read < 150
