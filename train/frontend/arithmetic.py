"""Sums, constants and batch normalisation of traced modules."""

from __future__ import annotations

import torch
from torch import fx, nn

from sysmol.train.frontend.activations import Activations
from sysmol.train.frontend.graph import Value
from sysmol.train.frontend.nodes import Parts
from sysmol.train.frontend.tensors import Affine, moved_norm, norm_of_channels

Number = float | torch.Tensor


class Arithmetic(Activations):
    """Constants ride on the convolution that made the other operand where nothing else reads that."""

    # --- constants ---------------------------------------------------------------------------------------------------

    def times(self, node: fx.Node) -> Parts | None:
        """A product with a constant."""
        if "shape" not in node.meta:
            return None  # arithmetic on sizes
        index, number = self.operand(node, "multiplication")
        return self.moved(node, index, number, 0.0)

    def divided(self, node: fx.Node) -> Parts | None:
        """Division by a constant."""
        if "shape" not in node.meta:
            return None
        index, number = self.operand(node, "division")
        if index or bool((torch.as_tensor(number) == 0).any()) or node.kwargs:
            raise self.refuse(node, "only an activation divided by a constant that is not 0")
        return self.moved(node, 0, 1 / number, 0.0)

    def negated(self, node: fx.Node) -> Parts | None:
        if "shape" not in node.meta:
            return None
        return self.moved(node, 0, -1.0, 0.0)

    def add(self, node: fx.Node) -> Parts | None:
        """A sum with a constant, or of two activations."""
        if "shape" not in node.meta:
            return None
        if node.args[:1] == (0,):  # how sum() begins
            return self.parts(node, 1)
        self.refuse_alpha(node)
        if all(isinstance(a, fx.Node) and a in self.values for a in node.args) and len(node.args) == 2:
            return self.added(node, self.parts(node, 0), self.parts(node, 1))
        index, number = self.operand(node, "addition")
        return self.moved(node, index, 1.0, number)

    def subtract(self, node: fx.Node) -> Parts | None:
        """A difference with a constant, or of two activations."""
        if "shape" not in node.meta:
            return None
        self.refuse_alpha(node)
        if all(isinstance(a, fx.Node) and a in self.values for a in node.args) and len(node.args) == 2:
            return self.added(node, self.parts(node, 0), self.moved(node, 1, -1.0, 0.0))
        index, number = self.operand(node, "subtraction")
        return self.moved(node, index, -1.0 if index else 1.0, number if index else -number)

    def refuse_alpha(self, node: fx.Node) -> None:
        if node.kwargs.get("alpha", 1) != 1:
            raise self.refuse(node, "only without a factor alpha")

    def operand(self, node: fx.Node, what: str) -> tuple[int, Number]:
        """Of a node with an activation and a constant: the activation's index among the arguments, and the constant."""
        arguments = [*node.args, *(node.kwargs[key] for key in ("other",) if key in node.kwargs)]
        numbers = [self.constant(each) for each in arguments]
        tensors = [n for n, each in enumerate(arguments) if isinstance(each, fx.Node) and each in self.values]
        found = [each for each in numbers if each is not None]
        if len(arguments) != 2 or len(found) != 1 or len(tensors) != 1:
            raise self.refuse(node, f"{what} only of an activation and a constant of the code or the module")
        return tensors[0], found[0]

    def moved(self, node: fx.Node, index: int, factor: Number, addend: Number) -> Parts:
        """An argument of a node times a constant plus a constant."""
        parts = self.parts(node, index)
        sizes = [self.channels(value) for value in parts]
        factors, addends = (self.per_channel(node, each, sum(sizes)).split(sizes) for each in (factor, addend))
        return tuple(self.affine(node, *each) for each in zip(parts, factors, addends, strict=True))

    def affine(self, node: fx.Node, value: Value, factor: torch.Tensor, addend: torch.Tensor) -> Value:
        """``value * factor[c] + addend[c]``: in the constants of what makes the value, where nothing else reads it;
        elsewhere a unit of its own."""
        unit = self.unit(value)
        commutes = value.act == "none" or (value.act == "relu" and bool((factor > 0).all()) and not addend.any())
        if not (commutes and self.alone(value)) or unit.residual is not None:
            return self.new(node, "norm", unit.shape, input=value, bn=Affine(factor, addend))
        if isinstance(unit.bn, Affine):
            unit.bn = Affine(unit.bn.weight.detach() * factor, unit.bn.bias.detach() * factor + addend)
        elif unit.bn is not None:
            unit.bn = moved_norm(unit.bn, factor, addend)
        elif unit.has_weights:
            assert unit.weight is not None
            unit.weight = unit.weight * factor.view(-1, 1, 1, 1)
            if unit.bias is not None or addend.any():
                unit.bias = (0 if unit.bias is None else unit.bias * factor) + addend
        else:
            return self.new(node, "norm", unit.shape, input=value, bn=Affine(factor, addend))
        return value

    # --- batch normalisation -----------------------------------------------------------------------------------------

    def batch_norm(self, node: fx.Node) -> Parts:
        module, parts = self.module(node), self.parts(node)
        if module.running_mean is None:
            raise self.refuse(node, "it keeps no running statistics (track_running_stats=False)")
        if sum(self.channels(value) for value in parts) != module.num_features:
            raise self.refuse(node, "it normalises flattened images; only channels are understood")
        results, first = [], 0
        for value in parts:
            own = slice(first, first + self.channels(value))
            results.append(self.normalise(node, value, norm_of_channels(module, own)))
            first = own.stop
        return tuple(results)

    def normalise(self, node: fx.Node, value: Value, norm: nn.BatchNorm2d) -> Value:
        """Batch normalisation rides on a convolution that nothing else reads; elsewhere it is a unit of its own."""
        unit = self.unit(value)
        if unit.has_weights and value.act == "none" and not (unit.bn or unit.residual) and self.alone(value):
            unit.bn, unit.norm_path = norm, str(node.target)
            return value
        return self.new(node, "norm", unit.shape, input=value, bn=norm)

    # --- sums --------------------------------------------------------------------------------------------------------

    def added(self, node: fx.Node, *operands: Parts) -> Parts:
        """The sum of two activations."""
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
