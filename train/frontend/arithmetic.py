"""Sums, constants and batch normalisation of traced modules."""

from __future__ import annotations

from operator import attrgetter

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
        """A product with a constant, or of two activations."""
        if "shape" not in node.meta:
            return None  # arithmetic on sizes
        if self.of_two(node):
            return self.gated(node)
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
            return self.elements(node, 1)
        self.refuse_alpha(node)
        if self.of_two(node):
            return self.added(node, self.elements(node, 0), self.elements(node, 1))
        index, number = self.operand(node, "addition")
        return self.moved(node, index, 1.0, number)

    def subtract(self, node: fx.Node) -> Parts | None:
        """A difference with a constant, or of two activations."""
        if "shape" not in node.meta:
            return None
        self.refuse_alpha(node)
        if self.of_two(node):
            return self.added(node, self.elements(node, 0), self.moved(node, 1, -1.0, 0.0))
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

    def of_two(self, node: fx.Node) -> bool:
        """Whether the two arguments of a node are activations."""
        return len(node.args) == 2 and all(isinstance(a, fx.Node) and a in self.values for a in node.args)

    def moved(self, node: fx.Node, index: int, factor: Number, addend: Number) -> Parts:
        """An argument of a node times a constant plus a constant."""
        factors, addends = (self.over_elements(node, index, each) for each in (factor, addend))
        if any(each.numel() > len(each) for each in factors):
            raise self.refuse(node, "with a constant that differs by pixel; only a number, or one per channel")
        parts = self.elements(node, index)
        return tuple(self.with_constants(node, *each) for each in zip(parts, factors, addends, strict=True))

    def with_constants(self, node: fx.Node, value: Value, factor: torch.Tensor, addend: torch.Tensor) -> Value:
        """``value * factor + addend``, of ``[C, 1, 1]`` and of that or ``[C, H, W]``."""
        if addend.numel() == len(addend):
            return self.affine(node, value, factor.flatten(), addend.flatten())
        if bool((factor != 1).any()):
            value = self.affine(node, value, factor.flatten(), torch.zeros(len(factor)))
        return self.plus(node, value, self.constant_unit(node, addend))

    def constant_unit(self, node: fx.Node, data: torch.Tensor) -> Value:
        """A constant ``[C, H, W]``, such as positions, behind the input: trained where it is a parameter."""
        read = [each for each in self.constants & ancestors(node) if each.op == "get_attr"]
        learned = any(isinstance(attrgetter(str(each.target))(self.traced), nn.Parameter) for each in read)
        channels, height, width = data.shape
        value = self.new(node, "constant", (channels, height, width), data=data.clone(), learned_data=learned)
        first, *others = (name for name in self.graph.units if name != value.unit)
        self.graph.units = {name: self.graph.units[name] for name in (first, value.unit, *others)}
        return value

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
        if not torch.equal(*(self.order(self.argument(node, index)).flatten() for index in (0, 1))):
            raise self.refuse(node, "it adds tensors whose elements lie in different orders")
        return tuple(self.plus(node, a, b) for a, b in zip(*operands, strict=True))

    def plus(self, node: fx.Node, left: Value, right: Value) -> Value:
        """A sum. It rides on a convolution where the other operand stands by then and nothing else reads the bare
        result.
        """
        order = list(self.graph.units)
        host, other = (left, right) if order.index(left.unit) > order.index(right.unit) else (right, left)
        if self.unit(left).op == "constant":
            left, right = right, left
        unit = self.unit(host)
        rides = unit.has_weights and host.act == "none" and unit.residual is None and self.alone(host)
        if rides and host.unit != other.unit:
            unit.residual = other
            return host
        return self.new(node, "add", unit.shape, input=left, residual=right)

    # --- products of two activations ---------------------------------------------------------------------------------

    def gated(self, node: fx.Node) -> Parts:
        """The product of two activations, one of which may have one pixel."""
        found = [self.argument(node, index) for index in (0, 1)]
        shape = tuple(node.meta["shape"])
        if tuple(found[0].meta["shape"]) != shape:
            found.reverse()
        orders = [self.order(each).expand(shape) for each in found]
        parts = [self.values[each] for each in found]
        pixels = [self.pixels(each) for each in parts]
        whole = self.order(found[0])
        gate = whole // pixels[0] if pixels[0] and pixels[1] == 1 else whole
        if (
            tuple(found[0].meta["shape"]) != shape
            or [len(each) for each in parts] != [1, 1]
            or pixels[1] not in (1, pixels[0])
            or not torch.equal(gate, orders[1])
        ):
            shapes = " and ".join(str(list(each.meta["shape"])) for each in found)
            raise self.refuse(node, f"it multiplies {shapes}; only of one shape, or with one factor per channel")
        if found[0] in self.orders:
            self.orders[node] = self.orders[found[0]]
        (a,), (b,) = parts
        return (self.new(node, "gate", self.unit(a).shape, input=a, second=b),)


def ancestors(node: fx.Node) -> set[fx.Node]:
    """All nodes that a node depends on."""
    found: set[fx.Node] = set()
    pending = list(node.all_input_nodes)
    while pending:
        each = pending.pop()
        if each not in found:
            found.add(each)
            pending += each.all_input_nodes
    return found
