"""Grows a module from a file's operators, layer by layer, with every shape and size known before it is computed."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.func import functional_call

from sysmol.errors import SysmolError
from sysmol.train.frontend.readers.limits import ELEMENTS, GROWTH, WORK

Padding = tuple[int, int, int, int]
"""(top, left, bottom, right)"""
Pair = tuple[int, int]
NONE: Padding = (0, 0, 0, 0)


def same_padding(
    size: Sequence[int], kernel: Pair, stride: Pair, dilation: Pair = (1, 1), upper: bool = True
) -> Padding:
    """'SAME' padding: as many positions as ``size / stride``, rounded up; an odd pixel lies at the lower and right edge
    (``upper``) or at the other two."""
    before, after = [], []
    for axis in (0, 1):
        positions = -(-size[axis] // stride[axis])
        reach = (positions - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1
        total = max(reach - size[axis], 0)
        small, large = total // 2, total - total // 2
        before.append(small if upper else large)
        after.append(large if upper else small)
    return before[0], before[1], after[0], after[1]


class Assembly:
    """A module under construction. Nodes stand for activations ``[1, C, H, W]`` or ``[1, C]``; a node's shape is known
    at once, from a run without data. Raises :class:`SysmolError` (or what PyTorch raises) on what does not fit.
    """

    def __init__(self, file_bytes: int) -> None:
        self.root = nn.Module()
        self.graph = fx.Graph()
        self.work = 0
        self.weight_bytes = 0
        self._counts: Counter[str] = Counter()
        self.largest_weights = (1 << 26) + GROWTH * file_bytes

    # --- ends --------------------------------------------------------------------------------------------------------

    def input(self, shape: tuple[int, int, int]) -> fx.Node:
        """The image ``[n, C, H, W]``."""
        self._check_size(shape)
        node = self.graph.placeholder("image")
        node.meta["value"] = torch.empty(1, *shape, device="meta")
        return node

    def finish(self, output: fx.Node) -> fx.GraphModule:
        """The module, which returns ``output`` ``[n, classes]``."""
        self.graph.output(self.flatten(output))
        for node in self.graph.nodes:
            node.meta.pop("value", None)
        module = fx.GraphModule(self.root, self.graph, "Imported")
        module.graph.eliminate_dead_code()
        module.delete_all_unused_submodules()
        module.recompile()
        return module.eval()

    # --- nodes -------------------------------------------------------------------------------------------------------

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        """Shape of a node's result but for the images: ``(C, H, W)`` or ``(C,)``."""
        return tuple(node.meta["value"].shape[1:])

    def module(self, kind: str, module: nn.Module, *inputs: fx.Node) -> fx.Node:
        """Append a layer; its name is ``kind`` and a number."""
        name = f"{kind}{self._counts[kind]}"
        self._counts[kind] += 1
        module.eval()
        value = self._shaped(module, inputs)
        self.root.add_module(name, module)
        node = self.graph.call_module(name, inputs)
        node.meta["value"] = value
        return node

    def call(self, function: Callable[..., Any], *arguments: Any) -> fx.Node:
        """Append a function of nodes and constants."""
        value = self._shaped(function, arguments)
        node = self.graph.call_function(function, arguments)
        node.meta["value"] = value
        return node

    def _shaped(self, function: Callable[..., Any], arguments: Sequence[Any]) -> torch.Tensor:
        """The result without data; refuses what is too large."""
        operands = fx.node.map_arg(tuple(arguments), lambda node: node.meta["value"])
        with torch.no_grad():
            if isinstance(function, nn.Module):
                held = (*function.named_parameters(), *function.named_buffers())
                shapes = {name: torch.empty_like(tensor, device="meta") for name, tensor in held}
                value = functional_call(function, shapes, operands)
            else:
                value = function(*operands)
        self._check_size(tuple(value.shape))
        if value.numel() == 0:
            raise SysmolError(f"its result is empty, {list(value.shape)}")
        self.work += value.numel()
        return value

    def _check_size(self, shape: Sequence[int]) -> None:
        size = 1
        for side in shape:
            size *= side
        if not 0 <= size <= ELEMENTS:
            raise SysmolError(f"a tensor of shape {list(shape)} is larger than {ELEMENTS:,} elements")

    def _count(self, work: int) -> None:
        self.work += work
        if self.work > WORK:
            raise SysmolError(f"the network is larger than {WORK:,} operations per image")

    def _parameter(self, value: torch.Tensor) -> nn.Parameter:
        self.weight_bytes += 4 * value.numel()
        if self.weight_bytes > self.largest_weights:
            raise SysmolError("its weights are used so often that they would be many times the file's size")
        return nn.Parameter(value.float().contiguous())

    # --- layers ------------------------------------------------------------------------------------------------------

    def conv(
        self, x: fx.Node, weight: torch.Tensor, bias: torch.Tensor | None, stride: Pair = (1, 1),
        padding: Padding = NONE, dilation: Pair = (1, 1), groups: int = 1,
    ) -> fx.Node:  # fmt: skip
        """A convolution with weights ``[K, C / groups, KH, KW]``."""
        outputs, per, *kernel = weight.shape
        wide = [(size - 1) * step + 1 for size, step in zip(kernel, dilation, strict=True)]
        self._check_size((outputs, per, *wide))
        top, left, bottom, right = padding
        options: dict[str, Any] = {"stride": stride, "dilation": dilation, "groups": groups}
        if (top, left) == (bottom, right):
            options["padding"] = (top, left)
        elif any(padding):
            x = self.pad(x, padding)
        conv = nn.Conv2d(per * groups, outputs, (kernel[0], kernel[1]), bias=bias is not None, device="meta", **options)
        conv.weight = self._parameter(weight)
        if bias is not None:
            conv.bias = self._parameter(bias)
        node = self.module("conv", conv, x)
        self._count(weight[0].numel() * node.meta["value"].numel())
        return node

    def linear(self, x: fx.Node, weight: torch.Tensor, bias: torch.Tensor | None) -> fx.Node:
        """A linear layer with weights ``[K, features]``, over a flattened image where ``x`` is one."""
        if len(self.shape(x)) == 3:
            x = self.flatten(x)
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
        linear.weight = self._parameter(weight)
        if bias is not None:
            linear.bias = self._parameter(bias)
        self._count(weight.numel())
        return self.module("linear", linear, x)

    def affine(self, x: fx.Node, factor: torch.Tensor, offset: torch.Tensor, alone: bool) -> fx.Node:
        """``x * factor + offset``, both ``[C]``: in the weights of the layer that made ``x`` where nothing else reads
        that (``alone``), elsewhere as batch normalisation of mean 0 and variance 1."""
        layer = self.root.get_submodule(str(x.target)) if x.op == "call_module" else None
        if alone and isinstance(layer, (nn.Conv2d, nn.Linear)):
            with torch.no_grad():
                bias = torch.zeros(len(layer.weight)) if layer.bias is None else layer.bias
                layer.weight.mul_(factor.view(-1, *[1] * (layer.weight.dim() - 1)))
                layer.bias = nn.Parameter(bias * factor + offset)
            return x
        kind = nn.BatchNorm2d if len(self.shape(x)) == 3 else nn.BatchNorm1d
        norm = kind(len(factor), eps=0.0)
        norm.weight, norm.bias = self._parameter(factor), self._parameter(offset)
        return self.module("norm", norm, x)

    def batch_norm(self, x: fx.Node, values: Sequence[torch.Tensor], eps: float) -> fx.Node:
        """Batch normalisation: weight, bias, mean and variance, each ``[C]``."""
        kind = nn.BatchNorm2d if len(self.shape(x)) == 3 else nn.BatchNorm1d
        norm = kind(len(values[0]), eps=eps)
        with torch.no_grad():
            for target, value in zip(
                (norm.weight, norm.bias, norm.running_mean, norm.running_var), values, strict=True
            ):
                assert target is not None
                target.copy_(value)
        return self.module("norm", norm, x)

    def activation(self, x: fx.Node, name: str) -> fx.Node:
        """``relu`` or ``relu6``."""
        return self.module(name, nn.ReLU() if name == "relu" else nn.ReLU6(), x)

    def max_pool(self, x: fx.Node, kernel: Pair, stride: Pair, padding: Padding) -> fx.Node:
        """A maximum over windows; padding does not count."""
        top, left, bottom, right = padding
        size = self.shape(x)[1:]
        wanted = (
            (size[0] + top + bottom - kernel[0]) // stride[0] + 1,
            (size[1] + left + right - kernel[1]) // stride[1] + 1,
        )
        # PyTorch pads alike on both sides; ceil_mode adds windows that reach further at the lower and right edge.
        for rounding in (False, True):
            pool = nn.MaxPool2d(kernel, stride, (top, left), ceil_mode=rounding)
            if tuple(self._shaped(pool, [x]).shape[2:]) == wanted:
                return self.module("max_pool", pool, x)
        raise SysmolError(f"a maximum with padding {list(padding)} (top, left, bottom, right) around {list(size)}")

    def avg_pool(self, x: fx.Node, kernel: Pair, stride: Pair, padding: Padding = NONE) -> fx.Node:
        """An average over windows in which padding counts as zeros."""
        top, left, bottom, right = padding
        if (top, left) != (bottom, right):
            raise SysmolError(f"an average with padding {list(padding)} (top, left, bottom, right)")
        return self.module("avg_pool", nn.AvgPool2d(kernel, stride, (top, left)), x)

    def global_average(self, x: fx.Node, keep: bool) -> fx.Node:
        """The average over height and width, ``[n, C, 1, 1]`` or ``[n, C]``."""
        x = self.module("global_average", nn.AdaptiveAvgPool2d(1), x)
        return x if keep else self.flatten(x)

    def pad(self, x: fx.Node, padding: Padding) -> fx.Node:
        """Zeros around an image."""
        top, left, bottom, right = padding
        channels, height, width = self.shape(x)
        self._check_size((channels, height + top + bottom, width + left + right))
        return self.call(F.pad, x, (left, right, top, bottom))

    def flatten(self, x: fx.Node) -> fx.Node:
        """``[n, C, H, W]`` as ``[n, C * H * W]``."""
        return self.module("flatten", nn.Flatten(), x) if len(self.shape(x)) == 3 else x

    def add(self, a: fx.Node, b: fx.Node) -> fx.Node:
        """The sum of two activations of one shape."""
        if self.shape(a) != self.shape(b):
            raise SysmolError(f"it adds shapes {list(self.shape(a))} and {list(self.shape(b))}; they must be equal")
        return self.call(operator.add, a, b)

    def concatenate(self, parts: Sequence[fx.Node]) -> fx.Node:
        """Channels one behind another."""
        return self.call(torch.cat, list(parts), 1)

    def softmax(self, x: fx.Node, log: bool = False) -> fx.Node:
        """Over the channels."""
        return self.module("softmax", nn.LogSoftmax(1) if log else nn.Softmax(1), x)
