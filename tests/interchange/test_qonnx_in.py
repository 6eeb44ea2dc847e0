"""QONNX models as network files: the logits of that format's own executor."""

import os
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from damage import read_damaged
from qonnx_models import Model, convolutions, executed, linear_layers, vectors

from sysmol.errors import SysmolError
from sysmol.interchange import evaluation
from sysmol.interchange.qonnx_in import import_qonnx, read_qonnx
from sysmol.interchange.qonnx_layers import odd_parts
from sysmol.network import Layer, Network, load, operation, reference
from sysmol.network.file import breakdown
from sysmol.network.operations import Operation
from sysmol.train.frontend.readers import read_model

MODELS = Path(os.environ.get("SYSMOL_DATA", "/nonexistent")) / "models"
needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason="needs FINN's files in $SYSMOL_DATA/models")


def weighted(net: Network) -> list[tuple[Operation, Layer]]:
    """Layers with weights of the model's own, and their operations."""
    own = [layer for layer in net.layers if layer.weight is not None and not layer.name.endswith(".ones")]
    return [(operation(layer), layer) for layer in own]


def real_logits(net: Network, images: np.ndarray) -> np.ndarray:
    scale, offset = (net.provenance[name] for name in ("logit_scale", "logit_offset"))
    return np.asarray(evaluation.evaluate(net, images) * scale + offset)


@pytest.mark.parametrize(
    ("make", "shape"), [(linear_layers, (4, 5, 1)), (vectors, (1, 1, 12)), (convolutions, (9, 8, 3))]
)
def test_logits_are_the_executors(make, shape, tmp_path, seed):
    (tmp_path / "a.onnx").write_bytes(make(seed))
    net = read_qonnx(tmp_path / "a.onnx")
    images = np.random.default_rng(seed).integers(0, 256, (8, *shape)).astype(np.uint8)
    assert np.abs(real_logits(net, images) - executed(make(seed), images)).max() < 1e-5
    assert np.array_equal(evaluation.evaluate(net, images), reference.evaluate(net, images))


def test_convolutions_are_computed_on_codes(tmp_path, seed):
    """All but the one that reads the image and the grouped one; zeros among weights cost one row of sums, or as many
    rows again where channels are apart."""
    (tmp_path / "a.onnx").write_bytes(convolutions(seed))
    net, done = import_qonnx(tmp_path / "a.onnx")
    formats = [net.tensors[x.input].format for x in net.layers if x.weight is not None and ".ones" not in x.name]
    assert formats.count("s8") == 2 and formats.count("smol") == 4
    rows = {x.op: net.tensors[x.targets[0]].channels for x in net.layers if x.name.endswith(".ones")}
    assert rows == {"depthwise": 8, "conv2d": 1}
    assert {each.operator for each in done if each.how == "kept"} == {
        "Conv", "Add", "MaxPool", "GlobalAveragePool", "MatMul",
    }  # fmt: skip
    assert all(each.note for each in done if each.how == "folded")


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_parts_are_odd_numbers_of_twice_the_sum(bits):
    largest = (1 << bits) - 1
    for low, high in ((-(1 << (bits - 1)), (1 << (bits - 1)) - 1), (-(largest - 1), largest - 1), (-1, 1)):
        weight = np.arange(low, high + 1)[None]
        parts = odd_parts(weight, bits)
        if (weight % 2 == 0).any():
            assert len(parts) == 2 and (sum(parts) == 2 * weight).all()
        assert all((part % 2 == 1).all() and np.abs(part).max() <= largest for part in parts)
    assert len(odd_parts(np.array([[-largest, 1, largest]]), bits)) == 1
    assert odd_parts(np.array([[largest + 1]]), bits) == []


def refusal(m: Model, tmp_path: Path) -> str:
    (tmp_path / "a.onnx").write_bytes(m.bytes(3))
    with pytest.raises(SysmolError) as caught:
        read_qonnx(tmp_path / "a.onnx")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_integer_is_refused_by_name(tmp_path):
    m = Model(0, (1, 4, 4))
    m.conv(1, 3, 2)
    assert "Conv 'n1': it reads real numbers" in refusal(m, tmp_path)
    m = Model(0, (1, 4, 4))
    m.x = m.node("Conv", [m.quant(m.x, 4, 2.0**-4, signed=0), m.constant(np.ones((3, 1, 4, 4)))])
    assert "stand behind no Quant node" in refusal(m, tmp_path)
    m = Model(0, (1, 4, 4))
    m.x = m.node("Sigmoid", [m.x])
    assert "Sigmoid 'n0': is not understood" in refusal(m, tmp_path)
    m = Model(0, (1, 4, 4))
    m.x = m.quant(m.x, 9)
    assert "whole numbers of 1 to 8" in refusal(m, tmp_path)


@needs_models
@pytest.mark.parametrize("name", ["1w1a", "2w2a"])
def test_finns_classifiers(name, seed):
    file = MODELS / f"finn_tfc_{name}.qonnx.onnx"
    images = np.random.default_rng(seed).integers(0, 256, (20, 28, 28, 1)).astype(np.uint8)
    net = read_qonnx(file)
    assert np.abs(real_logits(net, images) - executed(file.read_bytes(), images)).max() < 1e-5
    weights = sum(each.weights(net, layer) for each, layer in weighted(net))
    assert sum(breakdown(net).values()) < 1.3 * int(name[0]) * weights / 8


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


def test_a_model_in_real_numbers(tmp_path, seed):
    """What `sysmol quantise` rounds anew: the model's weights, its activations not rounded."""
    m = Model(seed, (2, 6, 5))
    m.conv(2, 4, 4)
    m.x = m.node("Relu", [m.x])
    m.conv(4, 3, 8)
    m.flatten()
    m.linear(6, 3, 1, scale=0.5)
    images = np.random.default_rng(seed).integers(0, 256, (5, 6, 5, 2)).astype(np.uint8)
    exact = executed(m.bytes(3), images)
    (tmp_path / "real.onnx").write_bytes(m.bytes(3))
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    module = read_model(tmp_path / "real.onnx").module
    assert np.abs(module(x).detach().numpy() - exact).max() < 1e-5 * np.abs(exact).max()
    # Activations rounded to 2^-14 are nearly the same; an unsigned grid still cuts off what is below 0.
    m = Model(seed, (2, 6, 5))
    m.conv(2, 4, 4)
    m.x = m.quant(m.x, 24, scale=2.0**-14, signed=0)
    m.conv(4, 3, 8)
    m.flatten()
    m.linear(6, 3, 1, scale=0.5)
    (tmp_path / "rounded.onnx").write_bytes(m.bytes(3))
    imported = read_model(tmp_path / "rounded.onnx")
    (tmp_path / "coarse.onnx").write_bytes(convolutions(seed))
    with pytest.raises(SysmolError, match="activations of 3 bits are too coarse to leave out"):
        read_model(tmp_path / "coarse.onnx")
    quants = [each.how for each in imported.table() if "Quant" in each.operator]
    assert quants == ["folded", "dropped", "folded", "folded"]
    assert np.abs(imported.module(x).detach().numpy() - executed(m.bytes(3), images)).max() < 0.01


@pytest.mark.parametrize("make", [linear_layers, convolutions])
def test_damaged_files_end_in_one_line(make, tmp_path, seed):
    read_damaged(np.random.default_rng(seed), make(seed), 20, tmp_path / "b.onnx", read_qonnx)


@pytest.mark.parametrize("field", ["pads", "strides", "input"])
def test_sizes_that_would_take_hours_are_refused(field, tmp_path):
    """A number of a damaged file decides over the number of border classes, and of pixels."""
    model = onnx.ModelProto.FromString(convolutions(1))
    if field == "input":
        model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 300_000_000
    else:
        found = (each for node in model.graph.node if node.op_type == "Conv" for each in node.attribute)
        next(each for each in found if each.name == field).ints[0] = 300_000_000
    (tmp_path / "b.onnx").write_bytes(model.SerializeToString())
    start = time.process_time()
    try:
        read_qonnx(tmp_path / "b.onnx")
    except SysmolError as error:
        assert "\n" not in str(error)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("field", ["narrow", "signed"])
def test_grids_of_damaged_files(field, tmp_path):
    """``narrow`` of -2^31 made a grid of as many levels: 16 GiB."""
    model = onnx.ModelProto.FromString(convolutions(1))
    found = (each for node in model.graph.node if node.op_type == "Quant" for each in node.attribute)
    next(each for each in found if each.name == field).i = -(2**31)
    (tmp_path / "b.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(SysmolError, match="0 and 1 are understood"):
        read_qonnx(tmp_path / "b.onnx")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e-45, 3e38])
@pytest.mark.filterwarnings("error")
def test_constants_that_are_no_usual_numbers(value, tmp_path):
    """Read or refused; nothing is said beside the one line."""
    model = onnx.ModelProto.FromString(convolutions(1))
    for number, tensor in enumerate(model.graph.initializer):
        held = onnx.numpy_helper.to_array(tensor).copy()
        if held.dtype != np.float32:
            continue
        held.reshape(-1)[0] = value
        changed = onnx.ModelProto.FromString(model.SerializeToString())
        changed.graph.initializer[number].CopyFrom(onnx.numpy_helper.from_array(held, tensor.name))
        (tmp_path / "b.onnx").write_bytes(changed.SerializeToString())
        try:
            read_qonnx(tmp_path / "b.onnx")
        except SysmolError as error:
            assert "\n" not in str(error)


def test_command(run, tmp_path, seed):
    (tmp_path / "a.onnx").write_bytes(linear_layers(seed))
    out = tmp_path / "a.network.safetensors"
    status, said, wrong = run("import", tmp_path / "a.onnx", "--out", out)
    assert (status, wrong) == (0, "") and "matmul" in said and "weights" in said and str(out) in said
    assert load(out).classes == 6
    status, said, wrong = run("import", tmp_path / "a.onnx")
    assert status == 2 and wrong.count("\n") == 1 and "Quant 'n3': activations of 2 bits" in wrong
