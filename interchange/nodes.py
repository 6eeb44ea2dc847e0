"""An ONNX model under construction: nodes and constants, each under a name that says what it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sysmol import __version__
from sysmol.network import Array

OPSET = 17
IR_VERSION = 8
"""Old enough for the runtimes of the last years, new enough for all operators that are written."""

TYPES = {
    "uint8": TensorProto.UINT8,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
}
"""Element types of ONNX by NumPy's names."""


class Nodes:
    """Nodes in order, each with one output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}
        self._names: set[str] = set()

    def unique(self, name: str) -> str:
        """The name, or one like it that nothing has yet."""
        found, count = name, 2
        while found in self._names:
            found, count = f"{name}_{count}", count + 1
        self._names.add(found)
        return found

    def constant(self, name: str, value: Any, dtype: Any) -> str:
        """Name of a constant; an equal one under the same name is used again."""
        array = np.ascontiguousarray(np.asarray(value).astype(dtype)).reshape(np.shape(value))
        held = self.constants.get(name)
        if held is not None and held.dtype == array.dtype and np.array_equal(held, array):
            return name
        name = self.unique(name)
        self.constants[name] = array
        return name

    def node(self, op: str, inputs: list[str], name: str, domain: str = "", **attributes: Any) -> str:
        """Append a node; returns the name of its output, by which the node goes, too."""
        name = self.unique(name)
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def cast(self, x: str, kind: str, name: str) -> str:
        """``x`` in the element type of that name in :data:`TYPES`."""
        return self.node("Cast", [x], name, to=TYPES[kind])

    def model(
        self, name: str, inputs: dict[str, tuple[str, list[Any]]], outputs: dict[str, tuple[str, list[Any]]],
        facts: dict[str, str], domains: dict[str, int] | None = None,
    ) -> onnx.ModelProto:  # fmt: skip
        """The whole model, checked: ``inputs`` and ``outputs`` by name with type and shape, ``facts`` as metadata,
        other ``domains`` of operators with their versions."""

        def values(of: dict[str, tuple[str, list[Any]]]) -> list[onnx.ValueInfoProto]:
            return [helper.make_tensor_value_info(key, TYPES[kind], shape) for key, (kind, shape) in of.items()]

        constants = [numpy_helper.from_array(value, key) for key, value in self.constants.items()]
        graph = helper.make_graph(self.nodes, name or "network", values(inputs), values(outputs), constants)
        versions = {"": OPSET} | (domains or {})
        model = helper.make_model(
            graph,
            producer_name="sysmol",
            producer_version=__version__,
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in versions.items()],
        )
        model.ir_version = IR_VERSION
        helper.set_model_props(model, facts)
        onnx.checker.check_model(model, full_check=not domains)
        return model
