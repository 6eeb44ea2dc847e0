"""A network file evaluated in PyTorch: the same integers as :func:`sysmol.network.reference.evaluate`, fast enough
for a test set.

Convolutions run in floating point on whole numbers, in float32 where the accumulator provably stays below 2**24 and in
float64 otherwise, so every sum is exact in any order.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from sysmol.network import (
    Layer,
    Network,
    Output,
    accumulator_bound,
    alignment,
    dense_weight,
    group_parts,
    layer_classes,
    upper_codes,
)


def evaluate(net: Network, images: np.ndarray, batch: int = 250) -> np.ndarray:
    """Logits of images uint8 ``[n, H, W, C]``: int32 (float32 for ``f32`` networks) ``[n, classes]``."""
    evaluator = Evaluator(net)
    return np.concatenate([evaluator(images[i : i + batch]) for i in range(0, len(images), batch)])


def accuracy(net: Network, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of images whose largest logit is their label's."""
    return float((evaluate(net, images).argmax(1) == labels).mean())


class Evaluator:
    """A network with its weights unpacked once."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.real = torch.float32 if net.is_float else torch.int64
        self.weights: dict[str, torch.Tensor] = {}
        for layer in net.layers:
            if layer.weight is not None:
                self.weights[layer.name] = self._weight(layer)

    def _weight(self, layer: Layer) -> torch.Tensor:
        """Aligned weights ``[K, C / groups, KH, KW]`` (depthwise: one channel per group), of a type that keeps sums
        exact.
        """
        weight = dense_weight(self.net, layer)
        if self.net.is_float:
            kind = torch.float32
        else:
            if layer.op == "depthwise":
                weight = weight << alignment(self.net.tensors[layer.input])
            else:
                parts = group_parts(self.net, layer)
                weight = np.concatenate([weight[own] << alignment(part) for part, own in parts])
            small = int(accumulator_bound(self.net, layer).max()) < 1 << 24
            kind = torch.float32 if small else torch.float64
        tensor = torch.as_tensor(np.asarray(weight)).to(kind)
        return (
            tensor.permute(2, 0, 1).unsqueeze(1) if layer.op == "depthwise" else tensor.permute(0, 3, 1, 2).contiguous()
        )

    @torch.no_grad()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Logits of one batch."""
        x = torch.as_tensor(images).permute(0, 3, 1, 2).to(self.real)
        stored: dict[str, torch.Tensor] = {self.net.input: x}  # integer values x, not codes
        for layer in self.net.layers:
            x = stored[layer.input]
            if layer.op == "maxpool":
                padded = _pad(x.double(), layer, float("-inf"))
                stored[layer.output] = F.max_pool2d(padded, layer.kernel, layer.stride).to(self.real)
                continue
            acc = self._accumulate(layer, x)
            r = stored[layer.residual] if layer.residual else None
            for out in layer.outputs:
                stored[out.tensor] = self._requantise(layer, out, acc, r)
        kind = torch.float32 if self.net.is_float else torch.int32
        return stored[self.net.output].flatten(1).to(kind).numpy()

    def _accumulate(self, layer: Layer, x: torch.Tensor) -> torch.Tensor:
        if layer.op == "rescale":
            return x
        if layer.op == "avgpool":
            kind = torch.float32 if self.net.is_float else torch.float64
            return F.avg_pool2d(_pad(x.to(kind), layer), layer.kernel, layer.stride, divisor_override=1).to(self.real)
        weight = self.weights[layer.name]
        groups = x.shape[1] if layer.op == "depthwise" else layer.groups
        padded = _pad(x.to(weight.dtype), layer)
        return F.conv2d(padded, weight, stride=layer.stride, groups=groups).to(self.real)

    def _requantise(self, layer: Layer, out: Output, acc: torch.Tensor, r: torch.Tensor | None) -> torch.Tensor:
        t = self.net.tensors[out.tensor]
        if t.format == "f32":
            y = acc if out.M is None else acc * _per_channel(out.M)
            y = y + torch.as_tensor(out.B).permute(2, 0, 1)
            return torch.clamp(y if r is None else y + r, out.lo, out.hi)
        assert out.M is not None
        (rows, _), (columns, _) = layer_classes(self.net, layer)
        y = acc * _per_channel(out.M)
        y += torch.as_tensor(out.B.astype(np.int64)[rows][:, columns]).permute(2, 0, 1)
        if r is not None:
            assert out.R is not None
            y += r * _per_channel(out.R)
        high = _per_channel(upper_codes(t, out.hi))
        y = torch.minimum((y >> out.shift).clamp_(min=int(out.lo)), high)
        return 2 * y - ((1 << _per_channel(t.precisions)) - 1) if t.format == "smol" else y


def _per_channel(array: np.ndarray) -> torch.Tensor:
    kind = torch.float32 if array.dtype == np.float32 else torch.int64
    return torch.as_tensor(array).to(kind).view(1, -1, 1, 1)


def _pad(x: torch.Tensor, layer: Layer, value: float = 0.0) -> torch.Tensor:
    top, left, bottom, right = layer.padding
    return F.pad(x, (left, right, top, bottom), value=value) if any(layer.padding) else x
