"""A user's ``nn.Module`` as the units of :mod:`sysmol.train.frontend.graph`, by ``torch.fx``.

A concatenation of channels is no unit but a tuple of values. What works channel by channel works on each of them; a
convolution over it becomes a sum, ``W * [A; B] = W_A * A + W_B * B``, along a 16-bit stream. Whatever the file format
cannot hold ends in one :class:`SysmolError` that names the node.
"""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from sysmol.errors import SysmolError
from sysmol.train.frontend.accepted import FUNCTIONS, MODULES, SUPPORTED
from sysmol.train.frontend.equivalence import as_float
from sysmol.train.frontend.graph import Graph, Unit, Value
from sysmol.train.frontend.writes import Observer, make_pure

Padding = tuple[int, int, int, int]
Parts = tuple[Value, ...]
"""What a node of the user's module stands for: one value, or those that it concatenates."""


def trace(model: nn.Module, example_input: torch.Tensor) -> Graph:
    """The units of ``model`` for inputs like ``example_input`` float ``[n, C, H, W]``. The model itself is not
    changed.
    """
    if example_input.dim() != 4:
        raise SysmolError(f"the example input must be [n, channels, height, width], not {list(example_input.shape)}")
    model = as_float(model)
    try:
        traced = fx.GraphModule(model, _Tracer().trace(model))
    except Exception as error:  # fx raises many kinds, whatever the user's forward() does
        raise SysmolError(f"torch.fx cannot trace {type(model).__name__}: {_one_line(error)}") from error
    builder = Builder(traced)
    try:
        with torch.no_grad():
            Observer(traced).run(example_input[:1].float())
    except Exception as error:
        # An unsupported node says more than the shape that it failed on.
        builder.check_supported()
        raise SysmolError(
            f"{type(model).__name__} does not run on images {list(example_input.shape)}: {_one_line(error)}"
        ) from error
    builder.check_supported()
    make_pure(traced.graph, builder.refuse)
    return builder.build()


def _kind(module: nn.Module) -> type | None:
    """The accepted module that computes a module's result: its class, or one that it inherits forward() from."""
    kinds = (k for k in MODULES if isinstance(module, k) and type(module).forward is k.forward)
    return next(kinds, None)


class _Proxy(fx.Proxy):
    """Knows ``t += x``, which torch.fx would note as ``t = t + x``: what else shares the memory of t changes, too."""

    def __iadd__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.iadd, other)

    def __isub__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.isub, other)

    def __imul__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.imul, other)

    def __itruediv__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.itruediv, other)

    def _in_place(self, function: Callable[..., Any], other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", function, (self, other), {})


class _Tracer(fx.Tracer):
    """Looks into every module but those that a handler understands as a whole; notes lines of the user's code."""

    def __init__(self) -> None:
        super().__init__()
        self.record_stack_traces = True

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return _kind(m) is not None or super().is_leaf_module(m, module_qualified_name)


def _line_of(node: fx.Node) -> str:
    """Where the user's code calls a layer, as far as that is known."""
    frames = re.findall(r'File "(.+?)", line (\d+), in (\w+)', node.stack_trace or "")
    own = [frame for frame in frames if f"{os.sep}torch{os.sep}" not in frame[0] and frame[0] != __file__]
    calls = [frame for frame in own if frame[2] == "forward"] or own
    return f", {Path(calls[-1][0]).name} line {calls[-1][1]}" if calls else ""


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()  # fx appends where in the graph it happened
    return re.sub(r"\s+", " ", lines[0])[:200] if lines else type(error).__name__


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, (tuple, list)):
        first, second = value if len(value) == 2 else (value[0], value[0])
        return int(first), int(second)
    return int(value), int(value)


Handler = Callable[[fx.Node], Parts | None]


class Builder:
    """Makes the units, node by node; a method for every row of :data:`sysmol.train.frontend.accepted.TABLE`."""

    def __init__(self, traced: fx.GraphModule) -> None:
        self.traced = traced
        self.modules = dict(traced.named_modules())
        self.graph = Graph()
        self.values: dict[fx.Node, Parts] = {}
        self.padded: dict[fx.Node, Padding] = {}
        """(top, left, bottom, right) that nodes put around what they stand for; only convolutions can read that."""

    # --- dispatch ----------------------------------------------------------------------------------------------------

    def handler(self, node: fx.Node) -> Handler | None:
        """The method that understands a node; None where there is none."""
        if node.op == "call_module":
            kind = _kind(self.modules[str(node.target)])
            name = None if kind is None else MODULES[kind]
        elif node.op in ("call_function", "call_method"):
            name = FUNCTIONS.get(node.target)
        else:
            name = {"placeholder": "placeholder", "output": "output"}.get(node.op)
        return None if name is None else getattr(self, name)

    def check_supported(self) -> None:
        """Refuse, before anything runs, the first node that no handler understands."""
        for node in self.traced.graph.nodes:
            if self.handler(node) is None:
                raise SysmolError(f"unsupported layer {self.describe(node)}: supported are {SUPPORTED}")

    def build(self) -> Graph:
        for node in self.traced.graph.nodes:
            handler = self.handler(node)
            assert handler is not None
            parts = handler(node)
            if parts is not None:
                self.values[node] = parts
        self.drop_unused()
        return self.graph

    # --- small helpers -----------------------------------------------------------------------------------------------

    def describe(self, node: fx.Node) -> str:
        if node.op == "call_module":
            return f"'{node.target}' ({type(self.modules[str(node.target)]).__name__}){_line_of(node)}"
        target = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        return f"'{node.name}' ({node.op} {target}){_line_of(node)}"

    def refuse(self, node: fx.Node, why: str) -> SysmolError:
        return SysmolError(f"unsupported layer {self.describe(node)}: {why}")

    def module(self, node: fx.Node) -> Any:
        """The module that a node calls."""
        return self.modules[str(node.target)]

    def shape(self, node: fx.Node) -> tuple[int, int, int]:
        """(channels, height, width) of a node's result."""
        dims = node.meta["shape"]
        if len(dims) == 2:
            return int(dims[1]), 1, 1
        if len(dims) != 4:
            raise self.refuse(node, f"its result has shape {list(dims)}; only [n, C, H, W] and [n, C] are understood")
        return int(dims[1]), int(dims[2]), int(dims[3])

    def unit(self, value: Value) -> Unit:
        return self.graph.units[value.unit]

    def channels(self, value: Value) -> int:
        return self.unit(value).shape[0]

    def parts(self, node: fx.Node, index: int = 0) -> Parts:
        """What an argument of a node stands for; the handler of layers that pass on their input, too."""
        found = node.args[index] if len(node.args) > index else node.kwargs.get("input") if index == 0 else None
        if not isinstance(found, fx.Node) or found not in self.values:
            raise self.refuse(node, "its input is not an activation tensor of this network")
        if found in self.padded and not self.reads_padding(node):
            raise self.refuse(node, f"it reads what {self.describe(found)} pads; only a convolution can")
        return self.values[found]

    def reads_padding(self, node: fx.Node) -> bool:
        """Whether a node is a convolution, whose own padding takes up what stands in front of it."""
        return node.op == "call_module" and _kind(self.module(node)) is nn.Conv2d

    def option(self, node: fx.Node, name: str, index: int, default: Any) -> Any:
        """An option of a module or function: keyword, position or the module's attribute."""
        if node.op == "call_module":
            return getattr(self.module(node), name, default)
        found = node.kwargs.get(name, node.args[index] if len(node.args) > index else default)
        return fx.node.map_arg(found, lambda size: size.meta.get("value"))

    def new(self, node: fx.Node, op: str, shape: tuple[int, int, int], **fields: Any) -> Value:
        label = str(node.target) if node.op == "call_module" else node.name
        name = base = re.sub(r"\W", "_", label)
        count = 2
        while name in self.graph.units:
            name, count = f"{base}_{count}", count + 1
        self.graph.units[name] = Unit(name, op, shape, path=label, **fields)
        return Value(name)

    def alone(self, value: Value) -> bool:
        """Whether a single node reads a value, and once, looking through those that pass it on."""
        holders = [node for node, parts in self.values.items() if value in parts]
        readers = {user for node in holders for user in node.users if user not in holders}
        tensors = [user for user in readers if user.op == "output" or "shape" in user.meta]
        return len(tensors) == 1 and all(self.values[node].count(value) == 1 for node in holders)

    # --- ends and shapes ---------------------------------------------------------------------------------------------

    def placeholder(self, node: fx.Node) -> Parts:
        if self.graph.units:
            raise SysmolError(f"the model has a second input '{node.name}': networks take one image")
        return (self.new(node, "input", self.shape(node)),)

    def output(self, node: fx.Node) -> None:
        result = node.args[0]
        if not isinstance(result, fx.Node) or result not in self.values:
            raise SysmolError("the model must return one tensor, the logits")
        value, *others = self.values[result]
        unit = self.unit(value)
        moved = unit.input is None or not unit.operation.requantises
        if others or value.act != "none" or moved or unit.shape[1:] != (1, 1):
            found = "a concatenation" if others else f"{unit.op} '{unit.path}' of shape {list(unit.shape)}"
            wanted = "logits [n, classes] of a linear layer, a convolution or an average"
            raise SysmolError(f"the model must end in {wanted}, not in {found}")
        self.graph.output = value

    def shape_query(self, node: fx.Node) -> None:
        """Sizes that only steer a view; arithmetic on activations is refused."""
        if "shape" in node.meta:
            raise self.refuse(node, f"supported are {SUPPORTED}")

    def flatten(self, node: fx.Node) -> Parts:
        argument = node.args[0]
        assert isinstance(argument, fx.Node)
        before, after = self.shape(argument), self.shape(node)
        if before != after and after != (before[0] * before[1] * before[2], 1, 1):
            raise self.refuse(node, f"it reshapes {list(before)} to {list(after)}; only flattening is understood")
        return self.parts(node)

    def concatenate(self, node: fx.Node) -> Parts:
        tensors = node.args[0] if node.args else node.kwargs.get("tensors")
        axis = self.option(node, "dim", 1, node.kwargs.get("axis", 0))
        if not isinstance(tensors, (tuple, list)) or not all(t in self.values for t in tensors):
            raise self.refuse(node, "it joins something else than activation tensors of this network")
        if axis % len(node.meta["shape"]) != 1:
            raise self.refuse(node, f"it concatenates over dim={axis}; only over channels, dim=1")
        return tuple(value for t in tensors for value in self.values[t])

    def softmax(self, node: fx.Node) -> Parts:
        """Dropped at the end of the network: it changes neither the order of the logits nor what training compares."""
        axis = self.option(node, "dim", 1, None)
        if axis is None or axis % len(node.meta["shape"]) != 1 or any(user.op != "output" for user in node.users):
            raise self.refuse(node, "only over the logits, at the end of the network")
        name = type(self.module(node)).__name__ if node.op == "call_module" else str(node.target)
        self.graph.dropped = "log_softmax" if "log" in name.lower() else "softmax"
        return self.parts(node)

    def pad(self, node: fx.Node) -> Parts:
        """Zeros around an image, which the convolutions that read it take up."""
        if node.op == "call_module":
            sizes, mode, value = self.module(node).padding, "constant", getattr(self.module(node), "value", 0)
        else:
            sizes = self.option(node, "pad", 1, ())
            mode, value = self.option(node, "mode", 2, "constant"), self.option(node, "value", 3, None)
        sizes = [int(size) for size in sizes]
        if mode != "constant" or value not in (None, 0) or min(sizes, default=0) < 0 or any(sizes[4:]):
            raise self.refuse(node, "only zeros around height and width")
        left, right, top, bottom = (*sizes, 0, 0, 0, 0)[:4]
        argument = node.all_input_nodes[0]
        parts = self.values.get(argument)
        if parts is None:
            raise self.refuse(node, "its input is not an activation tensor of this network")
        for user in node.users:
            if not self.reads_padding(user):
                raise self.refuse(node, f"{self.describe(user)} reads it; only a convolution can")
        around = (top, left, bottom, right)
        before = self.padded.get(argument, (0, 0, 0, 0))
        self.padded[node] = _sum(around, before)
        return parts

    def times(self, node: fx.Node) -> Parts | None:
        """A number folded into the convolution that made the other factor."""
        if "shape" not in node.meta:
            return None  # arithmetic on sizes
        numbers = [a for a in node.args if isinstance(a, (int, float))]
        tensors = [n for n, a in enumerate(node.args) if isinstance(a, fx.Node)]
        if len(numbers) != 1 or len(tensors) != 1:
            raise self.refuse(node, "only by a number that stands in the code")
        return tuple(self.scaled(node, value, float(numbers[0])) for value in self.parts(node, tensors[0]))

    def divided(self, node: fx.Node) -> Parts | None:
        """Division by a number."""
        if "shape" not in node.meta:
            return None
        if len(node.args) != 2 or not isinstance(node.args[1], (int, float)) or not node.args[1] or node.kwargs:
            raise self.refuse(node, "only by a number that stands in the code and is not 0")
        return tuple(self.scaled(node, value, 1 / float(node.args[1])) for value in self.parts(node))

    def scaled(self, node: fx.Node, value: Value, factor: float) -> Value:
        """A value times a number: in the weights of its convolution, where nothing else reads that."""
        unit = self.unit(value)
        commutes = value.act == "none" or (value.act == "relu" and factor > 0)
        if not (unit.has_weights and unit.residual is None and commutes and self.alone(value)):
            raise self.refuse(node, "only the result of a convolution that nothing else reads can be multiplied")
        if unit.bn is not None:
            unit.bn = _scaled_norm(unit.bn, factor)
        else:
            assert unit.weight is not None
            unit.weight = unit.weight * factor
            unit.bias = None if unit.bias is None else unit.bias * factor
        return value

    # --- convolutions ------------------------------------------------------------------------------------------------

    def conv(self, node: fx.Node) -> Parts:
        module, parts = self.module(node), self.parts(node)
        if module.padding_mode != "zeros":
            raise self.refuse(node, f"padding_mode={module.padding_mode}; only zeros")
        weight = _dilated(module.weight.detach(), _pair(module.dilation))
        mask = _dilated(torch.ones_like(module.weight, dtype=torch.bool), _pair(module.dilation))
        kernel = int(weight.shape[2]), int(weight.shape[3])
        if isinstance(module.padding, str):
            rows, columns = ((k - 1) if module.padding == "same" else 0 for k in kernel)
            padding = (rows // 2, columns // 2, rows - rows // 2, columns - columns // 2)
        else:
            rows, columns = _pair(module.padding)
            padding = (rows, columns, rows, columns)
        before = self.padded.get(node.all_input_nodes[0], (0, 0, 0, 0))
        padding = _sum(padding, before)
        if max(padding[0], padding[2]) >= kernel[0] or max(padding[1], padding[3]) >= kernel[1]:
            raise self.refuse(node, f"padding of {list(padding)} is not smaller than the kernel {list(kernel)}")
        geometry = {"stride": _pair(module.stride), "padding": padding}
        per = module.in_channels // module.groups
        sizes = [self.channels(value) for value in parts]
        if module.groups > 1 and any(size % per for size in sizes):
            # A group reads several parts: one kernel over all channels, with zeros.
            weight, mask = _ungrouped(weight, module.groups), _ungrouped(mask, module.groups)
        if weight.shape[1] == module.in_channels:
            masks = [_holes(piece) for piece in mask.split(sizes, 1)]
            return self.sum(node, parts, weight.split(sizes, 1), masks, module.bias, geometry)
        op = "depthwise" if module.groups == module.in_channels == module.out_channels else "conv2d"
        results, first, outputs = [], 0, module.out_channels // module.groups
        for value in parts:
            groups = self.channels(value) // per
            own = slice(first * outputs, (first + groups) * outputs)
            shape = (groups * outputs, *self.shape(node)[1:])
            bias = None if module.bias is None else _copy(module.bias[own])
            fields = {"kernel": kernel, "groups": groups, "bias": bias} | geometry
            held = weight[own].clone(), _holes(mask[own])
            results.append(self.new(node, op, shape, input=value, weight=held[0], mask=held[1], **fields))
            first += groups
        return tuple(results)

    def linear(self, node: fx.Node) -> Parts:
        module, parts = self.module(node), self.parts(node)
        shapes = [self.unit(value).shape for value in parts]
        sizes = [channels * height * width for channels, height, width in shapes]
        if sum(sizes) != module.in_features:
            found = list(shapes[0]) if len(shapes) == 1 else [list(shape) for shape in shapes]
            raise self.refuse(node, f"it reads {module.in_features} features, its input has {found}; flatten first")
        pieces = module.weight.detach().split(sizes, 1)
        weights = [piece.reshape(module.out_features, *shape) for piece, shape in zip(pieces, shapes, strict=True)]
        return self.sum(node, parts, weights, [None] * len(parts), module.bias, {})

    def sum(
        self, node: fx.Node, parts: Parts, weights: Sequence[torch.Tensor], masks: Sequence[torch.Tensor | None],
        bias: torch.Tensor | None, geometry: dict[str, Any],
    ) -> Parts:  # fmt: skip
        """A convolution without groups over a concatenation: each part's adds to the sum over those before it."""
        total: Value | None = None
        for number, (value, weight, mask) in enumerate(zip(parts, weights, masks, strict=True)):
            total = self.new(
                node, "conv2d", self.shape(node), input=value, residual=total, kernel=tuple(weight.shape[2:]),
                weight=weight.clone(), mask=mask, bias=_copy(bias) if number == len(parts) - 1 else None, **geometry,
            )  # fmt: skip
        assert total is not None
        return (total,)

    def batch_norm(self, node: fx.Node) -> Parts:
        module, parts = self.module(node), self.parts(node)
        if module.running_mean is None:
            raise self.refuse(node, "it keeps no running statistics (track_running_stats=False)")
        if sum(self.channels(value) for value in parts) != module.num_features:
            raise self.refuse(node, "it normalises flattened images; only channels are understood")
        results, first = [], 0
        for value in parts:
            own = slice(first, first + self.channels(value))
            results.append(self.normalise(node, value, _norm(module, own)))
            first = own.stop
        return tuple(results)

    def normalise(self, node: fx.Node, value: Value, norm: nn.BatchNorm2d) -> Value:
        """Batch normalisation rides on a convolution that nothing else reads; elsewhere it is a unit of its own."""
        unit = self.unit(value)
        if unit.has_weights and value.act == "none" and not (unit.bn or unit.residual) and self.alone(value):
            unit.bn = norm
            return value
        return self.new(node, "norm", unit.shape, input=value, bn=norm)

    # --- activation functions, pooling, additions --------------------------------------------------------------------

    def relu(self, node: fx.Node) -> Parts:
        return tuple(self.activated(node, value, "relu") for value in self.parts(node))

    def relu6(self, node: fx.Node) -> Parts:
        return tuple(self.activated(node, value, "relu6") for value in self.parts(node))

    def hardtanh(self, node: fx.Node) -> Parts:
        return self.between(node, self.option(node, "min_val", 1, -1.0), self.option(node, "max_val", 2, 1.0))

    def clamp(self, node: fx.Node) -> Parts:
        return self.between(node, self.option(node, "min", 1, None), self.option(node, "max", 2, None))

    def between(self, node: fx.Node, low: Any, high: Any) -> Parts:
        """An activation function by its ends."""
        if low == 0 and high in (None, 6):
            return self.relu(node) if high is None else self.relu6(node)
        raise self.refuse(node, f"it clamps to {low} .. {high}; only to 0 .. 6 or from 0 on")

    def activated(self, node: fx.Node, value: Value, act: str) -> Value:
        """A value behind an activation function. That commutes with a maximum: clamp first, so that pooling only ever
        moves stored numbers.
        """
        unit = self.unit(value)
        if unit.operation.requantises:
            return Value(value.unit, "relu6" if "relu6" in (act, value.act) else act)
        assert unit.input is not None
        clamped = self.activated(node, unit.input, act)
        return self.new(
            node, unit.op, unit.shape, input=clamped, kernel=unit.kernel, stride=unit.stride, padding=unit.padding
        )

    def pool(self, node: fx.Node, op: str, **fields: Any) -> Parts:
        """One pooling unit per part."""
        size = self.shape(node)[1:]
        return tuple(self.new(node, op, (self.channels(v), *size), input=v, **fields) for v in self.parts(node))

    def windows(self, node: fx.Node) -> dict[str, Any]:
        """Kernel, stride and padding of a pooling layer."""
        kernel = _pair(self.option(node, "kernel_size", 1, None))
        stride = self.option(node, "stride", 2, None)
        rows, columns = _pair(self.option(node, "padding", 3, 0))
        stride = kernel if stride in (None, [], ()) else _pair(stride)
        size, result = self.unit(self.parts(node)[0]).shape[1:], self.shape(node)[1:]
        # What the windows reach beyond the image at its lower and right edge: more than the padding with ceil_mode.
        reach = [(result[i] - 1) * stride[i] + kernel[i] - size[i] for i in (0, 1)]
        bottom, right = max(rows, reach[0] - rows), max(columns, reach[1] - columns)
        return {"kernel": kernel, "stride": stride, "padding": (rows, columns, bottom, right)}

    def max_pool(self, node: fx.Node) -> Parts:
        if _pair(self.option(node, "dilation", 4, 1)) != (1, 1):
            raise self.refuse(node, "dilation other than 1")
        if self.option(node, "return_indices", 6, False):
            raise self.refuse(node, "return_indices")
        return self.pool(node, "maxpool", **self.windows(node))

    def avg_pool(self, node: fx.Node) -> Parts:
        windows = self.windows(node)
        top, left, bottom, right = windows["padding"]
        if (top, left) != (bottom, right):
            raise self.refuse(node, "ceil_mode with windows that reach beyond the image (their divisor would differ)")
        if max(windows["padding"]) and not self.option(node, "count_include_pad", 5, True):
            raise self.refuse(node, "padding with count_include_pad=False (the divisor would change at the border)")
        kernel = windows["kernel"]
        divisor = self.option(node, "divisor_override", 6, None) or kernel[0] * kernel[1]
        return self.pool(node, "avgpool", divisor=int(divisor), **windows)

    def adaptive_pool(self, node: fx.Node) -> Parts:
        height, width = self.unit(self.parts(node)[0]).shape[1:]
        rows, columns = self.shape(node)[1:]
        if height % rows or width % columns:
            raise self.refuse(node, f"output size {rows}x{columns} does not divide its input of {height}x{width}")
        if (rows, columns) == (height, width):
            return self.parts(node)
        kernel = height // rows, width // columns
        stride = kernel[0] if rows > 1 else 1, kernel[1] if columns > 1 else 1
        return self.pool(node, "avgpool", kernel=kernel, stride=stride, divisor=kernel[0] * kernel[1])

    def mean(self, node: fx.Node) -> Parts:
        axes = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
        found = sorted(axis % 4 for axis in axes) if isinstance(axes, (tuple, list)) else None
        if found != [2, 3]:
            raise self.refuse(node, f"mean over dim={axes}; only over height and width, dim=(2, 3)")
        height, width = self.unit(self.parts(node)[0]).shape[1:]
        return self.pool(node, "avgpool", kernel=(height, width), divisor=height * width)

    def add(self, node: fx.Node) -> Parts:
        if node.args[:1] == (0,):  # how sum() begins
            return self.parts(node, 1)
        if (
            len(node.args) != 2
            or node.kwargs.get("alpha", 1) != 1
            or not all(isinstance(a, fx.Node) for a in node.args)
        ):
            raise self.refuse(node, "only the sum of two activation tensors")
        operands = self.parts(node, 0), self.parts(node, 1)
        left, right = ([self.unit(value).shape for value in parts] for parts in operands)
        if left != right and (len(left) > 1 or len(right) > 1):
            raise self.refuse(node, f"it adds concatenations of different parts, {left} and {right}")
        if left != right:
            raise self.refuse(
                node, f"it adds shapes {list(left[0])} and {list(right[0])}; broadcasting is not supported"
            )
        return tuple(self.plus(node, a, b) for a, b in zip(*operands, strict=True))

    def plus(self, node: fx.Node, left: Value, right: Value) -> Value:
        """A sum. It rides on a convolution where the other operand stands by then and nothing else reads the bare
        result.
        """
        order = list(self.graph.units)
        host, other = (left, right) if order.index(left.unit) > order.index(right.unit) else (right, left)
        unit = self.unit(host)
        rides = unit.has_weights and host.act == "none" and unit.residual is None and self.alone(host)
        if rides and host.unit != other.unit:
            unit.residual = other
            return host
        return self.new(node, "add", unit.shape, input=left, residual=right)

    def drop_unused(self) -> None:
        """Keep the units that the logits depend on."""
        needed: set[str] = set()
        pending = [self.graph.output]
        while pending:
            value = pending.pop()
            if value.unit not in needed:
                needed.add(value.unit)
                unit = self.unit(value)
                pending += [v for v in (unit.input, unit.residual) if v is not None]
        self.graph.units = {name: unit for name, unit in self.graph.units.items() if name in needed}


def _sum(a: Padding, b: Padding) -> Padding:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]


def _scaled_norm(norm: nn.BatchNorm2d, factor: float) -> nn.BatchNorm2d:
    """Batch normalisation whose results are ``factor`` times those of ``norm``."""
    scaled = nn.BatchNorm2d(norm.num_features, norm.eps, norm.momentum).eval()
    state = scaled.state_dict() | norm.state_dict()
    state |= {name: state[name] * factor for name in ("weight", "bias")}
    scaled.load_state_dict(state)
    return scaled


def _copy(tensor: torch.Tensor | None) -> torch.Tensor | None:
    return None if tensor is None else tensor.detach().clone()


def _dilated(weight: torch.Tensor, dilation: tuple[int, int]) -> torch.Tensor:
    """The kernel ``[..., KH, KW]`` with zeros (False) between its taps."""
    if dilation == (1, 1):
        return weight
    *outer, height, width = weight.shape
    wide = weight.new_zeros(*outer, (height - 1) * dilation[0] + 1, (width - 1) * dilation[1] + 1)
    wide[..., :: dilation[0], :: dilation[1]] = weight
    return wide


def _ungrouped(weight: torch.Tensor, groups: int) -> torch.Tensor:
    """Weights ``[K, C / groups, KH, KW]`` as ``[K, C, KH, KW]``, zero (False) for the channels of other groups."""
    blocks = weight.chunk(groups)
    per = weight.shape[1]
    dense = weight.new_zeros(weight.shape[0], per * groups, *weight.shape[2:])
    for number, (block, rows) in enumerate(zip(blocks, dense.chunk(groups), strict=True)):
        rows[:, number * per : (number + 1) * per] = block
    return dense


def _holes(mask: torch.Tensor) -> torch.Tensor | None:
    return None if bool(mask.all()) else mask.clone()


def _norm(module: nn.Module, own: slice) -> nn.BatchNorm2d:
    """Batch normalisation of some channels."""
    assert isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))
    count = len(range(module.num_features)[own])
    norm = nn.BatchNorm2d(count, module.eps, module.momentum, module.affine).eval()
    found = module.state_dict()
    norm.load_state_dict({name: found[name][own] if found[name].dim() else found[name] for name in norm.state_dict()})
    return norm
