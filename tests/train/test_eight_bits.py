"""8-bit TensorFlow Lite files as network files: the file's own sums, its classes, the same in C."""

import os
from pathlib import Path

import numpy as np
import pytest

from sysmol.errors import SysmolError
from sysmol.interchange import evaluation
from sysmol.network import Layer, Network, load, operation, reference

pytest.importorskip("tflite", reason="needs the extra onnx: pip install 'sysmol[onnx]'")

from litert import LiteRT
from tflite_files import File, eight_bits, everything

from sysmol.train.frontend.readers.tflite_integers import IntegerFile, Integers
from sysmol.train.quantise.eight_bits import factors, import_eight_bits

MODELS = Path(os.environ.get("SYSMOL_DATA", "/nonexistent")) / "models"
needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason="needs MLPerf Tiny's files in $SYSMOL_DATA/models")
NEAR = 2.0**-10
"""In steps of the output: a result this near to the middle of two of them may be either."""


def stored(net: Network, layer: Layer, interpreter: LiteRT) -> list[np.ndarray]:
    """What the interpreter holds of what a layer reads, int64 ``[H, W, C]``."""
    shapes = [net.tensors[name].shape for name in layer.reads]
    return [
        interpreter.tensor(int(name[1:])).astype(np.int64).reshape(shape)
        for name, shape in zip(layer.reads, shapes, strict=True)
    ]


def sums_of_file(found: Integers, x: np.ndarray) -> np.ndarray:
    """``sum of w * (q - zero_point)`` tap by tap, padded with the zero point: int64 ``[OH, OW, K]``."""
    assert found.weight is not None
    top, left, bottom, right = found.padding
    padded = np.pad(x - found.inputs[0].grid.zero_point, ((top, bottom), (left, right), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, found.kernel, (0, 1))
    windows = windows[:: found.stride[0], :: found.stride[1]]
    weight = found.weight.astype(np.int64)
    if weight.ndim == 3:
        return np.einsum("hwcij,ijc->hwc", windows, weight)
    parts = [
        np.einsum("hwcij,kijc->hwk", some, own)
        for some, own in zip(np.split(windows, found.groups, 2), np.split(weight, found.groups), strict=True)
    ]
    return np.concatenate(parts, 2)


def sums_here(net: Network, layer: Layer, found: Integers, x: np.ndarray) -> np.ndarray:
    """The network file's accumulators, without what taps inside the image add by the zero point alone."""
    acc = operation(layer).evaluate(net, layer, [x])
    zeros = np.full_like(x, found.inputs[0].grid.zero_point)
    return np.asarray(acc - operation(layer).evaluate(net, layer, [zeros]))


def result(net: Network, layer: Layer, x: np.ndarray, residual: np.ndarray | None = None) -> np.ndarray:
    """What the reference makes of a layer's inputs: int64 ``[OH, OW, K]``."""
    acc = operation(layer).evaluate(net, layer, [x])
    return acc if not layer.outputs else reference.requantise(net, layer, layer.outputs[0], acc, residual)


def real_result(net: Network, layer: Layer, found: Integers, inputs: list[np.ndarray]) -> np.ndarray:
    """What the file's formulas give before they round, in steps of the output, float64 ``[OH, OW, K]``."""
    grid, out = found.inputs[0].grid, found.output.grid
    if found.weight is not None:
        assert found.weight_scale is not None
        real = (sums_of_file(found, inputs[0]) + found.bias) * (grid.scale * found.weight_scale)
    else:
        mean = operation(layer).evaluate(net, layer, inputs[:1]) / (found.kernel[0] * found.kernel[1])
        real = (mean - grid.zero_point) * grid.scale
    if len(inputs) == 2:
        other = found.inputs[1].grid
        real = real + (inputs[1] - other.zero_point) * other.scale
    return np.asarray(real / out.scale + out.zero_point)


def check_layers(net: Network, file: IntegerFile, interpreter: LiteRT, plain: bool) -> None:
    """Every layer, fed with the file's own int8 input: equal sums, and the file's own results.

    Those may differ, by one step, where they lie in the middle of two: of averages, of means and, by the interpreter's
    ``plain`` kernels, of layers with weights, as near to it as the unit that the file rounds to at first.
    """
    layers = {layer.name: layer for layer in net.layers}
    assert len(layers) == len(file.operators) + 1
    for found in file.operators:
        layer = layers[found.name]
        inputs = stored(net, layer, interpreter)
        if found.weight is not None:
            assert np.array_equal(sums_here(net, layer, found, inputs[0]), sums_of_file(found, inputs[0])), found.name
        ours = result(net, layer, *inputs)
        wanted = interpreter.tensor(found.output.tensor).astype(np.int64).reshape(ours.shape)
        if found.kind == "MAX_POOL_2D":
            assert np.array_equal(ours, wanted)
            continue
        early = np.abs(factors(found)[1])
        real = real_result(net, layer, found, inputs)
        if found.weight is not None and not plain:
            real, early = real + early, 0 * early
        away = np.abs(real - np.floor(real) - 0.5)
        assert (np.abs(ours - wanted) <= (away <= early + NEAR)).all(), found.name


def images(rng: np.random.Generator, file: IntegerFile, count: int) -> np.ndarray:
    return rng.integers(0, 256, (count, *file.input.shape)).astype(np.uint8)


def int8(image: np.ndarray) -> np.ndarray:
    """What the file reads of bytes."""
    return (image.astype(np.int16) - 128).astype(np.int8)


@pytest.mark.parametrize("plain", [False, True])
def test_every_operator(tmp_path, seed, plain):
    content = eight_bits(seed)
    (tmp_path / "a.tflite").write_bytes(content)
    net, file = import_eight_bits(tmp_path / "a.tflite")
    assert {each.kind for each in file.operators} == {
        "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "RELU",
    }  # fmt: skip
    interpreter = LiteRT(content, reference=plain)
    rng = np.random.default_rng(seed)
    for image in images(rng, file, 5):
        interpreter.run(int8(image))
        check_layers(net, file, interpreter, plain)
    held = reference.run(net, image)
    assert np.array_equal(held[net.layers[0].targets[0]], int8(image))
    assert np.array_equal(held[net.output].reshape(-1), evaluation.evaluate(net, image[None])[0])


def interpreter_logits(interpreter: LiteRT, file: IntegerFile, image: np.ndarray) -> np.ndarray:
    interpreter.run(int8(image))
    return interpreter.tensor(file.output).reshape(-1).astype(np.int64)


def test_real_numbers_are_no_integers(tmp_path):
    (tmp_path / "a.tflite").write_bytes(everything(0))
    with pytest.raises(SysmolError, match=r"no int8 activation|is not computed on int8") as caught:
        import_eight_bits(tmp_path / "a.tflite")
    assert "\n" not in str(caught.value)
    f = File()
    x = f.tensor((1, 4, 4, 2), None, 0.1)
    f.operator("MUL", [x, f.constant([2.0])], (1, 4, 4, 2), "MulOptions", (0.2, 0))
    (tmp_path / "a.tflite").write_bytes(f.bytes())
    with pytest.raises(SysmolError, match=r"MUL 'tensor2'.*is not computed on int8"):
        import_eight_bits(tmp_path / "a.tflite")


@needs_models
@pytest.mark.parametrize("name", ["resnet8", "kws", pytest.param("resnet8_large", marks=pytest.mark.slow)])
def test_layers_of_mlperf_tiny(name, seed):
    path = MODELS / f"mlperf_tiny_{name}_int8.tflite"
    net, file = import_eight_bits(path)
    for plain in (False, True):
        interpreter = LiteRT(path.read_bytes(), reference=plain)
        interpreter.run(int8(images(np.random.default_rng(seed), file, 1)[0]))
        check_layers(net, file, interpreter, plain)


@needs_models
@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet8", "kws", "resnet8_large"])
def test_classes_of_mlperf_tiny(name, seed):
    """The same class on 99% of 1,000 inputs: real images where there are some."""
    path = MODELS / f"mlperf_tiny_{name}_int8.tflite"
    net, file = import_eight_bits(path)
    if name == "kws":
        noise = np.random.default_rng(seed).normal(128 + file.input.grid.zero_point, 30, (1000, *file.input.shape))
        some = np.clip(noise, 0, 255).astype(np.uint8)
    else:
        from sysmol.train.frontend.data import load as load_data

        some = load_data("cifar10").test_images[:1000]
    interpreter = LiteRT(path.read_bytes())
    wanted = np.array([interpreter_logits(interpreter, file, image).argmax() for image in some])
    assert (evaluation.evaluate(net, some).argmax(1) == wanted).mean() >= 0.99


def test_command_and_c(run, tmp_path, seed):
    (tmp_path / "a.tflite").write_bytes(eight_bits(seed))
    path = tmp_path / "a.network.safetensors"
    status, said, wrong = run("import", tmp_path / "a.tflite", "--out", path)
    assert (status, wrong) == (0, "") and "depthwise" in said and "CONV_2D" in said
    samples = load(path).samples
    assert samples is not None and len(samples.images) >= 2
    assert run("compile", path, "--isa", "host", "--out", tmp_path / "bin")[0] == 0
    manifest = next((tmp_path / "bin").glob("*.host.json"))
    status, said, wrong = run("verify", manifest)
    assert (status, wrong) == (0, ""), said
    (tmp_path / "x.txt").write_text("a file")
    status, _, wrong = run("import", tmp_path / "a.tflite", "--out", tmp_path / "x.txt/y")
    assert status == 2 and wrong.count("\n") == 1
