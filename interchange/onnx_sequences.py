"""Transformers' operations as plain ONNX operators: attention, normalisation, tables, gates, slices, joins.

Products of activations are float64 ``MatMul`` of whole numbers far below 2**53. Divisions and shifts round down: ONNX
divides integers towards zero, so what can be negative is raised by a multiple of the divisor first, and the quotient
lowered afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from sysmol.grid import PRODUCT_SHIFT
from sysmol.interchange.nodes import Nodes
from sysmol.network import Array, Layer, Network, alignment
from sysmol.network.operations.attend import (
    BYTE_PRODUCT_BITS,
    BYTE_SUM_BITS,
    DIVIDEND_BITS,
    MEAN_BITS,
    dividend,
)
from sysmol.network.operations.heads import head_precisions, tokens
from sysmol.network.operations.normalisation import (
    EPSILON,
    INPUT_BITS,
    RECIPROCAL_ROOTS,
    fraction_bits,
    magnitude_bits,
)
from sysmol.network.operations.softmax import weight_bits, weight_table


class Writing(Protocol):
    """What these operations need of :class:`sysmol.interchange.onnx_out.Writer`."""

    net: Network
    nodes: Nodes
    forms: dict[tuple[str, str], str]

    def form(self, tensor: str, kind: str) -> str: ...

    def requantise(self, layer: Layer, acc: str) -> None: ...


class Steps:
    """Nodes of one layer, named after it, with numbers as constants."""

    def __init__(self, writer: Writing, layer: Layer) -> None:
        self.nodes, self.name, self.count = writer.nodes, layer.name, 0

    def _next(self) -> str:
        self.count += 1
        return f"{self.name}.{self.count}"

    def constant(self, values: Any, kind: Any = np.int64) -> str:
        return self.nodes.constant(self._next(), values, kind)

    def __call__(self, op: str, *operands: str | int, **options: Any) -> str:
        inputs = [x if isinstance(x, str) else self.constant(x) for x in operands]
        return self.nodes.node(op, inputs, self._next(), **options)

    def cast(self, x: str, kind: str) -> str:
        return self.nodes.cast(x, kind, self._next())

    def floor_divide(self, x: str, by: int | str, least: int) -> str:
        """``floor(x / by)`` of int64, whose quotients are at least ``least <= 0``."""
        raised = self("Add", x, self("Mul", by, -least) if isinstance(by, str) else -least * by)
        return self("Add", self("Div", raised, by), least)

    def reshape(self, x: str, *shape: int) -> str:
        return self("Reshape", x, self.constant(shape))


def _by_heads(steps: Steps, x: str, heads: int, count: int) -> str:
    """``[n, heads * d, H, W]`` as ``[n, heads, d, tokens]``."""
    return steps.reshape(x, 0, heads, -1, count)


def _per_head(values: Array) -> Array:
    return values.reshape(1, -1, 1, 1)


def _products(steps: Steps, queries: str, keys: str) -> str:
    """``[n, heads, keys, queries]`` of ``[n, heads, d, tokens]`` each."""
    return steps("MatMul", steps("Transpose", keys, perm=[0, 1, 3, 2]), queries)


def _real_scores(writer: Writing, layer: Layer) -> None:
    net, steps = writer.net, Steps(writer, layer)
    queries, keys = (net.tensors[name] for name in layer.inputs)
    q, k = (_by_heads(steps, writer.form(t.name, "float32"), layer.groups, tokens(t)) for t in (queries, keys))
    shape = layer.groups * tokens(keys), queries.height, queries.width
    writer.requantise(layer, steps.reshape(_products(steps, q, k), 0, *shape))


def _scores(writer: Writing, layer: Layer) -> None:
    if writer.net.is_float:
        _real_scores(writer, layer)
        return
    net, steps = writer.net, Steps(writer, layer)
    queries, keys = (net.tensors[name] for name in layer.inputs)
    q, k = (steps.cast(writer.form(name, "int32"), "float64") for name in layer.inputs)
    units = (1 << alignment(queries)).reshape(1, -1, 1, 1)
    q = _by_heads(steps, steps("Mul", q, steps.constant(units, np.float64)), layer.groups, tokens(queries))
    k = _by_heads(steps, k, layer.groups, tokens(keys))
    products = _products(steps, q, k)
    acc = steps.reshape(products, 0, layer.groups * tokens(keys), queries.height, queries.width)
    writer.requantise(layer, steps.cast(acc, "int32"))


def _softmax(writer: Writing, layer: Layer) -> None:
    net, steps = writer.net, Steps(writer, layer)
    target = net.tensors[layer.output]
    if net.is_float:
        x = _by_heads(steps, writer.form(layer.input, "float32"), layer.groups, tokens(target))
        shape = target.channels, target.height, target.width
        writer.forms[layer.output, "float32"] = steps.reshape(steps("Softmax", x, axis=2), 0, *shape)
        return
    bits = [int(p) for p in weight_bits(layer, target)]
    tables = [weight_table(p) for p in bits]
    starts = np.cumsum([0, *(len(table) for table in tables[:-1])])
    last = np.array([len(table) - 1 for table in tables])
    x = steps.cast(writer.form(layer.input, "int32"), "int64")
    x = _by_heads(steps, x, layer.groups, tokens(target))
    below = steps("Sub", steps("ReduceMax", x, axes=[2], keepdims=1), x)
    index = steps("Add", steps("Min", below, steps.constant(_per_head(last))), steps.constant(_per_head(starts)))
    odd = target.format == "smol"
    values = np.concatenate([2 * u - ((1 << p) - 1) if odd else u for u, p in zip(tables, bits, strict=True)])
    found = steps("Gather", steps.constant(values, np.float32), index, axis=0)
    writer.forms[layer.output, "float32"] = steps.reshape(found, 0, target.channels, target.height, target.width)


def _attend(writer: Writing, layer: Layer) -> None:
    net, steps = writer.net, Steps(writer, layer)
    weights, values = (net.tensors[name] for name in layer.inputs)
    if values.format != "smol":
        _plain_attend(writer, layer)
        return
    bits = head_precisions(layer, weights)
    g, v = (steps.cast(writer.form(name, "float32"), "float64") for name in layer.inputs)
    tops = steps.constant(_per_head((1 << bits) - 1), np.float64)
    g = _by_heads(steps, g, layer.groups, tokens(weights))
    u = steps("Mul", steps("Add", g, tops), steps.constant(0.5, np.float64))
    v = _by_heads(steps, v, layer.groups, tokens(values))
    units = _per_head(np.array([2 << PRODUCT_SHIFT[int(p)] for p in bits]))
    sums = steps("Mul", steps("MatMul", v, u), steps.constant(units, np.float64))
    total = steps.cast(steps("ReduceSum", u, steps.constant([2]), keepdims=1), "int64")
    shares = steps("Div", steps.constant(_per_head(np.array([dividend(int(p)) for p in bits]))), total)
    product = steps("Mul", steps.cast(sums, "int64"), shares)
    acc = steps.floor_divide(product, 1 << MEAN_BITS, -(1 << DIVIDEND_BITS - MEAN_BITS))
    acc = steps.reshape(acc, 0, values.channels, weights.height, weights.width)
    writer.requantise(layer, steps.cast(acc, "int32"))


def _plain_attend(writer: Writing, layer: Layer) -> None:
    """Of bytes and floats."""
    net, steps = writer.net, Steps(writer, layer)
    weights, values = (net.tensors[name] for name in layer.inputs)
    kind = "float32" if net.is_float else "float64"
    u, v = (steps.cast(writer.form(name, "float32"), kind) for name in layer.inputs)
    u, v = _by_heads(steps, u, layer.groups, tokens(weights)), _by_heads(steps, v, layer.groups, tokens(values))
    acc = steps("MatMul", v, u)
    if not net.is_float:
        total = steps.cast(steps("ReduceSum", u, steps.constant([2]), keepdims=1), "int64")
        powers = steps.constant((np.int64(1) << np.arange(BYTE_SUM_BITS, 31)).reshape(1, 1, -1, 1))
        reached = steps.cast(steps("GreaterOrEqual", total, powers), "int64")
        shift = steps("ReduceSum", reached, steps.constant([2]), keepdims=1)
        one = steps("Gather", steps.constant(np.int64(1) << np.arange(31)), shift, axis=0)
        share = steps("Div", steps("Mul", one, 1 << BYTE_PRODUCT_BITS - 7), total)
        acc = steps.floor_divide(steps.cast(acc, "int64"), one, -(1 << 26))
        acc = steps.floor_divide(steps("Mul", acc, share), 1 << BYTE_PRODUCT_BITS - MEAN_BITS, -(1 << MEAN_BITS + 1))
    acc = steps.reshape(acc, 0, values.channels, weights.height, weights.width)
    writer.requantise(layer, acc if net.is_float else steps.cast(acc, "int32"))


def _gelu(steps: Steps, x: str) -> str:
    half = steps("Mul", x, steps.constant(0.5, np.float32))
    inner = steps("Erf", steps("Mul", x, steps.constant(np.sqrt(0.5), np.float32)))
    return steps("Mul", half, steps("Add", inner, steps.constant(1.0, np.float32)))


def _gelu_tanh(steps: Steps, x: str) -> str:
    cube = steps("Mul", steps("Mul", x, x), steps("Mul", x, steps.constant(0.044715, np.float32)))
    inner = steps("Tanh", steps("Mul", steps("Add", x, cube), steps.constant(np.sqrt(2 / np.pi), np.float32)))
    half = steps("Mul", x, steps.constant(0.5, np.float32))
    return steps("Mul", half, steps("Add", inner, steps.constant(1.0, np.float32)))


def _ramp(steps: Steps, x: str) -> str:
    return steps("HardSigmoid", x, alpha=1 / 6, beta=0.5)


FUNCTIONS: dict[str, Callable[[Steps, str], str]] = {
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": lambda steps, x: steps("Mul", x, steps("Sigmoid", x)),
    "hardswish": lambda steps, x: steps("Mul", x, _ramp(steps, x)),
    "sigmoid": lambda steps, x: steps("Sigmoid", x),
    "hardsigmoid": _ramp,
    "tanh": lambda steps, x: steps("Tanh", x),
}
"""Of floats, by name."""


def _lookup(writer: Writing, layer: Layer) -> None:
    steps = Steps(writer, layer)
    if layer.function:
        writer.requantise(layer, FUNCTIONS[layer.function](steps, writer.form(layer.input, "float32")))
        return
    table = steps.constant(layer.table, np.int32)
    writer.requantise(layer, steps("Gather", table, writer.form(layer.input, "int32"), axis=0))


def _kind(writer: Writing) -> str:
    return "float32" if writer.net.is_float else "int32"


def _gate(writer: Writing, layer: Layer) -> None:
    operands = [writer.form(name, _kind(writer)) for name in layer.inputs]
    writer.requantise(layer, Steps(writer, layer)("Mul", *operands))


def _slice(writer: Writing, layer: Layer) -> None:
    steps, end = Steps(writer, layer), layer.begin + writer.net.tensors[layer.targets[0]].channels
    ends = [steps.constant([each]) for each in (layer.begin, end, 1)]
    writer.requantise(layer, steps("Slice", writer.form(layer.input, _kind(writer)), *ends))


def _join(writer: Writing, layer: Layer) -> None:
    operands = [writer.form(name, _kind(writer)) for name in layer.inputs]
    writer.requantise(layer, Steps(writer, layer)("Concat", *operands, axis=1))


def _pad(writer: Writing, layer: Layer) -> None:
    top, left, bottom, right = layer.padding
    steps, x = Steps(writer, layer), writer.form(layer.input, _kind(writer))
    sizes = steps.constant([0, 0, max(top, 0), max(left, 0), 0, 0, max(bottom, 0), max(right, 0)])
    t = writer.net.tensors[layer.input]
    starts = [max(-top, 0), max(-left, 0)]
    ends = [t.height + min(bottom, 0), t.width + min(right, 0)]
    x = steps("Slice", x, steps.constant(starts), steps.constant(ends), steps.constant([2, 3]))
    writer.requantise(layer, steps("Pad", x, sizes))


def _normalised(writer: Writing, layer: Layer) -> None:
    """The formulas of docs/network-format.md, step by step."""
    if writer.net.is_float:
        _really_normalised(writer, layer)
        return
    steps, n = Steps(writer, layer), writer.net.tensors[layer.input].channels
    size, fraction = magnitude_bits(n), fraction_bits(n)
    x = steps.cast(writer.form(layer.input, "int32"), "int64")
    channel = steps.constant([1])
    squares = steps("ReduceSum", steps("Mul", x, x), channel, keepdims=1)
    S = steps("ReduceSum", x, channel, keepdims=1)
    if layer.op == "rmsnorm":
        S = steps("Mul", S, 0)
    V = steps("Add", steps("Sub", steps("Mul", squares, n), steps("Mul", S, S)), n)
    powers = steps.constant((np.int64(1) << np.arange(1, 62)).reshape(1, -1, 1, 1))
    reached = steps.cast(steps("GreaterOrEqual", V, powers), "int64")
    bits = steps("ReduceSum", reached, channel, keepdims=1)
    e = steps.floor_divide(steps("Sub", bits, 14), 2, -7)
    m = _scaled(steps, V, steps("Mul", e, 2), least=0)
    r0 = steps("Gather", steps.constant(RECIPROCAL_ROOTS), steps("Sub", steps("Div", m, 256), 64), axis=0)
    square = steps("Div", steps("Mul", r0, r0), 1 << 14)
    rest = steps("Sub", 3 << 16, steps("Div", steps("Mul", square, m), 1 << 14))
    r = steps("Div", steps("Mul", r0, rest), 1 << 17)
    rho = steps("Div", steps("Add", steps("Mul", r, n), 1 << size >> 1), 1 << size)
    rho = steps("Min", rho, 32_767)
    mean = steps.floor_divide(steps("Add", steps("Mul", S, 2), n), 2 * n, -(1 << INPUT_BITS))
    down = steps("Add", e, 7 - size - fraction)
    left = steps("Gather", steps.constant(_powers(-1)), steps("Add", down, MOST), axis=0)
    over = steps("Mul", steps("Sub", S, steps("Mul", mean, n)), left)
    h = steps.floor_divide(steps("Add", over, n // 2), n, -(1 << 24))
    c = _scaled(steps, steps("Sub", x, mean), down, least=-(1 << 40), rounded=True)
    product = steps("Add", steps("Mul", steps("Sub", c, h), rho), 1 << 14)
    acc = steps.floor_divide(product, 1 << 15, -(1 << 16))
    writer.requantise(layer, steps.cast(acc, "int32"))


def _really_normalised(writer: Writing, layer: Layer) -> None:
    steps, channel = Steps(writer, layer), [1]
    x = writer.form(layer.input, "float32")
    if layer.op == "layernorm":
        x = steps("Sub", x, steps("ReduceMean", x, axes=channel, keepdims=1))
    square = steps("ReduceMean", steps("Mul", x, x), axes=channel, keepdims=1)
    root = steps("Sqrt", steps("Add", square, steps.constant(EPSILON, np.float32)))
    writer.requantise(layer, steps("Div", x, root))


MOST = 40
"""Largest shift, to either side."""


def _powers(sign: int) -> Array:
    """``2**max(sign * k, 0)`` for k from ``-MOST`` to ``MOST``."""
    return np.int64(1) << np.maximum(sign * np.arange(-MOST, MOST + 1), 0)


def _scaled(steps: Steps, x: str, down: str, least: int, rounded: bool = False) -> str:
    """``x >> down``, or ``x << -down`` where that is negative; ``rounded``: half of what is lost is added first."""
    index = steps("Add", down, MOST)
    left, right = (steps("Gather", steps.constant(_powers(sign)), index, axis=0) for sign in (-1, 1))
    x = steps("Mul", x, left)
    if rounded:
        x = steps("Add", x, steps("Div", right, 2))
    return steps.floor_divide(x, right, least)


SEQUENCES: dict[str, Callable[[Any, Layer], None]] = {
    "scores": _scores,
    "softmax": _softmax,
    "attend": _attend,
    "lookup": _lookup,
    "gate": _gate,
    "slice": _slice,
    "join": _join,
    "pad": _pad,
    "layernorm": _normalised,
    "rmsnorm": _normalised,
}
"""How these operations are written."""
