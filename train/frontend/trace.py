"""A user's ``nn.Module`` as the units of :mod:`sysmol.train.frontend.graph`, by ``torch.fx``.

A concatenation of channels is no unit but a tuple of values. What works channel by channel works on each of them; a
convolution over it becomes a sum. Whatever the file format cannot hold ends in one :class:`SysmolError` that names the
node, and the line of the user's code that calls it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from sysmol.errors import SysmolError
from sysmol.train.frontend.accepted import SUPPORTED
from sysmol.train.frontend.attention import Attention
from sysmol.train.frontend.equivalence import as_float
from sysmol.train.frontend.graph import Graph
from sysmol.train.frontend.nodes import Parts, kind_of
from sysmol.train.frontend.pooling import Pooling
from sysmol.train.frontend.writes import Observer, make_pure


def trace(model: nn.Module, example_input: torch.Tensor) -> Graph:
    """The units of ``model`` for inputs like ``example_input``, float ``[n, C, H, W]``, or lines ``[n, C, L]``. The
    model itself is not changed.
    """
    if example_input.dim() not in (3, 4):
        raise SysmolError(
            f"the example input must be [n, channels, height, width] or [n, channels, length], not "
            f"{list(example_input.shape)}"
        )
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
        return kind_of(m) is not None or super().is_leaf_module(m, module_qualified_name)


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()  # fx appends where in the graph it happened
    return re.sub(r"\s+", " ", lines[0])[:200] if lines else type(error).__name__


class Builder(Attention, Pooling):
    """Makes the units, node by node; a method for every row of :data:`sysmol.train.frontend.accepted.TABLE`."""

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

    def shape_query(self, node: fx.Node) -> Parts | None:
        """Sizes that only steer a view, and parts of activations."""
        if "shape" in node.meta or node.meta.get("several"):
            return self.moves(node)
        return None

    def size_arithmetic(self, node: fx.Node) -> None:
        """Of sizes; refused on activations."""
        if "shape" in node.meta:
            raise self.refuse(node, f"supported are {SUPPORTED}")

    def concatenate(self, node: fx.Node) -> Parts | None:
        tensors = node.args[0] if node.args else node.kwargs.get("tensors")
        axis = self.option(node, "dim", 1, node.kwargs.get("axis", 0))
        if isinstance(tensors, fx.Node) and tensors in self.pieces:
            cut, pieces = self.pieces[tensors]
            return self.piece(node, cut, torch.cat(pieces, axis))
        if not isinstance(tensors, (tuple, list)) or not all(t in self.values for t in tensors):
            raise self.refuse(node, "it joins something else than activation tensors of this network")
        first, orders = 0, []
        for each in tensors:
            orders.append(self.order(each) + first)
            first += orders[-1].numel()
        parts, order = tuple(value for t in tensors for value in self.values[t]), torch.cat(orders, axis)
        self.set_order(node, order)
        if node in self.orders and self.channels_last(parts, order) is None:
            raise self.refuse(node, f"it concatenates over dim={axis}; only over channels, dim=1")
        return parts

    def softmax(self, node: fx.Node) -> Parts | None:
        """Attention's; dropped at the end of the network, where it changes neither the order of the logits nor what
        training compares."""
        if self.source(node) in self.scores:
            self.weighted(node)
            return None
        axis = self.option(node, "dim", 1, None)
        if axis is None or axis % len(node.meta["shape"]) != 1 or any(user.op != "output" for user in node.users):
            raise self.refuse(node, "only over the logits, at the end of the network")
        name = type(self.module(node)).__name__ if node.op == "call_module" else str(node.target)
        self.graph.dropped = "log_softmax" if "log" in name.lower() else "softmax"
        return self.parts(node)
