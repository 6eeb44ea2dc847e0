"""Small ``.tflite`` files, written operator by operator with the schema's own builders."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import tflite

TYPES = {np.dtype(np.float32): 0, np.dtype(np.int32): 2, np.dtype(np.int8): 9}
SAME, VALID = 0, 1
NONE, RELU, RELU6 = 0, 1, 3


class File:
    """A graph from one input to the operator that was added last."""

    def __init__(self) -> None:
        self.b = flatbuffers.Builder(1024)
        self.buffers: list[bytes] = [b""]
        self.tensors: list[int] = []
        self.operators: list[int] = []
        self.codes: list[str] = []
        self.last = -1

    def tensor(
        self, shape: tuple[int, ...], values: np.ndarray | None = None, scale: Any = (), zero: int = 0, axis: int = 0
    ) -> int:
        """Number of a tensor: a constant with ``values``, or an activation, int8 where it has a scale."""
        b, number = self.b, 0
        if values is not None:
            number = len(self.buffers)
            self.buffers.append(values.tobytes())
        name, sides = b.CreateString(f"tensor{len(self.tensors)}"), b.CreateNumpyVector(np.array(shape, np.int32))
        quantisation = 0
        if np.size(scale):
            scales = b.CreateNumpyVector(np.atleast_1d(np.asarray(scale, np.float32)))
            zeros = b.CreateNumpyVector(np.full(np.size(scale), zero, np.int64))
            tflite.QuantizationParametersStart(b)
            tflite.QuantizationParametersAddScale(b, scales)
            tflite.QuantizationParametersAddZeroPoint(b, zeros)
            tflite.QuantizationParametersAddQuantizedDimension(b, axis)
            quantisation = tflite.QuantizationParametersEnd(b)
        tflite.TensorStart(b)
        tflite.TensorAddShape(b, sides)
        kind = values.dtype if values is not None else np.dtype(np.int8 if quantisation else np.float32)
        tflite.TensorAddType(b, TYPES[kind])
        tflite.TensorAddBuffer(b, number)
        tflite.TensorAddName(b, name)
        if quantisation:
            tflite.TensorAddQuantization(b, quantisation)
        self.tensors.append(tflite.TensorEnd(b))
        return len(self.tensors) - 1

    def constant(self, values: Any, kind: Any = np.float32, scale: Any = ()) -> int:
        array = np.asarray(values, kind)
        return self.tensor(array.shape, array, scale)

    def operator(
        self, name: str, inputs: list[int], shape: tuple[int, ...], options: str = "",
        grid: tuple[float, int] | None = None, **fields: int,
    ) -> int:  # fmt: skip
        """Add an operator; returns its result, a tensor of that shape, int8 where a grid (scale, zero point) is
        given."""
        b, result, table = self.b, self.tensor(shape) if grid is None else self.tensor(shape, None, *grid), 0
        if options:
            getattr(tflite, f"{options}Start")(b)
            for key, value in fields.items():
                getattr(tflite, f"{options}Add{key}")(b, value)
            table = getattr(tflite, f"{options}End")(b)
        reads, writes = (b.CreateNumpyVector(np.array(each, np.int32)) for each in (inputs, [result]))
        if name not in self.codes:
            self.codes.append(name)
        tflite.OperatorStart(b)
        tflite.OperatorAddOpcodeIndex(b, self.codes.index(name))
        tflite.OperatorAddInputs(b, reads)
        tflite.OperatorAddOutputs(b, writes)
        if options:
            tflite.OperatorAddBuiltinOptionsType(b, getattr(tflite.BuiltinOptions, options))
            tflite.OperatorAddBuiltinOptions(b, table)
        self.operators.append(tflite.OperatorEnd(b))
        self.last = result
        return result

    def _offsets(self, entries: list[int]) -> int:
        self.b.StartVector(4, len(entries), 4)
        for entry in reversed(entries):
            self.b.PrependUOffsetTRelative(entry)
        return int(self.b.EndVector())

    def bytes(self) -> bytes:
        """The file; its input is tensor 0."""
        b = self.b
        inputs, outputs = (b.CreateNumpyVector(np.array([each], np.int32)) for each in (0, self.last))
        tensors, operators = self._offsets(self.tensors), self._offsets(self.operators)
        tflite.SubGraphStart(b)
        tflite.SubGraphAddTensors(b, tensors)
        tflite.SubGraphAddInputs(b, inputs)
        tflite.SubGraphAddOutputs(b, outputs)
        tflite.SubGraphAddOperators(b, operators)
        graphs = self._offsets([tflite.SubGraphEnd(b)])
        numbers = {name: number for number, name in tflite.BUILTIN_OPCODE2NAME.items()}
        codes = []
        for name in self.codes:
            tflite.OperatorCodeStart(b)
            tflite.OperatorCodeAddDeprecatedBuiltinCode(b, min(numbers[name], 127))
            tflite.OperatorCodeAddBuiltinCode(b, numbers[name])
            tflite.OperatorCodeAddVersion(b, 1)
            codes.append(tflite.OperatorCodeEnd(b))
        held = []
        for content in self.buffers:
            data = b.CreateByteVector(content) if content else 0
            tflite.BufferStart(b)
            if content:
                tflite.BufferAddData(b, data)
            held.append(tflite.BufferEnd(b))
        code_vector, buffer_vector = self._offsets(codes), self._offsets(held)
        tflite.ModelStart(b)
        tflite.ModelAddVersion(b, 3)
        tflite.ModelAddOperatorCodes(b, code_vector)
        tflite.ModelAddSubgraphs(b, graphs)
        tflite.ModelAddBuffers(b, buffer_vector)
        b.Finish(tflite.ModelEnd(b), b"TFL3")
        return bytes(b.Output())


def everything(seed: int) -> bytes:
    """A network with all operators that are understood, on images of 13 x 10 x 3."""
    rng, f = np.random.default_rng(seed), File()

    def normal(*shape: int) -> int:
        return f.constant(rng.normal(0, 1 / np.sqrt(np.prod(shape[1:]) or 1), shape))

    def conv(x: int, weight: int, bias: int, shape: tuple[int, ...], act: int = NONE, **more: int) -> int:
        fields = {"Padding": SAME, "StrideH": 1, "StrideW": 1, "FusedActivationFunction": act} | more
        fields = {"DilationHFactor": 1, "DilationWFactor": 1} | fields
        return f.operator("CONV_2D", [x, weight, bias], shape, "Conv2DOptions", **fields)

    x = f.tensor((1, 13, 10, 3))
    x = f.operator("MUL", [x, f.constant([0.02, 0.03, 0.01])], (1, 13, 10, 3), "MulOptions")
    x = f.operator("SUB", [x, f.constant([1.0])], (1, 13, 10, 3), "SubOptions")
    a = conv(x, normal(8, 10, 4, 3), normal(8), (1, 7, 5, 8), RELU, StrideH=2, StrideW=2)
    x = conv(a, normal(8, 3, 3, 8), normal(8), (1, 7, 5, 8))
    x = f.operator("ADD", [x, a], (1, 7, 5, 8), "AddOptions", FusedActivationFunction=RELU)
    depth = {"Padding": SAME, "StrideH": 2, "StrideW": 1, "DepthMultiplier": 2, "DilationHFactor": 1}
    weights = [normal(1, 3, 3, 16), normal(16)]
    x = f.operator(
        "DEPTHWISE_CONV_2D", [x, *weights], (1, 4, 5, 16), "DepthwiseConv2DOptions", DilationWFactor=1, **depth
    )
    x = f.operator("RELU6", [x], (1, 4, 5, 16))
    around = f.constant([[0, 0], [1, 2], [0, 1], [0, 0]], np.int32)
    p = f.operator("PAD", [x, around], (1, 7, 6, 16), "PadOptions")
    p = conv(p, normal(6, 3, 2, 16), normal(6), (1, 5, 5, 6), RELU, Padding=VALID)
    whole = rng.integers(-127, 128, (6, 1, 1, 16)).astype(np.int8)
    q = conv(x, f.constant(whole, np.float32), normal(6), (1, 4, 5, 6), Padding=VALID)
    q = f.operator("MUL", [q, f.constant(rng.uniform(0.005, 0.01, 6))], (1, 4, 5, 6), "MulOptions")
    q = f.operator("RELU", [q], (1, 4, 5, 6))
    pool = {"StrideH": 2, "StrideW": 2, "FilterHeight": 3, "FilterWidth": 3, "Padding": SAME}
    p = f.operator("MAX_POOL_2D", [p], (1, 3, 3, 6), "Pool2DOptions", **pool)
    q = f.operator("MAX_POOL_2D", [q], (1, 2, 3, 6), "Pool2DOptions", **pool)
    q = f.operator("PAD", [q, f.constant([[0, 0], [1, 1], [1, 0], [0, 0]], np.int32)], (1, 4, 4, 6), "PadOptions")
    q = conv(q, normal(4, 2, 2, 6), normal(4), (1, 3, 3, 4), RELU, Padding=VALID)
    x = f.operator("CONCATENATION", [p, q], (1, 3, 3, 10), "ConcatenationOptions", Axis=3)
    x = conv(x, normal(12, 1, 1, 10), normal(12), (1, 3, 3, 12), RELU)
    m = f.operator("MEAN", [x, f.constant([1, 2], np.int32)], (1, 12), "ReducerOptions", KeepDims=0)
    pool = {"StrideH": 1, "StrideW": 1, "FilterHeight": 2, "FilterWidth": 2, "Padding": VALID}
    x = f.operator("AVERAGE_POOL_2D", [x], (1, 2, 2, 12), "Pool2DOptions", **pool)
    x = f.operator("RESHAPE", [x, f.constant([1, 48], np.int32)], (1, 48), "ReshapeOptions")
    x = f.operator("FULLY_CONNECTED", [x, normal(12, 48), normal(12)], (1, 12), "FullyConnectedOptions")
    x = f.operator("ADD", [x, m], (1, 12), "AddOptions")
    x = f.operator("FULLY_CONNECTED", [x, normal(5, 12), normal(5)], (1, 5), "FullyConnectedOptions")
    f.operator("SOFTMAX", [x], (1, 5), "SoftmaxOptions", Beta=1)
    return f.bytes()


def eight_bits(seed: int) -> bytes:
    """A network on int8 with all operators that are computed there, on images of 11 x 9 x 3."""
    rng, f = np.random.default_rng(seed), File()
    grids = {0: (1 / 64, -3)}

    def grid(spread: float) -> tuple[float, int]:
        return spread / 100 * float(rng.uniform(0.8, 1.2)), int(rng.integers(-20, 20))

    def weighted(x: int, shape: tuple[int, ...], outputs: int, axis: int, depth: int) -> list[int]:
        """Weights and bias, with a scale per output (linear layers: one); sums of ``depth`` products are about 1."""
        values = rng.integers(-127, 128, shape).astype(np.int8)
        scales = rng.uniform(0.5, 1.5, outputs if axis >= 0 else 1) / (64 * np.sqrt(depth))
        weight = f.tensor(shape, values, scales, axis=max(axis, 0))
        bias = f.tensor((outputs,), rng.integers(-500, 500, outputs).astype(np.int32), scales * grids[x][0])
        return [x, weight, bias]

    def add(
        name: str, inputs: list[int], shape: tuple[int, ...], options: str, to: tuple[float, int], **more: int
    ) -> int:
        x = f.operator(name, inputs, shape, options, to, **more)
        grids[x] = to
        return x

    one = {"Padding": SAME, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
    x = f.tensor((1, 11, 9, 3), None, *grids[0])
    stem = weighted(x, (8, 3, 3, 3), 8, 0, 27)
    a = x = add("CONV_2D", stem, (1, 6, 5, 8), "Conv2DOptions", grid(2), **one | {"StrideH": 2, "StrideW": 2,
                "FusedActivationFunction": RELU})  # fmt: skip
    x = add("CONV_2D", weighted(x, (8, 3, 2, 8), 8, 0, 48), (1, 6, 5, 8), "Conv2DOptions", grid(2), **one)
    x = add("ADD", [x, a], (1, 6, 5, 8), "AddOptions", grid(3), FusedActivationFunction=RELU)
    around = f.constant([[0, 0], [1, 0], [0, 1], [0, 0]], np.int32)
    x = add("PAD", [x, around], (1, 7, 6, 8), "PadOptions", grids[x])
    depth = weighted(x, (1, 3, 3, 8), 8, 3, 9)
    x = add("DEPTHWISE_CONV_2D", depth, (1, 5, 4, 8), "DepthwiseConv2DOptions", grid(3), **one | {"Padding": VALID,
            "DepthMultiplier": 1, "FusedActivationFunction": RELU6})  # fmt: skip
    depth = weighted(x, (1, 3, 3, 16), 16, 3, 9)
    x = add(
        "DEPTHWISE_CONV_2D", depth, (1, 5, 4, 16), "DepthwiseConv2DOptions", grid(3), **one | {"DepthMultiplier": 2}
    )
    pool = {"StrideH": 1, "StrideW": 1, "FilterHeight": 2, "FilterWidth": 2, "Padding": VALID}
    x = add("MAX_POOL_2D", [x], (1, 4, 3, 16), "Pool2DOptions", grids[x], **pool)
    m = add("MEAN", [x, f.constant([1, 2], np.int32)], (1, 16), "ReducerOptions", grid(2), KeepDims=0)
    x = add("AVERAGE_POOL_2D", [x], (1, 3, 2, 16), "Pool2DOptions", grids[x], **pool)
    x = add("RESHAPE", [x, f.constant([1, 96], np.int32)], (1, 96), "ReshapeOptions", grids[x])
    x = add("FULLY_CONNECTED", weighted(x, (16, 96), 16, -1, 96), (1, 16), "FullyConnectedOptions", grid(3))
    x = add("ADD", [x, m], (1, 16), "AddOptions", grid(3))
    x = add("RELU", [x], (1, 16), "", grid(3))
    add("FULLY_CONNECTED", weighted(x, (5, 16), 5, -1, 16), (1, 5), "FullyConnectedOptions", grid(3))
    f.operator("SOFTMAX", [f.last], (1, 5), "SoftmaxOptions", (1 / 256, -128), Beta=1)
    return f.bytes()
