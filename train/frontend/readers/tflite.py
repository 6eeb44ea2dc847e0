"""TensorFlow Lite files (``.tflite``), in float32 or 8 bits, as modules.

The format is a flatbuffer, which the package ``tflite`` of the extra ``onnx`` parses; activations are ``[n, height,
width, channels]`` there. Weights of 8 bits become ``scale * q``; :class:`Imported` keeps the integers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx

from sysmol.errors import SysmolError
from sysmol.interchange.extras import extra
from sysmol.train.frontend.readers.assembly import NONE, Padding, Pair, same_padding
from sysmol.train.frontend.readers.imported import DROPPED, FOLDED, KEPT, Grid, Imported, IntegerLayer
from sysmol.train.frontend.readers.importer import Importer, Operator
from sysmol.train.frontend.readers.limits import one_line, printable, read_bytes

tflite: Any = extra("tflite", "reading TensorFlow Lite files")

TYPES = {0: np.float32, 1: np.float16, 2: np.int32, 3: np.uint8, 4: np.int64, 7: np.int16, 9: np.int8}
"""NumPy's types by the schema's TensorType; the others are refused."""
ACTIVATIONS = {0: "", 1: "relu", 3: "relu6"}
"""Functions by the schema's ActivationFunctionType that can be fused into a layer."""


OPERATORS = {
    "CONV_2D": Operator("conv", "any stride, padding and dilation; groups"),
    "DEPTHWISE_CONV_2D": Operator("depthwise", "with a depth multiplier too"),
    "FULLY_CONNECTED": Operator("linear", "over channels or a flattened image"),
    "ADD": Operator("add", "of two activations of one shape; a constant per channel is folded"),
    "SUB": Operator("sub", "a constant per channel"),
    "MUL": Operator("mul", "by a constant per channel"),
    "DIV": Operator("div", "the same"),
    "MAX_POOL_2D": Operator("max_pool"),
    "AVERAGE_POOL_2D": Operator("avg_pool", "where every window lies in the image"),
    "MEAN": Operator("mean", "over height and width"),
    "PAD": Operator("pad", "zeros around an image that convolutions read"),
    "CONCATENATION": Operator("concatenate", "of channels"),
    "RELU": Operator("relu", "folded, as where it is fused into a layer"),
    "RELU6": Operator("relu6", "the same"),
    "RESHAPE": Operator("reshape", "that flattens"),
    "SQUEEZE": Operator("reshape", "of height and width of 1"),
    "SHAPE": Operator("sizes", "where only RESHAPE uses it"),
    "STRIDED_SLICE": Operator("sizes", "the same"),
    "PACK": Operator("sizes", "the same"),
    "SOFTMAX": Operator("softmax", "at the end: left out"),
    "LOG_SOFTMAX": Operator("log_softmax", "at the end: left out"),
    "QUANTIZE": Operator("convert", "between floats and 8 bits: left out"),
    "DEQUANTIZE": Operator("convert", "the same; of weights too"),
}
"""What is understood, by the schema's names."""


def read_tflite(path: str | Path) -> Imported:
    """The network of a ``.tflite`` file.

    Raises :class:`SysmolError`, one line, on a file that is absent, cut short, damaged, or has what is not understood.
    """
    data = contents(path)
    with one_line(f"{path} was cut short or is damaged"):
        reader = Reader(str(path), data)
        return reader.read()


def contents(path: str | Path) -> bytes:
    """The bytes of a ``.tflite`` file."""
    data = read_bytes(path)
    if not (len(data) >= 8 and data[4:8] == b"TFL3"):
        raise SysmolError(f"{path} is no TensorFlow Lite file")
    return data


@dataclass
class Stored:
    """A tensor of the file. ``shape`` as the file has it; ``grid``: of 8-bit activations."""

    index: int
    name: str
    shape: tuple[int, ...]
    type: int
    data: memoryview | None
    scales: np.ndarray
    zero_points: np.ndarray
    axis: int

    @property
    def grid(self) -> Grid:
        return Grid(float(self.scales[0]), int(self.zero_points[0]) if len(self.zero_points) else 0)


class Reader(Importer):
    """Activations go by their tensors' numbers."""

    operators = OPERATORS

    def __init__(self, path: str, data: bytes) -> None:
        super().__init__(path, len(data))
        self.data = data
        self.model = tflite.Model.GetRootAs(data, 0)
        if self.model.SubgraphsLength() != 1:
            raise SysmolError(f"{path} has {self.model.SubgraphsLength()} graphs; only one is understood")
        self.file = self.model.Subgraphs(0)
        self.tensors = [self._tensor(i) for i in range(self._count(self.file.TensorsLength()))]
        self.constants: dict[int, np.ndarray] = {}
        self.shapes: set[int] = set()
        """Tensors that hold sizes, which steer a reshape alone."""
        self.integers: dict[str, IntegerLayer] = {}
        self.operator: Any = None
        self.inputs: list[int] = []

    def read(self) -> Imported:
        sources, results = self.file.InputsAsNumpy(), self.file.OutputsAsNumpy()
        if np.size(sources) != 1 or np.size(results) != 1:
            raise SysmolError(f"{self.path} has not one input and one output")
        image, output = self.tensors[int(sources[0])], self.tensors[int(results[0])]
        if len(image.shape) not in (2, 4):
            raise SysmolError(f"{self.path}: its input has shape {list(image.shape)}; only [n, H, W, C] and [n, C]")
        height, width, channels = (1, 1, *image.shape[1:])[-3:]
        head = self.assembly.input((channels, height, width))
        self.nodes[image.index] = head if len(image.shape) == 4 else self.assembly.flatten(head)
        self.readers = self._readers(output.index)
        for number in range(self._count(self.file.OperatorsLength())):
            self._operator(self.file.Operators(number))
        if output.index not in self.nodes:
            raise SysmolError(f"{self.path}: no operator makes its output")
        return self.imported(
            head,
            self.nodes[output.index],
            integers=self.integers,
            input_grid=image.grid if image.type != 0 and len(image.scales) else None,
            output_grid=output.grid if output.type != 0 and len(output.scales) else None,
        )

    # --- the flatbuffer ----------------------------------------------------------------------------------------------

    def _count(self, length: int) -> int:
        """A vector's length, where the file can hold it."""
        if not 0 <= 4 * length <= len(self.data):
            raise SysmolError(f"{self.path} was cut short or is damaged: it claims {length:,} entries")
        return length

    def _tensor(self, index: int) -> Stored:
        t = self.file.Tensors(index)
        shape = tuple(int(side) for side in t.ShapeAsNumpy()) if t.ShapeLength() else ()
        name = printable((t.Name() or b"").decode(errors="replace"))
        if any(side < 1 for side in shape):
            raise SysmolError(f"{self.path}: tensor '{name}' has the shape {list(shape)}")
        quantisation = t.Quantization()
        scales, zeros, axis = np.zeros(0), np.zeros(0, dtype=np.int64), 0
        if quantisation is not None and quantisation.ScaleLength():
            scales, axis = quantisation.ScaleAsNumpy().astype(np.float64), quantisation.QuantizedDimension()
            zeros = quantisation.ZeroPointAsNumpy() if quantisation.ZeroPointLength() else np.zeros_like(scales)
            if not (np.isfinite(scales).all() and (scales > 0).all() and len(zeros) == len(scales)):
                raise SysmolError(f"{self.path}: tensor '{name}' has scales that are no positive numbers")
        buffer = self.model.Buffers(t.Buffer()) if 0 < t.Buffer() < self._count(self.model.BuffersLength()) else None
        data = None
        if buffer is not None and buffer.DataLength():
            data = memoryview(buffer.DataAsNumpy())
        if t.Sparsity() is not None:
            raise SysmolError(f"{self.path}: tensor '{name}' is sparse, which is not understood")
        return Stored(index, name, shape, t.Type(), data, scales, zeros.astype(np.int64), int(axis))

    def _readers(self, output: int) -> list[int]:
        """How many operators read every tensor; the network's end counts."""
        counts = [0] * len(self.tensors)
        counts[output] += 1
        for number in range(self._count(self.file.OperatorsLength())):
            for index in set(self._indices(self.file.Operators(number).InputsAsNumpy())):
                if 0 <= index < len(counts):
                    counts[index] += 1
        return counts

    @staticmethod
    def _indices(vector: Any) -> list[int]:
        return [int(i) for i in vector] if isinstance(vector, np.ndarray) else []

    def _operator(self, found: Any) -> None:
        if not 0 <= found.OpcodeIndex() < self._count(self.model.OperatorCodesLength()):
            raise SysmolError(f"{self.path} was cut short or is damaged: an operator without a code")
        code = self.model.OperatorCodes(found.OpcodeIndex())
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = tflite.BUILTIN_OPCODE2NAME.get(number, f"operator {number}")
        if name == "CUSTOM" and code.CustomCode():
            name = printable(code.CustomCode().decode(errors="replace"))
        self.operator = found
        self.inputs = self._indices(found.InputsAsNumpy())
        outputs = self._indices(found.OutputsAsNumpy())
        result = self._at(outputs[0]) if outputs else None
        if name in OPERATORS and (len(outputs) != 1 or result is None):
            raise SysmolError(f"{self.path}: {name} has {len(outputs)} results; only one is understood")
        if result is not None:
            if result.index in self.nodes or result.data is not None:
                raise SysmolError(f"{self.path}: {name} writes '{result.name}', which stands already")
            self.result = result
        node = self.handle(name, result.name if result else "")
        if node is not None:
            self._check_shape(node)
            self.nodes[self.result.index] = node

    def _check_shape(self, node: fx.Node) -> None:
        """A result must have the shape that the file states."""
        shape, stated = self.assembly.shape(node), self.result.shape[1:]
        wanted = (stated[2], stated[0], stated[1]) if len(stated) == 3 else stated
        if shape != wanted and tuple(s for s in shape if s != 1) != tuple(s for s in wanted if s != 1):
            found = f"has shape {list(wanted)} in the file, but {list(shape)} by its operands"
            raise SysmolError(f"{self.path}: {self.operator_name} '{self.result.name}' {found}")

    # --- operands ----------------------------------------------------------------------------------------------------

    def _at(self, index: int) -> Stored:
        if not 0 <= index < len(self.tensors):
            raise SysmolError(f"it names tensor {index} of {len(self.tensors)}")
        return self.tensors[index]

    def operand(self, position: int = 0) -> fx.Node:
        """An activation that the operator reads."""
        index = self.inputs[position]
        if index not in self.nodes:
            raise SysmolError(f"its input '{self._at(index).name}' is no activation that an earlier operator makes")
        return self.nodes[index]

    def stored(self, position: int) -> Stored | None:
        """A tensor that the operator reads; None where it names none."""
        if position >= len(self.inputs) or self.inputs[position] < 0:
            return None
        return self._at(self.inputs[position])

    def numbers(self, tensor: Stored) -> np.ndarray:
        """The constant as the file holds it."""
        if tensor.index in self.constants:
            return self.constants[tensor.index]
        if tensor.data is None or tensor.type not in TYPES:
            raise SysmolError(f"its operand '{tensor.name}' is no constant of a type that is understood")
        kind, count = np.dtype(TYPES[tensor.type]), math.prod(tensor.shape)
        if count * kind.itemsize != len(tensor.data):
            raise SysmolError(
                f"'{tensor.name}' has {len(tensor.data)} bytes, its shape asks for {count * kind.itemsize}"
            )
        return np.frombuffer(tensor.data, dtype=kind).reshape(tensor.shape)

    def real(self, tensor: Stored) -> np.ndarray:
        """The constant's real values, float32."""
        values = self.numbers(tensor)
        if values.dtype.kind == "f" or not len(tensor.scales):
            return values.astype(np.float32)
        scales, zeros = (self._along(tensor, each, values.ndim) for each in (tensor.scales, tensor.zero_points))
        return ((values.astype(np.float64) - zeros) * scales).astype(np.float32)

    def _along(self, tensor: Stored, values: np.ndarray, dimensions: int) -> np.ndarray:
        """Per-channel values so that they meet the tensor's axis."""
        if len(values) == 1:
            return values
        if not 0 <= tensor.axis < dimensions or len(values) != tensor.shape[tensor.axis]:
            raise SysmolError(f"'{tensor.name}' has {len(values)} scales for its shape {list(tensor.shape)}")
        return values.reshape([-1 if axis == tensor.axis else 1 for axis in range(dimensions)])

    def options(self, name: str) -> Any:
        """The operator's options, of the schema's class of that name."""
        table = self.operator.BuiltinOptions()
        if table is None or self.operator.BuiltinOptionsType() != getattr(tflite.BuiltinOptions, name):
            raise SysmolError("its options are missing")
        options = getattr(tflite, name)()
        options.Init(table.Bytes, table.Pos)
        return options

    def alone(self, key: Any) -> bool:
        return self.readers[key] == 1

    def operands(self) -> list[int]:
        return self.inputs

    def first(self) -> fx.Node:
        return self.operand()

    def channel_constant(self, key: int, dimensions: int) -> tuple[np.ndarray, int]:
        return self.real(self._at(key)), -1

    # --- layers ------------------------------------------------------------------------------------------------------

    def fused(self, node: fx.Node, options: Any) -> fx.Node:
        """The node behind the activation function that the file fuses into it."""
        number = options.FusedActivationFunction()
        if number not in ACTIVATIONS:
            raise SysmolError(f"its activation function {number} is not understood: none, RELU and RELU6 are")
        return self.activated(node, ACTIVATIONS[number])

    def keep_integers(self, node: fx.Node, weight: np.ndarray, bias: Stored | None) -> None:
        """Remember the integers of a layer of an 8-bit file; ``weight`` in PyTorch's order."""
        tensor, source = self._at(self.inputs[1]), self._at(self.inputs[0])
        if weight.dtype != np.int8 or tensor.zero_points.any() or not len(source.scales) or not len(self.result.scales):
            return
        scales = np.broadcast_to(tensor.scales, len(weight)).copy()
        whole = None if bias is None else self.numbers(bias)
        layer = IntegerLayer(source.grid, self.result.grid, weight.copy(), scales, whole)
        self.integers[str(node.target)] = layer

    def geometry(self, options: Any, kernel: Pair, dilation: Pair) -> tuple[Pair, Padding]:
        """Stride and padding."""
        stride = options.StrideH(), options.StrideW()
        if min(*stride, *dilation) < 1:
            raise SysmolError(f"stride {list(stride)}, dilation {list(dilation)}")
        if options.Padding() not in (0, 1):
            raise SysmolError(f"padding of kind {options.Padding()}")
        size = self.assembly.shape(self.operand())[1:]
        if len(size) != 2:
            raise SysmolError("its input is no image")
        return stride, same_padding(size, kernel, stride, dilation) if options.Padding() == 0 else NONE

    def _convolution(self, options: Any, order: tuple[int, ...]) -> fx.Node:
        tensor, bias = self._at(self.inputs[1]), self.stored(2)
        if len(tensor.shape) != 4:
            raise SysmolError(f"its weights have shape {list(tensor.shape)}")
        # [K, KH, KW, C / groups], or depthwise [1, KH, KW, K], to [K, C / groups, KH, KW].
        weight = self.real(tensor).transpose(order)
        x = self.operand()
        channels, per = self.assembly.shape(x)[0], weight.shape[1]
        if channels % per or len(weight) % (channels // per):
            raise SysmolError(f"weights for {per} channels do not fit {channels}")
        dilation = options.DilationHFactor(), options.DilationWFactor()
        stride, padding = self.geometry(options, weight.shape[2:], dilation)
        offset = self._bias(bias, len(weight))
        node = self.assembly.conv(
            x, torch.from_numpy(weight.copy()), offset, stride, padding, dilation, channels // per
        )
        numbers = self.numbers(tensor)
        self.keep_integers(node, numbers.transpose(order), bias)
        even = padding[:2] == padding[2:]
        notes = ["" if even else f"padding {list(padding)} (top, left, bottom, right)", weights_note(numbers)]
        self.note(KEPT, node, ", ".join(filter(None, notes)))
        return self.fused(node, options)

    def _bias(self, tensor: Stored | None, count: int) -> torch.Tensor | None:
        if tensor is None:
            return None
        values = self.real(tensor)
        if values.shape != (count,):
            raise SysmolError(f"its bias has shape {list(values.shape)} for {count} channels")
        return torch.from_numpy(values.copy())

    def conv(self) -> fx.Node:
        return self._convolution(self.options("Conv2DOptions"), (0, 3, 1, 2))

    def depthwise(self) -> fx.Node:
        return self._convolution(self.options("DepthwiseConv2DOptions"), (3, 0, 1, 2))

    def linear(self) -> fx.Node:
        options, tensor, bias = self.options("FullyConnectedOptions"), self._at(self.inputs[1]), self.stored(2)
        if options.WeightsFormat() != 0 or len(tensor.shape) != 2:
            raise SysmolError(f"its weights have shape {list(tensor.shape)} in format {options.WeightsFormat()}")
        x, weight, numbers = self.operand(), self.real(tensor), self.numbers(tensor)
        shape = self.assembly.shape(x)
        if x.op == "call_module" and str(x.target).startswith("flatten"):
            shape = self.assembly.shape(x.all_input_nodes[0])
        if len(shape) == 3 and weight.shape[1] == math.prod(shape):
            # The file flattens [H, W, C], PyTorch [C, H, W].
            weight, numbers = (
                each.reshape(-1, *shape[1:], shape[0]).transpose(0, 3, 1, 2).reshape(each.shape)
                for each in (weight, numbers)
            )
        node = self.assembly.linear(x, torch.from_numpy(weight.copy()), self._bias(bias, len(weight)))
        self.keep_integers(node, numbers, bias)
        self.note(KEPT, node, weights_note(numbers))
        return self.fused(node, options)

    def max_pool(self) -> fx.Node:
        options = self.options("Pool2DOptions")
        kernel = options.FilterHeight(), options.FilterWidth()
        stride, padding = self.geometry(options, kernel, (1, 1))
        node = self.assembly.max_pool(self.operand(), kernel, stride, padding)
        self.note(KEPT, node)
        return self.fused(node, options)

    def avg_pool(self) -> fx.Node:
        options = self.options("Pool2DOptions")
        kernel = options.FilterHeight(), options.FilterWidth()
        stride, padding = self.geometry(options, kernel, (1, 1))
        if any(padding):
            raise SysmolError("an average over windows that reach beyond the image (the divisor differs there)")
        node = self.assembly.avg_pool(self.operand(), kernel, stride)
        self.note(KEPT, node)
        return self.fused(node, options)

    def mean(self) -> fx.Node:
        axes = self.stored(1)
        found = sorted(int(axis) % 4 for axis in np.ravel(self.numbers(axes))) if axes else []
        if found != [1, 2] or len(self.assembly.shape(self.operand())) != 3:
            raise SysmolError(f"a mean over axes {found}; only over height and width")
        node = self.assembly.global_average(self.operand(), bool(self.options("ReducerOptions").KeepDims()))
        self.note(KEPT, node.all_input_nodes[0] if "flatten" in str(node.target) else node)
        return node

    def pad(self) -> fx.Node:
        sizes = self.stored(1)
        around = self.numbers(sizes).tolist() if sizes else []
        if len(around) != 4 or any(around[0]) or any(around[3]) or min(map(min, around)) < 0:
            raise SysmolError(f"padding {around}; only around height and width")
        (top, bottom), (left, right) = around[1:3]
        node = self.assembly.pad(self.operand(), (top, left, bottom, right))
        self.note(FOLDED)
        return node

    def concatenate(self) -> fx.Node:
        options = self.options("ConcatenationOptions")
        parts = [self.operand(position) for position in range(len(self.inputs))]
        dimensions = len(self.result.shape)
        if options.Axis() % dimensions != dimensions - 1:
            raise SysmolError(f"axis {options.Axis()}; only channels")
        node = self.assembly.concatenate(parts)
        self.note(FOLDED, None, "a sum of convolutions where one reads it")
        return self.fused(node, options)

    def arithmetic(self, what: str) -> fx.Node:
        return self.fused(super().arithmetic(what), self.options(f"{what.title()}Options"))

    # --- shapes and ends ---------------------------------------------------------------------------------------------

    def reshape(self) -> fx.Node:
        x = self.operand()
        shape, wanted = self.assembly.shape(x), self.result.shape[1:]
        self.note(DROPPED, None, "a view")
        if math.prod(wanted) != math.prod(shape):
            raise SysmolError(f"it makes {list(wanted)} of {list(shape)}")
        if len(wanted) == 1:
            return self.assembly.flatten(x)
        if len(wanted) == 3 and (wanted[2], wanted[0], wanted[1]) == tuple(shape):
            return x
        raise SysmolError(f"it makes {list(wanted)} of {list(shape)}; only flattening is understood")

    def sizes(self) -> None:
        """Arithmetic on shapes: the reshape's result has a shape of its own."""
        for index in self.inputs:
            if index not in self.nodes and index not in self.shapes and self._at(index).data is None:
                raise SysmolError("it reads what is neither a shape nor a constant")
        if self.operator_name != "SHAPE" and any(index in self.nodes for index in self.inputs):
            raise SysmolError("only of a shape, in front of RESHAPE")
        self.shapes.add(self.result.index)
        self.note(DROPPED, None, "sizes of a view")

    def convert(self) -> fx.Node | None:
        """From floats to integers or back: the same real values."""
        self.note(DROPPED, None, "the same values in another type")
        index = self.inputs[0]
        if index in self.nodes:
            return self.nodes[index]
        self.constants[self.result.index] = self.real(self._at(index))
        return None


def weights_note(numbers: np.ndarray) -> str:
    """What the table says of weights that are no floats."""
    return "" if numbers.dtype.kind == "f" else f"weights of {8 * numbers.itemsize} bits"
