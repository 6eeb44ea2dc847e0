"""A user's ``nn.Module`` as a short list of units, the layers of the network file before any number format is chosen.

``torch.fx`` traces the module. A :class:`Unit` is one accumulation (convolution, pooling, addition) with the batch
normalisation and the residual addition that ride on it; a :class:`Value` is what a later unit reads, a unit's result
behind an activation function. Whatever the file format cannot hold ends in one :class:`SysmolError` that names the
node.
"""

from __future__ import annotations

import copy
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from sysmol.errors import SysmolError

SUPPORTED = (
    "Conv2d (groups 1 or depthwise), BatchNorm2d behind a convolution, Linear, ReLU, ReLU6, MaxPool2d, AvgPool2d, "
    "AdaptiveAvgPool2d(1), mean over height and width, flatten, addition, Dropout, Identity"
)


@dataclass(frozen=True)
class Value:
    """The result of a unit behind an activation function: ``none``, ``relu`` or ``relu6``."""

    unit: str
    act: str = "none"


@dataclass
class Unit:
    """One accumulation. ``op``: input, conv2d, depthwise, avgpool, maxpool or add (``input`` + ``residual``).

    ``shape`` is (channels, height, width) of the result; ``padding`` is (top, left, bottom, right); ``divisor``
    belongs to avgpool. ``weight`` is ``[K, C, KH, KW]`` (depthwise ``[C, 1, KH, KW]``); a linear layer is a
    convolution over its whole input.
    """

    name: str
    op: str
    shape: tuple[int, int, int]
    path: str = ""
    input: Value | None = None
    residual: Value | None = None
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    divisor: int = 1
    weight: torch.Tensor | None = None
    bias: torch.Tensor | None = None
    bn: nn.BatchNorm2d | None = None

    @property
    def has_weights(self) -> bool:
        """Whether this is a convolution."""
        return self.op in ("conv2d", "depthwise")


@dataclass
class Graph:
    """Units in execution order; ``output`` is the value of the logits."""

    units: dict[str, Unit] = field(default_factory=dict)
    output: Value = Value("")

    @property
    def convolutions(self) -> list[Unit]:
        """The units with weights, in execution order."""
        return [unit for unit in self.units.values() if unit.has_weights]

    def root(self, value: Value) -> Value:
        """The value that is stored: a maximum keeps the numbers of its input, so it looks through max pooling."""
        while self.units[value.unit].op == "maxpool":
            inner = self.units[value.unit].input
            assert inner is not None
            value = inner
        return value


def trace(model: nn.Module, example_input: torch.Tensor) -> Graph:
    """The units of ``model`` for inputs like ``example_input`` float ``[n, C, H, W]``. The model itself is not
    changed.
    """
    if example_input.dim() != 4:
        raise SysmolError(f"the example input must be [n, channels, height, width], not {list(example_input.shape)}")
    model = copy.deepcopy(model).eval()
    try:
        traced = fx.symbolic_trace(model)
    except Exception as error:  # fx raises many kinds, whatever the user's forward() does
        raise SysmolError(f"torch.fx cannot trace {type(model).__name__}: {_one_line(error)}") from error
    builder = _Builder(traced, example_input)
    try:
        with torch.no_grad():
            _Shapes(traced).run(example_input[:1])
    except Exception as error:
        # An unsupported node says more than the shape that it failed on.
        builder.check_supported()
        raise SysmolError(
            f"{type(model).__name__} does not run on images {list(example_input.shape)}: {_one_line(error)}"
        ) from error
    builder.check_supported()
    return builder.build()


class _Shapes(fx.Interpreter):
    """Runs a traced module and notes the shape of every tensor in its node."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            n.meta["shape"] = tuple(result.shape)
        return result


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()  # fx appends where in the graph it happened
    return re.sub(r"\s+", " ", lines[0])[:200] if lines else type(error).__name__


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, (tuple, list)):
        first, second = value if len(value) == 2 else (value[0], value[0])
        return int(first), int(second)
    return int(value), int(value)


class _Builder:
    def __init__(self, traced: fx.GraphModule, example_input: torch.Tensor) -> None:
        self.traced = traced
        self.modules = dict(traced.named_modules())
        self.graph = Graph()
        self.values: dict[fx.Node, Value] = {}
        self.order: list[str] = []

    # --- dispatch ----------------------------------------------------------------------------------------------------

    def handler(self, node: fx.Node) -> Callable[[fx.Node], Value | None] | None:
        """The method that understands a node; None where there is none."""
        if node.op == "call_module":
            module = self.modules[str(node.target)]
            return next((f for kind, f in self.module_handlers().items() if type(module) is kind), None)
        if node.op in ("call_function", "call_method"):
            return self.function_handlers().get(node.target)
        return {"placeholder": self.placeholder, "output": self.output, "get_attr": None}[node.op]

    def module_handlers(self) -> dict[type, Callable[[fx.Node], Value | None]]:
        return {
            nn.Conv2d: self.conv, nn.Linear: self.linear, nn.BatchNorm2d: self.batch_norm,
            nn.ReLU: lambda n: self.activate(n, "relu"), nn.ReLU6: lambda n: self.activate(n, "relu6"),
            nn.MaxPool2d: self.max_pool, nn.AvgPool2d: self.avg_pool, nn.AdaptiveAvgPool2d: self.global_pool,
            nn.Flatten: self.flatten, nn.Dropout: self.same, nn.Dropout2d: self.same, nn.Identity: self.same,
        }  # fmt: skip

    def function_handlers(self) -> dict[Any, Callable[[fx.Node], Value | None]]:
        relu, relu6 = (lambda n: self.activate(n, "relu")), (lambda n: self.activate(n, "relu6"))
        table: dict[Any, Callable[[fx.Node], Value | None]] = {
            F.relu: relu, torch.relu: relu, "relu": relu, torch.relu_: relu, "relu_": relu, F.relu6: relu6,
            operator.add: self.add, operator.iadd: self.add, torch.add: self.add, "add": self.add, "add_": self.add,
            F.max_pool2d: self.max_pool, torch.max_pool2d: self.max_pool, F.avg_pool2d: self.avg_pool,
            F.adaptive_avg_pool2d: self.global_pool, torch.mean: self.mean, "mean": self.mean,
            torch.flatten: self.flatten, "flatten": self.flatten, "view": self.flatten, "reshape": self.flatten,
            torch.reshape: self.flatten, torch.squeeze: self.flatten, "squeeze": self.flatten,
            F.dropout: self.same, "contiguous": self.same, "size": self.shape_query, getattr: self.shape_query,
            operator.getitem: self.shape_query, operator.mul: self.shape_query,
        }  # fmt: skip
        return table

    def check_supported(self) -> None:
        """Refuse, before anything runs, the first node that no handler understands."""
        for node in self.traced.graph.nodes:
            if self.handler(node) is None:
                raise SysmolError(f"unsupported layer {self.describe(node)}: supported are {SUPPORTED}")

    def build(self) -> Graph:
        for node in self.traced.graph.nodes:
            handler = self.handler(node)
            assert handler is not None
            value = handler(node)
            if value is not None:
                self.values[node] = value
        self.drop_unused()
        return self.graph

    # --- small helpers -----------------------------------------------------------------------------------------------

    def describe(self, node: fx.Node) -> str:
        if node.op == "call_module":
            return f"'{node.target}' ({type(self.modules[str(node.target)]).__name__})"
        target = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        return f"'{node.name}' ({node.op} {target})"

    def refuse(self, node: fx.Node, why: str) -> SysmolError:
        return SysmolError(f"unsupported layer {self.describe(node)}: {why}")

    def shape(self, node: fx.Node) -> tuple[int, int, int]:
        """(channels, height, width) of a node's result."""
        dims = node.meta["shape"]
        if len(dims) == 2:
            return int(dims[1]), 1, 1
        if len(dims) != 4:
            raise self.refuse(node, f"its result has shape {list(dims)}; only [n, C, H, W] and [n, C] are understood")
        return int(dims[1]), int(dims[2]), int(dims[3])

    def source(self, node: fx.Node, index: int = 0) -> Value:
        argument = node.args[index] if len(node.args) > index else None
        if not isinstance(argument, fx.Node) or argument not in self.values:
            raise self.refuse(node, "its input is not an activation tensor of this network")
        return self.values[argument]

    def option(self, node: fx.Node, name: str, index: int, default: Any) -> Any:
        """An option of a pooling module or function: keyword, position or the module's attribute."""
        if node.op == "call_module":
            return getattr(self.modules[str(node.target)], name, default)
        return node.kwargs.get(name, node.args[index] if len(node.args) > index else default)

    def new(self, node: fx.Node, op: str, **fields: Any) -> Value:
        label = str(node.target) if node.op == "call_module" else node.name
        name = base = re.sub(r"\W", "_", label)
        count = 2
        while name in self.graph.units:
            name, count = f"{base}_{count}", count + 1
        shape = fields.pop("shape", None) or self.shape(node)
        self.graph.units[name] = Unit(name, op, shape, path=label, **fields)
        return Value(name)

    # --- nodes -------------------------------------------------------------------------------------------------------

    def placeholder(self, node: fx.Node) -> Value:
        if self.graph.units:
            raise SysmolError(f"the model has a second input '{node.name}': networks take one image")
        return self.new(node, "input")

    def output(self, node: fx.Node) -> None:
        result = node.args[0]
        if not isinstance(result, fx.Node) or result not in self.values:
            raise SysmolError("the model must return one tensor, the logits")
        value = self.values[result]
        unit = self.graph.units[value.unit]
        if value.act != "none" or unit.op in ("input", "maxpool") or unit.shape[1:] != (1, 1):
            raise SysmolError(
                "the model must end in logits [n, classes] of a linear layer, a convolution or an average, "
                f"not in {unit.op} '{unit.path}' of shape {list(unit.shape)}"
            )
        self.graph.output = value

    def same(self, node: fx.Node) -> Value:
        return self.source(node)

    def shape_query(self, node: fx.Node) -> None:
        """Sizes that only steer a view; arithmetic on activations is refused."""
        if "shape" in node.meta:
            raise self.refuse(node, f"supported are {SUPPORTED}")

    def flatten(self, node: fx.Node) -> Value:
        value = self.source(node)
        argument = node.args[0]
        assert isinstance(argument, fx.Node)
        before, after = self.shape(argument), self.shape(node)
        if before != after and after != (before[0] * before[1] * before[2], 1, 1):
            raise self.refuse(node, f"it reshapes {list(before)} to {list(after)}; only flattening is understood")
        return value

    def conv(self, node: fx.Node) -> Value:
        module = self.modules[str(node.target)]
        assert isinstance(module, nn.Conv2d)
        depthwise = module.groups > 1
        if depthwise and not module.groups == module.in_channels == module.out_channels:
            raise self.refuse(node, f"groups={module.groups}; only 1 or depthwise (groups = inputs = outputs)")
        if _pair(module.dilation) != (1, 1):
            raise self.refuse(node, f"dilation={module.dilation}; only 1")
        if module.padding_mode != "zeros":
            raise self.refuse(node, f"padding_mode={module.padding_mode}; only zeros")
        kernel, stride = _pair(module.kernel_size), _pair(module.stride)
        if isinstance(module.padding, str):
            rows, columns = ((k - 1) if module.padding == "same" else 0 for k in kernel)
            padding = (rows // 2, columns // 2, rows - rows // 2, columns - columns // 2)
        else:
            rows, columns = _pair(module.padding)
            padding = (rows, columns, rows, columns)
        if max(padding[0], padding[2]) >= kernel[0] or max(padding[1], padding[3]) >= kernel[1]:
            raise self.refuse(node, f"padding={module.padding} is not smaller than the kernel {list(kernel)}")
        return self.new(
            node, "depthwise" if depthwise else "conv2d", input=self.source(node), kernel=kernel, stride=stride,
            padding=padding, weight=module.weight.detach().clone(), bias=_copy(module.bias),
        )  # fmt: skip

    def linear(self, node: fx.Node) -> Value:
        module = self.modules[str(node.target)]
        assert isinstance(module, nn.Linear)
        value = self.source(node)
        channels, height, width = self.graph.units[value.unit].shape
        if channels * height * width != module.in_features:
            raise self.refuse(
                node,
                f"it reads {module.in_features} features, its input has {[channels, height, width]}; flatten first",
            )
        weight = module.weight.detach().clone().reshape(module.out_features, channels, height, width)
        return self.new(node, "conv2d", input=value, kernel=(height, width), weight=weight, bias=_copy(module.bias))

    def batch_norm(self, node: fx.Node) -> Value:
        module = self.modules[str(node.target)]
        assert isinstance(module, nn.BatchNorm2d)
        value = self.source(node)
        unit = self.graph.units[value.unit]
        argument = node.args[0]
        assert isinstance(argument, fx.Node)
        if (
            not unit.has_weights
            or value.act != "none"
            or unit.bn is not None
            or unit.residual
            or len(argument.users) > 1
        ):
            raise self.refuse(node, "it must directly follow a convolution whose result nothing else reads")
        if module.running_mean is None:
            raise self.refuse(node, "it keeps no running statistics (track_running_stats=False)")
        unit.bn = copy.deepcopy(module)
        return value

    def activate(self, node: fx.Node, act: str) -> Value:
        value = self.source(node)
        unit = self.graph.units[value.unit]
        act = "relu6" if "relu6" in (act, value.act) else act
        if unit.op != "maxpool":
            return Value(value.unit, act)
        # An activation function and a maximum commute: clamp first, so that pooling only ever moves stored numbers.
        inner = unit.input
        assert inner is not None
        clamped = Value(inner.unit, "relu6" if "relu6" in (act, inner.act) else act)
        return self.new(node, "maxpool", input=clamped, kernel=unit.kernel, stride=unit.stride, padding=unit.padding)

    def pool(self, node: fx.Node) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
        kernel = _pair(self.option(node, "kernel_size", 1, None))
        stride = self.option(node, "stride", 2, None)
        rows, columns = _pair(self.option(node, "padding", 3, 0))
        return kernel, kernel if stride in (None, [], ()) else _pair(stride), (rows, columns, rows, columns)

    def max_pool(self, node: fx.Node) -> Value:
        kernel, stride, padding = self.pool(node)
        if _pair(self.option(node, "dilation", 4, 1)) != (1, 1):
            raise self.refuse(node, "dilation other than 1")
        if self.option(node, "ceil_mode", 5, False):
            raise self.refuse(node, "ceil_mode")
        if self.option(node, "return_indices", 6, False):
            raise self.refuse(node, "return_indices")
        return self.new(node, "maxpool", input=self.source(node), kernel=kernel, stride=stride, padding=padding)

    def avg_pool(self, node: fx.Node) -> Value:
        kernel, stride, padding = self.pool(node)
        if self.option(node, "ceil_mode", 4, False):
            raise self.refuse(node, "ceil_mode")
        if max(padding) and not self.option(node, "count_include_pad", 5, True):
            raise self.refuse(node, "padding with count_include_pad=False (the divisor would change at the border)")
        divisor = self.option(node, "divisor_override", 6, None) or kernel[0] * kernel[1]
        return self.new(
            node,
            "avgpool",
            input=self.source(node),
            kernel=kernel,
            stride=stride,
            padding=padding,
            divisor=int(divisor),
        )

    def global_pool(self, node: fx.Node) -> Value:
        size = self.option(node, "output_size", 1, None)
        if _pair(size) != (1, 1):
            raise self.refuse(node, f"output size {size}; only 1")
        return self.whole_mean(node)

    def mean(self, node: fx.Node) -> Value:
        axes = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
        found = sorted(axis % 4 for axis in axes) if isinstance(axes, (tuple, list)) else None
        if found != [2, 3]:
            raise self.refuse(node, f"mean over dim={axes}; only over height and width, dim=(2, 3)")
        return self.whole_mean(node)

    def whole_mean(self, node: fx.Node) -> Value:
        value = self.source(node)
        _, height, width = self.graph.units[value.unit].shape
        return self.new(node, "avgpool", input=value, kernel=(height, width), divisor=height * width)

    def add(self, node: fx.Node) -> Value:
        if (
            len(node.args) != 2
            or node.kwargs.get("alpha", 1) != 1
            or not all(isinstance(a, fx.Node) for a in node.args)
        ):
            raise self.refuse(node, "only the sum of two activation tensors")
        left, right = self.source(node, 0), self.source(node, 1)
        shapes = [self.graph.units[v.unit].shape for v in (left, right)]
        if shapes[0] != shapes[1]:
            raise self.refuse(
                node, f"it adds shapes {list(shapes[0])} and {list(shapes[1])}; broadcasting is not supported"
            )
        order = list(self.graph.units)
        argument: dict[Value, Any] = {left: node.args[0], right: node.args[1]}
        host, other = (left, right) if order.index(left.unit) > order.index(right.unit) else (right, left)
        unit = self.graph.units[host.unit]
        # The addition rides on a convolution where the other operand stands by then and nothing else reads the bare
        # result.
        rides = unit.has_weights and host.act == "none" and unit.residual is None and self.readers(argument[host]) == 1
        if rides and host.unit != other.unit:
            unit.residual = other
            return host
        return self.new(node, "add", input=left, residual=right)

    def readers(self, node: fx.Node) -> int:
        """How many nodes read a node's result, looking through those that pass it on."""
        count = len(node.users)
        argument = node.args[0] if node.args else None
        if isinstance(argument, fx.Node) and self.values.get(argument) == self.values.get(node):
            count = max(count, self.readers(argument))
        return count

    def drop_unused(self) -> None:
        """Keep the units that the logits depend on."""
        needed: set[str] = set()
        pending = [self.graph.output]
        while pending:
            value = pending.pop()
            if value.unit not in needed:
                needed.add(value.unit)
                unit = self.graph.units[value.unit]
                pending += [v for v in (unit.input, unit.residual) if v is not None]
        self.graph.units = {name: unit for name, unit in self.graph.units.items() if name in needed}


def _copy(tensor: torch.Tensor | None) -> torch.Tensor | None:
    return None if tensor is None else tensor.detach().clone()
