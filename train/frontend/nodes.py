"""Nodes of a traced module and what they stand for: what all handlers share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from sysmol.errors import SysmolError
from sysmol.train.frontend.accepted import FUNCTIONS, MODULES, SUPPORTED
from sysmol.train.frontend.graph import Graph, Unit, Value
from sysmol.train.frontend.writes import constant_nodes

Padding = tuple[int, int, int, int]
Parts = tuple[Value, ...]
"""What a node of the user's module stands for: one value, or those that it concatenates."""
Handler = Callable[[fx.Node], Parts | None]


def kind_of(module: nn.Module) -> type | None:
    """The accepted module that computes a module's result: its class, or one that it inherits forward() from."""
    kinds = (k for k in MODULES if isinstance(module, k) and type(module).forward is k.forward)
    return next(kinds, None)


def line_of(node: fx.Node) -> str:
    """Where the user's code calls a layer, as far as that is known."""
    frames = re.findall(r'File "(.+?)", line (\d+), in (\w+)', node.stack_trace or "")
    own = [frame for frame in frames if f"{os.sep}torch{os.sep}" not in frame[0] and Path(frame[0]).parent != FOLDER]
    calls = [frame for frame in own if frame[2] == "forward"] or own
    return f", {Path(calls[-1][0]).name} line {calls[-1][1]}" if calls else ""


FOLDER = Path(__file__).parent


def as_pair(value: Any) -> tuple[int, int]:
    """Rows and columns of an option that may be one number for both."""
    if isinstance(value, (tuple, list)):
        first, second = value if len(value) == 2 else (value[0], value[0])
        return int(first), int(second)
    return int(value), int(value)


class Nodes:
    """Finds the handler of every node. Results of nodes are :data:`Parts`; activations are images ``[n, C, H, W]``,
    lines ``[n, C, L]``, which count as images of height 1, or vectors ``[n, C]``.
    """

    def __init__(self, traced: fx.GraphModule) -> None:
        self.traced = traced
        self.modules = dict(traced.named_modules())
        self.graph = Graph()
        self.values: dict[fx.Node, Parts] = {}
        self.constants = constant_nodes(traced.graph)
        """Nodes that depend on no input: parameters and buffers of the user's, and what is computed of them."""
        self.padded: dict[fx.Node, Padding] = {}
        """(top, left, bottom, right) that nodes put around what they stand for; only convolutions can read that."""
        self.orders: dict[fx.Node, torch.Tensor] = {}
        """Of nodes whose elements do not lie as those of an image (:mod:`sysmol.train.frontend.orders`)."""

    # --- dispatch ----------------------------------------------------------------------------------------------------

    def handler(self, node: fx.Node) -> Handler | None:
        """The method that understands a node; None where there is none."""
        if node in self.constants:
            return self.nothing
        if node.op == "call_module":
            kind = kind_of(self.modules[str(node.target)])
            name = None if kind is None else MODULES[kind]
        elif node.op in ("call_function", "call_method"):
            name = FUNCTIONS.get(node.target)
        else:
            name = {"placeholder": "placeholder", "output": "output"}.get(node.op)
        return None if name is None else getattr(self, name)

    def nothing(self, node: fx.Node) -> None:
        """Of constants: who uses them reads their numbers."""

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

    def drop_unused(self) -> None:
        """Keep the units that the logits depend on."""
        needed: set[str] = set()
        pending = [self.graph.output]
        while pending:
            value = pending.pop()
            if value.unit not in needed:
                needed.add(value.unit)
                pending += self.unit(value).reads
        self.graph.units = {name: unit for name, unit in self.graph.units.items() if name in needed}

    # --- small helpers -----------------------------------------------------------------------------------------------

    def describe(self, node: fx.Node) -> str:
        if node.op == "call_module":
            return f"'{node.target}' ({type(self.modules[str(node.target)]).__name__}){line_of(node)}"
        target = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        return f"'{node.name}' ({node.op} {target}){line_of(node)}"

    def refuse(self, node: fx.Node, why: str) -> SysmolError:
        return SysmolError(f"unsupported layer {self.describe(node)}: {why}")

    def module(self, node: fx.Node) -> Any:
        """The module that a node calls."""
        return self.modules[str(node.target)]

    def shape(self, node: fx.Node) -> tuple[int, int, int]:
        """(channels, height, width) of a node's result."""
        dims = [int(size) for size in node.meta["shape"]]
        if len(dims) == 2:
            return dims[1], 1, 1
        if len(dims) == 3:
            return dims[1], 1, dims[2]
        if len(dims) != 4:
            raise self.refuse(
                node, f"its result has shape {dims}; only [n, C, H, W], [n, C, L] and [n, C] are understood"
            )
        return dims[1], dims[2], dims[3]

    def source(self, node: fx.Node) -> Any:
        """What stands as the first argument of a node."""
        return node.args[0] if node.args else node.kwargs.get("input")

    def pair(self, node: fx.Node, value: Any, usual: int = 1) -> tuple[int, int]:
        """Rows and columns of an option of a node; of a node that reads lines, whose options have columns alone, the
        ``usual`` number for rows."""
        source = self.source(node)
        if isinstance(source, fx.Node) and len(source.meta.get("shape", ())) == 3:
            one = not isinstance(value, (tuple, list)) or len(value) == 1
            return (usual, as_pair(value)[0]) if one else as_pair(value)
        return as_pair(value)

    def unit(self, value: Value) -> Unit:
        return self.graph.units[value.unit]

    def channels(self, value: Value) -> int:
        return self.unit(value).shape[0]

    def argument(self, node: fx.Node, index: int = 0) -> fx.Node:
        """The node behind an argument that is an activation."""
        found = node.args[index] if len(node.args) > index else node.kwargs.get("input") if index == 0 else None
        if not isinstance(found, fx.Node) or found not in self.values:
            raise self.refuse(node, self.why_no_activation(found))
        if found in self.padded and not self.reads_padding(node):
            raise self.refuse(node, f"it reads what {self.describe(found)} pads; only a convolution can")
        return found

    def why_no_activation(self, found: Any) -> str:
        """What is wrong with an argument that is no activation."""
        return "its input is not an activation tensor of this network"

    def parts(self, node: fx.Node, index: int = 0) -> Parts:
        """What an argument of a node stands for, as an image, a line, or a vector of all that it holds."""
        found = self.argument(node, index)
        parts, dims = self.values[found], [int(size) for size in found.meta["shape"][1:]]
        if found in self.padded:
            return parts
        shape = (sum(self.channels(value) for value in parts), *self.unit(parts[0]).shape[1:])
        image = (dims[0], *[1] * (3 - len(dims)), *dims[1:]) == shape or len(dims) == 1
        if found in self.orders or not image:
            raise self.refuse(
                node, f"it reads {list(found.meta['shape'])}, whose elements are not those of an image, a line or a "
                f"vector of [channels, height, width] {list(shape)}"
            )  # fmt: skip
        return parts

    def reads_padding(self, node: fx.Node) -> bool:
        """Whether a node is a convolution, whose own padding takes up what stands in front of it."""
        return node.op == "call_module" and kind_of(self.module(node)) in (nn.Conv1d, nn.Conv2d)

    def option(self, node: fx.Node, name: str, index: int, default: Any) -> Any:
        """An option of a module or function: keyword, position or the module's attribute."""
        if node.op == "call_module":
            return getattr(self.module(node), name, default)
        found = node.kwargs.get(name, node.args[index] if len(node.args) > index else default)
        return fx.node.map_arg(found, lambda size: size.meta.get("value"))

    def constant(self, found: Any) -> float | torch.Tensor | None:
        """A number in the user's code, a size, or the numbers of a constant node; None for anything else."""
        if isinstance(found, fx.Node):
            if isinstance(size := found.meta.get("value"), (int, float)):
                return float(size)
            tensor = found.meta.get("tensor") if found in self.constants else None
            return tensor.detach().clone() if isinstance(tensor, torch.Tensor) else None
        return float(found) if isinstance(found, (int, float)) else None

    def new(self, node: fx.Node, op: str, shape: tuple[int, int, int], path: str = "", **fields: Any) -> Value:
        """A new unit; ``path`` where that is not the node's own."""
        label = path or (str(node.target) if node.op == "call_module" else node.name)
        name = base = re.sub(r"\W", "_", label)
        count = 2
        while name in self.graph.units:
            name, count = f"{base}_{count}", count + 1
        self.graph.units[name] = Unit(name, op, shape, path=label, **fields)
        return Value(name)

    def alone(self, value: Value) -> bool:
        """Whether a single node reads what makes a value, and once: with and without activation functions, and looking
        through nodes that pass it on."""
        holders = [node for node, parts in self.values.items() if any(part.unit == value.unit for part in parts)]
        readers = {user for node in holders for user in node.users if user not in holders}
        tensors = [u for u in readers if u.op == "output" or "shape" in u.meta or u.meta.get("several")]
        return len(tensors) == 1 and all(
            [part.unit for part in self.values[node]].count(value.unit) == 1 for node in holders
        )
