"""Where the elements of a node's tensor lie in the image that they come from.

The elements of an activation of C channels (of a concatenation: of all its parts) over H x W pixels are numbered
``c * H * W + y * W + x``. An *order* is a tensor of such numbers in the shape of a node's result for one image. What
only moves elements (``view``, ``permute``, ``chunk``, ...) does to an order what it does to the activation, so PyTorch
itself says where everything is; no rule per function is needed. Layers look for the form that they can compute:
channels last with pixels as tokens, heads, or an image.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from sysmol.train.frontend.graph import Unit, Value
from sysmol.train.frontend.nodes import Nodes, Parts
from sysmol.train.frontend.tensors import norm_of_channels


class Orders(Nodes):
    """Nodes that move elements, and what others read of them."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.pieces: dict[fx.Node, tuple[Parts, Any]] = {}
        """Of nodes that give several tensors: what they are cut from, and the order of each (None: no activation)."""

    def order(self, node: fx.Node) -> torch.Tensor:
        """The order of a node that stands for an activation, int64 in the shape of its result for one image."""
        shape = node.meta["shape"]
        return self.orders[node] if node in self.orders else torch.arange(math.prod(shape)).reshape(shape)

    def set_order(self, node: fx.Node, order: torch.Tensor) -> None:
        if not torch.equal(order.flatten(), torch.arange(order.numel())):
            self.orders[node] = order

    def elements(self, node: fx.Node, index: int = 0) -> Parts:
        """What an argument stands for, to a node that treats every element by itself: its result has the same order."""
        found = self.argument(node, index)
        if found in self.orders:
            self.orders[node] = self.orders[found]
        return self.values[found]

    def passed(self, node: fx.Node) -> Parts | None:
        """What a node passes on."""
        return self.elements(node)

    # --- moves -------------------------------------------------------------------------------------------------------

    def moves(self, node: fx.Node) -> Parts | None:
        """A node that moves elements, or takes some of them."""
        source = self.source(node)
        if source in self.pieces:
            parts, orders = self.pieces[source]
            return self.piece(node, parts, orders[node.args[1]])
        if "shape" not in node.meta and not node.meta.get("several"):
            return None  # of a size
        source = self.argument(node)
        moved = self._moved(node, source)
        if isinstance(moved, torch.Tensor):
            return self.piece(node, self.values[source], moved)
        self.pieces[node] = self.values[source], moved
        return None

    def _moved(self, node: fx.Node, source: fx.Node) -> Any:
        """What a node does to the order of its argument."""
        order = self.order(source)
        if node.op == "call_module":
            return self.module(node)(order)

        def given(argument: fx.Node) -> Any:
            return order if argument is source else argument.meta.get("value")

        args: Any = fx.node.map_arg(node.args, given)
        kwargs: Any = fx.node.map_arg(node.kwargs, given)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        assert callable(node.target)
        return node.target(*args, **kwargs)

    def piece(self, node: fx.Node, parts: Parts, order: torch.Tensor | None) -> Parts | None:
        """An activation whose elements are those of ``order`` among those of ``parts``."""
        if order is None:
            if node.users:
                raise self.refuse(node, "attention's weights are not a result of this network")
            return None
        found: list[Value] = []
        numbers = torch.full((self.count(parts),), -1)  # of what is kept, among that
        first = kept = 0
        for value in parts:
            channels, *size = self.unit(value).shape
            pixels = math.prod(size)
            taken = torch.zeros(channels * pixels, dtype=torch.int64)
            inside = (order >= first) & (order < first + len(taken))
            taken.index_add_(0, order[inside] - first, torch.ones(int(inside.sum()), dtype=torch.int64))
            whole = taken.view(channels, pixels)
            if bool((whole != whole[:, :1]).any()) or int(whole.max()) > 1:
                raise self.refuse(node, f"it takes some pixels of {[channels, *size]}, or an element twice")
            own = torch.nonzero(whole[:, 0]).flatten()
            if len(own):
                found.append(self.select(node, value, own))
                new = torch.arange(kept, kept + len(own) * pixels)
                numbers[first : first + len(taken)].view(channels, pixels)[own] = new.view(-1, pixels)
                kept += len(new)
            first += len(taken)
        self.set_order(node, numbers[order])
        return tuple(found)

    def count(self, parts: Parts) -> int:
        """Elements of a concatenation."""
        return sum(math.prod(self.unit(value).shape) for value in parts)

    def select(self, node: fx.Node, value: Value, channels: torch.Tensor) -> Value:
        """Channels of a value by their numbers, in that order: a convolution that makes them alone, or a slice."""
        unit, count = self.unit(value), len(channels)
        if torch.equal(channels, torch.arange(unit.shape[0])):
            return value
        shape = (count, *unit.shape[1:])
        if unit.op == "conv2d" and unit.groups == 1 and unit.residual is None:
            return Value(self._convolution_of(node, unit, shape, channels).unit, value.act)
        if not torch.equal(channels, torch.arange(count) + channels[0]):
            raise self.refuse(node, f"it takes channels of '{unit.path}' that lie apart; only of convolutions")
        return self.new(node, "slice", shape, input=value, begin=int(channels[0]))

    def _convolution_of(self, node: fx.Node, unit: Unit, shape: tuple[int, int, int], channels: torch.Tensor) -> Value:
        weight, mask, bias = (None if t is None else t[channels].clone() for t in (unit.weight, unit.mask, unit.bias))
        return self.new(
            node, "conv2d", shape, path=unit.path, input=unit.input, kernel=unit.kernel, stride=unit.stride,
            padding=unit.padding, dilation=unit.dilation, weight=weight, mask=mask, bias=bias,
            bn=None if unit.bn is None else norm_of_channels(unit.bn, channels),
        )  # fmt: skip

    # --- forms that layers read --------------------------------------------------------------------------------------

    def pixels(self, parts: Parts) -> int:
        """Pixels of every part; 0 where they differ."""
        found = {math.prod(self.unit(value).shape[1:]) for value in parts}
        return found.pop() if len(found) == 1 else 0

    def channels_last(self, parts: Parts, order: torch.Tensor) -> torch.Tensor | None:
        """Channel of every place on the last axis, int64 ``[C]``, where that runs over all channels and the others
        over all pixels as they come; None where it does not."""
        count = order.shape[-1]
        rows, pixels = order.reshape(-1, count), self.pixels(parts)
        if not pixels or len(rows) != pixels:
            return None
        channels = rows[0] // pixels
        return channels if torch.equal(rows, channels * pixels + torch.arange(pixels)[:, None]) else None

    def sequence(self, node: fx.Node, index: int = 0) -> Value:
        """An argument that is a sequence ``[n, tokens, C]``, or an image with its channels last."""
        found = self.argument(node, index)
        channels = self.channels_last(self.values[found], self.order(found))
        if channels is None or len(self.values[found]) > 1:
            raise self.refuse(node, f"it reads {list(found.meta['shape'])}, which is no sequence [n, tokens, channels]")
        return self.select(node, self.values[found][0], channels)

    def set_channels_last(self, node: fx.Node, value: Value) -> None:
        """Say that a node's result has the channels of a value on its last axis, and the pixels on the others."""
        self.set_order(node, self.order_of_channels_last(value, node.meta["shape"]))

    def order_of_channels_last(self, value: Value, shape: torch.Size) -> torch.Tensor:
        """The order of a tensor of that shape with the channels of a value on its last axis."""
        channels, height, width = self.unit(value).shape
        return torch.arange(channels * height * width).reshape(channels, -1).T.reshape(shape)

    def over_elements(self, node: fx.Node, index: int, number: float | torch.Tensor) -> list[torch.Tensor]:
        """A constant that a node combines with an argument, as it meets every element: float32 ``[C, H, W]`` for each
        part, ``[C, 1, 1]`` where all pixels have the same."""
        found = self.argument(node, index)
        tensor, shape = torch.as_tensor(number, dtype=torch.float32), tuple(found.meta["shape"])
        if tuple(node.meta["shape"]) != shape:
            raise self.refuse(node, f"with a constant of shape {list(tensor.shape)}; its input has {list(shape)}")
        parts = self.values[found]
        flat = torch.empty(self.count(parts))
        flat[self.order(found).flatten()] = tensor.expand(shape).flatten()
        shapes = [self.unit(value).shape for value in parts]
        pieces = flat.split([math.prod(each) for each in shapes])
        maps = [piece.view(each) for piece, each in zip(pieces, shapes, strict=True)]
        return [each[:, :1, :1] if bool((each == each[:, :1, :1]).all()) else each for each in maps]
