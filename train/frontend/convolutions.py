"""Convolutions and linear layers of traced modules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from sysmol.network.model import span
from sysmol.train.frontend.arithmetic import Arithmetic
from sysmol.train.frontend.graph import Value
from sysmol.train.frontend.nodes import Padding, Parts
from sysmol.train.frontend.tensors import copied, holes, ungrouped


class Convolutions(Arithmetic):
    """A convolution over a concatenation is a sum, ``W * [A; B] = W_A * A + W_B * B``, along a 16-bit stream. One over
    lines is one over images of height 1."""

    def conv(self, node: fx.Node) -> Parts:
        module, parts = self.module(node), self.parts(node)
        if module.padding_mode != "zeros":
            raise self.refuse(node, f"padding_mode={module.padding_mode}; only zeros")
        weight = module.weight.detach()
        if len(node.meta["shape"]) != weight.dim():
            raise self.refuse(node, f"it reads {list(self.source(node).meta['shape'])} as if that had no batch")
        weight = weight.unsqueeze(2) if weight.dim() == 3 else weight
        mask = torch.ones_like(weight, dtype=torch.bool)
        kernel = int(weight.shape[2]), int(weight.shape[3])
        geometry = {
            "stride": self.pair(node, module.stride),
            "dilation": self.pair(node, module.dilation),
            "padding": self.padding(node, kernel),
        }
        per = module.in_channels // module.groups
        sizes = [self.channels(value) for value in parts]
        if module.groups > 1 and any(size % per for size in sizes):
            # A group reads several parts: one kernel over all channels, with zeros.
            weight, mask = ungrouped(weight, module.groups), ungrouped(mask, module.groups)
        if weight.shape[1] == module.in_channels:
            masks = [holes(piece) for piece in mask.split(sizes, 1)]
            return self.sum(node, parts, weight.split(sizes, 1), masks, module.bias, geometry, self.shape(node)[1:])
        op = "depthwise" if module.groups == module.in_channels == module.out_channels else "conv2d"
        results, first, outputs = [], 0, module.out_channels // module.groups
        for value in parts:
            groups = self.channels(value) // per
            own = slice(first * outputs, (first + groups) * outputs)
            shape = (groups * outputs, *self.shape(node)[1:])
            bias = None if module.bias is None else copied(module.bias[own])
            fields: dict[str, Any] = {"kernel": kernel, "groups": groups, "bias": bias} | geometry
            results.append(self.new(node, op, shape, input=value, weight=weight[own].clone(), **fields))
            first += groups
        return tuple(results)

    def padding(self, node: fx.Node, kernel: tuple[int, int]) -> Padding:
        """A convolution's padding, with what stands in front of it."""
        module = self.module(node)
        reach = [span(*each) for each in zip(kernel, self.pair(node, module.dilation), strict=True)]
        if isinstance(module.padding, str):
            rows, columns = ((each - 1) if module.padding == "same" else 0 for each in reach)
            own = (rows // 2, columns // 2, rows - rows // 2, columns - columns // 2)
        else:
            rows, columns = self.pair(node, module.padding, 0)
            own = (rows, columns, rows, columns)
        padding = add_paddings(own, self.padded.get(node.all_input_nodes[0], (0, 0, 0, 0)))
        if max(padding[0], padding[2]) >= reach[0] or max(padding[1], padding[3]) >= reach[1]:
            raise self.refuse(node, f"padding of {list(padding)} is not smaller than the kernel {reach}")
        return padding

    def linear(self, node: fx.Node) -> Parts:
        """Over all elements of an image, or over the channels of every pixel."""
        module, argument = self.module(node), self.argument(node)
        parts, order = self.values[argument], self.order(argument)
        units = [self.unit(value) for value in parts]
        weight = module.weight.detach()
        if order.numel() == module.in_features:
            sizes = [math.prod(unit.shape) for unit in units]
            pieces = [
                piece.reshape(module.out_features, *unit.shape)
                for piece, unit in zip(moved_columns(weight, order.flatten()).split(sizes, 1), units, strict=True)
            ]
            return self.sum(node, parts, pieces, [None] * len(parts), module.bias, {}, (1, 1))
        channels = self.channels_last(parts, order)
        if channels is None:
            found = [list(unit.shape) for unit in units]
            raise self.refuse(
                node, f"it reads {list(argument.meta['shape'])}, made of {found[0] if len(found) == 1 else found}, "
                "whose last axis is not all its channels; flatten first"
            )  # fmt: skip
        weight = moved_columns(weight, channels)[..., None, None]
        pieces = list(weight.split([unit.shape[0] for unit in units], 1))
        total = self.sum(node, parts, pieces, [None] * len(parts), module.bias, {}, units[0].shape[1:])
        self.set_channels_last(node, total[0])
        return total

    def sum(
        self, node: fx.Node, parts: Parts, weights: Sequence[torch.Tensor], masks: Sequence[torch.Tensor | None],
        bias: torch.Tensor | None, geometry: dict[str, Any], size: tuple[int, int],
    ) -> Parts:  # fmt: skip
        """A convolution without groups over a concatenation, whose result has that ``size``: each part's adds to the
        sum over those before it."""
        total: Value | None = None
        for number, (value, weight, mask) in enumerate(zip(parts, weights, masks, strict=True)):
            total = self.new(
                node, "conv2d", (len(weight), *size), input=value, residual=total, kernel=tuple(weight.shape[2:]),
                weight=weight.clone(), mask=mask, bias=copied(bias) if number == len(parts) - 1 else None, **geometry,
            )  # fmt: skip
        assert total is not None
        return (total,)

    def pad(self, node: fx.Node) -> Parts:
        """Zeros around an image, which the convolutions that read it take up."""
        if node.op == "call_module":
            sizes, mode, value = self.module(node).padding, "constant", getattr(self.module(node), "value", 0)
        else:
            sizes = self.option(node, "pad", 1, ())
            mode, value = self.option(node, "mode", 2, "constant"), self.option(node, "value", 3, None)
        sizes = [int(size) for size in sizes]
        axes = min(len(node.meta["shape"]) - 2, 2)
        if mode != "constant" or value not in (None, 0) or min(sizes, default=0) < 0 or any(sizes[2 * axes :]):
            raise self.refuse(node, "only zeros around height and width")
        left, right, top, bottom = (*sizes[: 2 * axes], 0, 0, 0, 0)[:4]
        argument = node.all_input_nodes[0]
        parts = self.values.get(argument)
        if parts is None:
            raise self.refuse(node, "its input is not an activation tensor of this network")
        for user in node.users:
            if not self.reads_padding(user):
                raise self.refuse(node, f"{self.describe(user)} reads it; only a convolution can")
        self.padded[node] = add_paddings((top, left, bottom, right), self.padded.get(argument, (0, 0, 0, 0)))
        return parts


def add_paddings(a: Padding, b: Padding) -> Padding:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]


def moved_columns(weight: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Columns of a weight ``[K, F]`` at the places ``[F]`` that they read."""
    moved = torch.empty_like(weight)
    moved[:, places] = weight
    return moved
