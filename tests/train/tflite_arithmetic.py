"""Some operators of ``.tflite`` files in plain NumPy, weights as ``scale * (q - zero_point)``.

The interpreter of TensorFlow Lite rounds activations to 8 bits where a float file has 8-bit weights; this does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tflite


def constant(model: Any, tensor: Any) -> np.ndarray:
    kind = {0: np.float32, 2: np.int32, 9: np.int8}[tensor.Type()]
    values = model.Buffers(tensor.Buffer()).DataAsNumpy().view(kind).reshape(tensor.ShapeAsNumpy()).astype(np.float64)
    q = tensor.Quantization()
    return values * q.ScaleAsNumpy()[0] if q is not None and q.ScaleLength() == 1 else values


def same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def taps(x: np.ndarray, kernel: tuple[int, int], options: Any) -> np.ndarray:
    """``[H, W, C]`` as windows ``[OH, OW, C, KH, KW]``."""
    strides = options.StrideH(), options.StrideW()
    if options.Padding() == 0:
        pads = [same(size, k, s) for size, k, s in zip(x.shape, kernel, strides, strict=False)]
        x = np.pad(x, [*pads, (0, 0)])
    return np.lib.stride_tricks.sliding_window_view(x, kernel, (0, 1))[:: strides[0], :: strides[1]]


def logits(data: bytes, x: np.ndarray) -> np.ndarray:
    """What the file's last operator but a softmax gives for one input ``[H, W, C]``, float64."""
    model = tflite.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    held = {int(graph.InputsAsNumpy()[0]): x.astype(np.float64)}
    y = x
    for number in range(graph.OperatorsLength()):
        op = graph.Operators(number)
        code = model.OperatorCodes(op.OpcodeIndex())
        name = tflite.opcode2name(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))
        source, *rest = (int(i) for i in op.InputsAsNumpy())
        values = [constant(model, graph.Tensors(i)) for i in rest]

        def options(kind: Any, op: Any = op) -> Any:
            found = kind()
            found.Init(op.BuiltinOptions().Bytes, op.BuiltinOptions().Pos)
            return found

        x = held[source]
        if name == "CONV_2D":
            opt = options(tflite.Conv2DOptions)
            y = np.einsum("hwcij,kijc->hwk", taps(x, values[0].shape[1:3], opt), values[0]) + values[1]
        elif name == "DEPTHWISE_CONV_2D":
            opt = options(tflite.DepthwiseConv2DOptions)
            y = np.einsum("hwcij,ijc->hwc", taps(x, values[0].shape[1:3], opt), values[0][0]) + values[1]
        elif name == "AVERAGE_POOL_2D":
            opt = options(tflite.Pool2DOptions)
            y = taps(x, (opt.FilterHeight(), opt.FilterWidth()), opt).mean((3, 4))
        elif name == "FULLY_CONNECTED":
            opt = options(tflite.FullyConnectedOptions)
            y = values[0] @ x.reshape(-1) + values[1]
        else:
            assert name in ("RESHAPE", "SOFTMAX"), name
            opt, y = None, x
        if opt is not None and opt.FusedActivationFunction() == 1:
            y = np.maximum(y, 0)
        held[int(op.OutputsAsNumpy()[0])] = y
    return np.asarray(y).reshape(-1)
