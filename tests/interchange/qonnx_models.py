"""QONNX models with random weights, and what that format's own executor makes of them."""

import warnings
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

DOMAIN = "qonnx.custom_op.general"


class Model:
    """Nodes one behind another; ``x`` is the last one's result. ``shape`` is (channels, height, width) of images and
    (channels,) of vectors."""

    def __init__(self, seed: int, shape: tuple[int, ...]) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape = shape
        self.nodes: list[Any] = []
        self.held: dict[str, np.ndarray] = {}
        self.x = "image"

    def node(self, op: str, inputs: list[str], domain: str = "", **options: Any) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], domain=domain, **options))
        return name

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.held)}"
        self.held[name] = np.asarray(values, dtype)
        return name

    def quant(self, x: str, bits: int, scale: Any = 1.0, signed: int = 1, narrow: int = 0) -> str:
        if bits == 1:
            return self.node("BipolarQuant", [x, self.constant(scale)], DOMAIN)
        operands = [x, self.constant(scale), self.constant(0), self.constant(bits)]
        return self.node("Quant", operands, DOMAIN, signed=signed, narrow=narrow, rounding_mode="ROUND")

    def flatten(self) -> None:
        self.x = self.node("Reshape", [self.x, self.constant([1, -1], np.int64)])

    def linear(self, inputs: int, outputs: int, bits: int, **quant: Any) -> None:
        weight = self.quant(self.constant(self.rng.normal(0, 0.6, (outputs, inputs))), bits, **quant)
        self.x = self.node("MatMul", [self.x, self.node("Transpose", [weight], perm=[1, 0])])

    def conv(self, inputs: int, outputs: int, bits: int, kernel: int = 3, **options: Any) -> None:
        """Weights have a scale per output channel."""
        groups = options.get("group", 1)
        shape = (outputs, inputs // groups, kernel, kernel)
        scale = 2.0 ** self.rng.integers(-3, 0, (outputs, 1, 1, 1))
        weight = self.quant(self.constant(self.rng.normal(0, 0.4, shape)), bits, scale)
        bias = self.constant(self.rng.normal(0, 1, outputs))
        self.x = self.node("Conv", [self.x, weight, bias], kernel_shape=[kernel, kernel], **options)

    def norm(self, channels: int, spread: float) -> None:
        factor = self.rng.choice([-1, 1], channels) * self.rng.uniform(0.5, 2, channels)
        values = [factor, self.rng.normal(0, 0.5, channels), self.rng.normal(0, 1, channels), np.full(channels, spread)]
        self.x = self.node("BatchNormalization", [self.x, *map(self.constant, values)], epsilon=1e-5)

    def bytes(self, classes: int) -> bytes:
        source = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, *self.shape])
        result = helper.make_tensor_value_info(self.x, TensorProto.FLOAT, [1, classes])
        held = [numpy_helper.from_array(value, name) for name, value in self.held.items()]
        graph = helper.make_graph(self.nodes, "g", [source], [result], held)
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid(DOMAIN, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def linear_layers(seed: int) -> bytes:
    """Images of 4 x 5; activations of 2, 4 (three bits worth) and 1 bits; weights with zeros and without."""
    m = Model(seed, (1, 4, 5))
    m.flatten()
    m.x = m.node("Sub", [m.node("Mul", [m.x, m.constant(2)]), m.constant([1])])
    m.x = m.quant(m.x, 2, narrow=1)
    m.linear(20, 30, 2, scale=0.5)
    m.norm(30, 9)
    m.x = m.quant(m.x, 3, scale=0.25, signed=0)
    m.linear(30, 17, 1)
    m.norm(17, 4)
    m.x = m.quant(m.x, 1)
    m.linear(17, 6, 2, narrow=1)
    m.x = m.node("Add", [m.node("Mul", [m.x, m.constant([0.3])]), m.constant([-1.5])])
    return m.bytes(6)


def vectors(seed: int) -> bytes:
    """Vectors of 12 numbers as bytes; so many sums in the first layer that not each can be looked at."""
    m = Model(seed, (12,))
    m.x = m.quant(m.x, 8, scale=2.0**-8, signed=0)
    m.linear(12, 1500, 4, scale=0.25)
    m.norm(1500, 1)
    m.x = m.quant(m.node("Relu", [m.x]), 4, scale=0.25, signed=0)
    m.linear(1500, 3, 3)
    return m.bytes(3)


def convolutions(seed: int) -> bytes:
    """Images of 9 x 8 x 3 as bytes; convolutions of 2 to 8 bits with borders and steps, one depthwise, one grouped; a
    maximum, a residual addition, an average, a vector, a linear layer."""
    m = Model(seed, (3, 9, 8))
    m.x = m.quant(m.x, 8, scale=2.0**-8, signed=0)
    m.conv(3, 8, 4, pads=[1, 1, 1, 1])
    m.x = m.quant(m.node("Relu", [m.x]), 4, scale=0.25, signed=0)
    m.conv(8, 8, 3, group=8, pads=[0, 1, 1, 0])
    m.norm(8, 3)
    m.x = stream = m.quant(m.x, 4, scale=0.5)
    m.conv(8, 8, 2, kernel=3, pads=[1, 1, 1, 1])
    m.x = m.quant(m.x, 3, scale=0.5)
    m.x = m.quant(m.node("Relu", [m.node("Add", [m.x, stream])]), 2, scale=0.75, signed=0)
    m.x = m.node("MaxPool", [m.x], kernel_shape=[2, 2], strides=[2, 2])
    m.conv(8, 12, 1, kernel=2, strides=[1, 2])
    m.x = m.quant(m.x, 4, scale=1.0)
    m.conv(12, 12, 2, kernel=1, group=3)
    m.x = m.quant(m.x, 4, scale=1.0)
    m.x = m.quant(m.node("GlobalAveragePool", [m.x]), 4, scale=0.25)
    m.flatten()
    m.linear(12, 5, 2)
    return m.bytes(5)


def executed(content: bytes, images: np.ndarray) -> np.ndarray:
    """Logits of that format's own executor for images ``[n, H, W, C]`` of bytes."""
    wrapper = pytest.importorskip("qonnx.core.modelwrapper", reason="needs the package qonnx")
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    model = wrapper.ModelWrapper(onnx.load_model_from_string(content)).transform(InferShapes())
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for image in images:
            x = image.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
            x = x.reshape(model.get_tensor_shape(model.graph.input[0].name))
            (logits,) = execute_onnx(model, {model.graph.input[0].name: x}).values()
            found.append(np.ravel(logits))
    return np.stack(found)
