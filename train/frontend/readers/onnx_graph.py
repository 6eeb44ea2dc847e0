"""Float ONNX models (``.onnx``) as modules. The packages ``onnx`` and its parser come with the extra ``onnx``."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx

from sysmol.errors import SysmolError
from sysmol.interchange.extras import extra
from sysmol.train.frontend.readers.assembly import Padding, Pair, same_padding
from sysmol.train.frontend.readers.imported import DROPPED, FOLDED, KEPT, Imported
from sysmol.train.frontend.readers.importer import Importer, Operator
from sysmol.train.frontend.readers.limits import ELEMENTS, one_line, printable, read_bytes

onnx: Any = extra("onnx", "reading ONNX models")

SMALL = 4096
"""Elements of the operands of arithmetic on constants, which may multiply them."""

DOMAINS = ("", "ai.onnx", "qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")
"""ONNX's own and those of QONNX's nodes, which are read as real numbers here (sysmol.interchange.qonnx_in keeps their
integers)."""
OPERATORS = {
    "Conv": Operator("conv", "two-dimensional; any stride, padding and dilation; groups"),
    "Gemm": Operator("gemm", "with constant weights"),
    "MatMul": Operator("matmul", "the same"),
    "BatchNormalization": Operator("batch_norm", "folded into the convolution in front of it, elsewhere a layer"),
    "Add": Operator("add", "of two activations of one shape; a constant per channel is folded"),
    "Sub": Operator("sub", "a constant per channel"),
    "Mul": Operator("mul", "by a constant per channel"),
    "Div": Operator("div", "the same"),
    "Relu": Operator("relu", "folded"),
    "Clip": Operator("clip", "to 0 .. 6 or from 0 on: folded"),
    "MaxPool": Operator("max_pool", "any padding and ceil_mode, no dilation"),
    "AveragePool": Operator("avg_pool", "padding that is counted, alike on both sides"),
    "GlobalAveragePool": Operator("global_average"),
    "ReduceMean": Operator("mean", "over height and width"),
    "Pad": Operator("pad", "zeros around an image that convolutions read"),
    "Concat": Operator("concatenate", "of channels"),
    "Flatten": Operator("view", "of a whole image"),
    "Reshape": Operator("view", "the same"),
    "Squeeze": Operator("view", "of height and width of 1"),
    "Softmax": Operator("softmax", "at the end: left out"),
    "LogSoftmax": Operator("log_softmax", "at the end: left out"),
    "Identity": Operator("same", "left out"),
    "Dropout": Operator("same", "left out"),
    "Cast": Operator("same", "between floats: left out"),
    "Constant": Operator("constant", "operands of the others"),
    "Shape": Operator("sizes", "where only views use it, and what is computed from it"),
    "Quant": Operator(
        "quant", "QONNX's, of weights: computed; of activations of 4 bits and more: left out but for a clamp at 0"
    ),
    "BipolarQuant": Operator("bipolar", "QONNX's, of weights: computed"),
}
"""What is understood, by ONNX's names. Of constants alone, :data:`FOLDABLE` too."""
SAME_SIZE = ("Identity", "Shape", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze")
FOLDABLE = (*SAME_SIZE, "ConstantOfShape", "Gather", "Concat", "Slice", "Add", "Sub", "Mul", "Div", "Pow")
"""Operators that are computed where all their operands are constants."""


def read_onnx(path: str | Path) -> Imported:
    """The network of an ``.onnx`` file.

    Raises :class:`SysmolError`, one line, on a file that is absent, cut short, damaged, or has what is not understood.
    """
    data = read_bytes(path)
    with one_line(f"{path} is no ONNX model, was cut short or is damaged"):
        model = onnx.load_model_from_string(data)
    if not model.graph.node or not model.opset_import:
        raise SysmolError(f"{path} is no ONNX model: it has no operators")
    with one_line(f"{path} is damaged"):
        return Reader(str(path), model, len(data)).read()


class Reader(Importer):
    """Activations and constants go by their names in the file."""

    operators = OPERATORS

    def __init__(self, path: str, model: Any, file_bytes: int) -> None:
        super().__init__(path, file_bytes)
        self.file = model.graph
        self.opset = {entry.domain: entry.version for entry in model.opset_import}.get("", 0)
        self.constants: dict[str, np.ndarray] = {}
        self.readers: Counter[str] = Counter()
        self.node: Any = None
        self.inputs: list[str] = []

    def read(self) -> Imported:
        for tensor in self.file.initializer:
            self.constants[tensor.name] = self._array(tensor)
        sources = [value for value in self.file.input if value.name not in self.constants]
        if len(sources) != 1 or len(self.file.output) != 1:
            raise SysmolError(
                f"{self.path} has {len(sources)} inputs and {len(self.file.output)} outputs, not one each"
            )
        image, output = sources[0], self.file.output[0].name
        channels, *pixels = self._input_shape(image)
        height, width = pixels or (1, 1)
        head = self.assembly.input((channels, height, width))
        self.nodes[image.name] = head if pixels else self.assembly.flatten(head)
        self.readers.update(name for node in self.file.node for name in set(node.input))
        self.readers[output] += 1
        for node in self.file.node:
            self._operator(node)
        if output not in self.nodes:
            raise SysmolError(f"{self.path}: no operator makes its output '{printable(output)}'")
        return self.imported(head, self.nodes[output])

    def _input_shape(self, image: Any) -> tuple[int, ...]:
        """Channels, height and width; of a vector channels alone."""
        sides = [dimension.dim_value for dimension in image.type.tensor_type.shape.dim]
        if len(sides) not in (2, 4) or min(sides[1:]) < 1:
            shown = [side or "?" for side in sides]
            raise SysmolError(f"{self.path}: its input has shape {shown}; only [n, C, H, W] and [n, C] of a fixed size")
        return tuple(sides[1:])

    def _array(self, tensor: Any) -> np.ndarray:
        """A constant's values; its size is checked first."""
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise SysmolError(f"{self.path}: '{printable(tensor.name)}' lies in another file; put all into one")
        count = 1
        for side in tensor.dims:
            count *= side
            if not 0 <= count <= 2 * ELEMENTS:
                raise SysmolError(f"{self.path}: '{printable(tensor.name)}' has the shape {list(tensor.dims)}")
        return np.asarray(onnx.numpy_helper.to_array(tensor))

    # --- operators ---------------------------------------------------------------------------------------------------

    def _operator(self, node: Any) -> None:
        name = node.op_type if node.domain in DOMAINS else f"{node.domain}.{node.op_type}"
        results = [result for result in node.output if result]
        self.node, self.inputs = node, list(node.input)
        label = printable(results[0]) if results else ""
        if any(result in self.nodes or result in self.constants for result in results):
            raise SysmolError(f"{self.path}: {printable(name)} writes '{label}', which stands already")
        if name in FOLDABLE and self.inputs and all(key in self.constants for key in self.inputs if key):
            with one_line(f"{self.path}: {name} '{label}'"):
                self.constants[results[0]] = self._folded(node)
            return
        made = self.handle(printable(name), label)
        if made is not None:
            self.nodes[results[0]] = made

    def _folded(self, node: Any) -> np.ndarray:
        """Arithmetic on constants, by the reference implementation of the package ``onnx``."""
        from onnx.reference import ReferenceEvaluator

        operands = {name: self.constants[name] for name in self.inputs if name}
        if node.op_type not in SAME_SIZE and sum(operand.size for operand in operands.values()) > SMALL:
            raise SysmolError(f"constants of more than {SMALL} elements are not computed")
        if node.op_type == "ConstantOfShape" and math.prod(map(abs, operands[self.inputs[0]].ravel().tolist())) > SMALL:
            raise SysmolError(f"a constant of shape {operands[self.inputs[0]].ravel().tolist()}")
        names = [onnx.helper.make_empty_tensor_value_info(name) for name in operands]
        results = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "constants", names, results)
        version = onnx.helper.make_opsetid("", self.opset)
        model = onnx.helper.make_model(graph, opset_imports=[version])
        with np.errstate(all="ignore"):
            (result, *_) = ReferenceEvaluator(model).run(None, operands)
        return np.asarray(result)

    # --- operands ----------------------------------------------------------------------------------------------------

    def alone(self, key: Any) -> bool:
        return self.readers[key] == 1

    def operands(self) -> list[str]:
        return self.inputs

    def first(self) -> fx.Node:
        if not self.inputs or self.inputs[0] not in self.nodes:
            raise SysmolError("its input is no activation that an earlier operator makes")
        return self.nodes[self.inputs[0]]

    def attribute(self, name: str, default: Any) -> Any:
        """The operator's attribute, in the type of the default."""
        for attribute in self.node.attribute:
            if attribute.name == name:
                value = onnx.helper.get_attribute_value(attribute)
                return value.decode(errors="replace") if isinstance(value, bytes) else value
        return default

    def optional(self, position: int) -> np.ndarray | None:
        """A constant operand; None where the operator has none."""
        if position >= len(self.inputs) or not self.inputs[position]:
            return None
        return self.constant_at(position)

    def constant_at(self, position: int) -> np.ndarray:
        """A constant operand."""
        if position >= len(self.inputs) or self.inputs[position] not in self.constants:
            raise SysmolError(f"its operand {position} is no constant")
        return self.constants[self.inputs[position]]

    def real(self, position: int) -> torch.Tensor:
        """A constant operand in float32."""
        return torch.from_numpy(np.array(self.constant_at(position), dtype=np.float32))

    def channel_constant(self, key: str, dimensions: int) -> tuple[np.ndarray, int]:
        if key not in self.constants:
            raise SysmolError("its operand is neither an activation nor a constant")
        return self.constants[key], -dimensions

    def image_size(self) -> tuple[int, ...]:
        """Height and width of the activation that the operator reads."""
        size = self.assembly.shape(self.first())[1:]
        if len(size) != 2:
            raise SysmolError("its input is no image")
        return size

    def pair(self, name: str, default: tuple[int, int] | None = (1, 1)) -> Pair:
        """An attribute of two positive numbers."""
        values = self.attribute(name, default)
        if values is None or len(values) != 2 or min(values) < 1:
            raise SysmolError(f"{name} {list(values or [])}; two positive numbers are understood")
        return int(values[0]), int(values[1])

    def padding(self, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Padding:
        """The operator's padding, with what ceil_mode adds."""
        size, kind = self.image_size(), self.attribute("auto_pad", "NOTSET")
        if kind in ("SAME_UPPER", "SAME_LOWER"):
            return same_padding(size, kernel, stride, dilation, kind == "SAME_UPPER")
        if kind not in ("NOTSET", "VALID"):
            raise SysmolError(f"auto_pad {kind}")
        pads = [0] * 4 if kind == "VALID" else [int(side) for side in self.attribute("pads", [0] * 4)]
        if len(pads) != 4 or min(pads) < 0:
            raise SysmolError(f"pads {pads}")
        if self.attribute("ceil_mode", 0):
            for axis in (0, 1):
                free = size[axis] + pads[axis] + pads[axis + 2] - kernel[axis]
                pads[axis + 2] += -free % stride[axis]
        return pads[0], pads[1], pads[2], pads[3]

    # --- layers ------------------------------------------------------------------------------------------------------

    def conv(self) -> fx.Node:
        weight, bias = self.real(1), self.optional(2)
        if weight.dim() != 4:
            raise SysmolError(f"its weights have shape {list(weight.shape)}; only two-dimensional convolutions")
        kernel = int(weight.shape[2]), int(weight.shape[3])
        stride, dilation, groups = self.pair("strides"), self.pair("dilations"), int(self.attribute("group", 1))
        padding = self.padding(kernel, stride, dilation)
        offset = None if bias is None else self.real(2)
        node = self.assembly.conv(self.first(), weight, offset, stride, padding, dilation, groups)
        self.note(KEPT, node)
        return node

    def gemm(self) -> fx.Node:
        if self.attribute("transA", 0):
            raise SysmolError("transA")
        weight = self.real(1) * float(self.attribute("alpha", 1.0))
        weight = weight if self.attribute("transB", 0) else weight.t()
        bias = None
        if self.optional(2) is not None:
            values = self.per_channel(self.constant_at(2), len(weight), -1) * np.float32(self.attribute("beta", 1.0))
            bias = torch.from_numpy(values)
        return self._linear(weight, bias)

    def matmul(self) -> fx.Node:
        weight = self.real(1)
        if weight.dim() != 2 or len(self.assembly.shape(self.first())) != 1:
            raise SysmolError("only of flat activations and a constant matrix")
        return self._linear(weight.t(), None)

    def _linear(self, weight: torch.Tensor, bias: torch.Tensor | None) -> fx.Node:
        node = self.assembly.linear(self.first(), weight, bias)
        self.note(KEPT, node)
        return node

    def batch_norm(self) -> fx.Node:
        if self.attribute("training_mode", 0):
            raise SysmolError("training_mode")
        values = [self.real(position) for position in range(1, 5)]
        if len({len(value) for value in values}) != 1:
            raise SysmolError("its constants differ in length")
        node = self.assembly.batch_norm(self.first(), values, float(self.attribute("epsilon", 1e-5)))
        self.note(KEPT, node)
        return node

    def clip(self) -> fx.Node:
        ends = [self.attribute("min", None), self.attribute("max", None)]
        if self.opset >= 11:
            ends = [None if (end := self.optional(position)) is None else float(end) for position in (1, 2)]
        low, high = ends
        if low != 0 or high not in (None, 6):
            raise SysmolError(f"to {low} .. {high}; only to 0 .. 6 or from 0 on")
        self.note(FOLDED)
        return self.assembly.activation(self.first(), "relu" if high is None else "relu6")

    def max_pool(self) -> fx.Node:
        kernel, stride = self.pair("kernel_shape", None), self.pair("strides")
        if self.pair("dilations") != (1, 1) or len([name for name in self.node.output if name]) > 1:
            raise SysmolError("dilation, or indices of the maxima")
        node = self.assembly.max_pool(self.first(), kernel, stride, self.padding(kernel, stride))
        self.note(KEPT, node)
        return node

    def avg_pool(self) -> fx.Node:
        kernel, stride = self.pair("kernel_shape", None), self.pair("strides")
        if self.pair("dilations") != (1, 1):
            raise SysmolError("dilation")
        padding = self.padding(kernel, stride)
        if any(padding) and (self.attribute("ceil_mode", 0) or not self.attribute("count_include_pad", 0)):
            raise SysmolError("windows that reach beyond the image (the divisor differs there)")
        node = self.assembly.avg_pool(self.first(), kernel, stride, padding)
        self.note(KEPT, node)
        return node

    def global_average(self) -> fx.Node:
        self.image_size()
        node = self.assembly.global_average(self.first(), True)
        self.note(KEPT, node)
        return node

    def mean(self) -> fx.Node:
        axes = self.optional(1)
        found = self.attribute("axes", []) if axes is None else np.ravel(axes).tolist()
        self.image_size()
        if sorted(int(axis) % 4 for axis in found) != [2, 3]:
            raise SysmolError(f"over axes {list(found)}; only over height and width")
        node = self.assembly.global_average(self.first(), bool(self.attribute("keepdims", 1)))
        self.note(KEPT, node if node.target != "flatten" else node.all_input_nodes[0])
        return node

    def pad(self) -> fx.Node:
        mode, value, axes = self.attribute("mode", "constant"), self.optional(2), self.optional(3)
        sizes = self.attribute("pads", None) or np.ravel(self.constant_at(1)).tolist()
        self.image_size()
        if axes is not None and np.ravel(axes).tolist() in ([2, 3], [-2, -1]) and len(sizes) == 4:
            sizes = [0, 0, *sizes[:2], 0, 0, *sizes[2:]]
        fill = float(value) if value is not None and value.size else float(self.attribute("value", 0.0))
        if mode != "constant" or fill or len(sizes) != 8 or any(sizes[:2]) or any(sizes[4:6]) or min(sizes) < 0:
            raise SysmolError(f"padding {sizes} of {fill:g}, mode {mode}; only zeros around height and width")
        node = self.assembly.pad(self.first(), (sizes[2], sizes[3], sizes[6], sizes[7]))
        self.note(FOLDED)
        return node

    def concatenate(self) -> fx.Node:
        missing = [name for name in self.inputs if name not in self.nodes]
        if missing:
            raise SysmolError(f"'{printable(missing[0])}' is no activation that an earlier operator makes")
        parts = [self.nodes[name] for name in self.inputs]
        dimensions = 1 + len(self.assembly.shape(parts[0]))
        if int(self.attribute("axis", 0)) % dimensions != 1:
            raise SysmolError(f"axis {self.attribute('axis', 0)}; only channels, axis 1")
        node = self.assembly.concatenate(parts)
        self.note(FOLDED, None, "a sum of convolutions where one reads it")
        return node

    # --- QONNX: the model in real numbers ----------------------------------------------------------------------------

    def quant(self) -> fx.Node | None:
        """Weights as the model has them; activations without their rounding and upper limit."""
        signed = bool(self.attribute("signed", 1))
        if self.inputs[0] in self.constants:
            self._weights(self._rounded(signed))
            return None
        x, bits = self.first(), self._width()
        if bits < 4:
            raise SysmolError(
                f"activations of {bits:g} bits are too coarse to leave out: import it with --out, exactly"
            )
        self.note(DROPPED, None, "rounding" if signed or x.op == "placeholder" else "rounding, but for the clamp at 0")
        known = signed or x.op == "placeholder" or str(x.target).startswith("relu")
        return x if known else self.assembly.activation(x, "relu")

    def bipolar(self) -> None:
        if self.inputs[0] not in self.constants:
            raise SysmolError("of activations: a sign cannot be left out: import it with --out, exactly")
        weight, scale = (self.constant_at(position).astype(np.float64) for position in (0, 1))
        self._weights(np.where(weight >= 0, scale, -scale))

    def _rounded(self, signed: bool) -> np.ndarray:
        """What a Quant node makes of constants."""
        x, scale, zero = (self.constant_at(position).astype(np.float64) for position in range(3))
        if not (scale > 0).all():
            raise SysmolError("a scale that is not positive")
        levels, narrow = 2.0 ** self._width(), float(bool(self.attribute("narrow", 0)))
        low = narrow - levels / 2 if signed else 0.0
        high = levels / 2 - 1 if signed else levels - 1 - narrow
        return np.asarray((np.clip(np.round(x / scale + zero), low, high) - zero) * scale)

    def _width(self) -> float:
        bits = self.constant_at(3).reshape(-1)
        if bits.size != 1 or not 1 <= float(bits[0]) <= 32:
            raise SysmolError("a width that is not 1 to 32 bits")
        return float(bits[0])

    def _weights(self, values: np.ndarray) -> None:
        if values.shape != self.constant_at(0).shape or not np.isfinite(values.astype(np.float32)).all():
            raise SysmolError("scales of another shape than the weights, or weights that are no finite numbers")
        self.constants[self.node.output[0]] = values.astype(np.float32)
        self.note(FOLDED, None, "weights")

    # --- shapes and ends ---------------------------------------------------------------------------------------------

    def view(self) -> fx.Node:
        x = self.first()
        shape = self.assembly.shape(x)
        wanted = self._viewed(shape)
        self.note(DROPPED, None, "a view")
        if wanted == shape:
            return x
        if wanted != (math.prod(shape),):
            raise SysmolError(f"it makes {list(wanted)} of {list(shape)}; only flattening is understood")
        return self.assembly.flatten(x)

    def _viewed(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape that the operator makes, but for the images."""
        if self.node.op_type == "Flatten":
            axis = self.attribute("axis", 1)
            if axis != 1:
                raise SysmolError(f"axis {axis}; only 1")
            return (math.prod(shape),)
        if self.node.op_type == "Squeeze":
            axes = self.optional(1)
            found = self.attribute("axes", []) if axes is None else np.ravel(axes).tolist()
            gone = {int(axis) % (1 + len(shape)) for axis in found}
            if 0 in gone or not gone or any(shape[axis - 1] != 1 for axis in gone):
                raise SysmolError(f"axes {list(found)} of {list(shape)}; only height and width of 1")
            return tuple(side for axis, side in enumerate(shape, 1) if axis not in gone)
        target = [int(side) for side in np.ravel(self.constant_at(1))]
        sizes = [(1, *shape)[place] if side == 0 and place <= len(shape) else side for place, side in enumerate(target)]
        total = math.prod(shape)
        if sizes.count(-1) == 1:
            known = math.prod(side for side in sizes if side != -1)
            sizes[sizes.index(-1)] = total // known if known > 0 and total % known == 0 else 0
        if len(sizes) < 2 or sizes[0] != 1 or math.prod(sizes) != total:
            raise SysmolError(f"it makes {target} of {[1, *shape]}; the images must stay apart")
        return tuple(sizes[1:])

    def same(self) -> fx.Node:
        kind = self.attribute("to", onnx.TensorProto.FLOAT)
        if kind not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE):
            raise SysmolError("to a type that is no float")
        self.note(DROPPED)
        return self.first()

    def last(self, function: str) -> fx.Node:
        axis = self.attribute("axis", -1 if self.opset >= 13 else 1)
        if axis not in (1, -1) or len(self.assembly.shape(self.first())) != 1:
            raise SysmolError(f"axis {axis}; only over the logits")
        return super().last(function)

    def constant(self) -> None:
        for attribute in self.node.attribute:
            value = onnx.helper.get_attribute_value(attribute)
            if attribute.name == "value":
                self.constants[self.node.output[0]] = self._array(value)
            elif attribute.name in ("value_float", "value_int", "value_floats", "value_ints"):
                kind = np.float32 if "float" in attribute.name else np.int64
                self.constants[self.node.output[0]] = np.asarray(value, dtype=kind)
            else:
                raise SysmolError(f"a constant as {attribute.name}")

    def sizes(self) -> None:
        """A shape, of which the number of images is 1 here."""
        self.constants[self.node.output[0]] = np.array([1, *self.assembly.shape(self.first())], dtype=np.int64)
        self.note(DROPPED, None, "sizes of a view")
