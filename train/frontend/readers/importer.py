"""What the readers of all formats share: notes of what became of every operator, arithmetic with constants."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx

from sysmol.errors import SysmolError
from sysmol.network import Normalisation
from sysmol.train.frontend.readers.assembly import Assembly
from sysmol.train.frontend.readers.imported import DROPPED, FOLDED, KEPT, Imported, Step
from sysmol.train.frontend.readers.limits import one_line


@dataclass(frozen=True)
class Operator:
    """A row of a format's table: the reader's method that understands an operator, and a note for the documentation."""

    handler: str
    note: str = ""


class Importer:
    """A file being read operator by operator. ``nodes`` holds what its activations have become, by their keys."""

    operators: dict[str, Operator]

    def __init__(self, path: str, file_bytes: int) -> None:
        self.path = path
        self.assembly = Assembly(file_bytes)
        self.nodes: dict[Any, fx.Node] = {}
        self.steps: list[Step] = []
        self.operator_name = self.result_name = ""
        self._affine: tuple[np.ndarray, np.ndarray] | None = None

    def alone(self, key: Hashable) -> bool:
        """Whether only one operator reads an activation."""
        raise NotImplementedError

    def handle(self, operator: str, result: str) -> fx.Node | None:
        """What the table's method makes of the operator; whatever it raises names operator and result."""
        self.operator_name, self.result_name = operator, result
        where = f"{self.path}: {operator} '{result}'"
        if operator not in self.operators:
            raise SysmolError(f"{where} is not supported: supported are {', '.join(self.operators)}")
        try:
            with one_line(where):
                node: fx.Node | None = getattr(self, self.operators[operator].handler)()
                return node
        except SysmolError as error:
            raise SysmolError(str(error) if str(error).startswith(self.path) else f"{where}: {error}") from None

    def imported(self, image: fx.Node, output: fx.Node, **facts: Any) -> Imported:
        """The network with its input and output; ``facts`` are further fields of :class:`Imported`."""
        channels, height, width = self.assembly.shape(image)
        factor, offset = self._affine or (np.ones(channels), np.zeros(channels))
        # 0 - x, since -x of 0 would be -0.
        normalisation = Normalisation(*(tuple(map(float, values)) for values in (0 - offset / factor, factor)))
        module = self.assembly.finish(output)
        return Imported(self.path, module, (channels, height, width), normalisation, self.steps, **facts)

    # --- notes -------------------------------------------------------------------------------------------------------

    def note(self, how: str, node: fx.Node | None = None, note: str = "") -> None:
        """Remember what became of the operator: the layer that it is, if it is one."""
        layer = "" if node is None else str(node.target) if node.op == "call_module" else node.name
        self.steps.append(Step(self.operator_name, self.result_name, how, layer, note))

    def activated(self, node: fx.Node, act: str) -> fx.Node:
        """The node behind the activation function (or none) that a file fuses into an operator."""
        if not act:
            return node
        self.steps[-1].note = ", ".join(filter(None, (self.steps[-1].note, f"{act} folded")))
        return self.assembly.activation(node, act)

    # --- what several formats have -----------------------------------------------------------------------------------

    def with_constant(self, key: Hashable, factor: np.ndarray, offset: np.ndarray) -> fx.Node:
        """``x * factor + offset``, both float32 ``[C]``, of the activation under that key.

        At the head of the file this is no layer, but the input's mean and scale.
        """
        x = self.nodes[key]
        channels, *pixels = self.assembly.shape(x.all_input_nodes[0]) if _is_flat_image(x) else (0,)
        if pixels == [1, 1]:
            pass
        elif channels and np.ptp(factor) == np.ptp(offset) == 0:
            factor, offset = factor[:1].repeat(channels), offset[:1].repeat(channels)
        elif x.op != "placeholder":
            values = torch.from_numpy(factor.copy()), torch.from_numpy(offset.copy())
            node = self.assembly.affine(x, *values, self.alone(key))
            self.note(FOLDED if node is x else KEPT, node)
            return node
        if not self.alone(key) or not (factor > 0).all():
            raise SysmolError("a normalisation of the input: by positive factors, and nothing else may read the input")
        before = self._affine or (np.ones_like(factor), np.zeros_like(factor))
        self._affine = before[0] * factor, before[1] * factor + offset
        self.note(FOLDED, None, "into the input's mean and scale")
        return x

    def per_channel(self, values: np.ndarray, channels: int, axis: int) -> np.ndarray:
        """A constant with one value per channel, or one for all, float32 ``[C]``: along that axis (from behind)."""
        along = values.shape[axis] if values.ndim >= -axis else 1
        if values.size not in (1, channels) or (values.size > 1 and along != channels):
            raise SysmolError(f"a constant of shape {list(values.shape)} for {channels} channels")
        return np.broadcast_to(values.reshape(-1), channels).astype(np.float32)

    def add(self) -> fx.Node:
        """The sum of two activations, or an activation and a constant."""
        return self.arithmetic("add")

    def sub(self) -> fx.Node:
        return self.arithmetic("sub")

    def mul(self) -> fx.Node:
        return self.arithmetic("mul")

    def div(self) -> fx.Node:
        return self.arithmetic("div")

    def arithmetic(self, what: str) -> fx.Node:
        """One of :data:`WITH_CONSTANT`, or the sum of two activations."""
        keys = self.operands()
        activations = [position for position, key in enumerate(keys) if key in self.nodes]
        if len(keys) == 2 and len(activations) == 2 and what == "add":
            node = self.assembly.add(self.nodes[keys[0]], self.nodes[keys[1]])
            self.note(KEPT, node)
            return node
        if len(keys) != 2 or len(activations) != 1 or (what in ("sub", "div") and activations != [0]):
            raise SysmolError("only the sum of two activations, or an activation and a constant per channel behind it")
        (position,) = activations
        constant = self.channel_constant(keys[1 - position], len(self.assembly.shape(self.nodes[keys[position]])))
        channels = self.assembly.shape(self.nodes[keys[position]])[0]
        if what == "div" and not constant[0].all():
            raise SysmolError("a division by 0")
        factor, offset = WITH_CONSTANT[what](self.per_channel(*constant[:1], channels, constant[1]))
        return self.with_constant(keys[position], factor, offset)

    def operands(self) -> Sequence[Any]:
        """Keys of what the operator reads."""
        raise NotImplementedError

    def channel_constant(self, key: Any, dimensions: int) -> tuple[np.ndarray, int]:
        """Values of a constant operand, and its axis of channels (from behind) beside an activation of ``dimensions``
        (3 or 1)."""
        raise NotImplementedError

    def relu(self) -> fx.Node:
        self.note(FOLDED)
        return self.assembly.activation(self.first(), "relu")

    def relu6(self) -> fx.Node:
        self.note(FOLDED)
        return self.assembly.activation(self.first(), "relu6")

    def first(self) -> fx.Node:
        """The activation that the operator reads first."""
        raise NotImplementedError

    def softmax(self) -> fx.Node:
        return self.last("softmax")

    def log_softmax(self) -> fx.Node:
        return self.last("log_softmax")

    def last(self, function: str) -> fx.Node:
        """A function over the logits, part of the module and left out of the units."""
        self.note(DROPPED, None, "keeps the order of the logits")
        return self.assembly.softmax(self.first(), log=function == "log_softmax")


def _is_flat_image(x: fx.Node) -> bool:
    """Whether a node flattens the network's input, which nothing else reads."""
    if not (x.op == "call_module" and str(x.target).startswith("flatten")):
        return False
    source = x.all_input_nodes[0]
    return source.op == "placeholder" and len(source.users) == 1


WITH_CONSTANT = {
    "add": lambda c: (np.ones_like(c), c),
    "sub": lambda c: (np.ones_like(c), -c),
    "mul": lambda c: (c, np.zeros_like(c)),
    "div": lambda c: (1 / c, np.zeros_like(c)),
}
"""Factor and offset of an activation that meets the constant."""


def markdown(operators: dict[str, Operator]) -> str:
    """A format's table for the documentation."""
    rows = [f"| {name} | {row.note} |" for name, row in operators.items()]
    return "\n".join(["| operator | how |", "|---|---|", *rows])
