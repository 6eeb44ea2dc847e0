"""Small ONNX models, written node by node."""

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def model(nodes: list[Any], shape: tuple[Any, ...] = ("n", 2, 4, 4), **constants: Any) -> bytes:
    """A model from ``x`` to ``y``."""
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [source], [result], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def small(rng: np.random.Generator) -> bytes:
    """A normalisation at the head, 'SAME' padding, an average, a matrix with a bias behind it."""
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["a"]),
        helper.make_node("Div", ["a", "deviation"], ["b"]),
        helper.make_node("Conv", ["b", "w"], ["c"], auto_pad="SAME_LOWER", strides=[2, 1]),
        helper.make_node("Clip", ["c", "zero", "six"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Squeeze", ["e", "axes"], ["f"]),
        helper.make_node("MatMul", ["f", "m"], ["h"]),
        helper.make_node("Add", ["h", "offset"], ["i"]),
        helper.make_node("Softmax", ["i"], ["y"]),
    ]
    real = {name: rng.normal(size=size).astype(np.float32) for name, size in (("w", (3, 2, 3, 4)), ("m", (3, 5)))}
    head = {"mean": np.float32([[[10]], [[20]]]), "deviation": np.float32([[[3]], [[4]]])}
    rest = {
        "zero": np.float32(0),
        "six": np.float32(6),
        "axes": np.int64([2, 3]),
        "offset": np.float32([1, 2, 3, 4, 5]),
    }
    return model(nodes, **real, **head, **rest)
