"""What QONNX's nodes say: grids of Quant nodes, constants, functions of whole numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sysmol.errors import SysmolError
from sysmol.interchange.extras import extra
from sysmol.network import Array

onnx: Any = extra("onnx", "reading QONNX models")

QUANT = ("Quant", "BipolarQuant")
ELEMENTWISE = ("BatchNormalization", "Add", "Sub", "Mul", "Div", "Relu", "Clip")
"""Operators between a sum and the next Quant that see every channel by itself."""
ROUNDINGS = ("ROUND", "HALF_EVEN")


@dataclass(frozen=True)
class Grid:
    """Integers ``low, low + step, ...``, ``levels`` of them, times a scale, as a Quant node gives them; ``step`` is 2
    where they are -1 and +1."""

    low: int
    levels: int
    scale: float
    step: int = 1

    @property
    def high(self) -> int:
        return self.low + self.step * (self.levels - 1)

    @property
    def bits(self) -> int:
        """Bits of the codes that hold them, 1, 2 or 4; 8 where those are too few."""
        return next((p for p in (1, 2, 4) if self.levels <= 1 << p), 8)

    def codes(self, real: Array) -> Array:
        """Codes 0 .. levels - 1 of real numbers float32, as a Quant node rounds them: int64."""
        if self.step == 2:
            return (real >= 0).astype(np.int64)
        return np.round(np.clip(real / np.float32(self.scale), self.low, self.high)).astype(np.int64) - self.low


def attributes(node: Any) -> dict[str, Any]:
    """A node's attributes by name."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def quant(node: Any, constants: dict[str, Array]) -> tuple[Grid, Array]:
    """The grid of a Quant or BipolarQuant node with scale 1, and its scales, float64: one, or along the axes of what it
    rounds.

    Raises :class:`SysmolError` where it has a zero point, other bits than 1 to 8, or rounds otherwise than to the
    nearest.
    """
    where = f"{node.op_type} '{node.output[0]}'"
    operands = [constants.get(name) for name in node.input[1:]]
    if any(each is None for each in operands):
        raise SysmolError(f"{where} has a scale, zero point or width that is no constant")
    scale = np.asarray(operands[0], dtype=np.float64)
    held = scale[np.abs(scale) <= np.finfo(np.float32).max].astype(np.float32)  # as what it scales is computed
    if held.size != scale.size or not (held > 0).all():
        raise SysmolError(f"{where} has a scale that is no positive number")
    if node.op_type == "BipolarQuant":
        return Grid(-1, 2, 1.0, 2), scale
    options = attributes(node)
    zero, bits = (np.asarray(each) for each in operands[1:3])
    if np.any(zero != 0):
        raise SysmolError(f"{where} has a zero point")
    if bits.size != 1 or not 1 <= float(bits.reshape(-1)[0]) <= 8 or float(bits.reshape(-1)[0]) % 1:
        raise SysmolError(f"{where} has {bits.reshape(-1)[:1]} bits; whole numbers of 1 to 8 are understood")
    width, rounding = int(bits.reshape(-1)[0]), options.get("rounding_mode", b"ROUND").decode()
    if rounding.upper() not in ROUNDINGS:
        raise SysmolError(f"{where} rounds by {rounding}; only to the nearest is understood")
    signed, narrow = int(options.get("signed", 1)), int(options.get("narrow", 0))
    if {signed, narrow} - {0, 1}:
        raise SysmolError(f"{where} has signed = {signed} and narrow = {narrow}; 0 and 1 are understood")
    low = narrow - (1 << (width - 1)) if signed else 0
    return Grid(low, (1 << width) - narrow, 1.0), scale


def chain(
    nodes: list[Any], source: str, shape: tuple[int, ...], constants: dict[str, Array], opset: int
) -> Callable[[Array], Array]:
    """What a chain of elementwise nodes makes of real numbers float32 ``[n, *shape]`` under the name ``source``, by
    onnxruntime."""
    if not nodes:
        return lambda real: real
    runtime = extra("onnxruntime", "reading QONNX models")
    needed = {name for node in nodes for name in node.input} & constants.keys()
    held = [onnx.numpy_helper.from_array(constants[name], name) for name in sorted(needed)]
    kind, sides = onnx.TensorProto.FLOAT, ["n", *shape]
    ends = [onnx.helper.make_tensor_value_info(name, kind, sides) for name in (source, nodes[-1].output[0])]
    graph = onnx.helper.make_graph(nodes, "chain", ends[:1], ends[1:], held)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def run(real: Array) -> Array:
        found = np.asarray(session.run(None, {source: real})[0])
        if found.shape != real.shape or not np.isfinite(found).all():
            raise SysmolError(f"what follows '{source}' mixes its channels, or gives no finite numbers")
        return found

    return run
