"""The integers of an 8-bit TensorFlow Lite file, operator by operator: what its own interpreter computes with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sysmol.errors import SysmolError
from sysmol.train.frontend.readers.assembly import NONE, Padding, Pair
from sysmol.train.frontend.readers.imported import Grid, Imported, Step
from sysmol.train.frontend.readers.limits import one_line
from sysmol.train.frontend.readers.tflite import ACTIVATIONS, Reader, Stored, contents

UINT8, INT8 = 3, 9
"""Of the schema's TensorType."""
VIEWS = ("RESHAPE", "SQUEEZE", "SHAPE", "STRIDED_SLICE", "PACK", "SOFTMAX", "LOG_SOFTMAX", "DEQUANTIZE")
"""Operators whose result is their input, or sizes: nothing to compute."""
OPTIONS = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "RELU": "",
    "RELU6": "",
}
"""The schema's options (or none) of every operator that is computed in integers; others are refused."""


@dataclass(frozen=True)
class Image:
    """An activation int8 ``[height, width, channels]`` on its grid; ``tensor`` is its number in the file."""

    tensor: int
    shape: tuple[int, int, int]
    grid: Grid


@dataclass
class Integers:
    """An operator: ``kind`` one of :data:`OPTIONS`, what it reads and makes, its fused activation function.

    ``weight`` int8 in the order of the network file: ``[K, KH, KW, C / groups]``, depthwise ``[KH, KW, C]``;
    ``weight_scale`` float64 ``[K]``, ``bias`` int64 ``[K]``. ``padding`` is (top, left, bottom, right).
    """

    kind: str
    name: str
    inputs: list[Image]
    output: Image
    activation: str = ""
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Padding = NONE
    groups: int = 1
    weight: np.ndarray | None = None
    weight_scale: np.ndarray | None = None
    bias: np.ndarray | None = None


@dataclass
class IntegerFile:
    """Operators in order from ``input`` to ``output``; ``steps`` say what became of each in the file, ``imported`` is
    the module of real numbers."""

    input: Image
    output: int
    operators: list[Integers]
    steps: list[Step]
    imported: Imported


def read_integers(path: str | Path) -> IntegerFile:
    """The integers of an 8-bit file.

    Raises :class:`SysmolError`, one line, on what :func:`sysmol.train.frontend.readers.tflite.read_tflite` refuses,
    and on what is not computed in int8.
    """
    data = contents(path)
    with one_line(f"{path} was cut short or is damaged"):
        reader = IntegerReader(str(path), data)
        imported = reader.read()
        return reader.file_of(imported)


class IntegerReader(Reader):
    """Reads a file as a module, and keeps every operator's integers beside it."""

    def __init__(self, path: str, data: bytes) -> None:
        super().__init__(path, data)
        self.operators_found: list[Integers] = []
        self.same: dict[int, int] = {}
        """The tensor whose values another one has."""
        self.padded: dict[int, tuple[int, Padding]] = {}
        """Tensors that are others with padding around them."""
        self.source = -1

    def file_of(self, imported: Imported) -> IntegerFile:
        """What was found, once the file is read."""
        output = self.root(int(self.file.OutputsAsNumpy()[0]))
        if not self.operators_found or self.operators_found[-1].output.tensor != output:
            raise SysmolError(f"{self.path}: it does not end in an operator on 8-bit integers")
        source = self.image(self.root(int(self.file.InputsAsNumpy()[0])))
        return IntegerFile(source, output, self.operators_found, self.steps, imported)

    def root(self, index: int) -> int:
        """The tensor behind views."""
        while index in self.same:
            index = self.same[index]
        return index

    def image(self, index: int) -> Image:
        """An 8-bit activation of the file."""
        tensor = self._at(index)
        if tensor.type != INT8 or len(tensor.scales) != 1 or tensor.data is not None:
            raise SysmolError(f"'{tensor.name}' is no int8 activation with one scale: import the file as real numbers")
        shape = tensor.shape[1:]
        if len(shape) not in (1, 3):
            raise SysmolError(f"'{tensor.name}' has shape {list(tensor.shape)}")
        height, width, channels = shape if len(shape) == 3 else (1, 1, shape[0])
        return Image(index, (height, width, channels), tensor.grid)

    def _operator(self, found: Any) -> None:
        super()._operator(found)
        where = f"{self.path}: {self.operator_name} '{self.result_name}'"
        try:
            with one_line(where):
                self._keep(self.operator_name, self.result.index)
        except SysmolError as error:
            raise SysmolError(str(error) if str(error).startswith(self.path) else f"{where}: {error}") from None

    def _keep(self, name: str, result: int) -> None:
        if name in VIEWS:
            self.same[result] = self.inputs[0]
            return
        if name == "QUANTIZE":
            self._quantise(self._at(self.inputs[0]), self._at(result))
            return
        if name == "PAD":
            sizes = self.stored(1)
            assert sizes is not None
            (top, bottom), (left, right) = self.numbers(sizes).tolist()[1:3]
            self.padded[result] = self.root(self.inputs[0]), (top, left, bottom, right)
            return
        if name not in OPTIONS:
            raise SysmolError("is not computed on int8: import the file as real numbers")
        self.operators_found.append(self._integers(name, result))

    def _quantise(self, x: Stored, y: Stored) -> None:
        """Of the network's input, or between unsigned and signed bytes of one scale: the same integers."""
        bytes_alone = {x.type, y.type} == {UINT8, INT8} and np.array_equal(x.scales, y.scales)
        moved = bytes_alone and np.array_equal(np.abs(x.zero_points - y.zero_points), [128])
        if y.type == INT8 and not self.operators_found and (x.type == 0 or moved):
            # The input's integers are those that this makes of it.
            self.same[x.index] = y.index
        elif moved:
            self.same[y.index] = x.index
        else:
            raise SysmolError("onto another grid: import the file as real numbers")

    def _integers(self, name: str, result: int) -> Integers:
        options: Any = self.options(OPTIONS[name]) if OPTIONS[name] else None
        reads = [self.root(self.inputs[0])]
        padding = NONE
        if name in ("CONV_2D", "DEPTHWISE_CONV_2D") and reads[0] in self.padded:
            source, padding = self.padded[reads[0]]
            reads = [source]
        if name == "ADD":
            reads.append(self.root(self.inputs[1]))
        if any(index in self.padded for index in reads):
            raise SysmolError("padding in front of something else than a convolution")
        found = Integers(name, f"{name.lower()}{len(self.operators_found)}", [self.image(i) for i in reads],
                         self.image(result), padding=padding)  # fmt: skip
        if name in ("RELU", "RELU6"):
            found.activation = name.lower()
        elif name != "MEAN":
            found.activation = ACTIVATIONS[options.FusedActivationFunction()]
        if name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            self._convolution_integers(found, options, any(padding))
        elif name == "FULLY_CONNECTED":
            self._linear_integers(found)
        elif name == "MEAN":
            found.kernel = found.inputs[0].shape[0], found.inputs[0].shape[1]
        elif name in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
            found.kernel = options.FilterHeight(), options.FilterWidth()
            found.stride, found.padding = self.geometry(options, found.kernel, (1, 1))
        return found

    def _convolution_integers(self, found: Integers, options: Any, padded: bool) -> None:
        tensor, channels = self._at(self.inputs[1]), found.inputs[0].shape[2]
        if (options.DilationHFactor(), options.DilationWFactor()) != (1, 1):
            raise SysmolError("a dilated convolution on int8: import the file as real numbers")
        weight = self._weight(tensor)
        found.kernel = weight.shape[1], weight.shape[2]
        found.stride, around = self.geometry(options, found.kernel, (1, 1))
        if padded and any(around):
            raise SysmolError("padding around padding")
        found.padding = found.padding if padded else around
        outputs = found.output.shape[2]
        if found.kind == "CONV_2D":
            found.groups = channels // weight.shape[3]
        elif outputs == channels:
            weight = weight[0]
        else:
            weight, found.groups = weight.transpose(3, 1, 2, 0), channels
        found.weight = np.ascontiguousarray(weight)
        self._scales(found, tensor, outputs)

    def _linear_integers(self, found: Integers) -> None:
        tensor, x = self._at(self.inputs[1]), found.inputs[0]
        weight = self._weight(tensor)
        height, width, channels = x.shape
        if weight.shape[1] != math.prod(x.shape):
            raise SysmolError(f"it reads {weight.shape[1]} of {math.prod(x.shape)} values")
        found.kernel = height, width
        found.weight = weight.reshape(len(weight), height, width, channels).copy()
        self._scales(found, tensor, len(weight))

    def _weight(self, tensor: Stored) -> np.ndarray:
        weight = self.numbers(tensor)
        if weight.dtype != np.int8 or tensor.zero_points.any() or not len(tensor.scales):
            raise SysmolError("its weights are no int8 with zero at 0: import the file as real numbers")
        return weight

    def _scales(self, found: Integers, tensor: Stored, count: int) -> None:
        if len(tensor.scales) not in (1, count):
            raise SysmolError(f"its weights have {len(tensor.scales)} scales for {count} outputs")
        found.weight_scale = np.broadcast_to(tensor.scales, count).copy()
        bias = self.stored(2)
        numbers = np.zeros(count, dtype=np.int64) if bias is None else self.numbers(bias).astype(np.int64)
        if numbers.shape != (count,) or (bias is not None and self.numbers(bias).dtype != np.int32):
            raise SysmolError("its bias is no int32 per output")
        found.bias = numbers
