"""QONNX models as network files: the logits of that format's own executor, and the codes of every possible sum."""

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from damage import damaged
from onnx import TensorProto, helper, numpy_helper

from sysmol.errors import SysmolError
from sysmol.interchange import evaluation
from sysmol.interchange.qonnx_in import integer_steps, odd_parts, read_qonnx
from sysmol.network import Network, load, reference

MODELS = Path(os.environ.get("SYSMOL_DATA", "/nonexistent")) / "models"
needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason="needs FINN's files in $SYSMOL_DATA/models")
DOMAIN = "qonnx.custom_op.general"


class Model:
    """A chain of linear layers with random weights on images of 4 x 5."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.held: dict[str, np.ndarray] = {"shape": np.array([-1, 20])}
        self.x = self.node("Reshape", ["image", "shape"])

    def node(self, op: str, inputs: list[str], domain: str = "", **options: Any) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], domain=domain, **options))
        return name

    def constant(self, values: Any) -> str:
        name = f"c{len(self.held)}"
        self.held[name] = np.asarray(values, np.float32)
        return name

    def quant(self, x: str, bits: int, scale: float = 1.0, signed: int = 1, narrow: int = 0) -> str:
        if bits == 1:
            return self.node("BipolarQuant", [x, self.constant(scale)], DOMAIN)
        operands = [x, self.constant(scale), self.constant(0), self.constant(bits)]
        return self.node("Quant", operands, DOMAIN, signed=signed, narrow=narrow, rounding_mode="ROUND")

    def layer(self, inputs: int, outputs: int, bits: int, **quant: Any) -> None:
        weight = self.quant(self.constant(self.rng.normal(0, 0.6, (outputs, inputs))), bits, **quant)
        self.x = self.node("MatMul", [self.x, self.node("Transpose", [weight], perm=[1, 0])])

    def norm(self, channels: int, spread: float) -> None:
        factor = self.rng.choice([-1, 1], channels) * self.rng.uniform(0.5, 2, channels)
        values = [factor, self.rng.normal(0, 0.5, channels), self.rng.normal(0, 1, channels), np.full(channels, spread)]
        self.x = self.node("BatchNormalization", [self.x, *map(self.constant, values)], epsilon=1e-5)

    def bytes(self, classes: int) -> bytes:
        source = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 4, 5])
        result = helper.make_tensor_value_info(self.x, TensorProto.FLOAT, [1, classes])
        held = [numpy_helper.from_array(value, name) for name, value in self.held.items()]
        graph = helper.make_graph(self.nodes, "g", [source], [result], held)
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid(DOMAIN, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def mixed(seed: int) -> bytes:
    """Activations of 2, 4 (unsigned, three bits' worth) and 1 bits; weights with zeros and without."""
    m = Model(seed)
    m.x = m.node("Sub", [m.node("Mul", [m.x, m.constant(2)]), m.constant([1])])
    m.x = m.quant(m.x, 2, narrow=1)
    m.layer(20, 30, 2, scale=0.5)
    m.norm(30, 9)
    m.x = m.quant(m.x, 3, scale=0.25, signed=0)
    m.layer(30, 17, 1)
    m.norm(17, 4)
    m.x = m.quant(m.x, 1)
    m.layer(17, 6, 2, narrow=1)
    m.x = m.node("Add", [m.node("Mul", [m.x, m.constant([0.3])]), m.constant([-1.5])])
    return m.bytes(6)


def executed(content: bytes, images: np.ndarray) -> np.ndarray:
    """Logits of that format's own executor for images ``[n, H, W, 1]`` of bytes."""
    wrapper = pytest.importorskip("qonnx.core.modelwrapper", reason="needs the package qonnx")
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    model = wrapper.ModelWrapper(onnx.load_model_from_string(content)).transform(InferShapes())
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for image in images:
            x = image.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
            (logits,) = execute_onnx(model, {model.graph.input[0].name: x}).values()
            found.append(np.ravel(logits))
    return np.stack(found)


def real_logits(net: Network, images: np.ndarray) -> np.ndarray:
    scale, offset = (net.provenance[name] for name in ("logit_scale", "logit_offset"))
    return np.asarray(evaluation.evaluate(net, images) * scale + offset)


def test_logits_are_the_executors(tmp_path, seed):
    (tmp_path / "a.onnx").write_bytes(mixed(seed))
    net = read_qonnx(tmp_path / "a.onnx")
    assert {net.tensors[layer.input].patterns != () for layer in net.layers[1:]} == {True}
    images = np.random.default_rng(seed).integers(0, 256, (8, 4, 5, 1)).astype(np.uint8)
    assert np.abs(real_logits(net, images) - executed(mixed(seed), images)).max() < 1e-5
    assert np.array_equal(evaluation.evaluate(net, images), reference.evaluate(net, images))


def test_even_weights_are_sums_of_odd_ones():
    weight = np.array([[-3, -2, -1, 0, 1, 2, 3]])
    first, second = odd_parts(weight, 2)
    assert (first + second == 2 * weight).all() and (first % 2 == 1).all() and np.abs([first, second]).max() == 3
    assert len(odd_parts(np.array([[-1, 1, 3]]), 2)) == 1
    with pytest.raises(SysmolError, match="weights of up to 4 on activations of 2 bits"):
        odd_parts(np.array([[4]]), 2)


def test_every_sum_has_its_code(seed):
    rng = np.random.default_rng(seed)
    sums = np.arange(-100, 101) * 4
    slopes, offsets = rng.normal(0, 0.05, (40, 1)), rng.normal(2, 2, (40, 1))
    codes = np.clip(np.floor(sums * slopes + offsets), 0, 3).astype(np.int64)
    M, B, shift = integer_steps(sums, codes, 1 << 12)
    found = np.clip((sums * M[:, None] + B[:, None]) >> shift, 0, codes.max())
    assert np.array_equal(found, codes)
    with pytest.raises(SysmolError, match="not monotone"):
        integer_steps(sums, (sums % 8 == 0).astype(np.int64)[None], 1 << 12)


@needs_models
@pytest.mark.parametrize("name", ["1w1a", "2w2a"])
def test_finns_classifiers(name, seed):
    file = MODELS / f"finn_tfc_{name}.qonnx.onnx"
    images = np.random.default_rng(seed).integers(0, 256, (20, 28, 28, 1)).astype(np.uint8)
    net = read_qonnx(file)
    assert np.abs(real_logits(net, images) - executed(file.read_bytes(), images)).max() < 1e-5


@needs_models
@pytest.mark.slow
@pytest.mark.parametrize(("name", "published"), [("1w1a", 0.9317), ("2w2a", 0.9660)])
def test_accuracy_on_mnist(name, published):
    from sysmol.train.frontend.data import load as load_data

    data, file = load_data("mnist"), MODELS / f"finn_tfc_{name}.qonnx.onnx"
    net = read_qonnx(file)
    assert abs(evaluation.accuracy(net, data.test_images, data.test_labels) - published) < 0.003
    some = data.test_images[:300]
    assert np.abs(real_logits(net, some) - executed(file.read_bytes(), some)).max() < 1e-5


def test_damaged_files_end_in_one_line(tmp_path, seed):
    content, rng = mixed(seed), np.random.default_rng(seed)
    for broken in damaged(rng, content, 30):
        (tmp_path / "b.onnx").write_bytes(broken)
        try:
            read_qonnx(tmp_path / "b.onnx")
        except SysmolError as error:
            assert "\n" not in str(error)


def test_command(run, tmp_path, seed):
    (tmp_path / "a.onnx").write_bytes(mixed(seed))
    out = tmp_path / "a.network.safetensors"
    status, said, wrong = run("import", tmp_path / "a.onnx", "--out", out)
    assert (status, wrong) == (0, "") and "linear1a" in said and str(out) in said
    assert load(out).classes == 6
    status, said, wrong = run("import", tmp_path / "a.onnx")
    assert status == 2 and wrong.count("\n") == 1 and "qonnx.custom_op.general.Quant" in wrong
