"""Exported networks give the reference's logits in onnxruntime, and a fault in one is seen."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from kernel_networks import all_networks

from sysmol.errors import SysmolError
from sysmol.files import PACKAGE
from sysmol.interchange import evaluation, extras
from sysmol.interchange.onnx_out import FLOAT_TOLERANCE, LAYERS, to_onnx
from sysmol.interchange.onnx_sequences import SEQUENCES
from sysmol.network import INT32_MAX, OPERATIONS, Layer, Network, Output, Tensor, load, save, validate
from sysmol.network.builder import Builder, any_network
from sysmol.network.model import HIGH, MULTIPLIES
from sysmol.network.reference import evaluate

NAMES = list(all_networks(0))
COUNT = int(os.environ.get("SYSMOL_TEST_NETWORKS", "20"))
"""Random networks: `make test-onnx` takes more."""

COMMITTED = sorted((PACKAGE.parent / "results" / "networks").rglob("*.safetensors"))
"""Trained networks, as far as there are any."""


def networks(seed: int, count: int) -> Iterator[tuple[str, Network]]:
    """So many networks with what they were made from: random in everything, and made to reach all kinds of layers."""
    for number in range(count):
        each, name = seed + number, NAMES[number // 2 % len(NAMES)]
        yield (f"{name} {each}", all_networks(each)[name]()) if number % 2 else (f"any {each}", any_network(each))


def differences(net: Network, model: onnx.ModelProto) -> int:
    """Logits of the network's samples that the model gives otherwise."""
    assert net.samples is not None
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: net.samples.images})
    wanted = net.samples.logits
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    if net.is_float:
        limit = FLOAT_TOLERANCE * np.abs(wanted).max(axis=1, keepdims=True)
        return int((np.abs(found - wanted) > limit).sum())
    return int((found != wanted).sum())


def test_every_operation_is_written():
    assert LAYERS.keys() == OPERATIONS.keys()


def test_networks_of_all_layer_kinds(seed):
    operations, products = set(), set()
    for name, net in networks(seed, COUNT):
        operations |= {layer.op for layer in net.layers}
        products |= {out.multiply for layer in net.layers for out in layer.outputs}
        assert differences(net, to_onnx(net)) == 0, name
    assert operations >= OPERATIONS.keys() - {"flatten", *SEQUENCES} and products == set(MULTIPLIES)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.name)
def test_committed_networks(path: Path, seed: int):
    """On one random image, which the reference takes seconds for, and on those of the file."""
    net = load(path)
    image = np.random.default_rng(seed).integers(0, 256, (1, *net.tensors[net.input].shape)).astype(np.uint8)
    found, wanted = evaluation.evaluate(net, image), evaluate(net, image)
    assert (
        np.allclose(found, wanted, atol=FLOAT_TOLERANCE * np.abs(wanted).max())
        if net.is_float
        else (found == wanted).all()
    )
    assert net.samples is None or differences(net, to_onnx(net)) == 0


def test_flatten_and_high_products(seed):
    rng = np.random.default_rng(seed)
    b = Builder(rng, 4, 3, 2, "flat", high=1.0)
    (x,) = b.flatten("image", [[4] * 24])
    x, wide = b.layer("conv2d", x, [[2] * 20, "s16"], 20)
    (x,) = b.layer("conv2d", x, [[4] * 20], 20, residual=wide)
    b.classifier(x)
    net = b.finish(5)
    assert all(out.multiply == HIGH for layer in net.layers for out in layer.outputs)
    assert differences(net, to_onnx(net)) == 0


def test_file_versions(tmp_path, seed):
    """What is exported is what a file holds."""
    net = all_networks(seed)["grouped"]()
    again = load(save(tmp_path / "a.network.safetensors", net, deploy=True))
    again.samples = net.samples
    assert differences(again, to_onnx(again)) == 0


@pytest.mark.parametrize("constant", ["weight", ".M", ".B", ".R", ".unit", ".limits", ".middle"])
def test_faults_are_seen(constant, seed):
    """The same comparison, with one kind of constant changed in the exported model."""
    net = all_networks(seed)["ragged"]()
    model = to_onnx(net)
    changed = 0
    for initialiser in model.graph.initializer:
        if initialiser.name.endswith(constant):
            array = onnx.numpy_helper.to_array(initialiser)
            step = np.array(max(1, int(np.abs(array.astype(np.int64)).max()) // 4), dtype=array.dtype)
            initialiser.CopyFrom(onnx.numpy_helper.from_array(array + step, initialiser.name))
            changed += 1
    assert changed and differences(net, model) > 0


def wide_network(seed: int) -> Network:
    """Sums beyond 2**24, 64-bit requantisation, a clamp that cuts, maxima of 32-bit numbers."""
    b = Builder(np.random.default_rng(seed), 5, 5, 3, "wide")
    (x,) = b.layer("rescale", "image", ["s8"])
    (x,) = b.layer("conv2d", x, ["s8"], 900, (3, 3), padding=(1, 1, 1, 1))
    wide, x = b.layer("conv2d", x, ["s32", "s16"], 12, (3, 3), padding=(1, 1, 1, 1))
    (wide,) = b.layer("maxpool", wide, [], kernel=(2, 2), padding=(1, 0, 0, 1))
    (y,) = b.layer("avgpool", x, ["s8"], kernel=(2, 3), stride=(2, 1), padding=(1, 0, 0, 2))
    b.classifier(y)
    return b.finish()


def test_sums_beyond_what_floats_hold(seed):
    net = wide_network(seed)
    model = to_onnx(net)
    operators = {node.op_type for node in model.graph.node}
    assert {"ConvInteger", "Conv"} <= operators
    assert differences(net, model) == 0


def test_extreme_sums_are_shifted_exactly():
    """Every remainder and both signs, at the ends of 32 bits."""
    for shift, low, high in itertools.product((1, 7, 16), (-32768, -3, 0), (5, 32767)):
        tensors = {
            "image": Tensor("image", 1, 1, 2, "u8"),
            "x": Tensor("x", 1, 1, 2, "s16"),
            "y": Tensor("y", 1, 1, 2, "s32"),
        }
        M = np.array([8000000, -8000000])
        B = np.array([[[77, -77]]])
        first = Layer("a", "rescale", "image", [Output("x", B, low, high, M // 2, None, shift)])
        last = Layer("b", "rescale", "x", [Output("y", B, -(2**31), INT32_MAX, np.array([1, 1]), None, 0)])
        net = Network("extreme", tensors, [first, last], "image", "y")
        validate(net)
        images = np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1).repeat(2, 3)
        assert (evaluation.evaluate(net, images) == evaluate(net, images)).all(), (shift, low, high)


def test_evaluation_in_batches(seed):
    net = all_networks(seed)["random"]()
    image = net.tensors[net.input]
    images = np.random.default_rng(seed).integers(0, 256, (7, *image.shape)).astype(np.uint8)
    wanted = evaluate(net, images)
    assert (evaluation.evaluate(net, images, batch=3) == wanted).all()
    assert evaluation.evaluate(net, images[:0]).shape == (0, net.classes)
    assert evaluation.accuracy(net, images, wanted.argmax(1)) == 1.0


def test_without_the_extra():
    with pytest.raises(SysmolError, match=r"needs the package no_such_package: pip install 'sysmol\[onnx\]'"):
        extras.extra("no_such_package", "this")


def test_command(run, tmp_path, seed):
    net = all_networks(seed)["vectors"]()
    file, out = save(tmp_path / "a.network.safetensors", net), tmp_path / "a.onnx"
    status, said, wrong = run("export", file, "--onnx", out)
    assert (status, wrong) == (0, "") and str(out) in said
    assert differences(net, onnx.load(out)) == 0
    status, said, wrong = run("export", file)
    assert status == 2 and wrong.count("\n") == 1 and "--onnx" in wrong
    status, said, wrong = run("export", out, "--onnx", tmp_path / "b.onnx")
    assert status == 2 and wrong.count("\n") == 1 and not (tmp_path / "b.onnx").exists()
