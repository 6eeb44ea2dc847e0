"""Pooling and upsampling of traced modules."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import fx

from sysmol.train.frontend.nodes import Parts
from sysmol.train.frontend.orders import Orders


class Pooling(Orders):
    """What looks at every channel by itself, through windows."""

    def pool(self, node: fx.Node, op: str, **fields: Any) -> Parts:
        """One pooling unit per part."""
        size, parts = self.shape(node)[1:], self.parts(node)
        if self.shape(node)[0] != sum(self.channels(value) for value in parts):
            raise self.refuse(node, f"it reads {list(self.source(node).meta['shape'])} as if that had no batch")
        return tuple(self.new(node, op, (self.channels(v), *size), input=v, **fields) for v in parts)

    def windows(self, node: fx.Node) -> dict[str, Any]:
        """Kernel, stride and padding of a pooling layer."""
        kernel = self.pair(node, self.option(node, "kernel_size", 1, None))
        stride = self.option(node, "stride", 2, None)
        rows, columns = self.pair(node, self.option(node, "padding", 3, 0), 0)
        stride = kernel if stride in (None, [], ()) else self.pair(node, stride)
        size, result = self.unit(self.parts(node)[0]).shape[1:], self.shape(node)[1:]
        # What the windows reach beyond the image at its lower and right edge: more than the padding with ceil_mode.
        reach = [(result[i] - 1) * stride[i] + kernel[i] - size[i] for i in (0, 1)]
        bottom, right = max(rows, reach[0] - rows), max(columns, reach[1] - columns)
        return {"kernel": kernel, "stride": stride, "padding": (rows, columns, bottom, right)}

    def max_pool(self, node: fx.Node) -> Parts:
        if self.pair(node, self.option(node, "dilation", 4, 1)) != (1, 1):
            raise self.refuse(node, "dilation other than 1")
        if self.option(node, "return_indices", 6, False):
            raise self.refuse(node, "return_indices")
        return self.pool(node, "maxpool", **self.windows(node))

    def avg_pool(self, node: fx.Node) -> Parts:
        windows = self.windows(node)
        top, left, bottom, right = windows["padding"]
        if (top, left) != (bottom, right):
            raise self.refuse(node, "ceil_mode with windows that reach beyond the image (their divisor would differ)")
        if max(windows["padding"]) and not self.option(node, "count_include_pad", 5, True):
            raise self.refuse(node, "padding with count_include_pad=False (the divisor would change at the border)")
        kernel = windows["kernel"]
        divisor = self.option(node, "divisor_override", 6, None) or kernel[0] * kernel[1]
        return self.pool(node, "avgpool", divisor=int(divisor), **windows)

    def adaptive_pool(self, node: fx.Node) -> Parts:
        result = node.meta["shape"]
        if set(result[2:]) == {1} and len(result) > 2:
            return self.averaged(node, range(2, len(result)), f"to {list(result)}")
        height, width = self.unit(self.parts(node)[0]).shape[1:]
        rows, columns = self.shape(node)[1:]
        if height % rows or width % columns:
            raise self.refuse(node, f"output size {rows}x{columns} does not divide its input of {height}x{width}")
        if (rows, columns) == (height, width):
            return self.parts(node)
        kernel = height // rows, width // columns
        stride = kernel[0] if rows > 1 else 1, kernel[1] if columns > 1 else 1
        return self.pool(node, "avgpool", kernel=kernel, stride=stride, divisor=kernel[0] * kernel[1])

    def mean(self, node: fx.Node) -> Parts:
        axes: Any = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
        count = len(self.source(node).meta["shape"])
        found = [axis % count for axis in (axes if isinstance(axes, (tuple, list)) else [axes]) if axis is not None]
        return self.averaged(node, found, f"over dim={axes}")

    def averaged(self, node: fx.Node, axes: Iterable[int], words: str) -> Parts:
        """The mean over axes that hold all pixels."""
        argument = self.argument(node)
        parts, order, over = self.values[argument], self.order(argument), sorted(axes)
        rest = [axis for axis in range(order.dim()) if axis not in over]
        rows = order.permute(*rest, *over).reshape(math.prod(order.shape[axis] for axis in rest), -1)
        pixels = self.pixels(parts)
        channels = rows[:, 0] // pixels if pixels else rows[:, 0]
        if not pixels or not torch.equal(rows.sort(1)[0], channels[:, None] * pixels + torch.arange(pixels)):
            raise self.refuse(node, f"mean {words}; only over all pixels or tokens: dim=(2, 3), of lines dim=2")
        self.set_order(node, channels.reshape(node.meta["shape"]))
        units = [self.unit(value) for value in parts]
        return tuple(
            self.new(
                node, "avgpool", (unit.shape[0], 1, 1), input=value, kernel=unit.shape[1:], divisor=pixels
            )
            for value, unit in zip(parts, units, strict=True)
        )  # fmt: skip

    def upsample(self, node: fx.Node) -> Parts:
        """Nearest neighbours, to whole multiples of the image's size."""
        mode, scale = self.option(node, "mode", 3, "nearest"), self.option(node, "scale_factor", 2, None)
        if mode not in ("nearest", "nearest-exact"):
            raise self.refuse(node, f"mode={mode}; only nearest")
        before, after = self.unit(self.parts(node)[0]).shape[1:], self.shape(node)[1:]
        factors = after[0] // before[0], after[1] // before[1]
        scales = (
            []
            if scale is None
            else scale
            if isinstance(scale, (tuple, list))
            else [scale] * (len(node.meta["shape"]) - 2)
        )
        if after != (before[0] * factors[0], before[1] * factors[1]) or any(
            float(each) != factor for each, factor in zip(reversed(scales), reversed(factors), strict=False)
        ):
            raise self.refuse(node, f"from {before[0]}x{before[1]} to {after[0]}x{after[1]}; only by whole factors")
        return self.parts(node) if factors == (1, 1) else self.pool(node, "upsample", kernel=factors)
