"""TensorFlow Lite files: the same logits as independent interpreters, the integers of 8-bit files, damaged files."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sysmol.errors import SysmolError
from sysmol.train import prepare
from sysmol.train.frontend.data import load
from sysmol.train.frontend.equivalence import DROPPED
from sysmol.train.frontend.readers import Imported, read_model
from sysmol.train.frontend.readers.imported import IntegerLayer
from sysmol.train.quantise import integer
from sysmol.train.quantise.export import export

tflite = pytest.importorskip("tflite", reason="needs the extra onnx: pip install 'sysmol[onnx]'")

from damage import read_damaged  # noqa: E402
from litert import LiteRT  # noqa: E402
from tflite_arithmetic import logits as plain_logits  # noqa: E402
from tflite_files import RELU, SAME, File, everything  # noqa: E402

MODELS = Path(os.environ.get("SYSMOL_DATA", "/nonexistent")) / "models"
needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason="needs MLPerf Tiny's files in $SYSMOL_DATA/models")
INPUTS = 100


def planes(inputs: np.ndarray) -> torch.Tensor:
    """``[n, H, W, C]`` as ``[n, C, H, W]``."""
    return torch.from_numpy(np.asarray(inputs, np.float32)).permute(0, 3, 1, 2)


@torch.no_grad()
def module_logits(network: Imported, inputs: np.ndarray) -> np.ndarray:
    """Logits of the module prepared in full precision: the units, without a softmax at the end."""
    x = network.normalised(planes(inputs))
    return np.asarray(prepare(network.module, x[:8], policy="fp32").eval()(x))


def pixels(rng: np.random.Generator, network: Imported, count: int) -> np.ndarray:
    channels, height, width = network.shape
    return rng.integers(0, 256, (count, height, width, channels)).astype(np.float32)


def test_every_operator(tmp_path, seed):
    content = everything(seed)
    (tmp_path / "all.tflite").write_bytes(content)
    network = read_model(tmp_path / "all.tflite")
    assert {step.operator for step in network.steps} >= {"CONV_2D", "PAD", "CONCATENATION", "MEAN", "MAX_POOL_2D"}
    assert network.normalisation.scale == pytest.approx((0.02, 0.03, 0.01))
    assert network.normalisation.mean == pytest.approx((50, 100 / 3, 100))
    inputs, interpreter = pixels(np.random.default_rng(seed), network, 10), LiteRT(content)
    wanted = np.stack([interpreter.run(x) for x in inputs])
    with torch.no_grad():
        found = network.module(network.normalised(planes(inputs)))
    assert np.abs(found.numpy() - wanted).max() < 1e-5
    assert network.graph().dropped == "softmax"


def test_vectors_are_images_of_one_pixel(tmp_path, seed):
    rng, f = np.random.default_rng(seed), File()
    x = f.operator("MUL", [f.tensor((1, 7)), f.constant(rng.uniform(0.01, 0.02, 7))], (1, 7), "MulOptions")
    for inputs, outputs in ((7, 9), (9, 4)):
        operands = [x, f.constant(rng.normal(size=(outputs, inputs))), f.constant(rng.normal(size=outputs))]
        x = f.operator("FULLY_CONNECTED", operands, (1, outputs), "FullyConnectedOptions")
    (tmp_path / "a.tflite").write_bytes(content := f.bytes())
    network, interpreter = read_model(tmp_path / "a.tflite"), LiteRT(content)
    inputs = pixels(rng, network, 10)
    assert network.shape == (7, 1, 1) and len(set(network.normalisation.scale)) == 7
    wanted = np.stack([interpreter.run(x[0, 0]) for x in inputs])
    assert np.abs(module_logits(network, inputs) - wanted).max() < 1e-4


def test_the_module_learns(tmp_path, seed):
    (tmp_path / "all.tflite").write_bytes(everything(seed))
    network = read_model(tmp_path / "all.tflite")
    x = network.normalised(planes(pixels(np.random.default_rng(seed), network, 4)))
    prepared = prepare(network.module, x, policy="mixed")
    nn.functional.cross_entropy(prepared(x), torch.tensor([0, 1, 2, 3])).backward()
    gradients = [layer.weight.grad for layer in prepared.convolutions.children()]
    assert gradients and all(g is not None and g.isfinite().all() and g.any() for g in gradients)


def one_convolution(**fields: int) -> File:
    """A convolution of images of 4 x 4 x 2 to one channel, with these options."""
    f = File()
    x = f.tensor((1, 4, 4, 2))
    options = {"Padding": SAME, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1} | fields
    weights = [f.constant(np.ones((1, 3, 3, 2))), f.constant([0.0])]
    f.operator("CONV_2D", [x, *weights], (1, 4, 4, 1), "Conv2DOptions", **options)
    return f


def refusal(tmp_path: Path, content: bytes) -> str:
    (tmp_path / "a.tflite").write_bytes(content)
    with pytest.raises(SysmolError) as caught:
        read_model(tmp_path / "a.tflite").table()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_not_understood_is_named(tmp_path):
    f = one_convolution()
    f.operator("TANH", [f.last], (1, 4, 4, 1))
    assert "TANH 'tensor4' is not supported: supported are CONV_2D" in refusal(tmp_path, f.bytes())
    assert "activation function 4" in refusal(tmp_path, one_convolution(FusedActivationFunction=4).bytes())
    assert "stride [0, 1]" in refusal(tmp_path, one_convolution(StrideH=0).bytes())
    assert "has shape [1, 4, 4] in the file" in refusal(tmp_path, one_convolution(StrideW=2).bytes())
    f = one_convolution(FusedActivationFunction=RELU)
    pool = {"StrideH": 1, "StrideW": 1, "FilterHeight": 3, "FilterWidth": 3, "Padding": SAME}
    f.operator("AVERAGE_POOL_2D", [f.last], (1, 4, 4, 1), "Pool2DOptions", **pool)
    assert "AVERAGE_POOL_2D 'tensor4': an average over windows" in refusal(tmp_path, f.bytes())
    assert "is no TensorFlow Lite file" in refusal(tmp_path, b"something else altogether")
    assert "must end in logits" in refusal(tmp_path, one_convolution().bytes())


def test_sizes_are_checked_before_memory_is_taken(tmp_path):
    f = one_convolution()
    huge = f.constant([[0, 0], [1 << 30, 1 << 30], [1 << 30, 1 << 30], [0, 0]], np.int32)
    f.operator("PAD", [f.last, huge], (1, 4, 4, 1), "PadOptions")
    assert "larger than" in refusal(tmp_path, f.bytes())
    assert "larger than" in refusal(tmp_path, one_convolution(DilationHFactor=1 << 29).bytes())


def test_damaged_files(tmp_path, seed):
    """Each ends in one line or, where the damage does no harm, in a network; memory stays bounded."""
    rng = np.random.default_rng(seed)
    f = one_convolution(FusedActivationFunction=RELU)
    x = f.operator("RESHAPE", [f.last, f.constant([1, 16], np.int32)], (1, 16), "ReshapeOptions")
    f.operator("FULLY_CONNECTED", [x, f.constant(rng.normal(size=(3, 16)))], (1, 3), "FullyConnectedOptions")
    read = read_damaged(rng, f.bytes(), 200, tmp_path / "b.tflite", lambda path: read_model(path).table())
    assert 0 < read < 150


@needs_models
@pytest.mark.parametrize("name", ["resnet8", pytest.param("resnet8_large", marks=pytest.mark.slow)])
def test_float_files_of_mlperf_tiny(name, seed):
    file = MODELS / f"mlperf_tiny_{name}_fp32.tflite"
    network, interpreter = read_model(file), LiteRT(file.read_bytes())
    inputs = pixels(np.random.default_rng(seed), network, INPUTS)
    wanted = []
    for x in inputs:
        interpreter.run(x)
        wanted.append(interpreter.tensor(interpreter.result["index"] - 1)[0])
    assert np.abs(module_logits(network, inputs) - np.stack(wanted)).max() < 1e-4


@needs_models
def test_the_keyword_spotter(seed):
    """Its 'fp32' file has weights of 8 bits in five layers."""
    file = MODELS / "mlperf_tiny_kws_fp32.tflite"
    network = read_model(file)
    inputs = np.random.default_rng(seed).normal(0, 20, (INPUTS, 49, 10, 1)).astype(np.float32)
    wanted = np.stack([plain_logits(file.read_bytes(), x) for x in inputs])
    assert np.abs(module_logits(network, inputs) - wanted).max() < 1e-4


def accumulators(layer: IntegerLayer, module: nn.Module, x: np.ndarray, around: Any) -> np.ndarray:
    """Sums of a layer's integers for its int8 input ``[H, W, C]``, padded as ``around`` says: int64 ``[K, OH, OW]``."""
    shifted = torch.from_numpy(np.pad(x.astype(np.float64) - layer.input.zero_point, around))
    assert layer.bias is not None
    weight, bias = (torch.from_numpy(each.astype(np.float64)) for each in (layer.weight, layer.bias))
    if isinstance(module, nn.Linear):
        return nn.functional.linear(shifted.reshape(1, -1), weight, bias).long().numpy().reshape(-1, 1, 1)
    assert isinstance(module, nn.Conv2d) and not isinstance(module.padding, str)
    image, stride = shifted.permute(2, 0, 1)[None], module.stride
    found = nn.functional.conv2d(image, weight, bias, stride, module.padding, 1, module.groups)[0]
    return found.long().numpy()


def requantised(acc: np.ndarray, factor: np.ndarray, once: bool) -> np.ndarray:
    """The file's own fixed-point product, with factors of 31 bits, as the interpreter's plain kernels round it: to
    whole numbers, or not ``once`` but to 2**-31 before."""
    mantissa, exponent = np.frexp(factor.reshape(-1, 1, 1))
    product = acc * np.round(mantissa * 2**31).astype(np.int64)
    if once:
        shift = 31 - exponent.astype(np.int64)
        return (product + (1 << (shift - 1))) >> shift
    high = np.trunc((product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))) / 2.0**31).astype(np.int64)
    mask = (1 << -exponent.astype(np.int64)) - 1
    return (high >> -exponent) + ((high & mask) > (mask >> 1) + (high < 0))


@needs_models
@pytest.mark.parametrize("name", ["resnet8", "kws", pytest.param("resnet8_large", marks=pytest.mark.slow)])
def test_integers_of_8_bit_files(name, seed):
    """Every layer, fed with the file's own int8 input, gives the file's own int8 output."""
    file = MODELS / f"mlperf_tiny_{name}_int8.tflite"
    network, interpreter = read_model(file), LiteRT(file.read_bytes(), reference=True)
    interpreter.run(np.random.default_rng(seed).integers(-128, 128, interpreter.source["shape"][1:]).astype(np.int8))
    assert network.input_grid is not None and len(network.integers) == len(network.graph().convolutions)
    operators = weighted_operators(file.read_bytes())
    assert len(operators) == len(network.integers)
    for (reads, writes), (label, layer) in zip(operators, network.integers.items(), strict=True):
        x, wanted = interpreter.tensor(reads)[0], interpreter.tensor(writes)[0]
        acc = accumulators(layer, network.module.get_submodule(label), x, padding_before(network, label))
        once = isinstance(network.module.get_submodule(label), nn.Linear)
        found = requantised(acc, layer.input.scale * layer.weight_scale / layer.output.scale, once)
        low = layer.output.zero_point if relu_behind(network, label) else -128
        found = np.clip(found + layer.output.zero_point, low, 127)
        wanted = wanted.reshape(-1, 1, 1) if wanted.ndim == 1 else wanted.transpose(2, 0, 1)
        assert np.array_equal(found, wanted), label


def weighted_operators(content: bytes) -> list[tuple[int, int]]:
    """Input and output of every convolution and linear layer."""
    model = tflite.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    found = []
    for number in range(graph.OperatorsLength()):
        op = graph.Operators(number)
        code = model.OperatorCodes(op.OpcodeIndex())
        if tflite.opcode2name(code.BuiltinCode()) in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            found.append((int(op.InputsAsNumpy()[0]), int(op.OutputsAsNumpy()[0])))
    return found


def padding_before(network: Imported, label: str) -> Any:
    """Padding in front of a layer that its own cannot hold, as NumPy's ``pad`` takes it."""
    for node in network.module.graph.nodes:
        if node.target == label and node.args[0].op == "call_function" and node.args[0].target is nn.functional.pad:
            left, right, top, bottom = node.args[0].args[1]
            return (top, bottom), (left, right), (0, 0)
    return 0


def relu_behind(network: Imported, label: str) -> bool:
    node = next(node for node in network.module.graph.nodes if node.target == label)
    return any(str(user.target).startswith("relu") for user in node.users)


def test_from_a_file_to_a_network_file(tmp_path, seed):
    """Without training, in 8 bits: the network file takes pixels, and its logits are about the file's."""
    (tmp_path / "all.tflite").write_bytes(everything(seed))
    network = read_model(tmp_path / "all.tflite")
    inputs = pixels(np.random.default_rng(seed), network, 64)
    x = network.normalised(planes(inputs))
    prepared = prepare(network.module, x, policy="int8", normalisation=network.normalisation).eval()
    prepared.freeze()
    prepared.calibrate(x)
    net = export(prepared, "imported", x)
    assert net.normalisation == network.normalisation
    found = integer.evaluate(net, inputs.astype(np.uint8)) * net.provenance["logit_scale"]
    wanted = module_logits(network, inputs)
    assert np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()


@needs_models
@pytest.mark.slow
@pytest.mark.parametrize(("name", "published"), [("resnet8", 0.764), ("resnet8_large", 0.813)])
def test_accuracy_on_cifar10(name, published):
    data = load("cifar10")
    images, labels = np.asarray(data.test_images)[:4000], np.asarray(data.test_labels)[:4000]
    network = read_model(MODELS / f"mlperf_tiny_{name}_fp32.tflite")
    with torch.no_grad():
        found = torch.cat([network.module(planes(images[i : i + 250])) for i in range(0, 4000, 250)])
    assert abs(float((found.argmax(1).numpy() == labels).mean()) - published) < 0.001


def test_softmax_is_the_files(tmp_path, seed):
    """The module gives what the file gives; the units leave the softmax out."""
    (tmp_path / "all.tflite").write_bytes(everything(seed))
    network = read_model(tmp_path / "all.tflite")
    inputs = pixels(np.random.default_rng(seed), network, 3)
    with torch.no_grad():
        whole = network.module(network.normalised(planes(inputs)))
    units = torch.from_numpy(module_logits(network, inputs))
    assert torch.allclose(DROPPED["softmax"](units), whole, atol=1e-6)


def test_command(run, tmp_path, seed):
    (tmp_path / "all.tflite").write_bytes(everything(seed))
    status, said, wrong = run("import", tmp_path / "all.tflite")
    assert (status, wrong) == (0, "")
    assert "DEPTHWISE_CONV_2D" in said and "folded" in said and "mean 50 33.3333 100" in said and "5 logits" in said
    (tmp_path / "cut.tflite").write_bytes(everything(seed)[:-100])
    status, said, wrong = run("import", tmp_path / "cut.tflite")
    assert status in (0, 2) and wrong.count("\n") == (1 if status else 0)
    status, said, wrong = run("import", tmp_path / "none.tflite")
    assert status == 2 and wrong.count("\n") == 1
