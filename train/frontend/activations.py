"""Activation functions of traced modules."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from sysmol.train.frontend.graph import Value
from sysmol.train.frontend.nodes import Parts
from sysmol.train.frontend.orders import Orders
from sysmol.train.frontend.tables import name_of


class Activations(Orders):
    """ReLU and ReLU6 are ends of what a layer stores; LeakyReLU and PReLU are the sum of two such tensors; functions
    that are no such ends are looked up in tables."""

    def relu(self, node: fx.Node) -> Parts:
        return tuple(self.activated(node, value, "relu") for value in self.elements(node))

    def relu6(self, node: fx.Node) -> Parts:
        return tuple(self.activated(node, value, "relu6") for value in self.elements(node))

    def tabled(self, node: fx.Node) -> Parts:
        """A function of one variable."""
        called = self.module(node) if node.op == "call_module" else node.target
        name = name_of(called, self.option(node, "approximate", 1, "none"))
        return tuple(self.looked_up(node, value, name) for value in self.elements(node))

    def looked_up(self, node: fx.Node, value: Value, name: str, path: str = "") -> Value:
        """A function of :data:`sysmol.train.frontend.tables.TABLES` of a value."""
        return self.new(node, "lookup", self.unit(value).shape, path, input=value, function=name)

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

    def leaky_relu(self, node: fx.Node) -> Parts:
        slope = self.option(node, "negative_slope", 1, 0.01)
        number = self.constant(slope)
        if not isinstance(number, float):
            raise self.refuse(node, "only with a slope that stands in the code")
        parts = self.elements(node)
        return tuple(self.leaky(node, value, torch.full((self.channels(value),), number)) for value in parts)

    def prelu(self, node: fx.Node) -> Parts:
        parts = self.elements(node)
        if node.op == "call_module":
            slopes = self.module(node).weight.detach()
        else:
            found = self.constant(node.args[1] if len(node.args) > 1 else node.kwargs.get("weight"))
            if not isinstance(found, torch.Tensor):
                raise self.refuse(node, "only with slopes that are the module's")
            slopes = found
        sizes = [self.channels(value) for value in parts]
        slopes = slopes.reshape(-1)
        if len(slopes) not in (1, sum(sizes)):
            raise self.refuse(node, f"it has {len(slopes)} slopes, its input {sum(sizes)} channels")
        own = slopes.expand(sum(sizes)).split(sizes)
        return tuple(self.leaky(node, value, each.clone(), True) for value, each in zip(parts, own, strict=True))

    def leaky(self, node: fx.Node, value: Value, slope: torch.Tensor, learned: bool = False) -> Value:
        """``max(x, 0) + slope * min(x, 0)`` with ``slope [C]``: both parts are stored, and added."""
        if self.is_natural(value):
            return value
        positive = self.activated(node, value, "relu")
        if bool((slope == 0).all()) and not learned:
            return positive
        fields: dict[str, Any] = {"residual": positive, "slope": slope, "learned_slope": learned}
        return self.new(node, "leaky", self.unit(value).shape, input=self.activated(node, value, "negative"), **fields)

    def is_natural(self, value: Value) -> bool:
        """Whether nothing of a value is negative, for what stands in front of it."""
        unit = self.unit(value)
        if unit.operation.requantises or unit.input is None:
            return value.act in ("relu", "relu6")
        return self.is_natural(unit.input)
