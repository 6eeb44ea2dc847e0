"""A network file evaluated in PyTorch: the same integers as :func:`sysmol.network.reference.evaluate`, fast enough
for a test set.

Convolutions run in floating point on whole numbers, in float32 where the accumulator provably stays below 2**24 and in
float64 otherwise, so every sum is exact in any order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from sysmol.errors import SysmolError
from sysmol.network import (
    HIGH_SHIFT,
    LOW,
    RESIDUAL_SHIFT,
    Layer,
    Network,
    Output,
    accumulator_bound,
    alignment,
    dense_weight,
    layer_classes,
    upper_codes,
)
from sysmol.network.operations import aligned_weight, operation
from sysmol.train.quantise import sequences  # noqa: F401  registers its operations
from sysmol.train.quantise.accumulate import ACCUMULATE, Evaluating, evaluates
from sysmol.train.quantise.windows import plain


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
        self.weights = {layer.name: self._weight(layer) for layer in net.layers if layer.weight is not None}
        for layer in net.layers:
            if layer.op not in ACCUMULATE:
                raise SysmolError(f"layer {layer.name}: PyTorch evaluates no {layer.op}, only {', '.join(ACCUMULATE)}")

    def _weight(self, layer: Layer) -> torch.Tensor:
        """Aligned weights ``[K, C / groups, KH, KW]`` (depthwise: one channel per group), of a type that keeps sums
        exact.
        """
        mixes = operation(layer).mixes_channels
        weight = aligned_weight(self.net, layer) if mixes else dense_weight(self.net, layer)
        if self.net.is_float:
            kind = torch.float32
        else:
            weight = weight if mixes else weight << alignment(self.net.tensors[layer.input])
            small = int(accumulator_bound(self.net, layer).max()) < 1 << 24
            kind = torch.float32 if small else torch.float64
        tensor = torch.as_tensor(np.asarray(weight)).to(kind)
        return tensor.permute(0, 3, 1, 2).contiguous() if mixes else tensor.permute(2, 0, 1).unsqueeze(1)

    @torch.no_grad()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Logits of one batch."""
        x = torch.as_tensor(images).permute(0, 3, 1, 2).to(self.real)
        stored: dict[str, torch.Tensor] = {self.net.input: x}  # integer values x, not codes
        for name in self.net.constants:
            data = torch.as_tensor(np.asarray(self.net.tensors[name].data))
            stored[name] = data.permute(2, 0, 1).unsqueeze(0).to(self.real)
        for layer in self.net.layers:
            result = ACCUMULATE[layer.op](self, layer, [stored[name] for name in layer.inputs])
            if not operation(layer).requantises:
                stored[layer.output] = result
                continue
            r = stored[layer.residual] if layer.residual else None
            for out in layer.outputs:
                stored[out.tensor] = self._requantise(layer, out, result, r)
        kind = torch.float32 if self.net.is_float else torch.int32
        return stored[self.net.output].flatten(1).to(kind).numpy()

    def _requantise(self, layer: Layer, out: Output, acc: torch.Tensor, r: torch.Tensor | None) -> torch.Tensor:
        t = self.net.tensors[out.tensor]
        if t.format == "f32":
            y = acc if out.M is None else acc * _per_channel(out.M)
            y = y + torch.as_tensor(out.B).permute(2, 0, 1)
            return torch.clamp(y if r is None else y + r, out.lo, out.hi)
        assert out.M is not None
        (rows, _), (columns, _) = layer_classes(self.net, layer)
        y = _product(acc, out.M, out.multiply, out.pre)
        y += torch.as_tensor(out.B.astype(np.int64)[rows][:, columns]).permute(2, 0, 1)
        if r is not None:
            assert out.R is not None
            left = RESIDUAL_SHIFT[self.net.tensors[layer.residual].format]
            y += _product(r, out.R, out.residual_multiply, left)
        high = _per_channel(upper_codes(t, out.hi))
        y = torch.minimum((y >> out.shift).clamp_(min=int(out.lo)), high)
        return 2 * y - ((1 << _per_channel(t.precisions)) - 1) if t.format == "smol" else y


def _product(x: torch.Tensor, factor: np.ndarray, multiply: str, left: int) -> torch.Tensor:
    """:func:`sysmol.network.sums.product` of ``x [n, C, H, W]``, int64."""
    y = x * _per_channel(factor)
    return y if multiply == LOW else (y << left) >> HIGH_SHIFT


def _per_channel(array: np.ndarray) -> torch.Tensor:
    kind = torch.float32 if array.dtype == np.float32 else torch.int64
    return torch.as_tensor(array).to(kind).view(1, -1, 1, 1)


def _pad(x: torch.Tensor, layer: Layer, value: float = 0.0) -> torch.Tensor:
    top, left, bottom, right = layer.padding
    return F.pad(x, (left, right, top, bottom), value=value) if any(layer.padding) else x


@evaluates("rescale")
def _elements(evaluator: Evaluating, layer: Layer, x: Sequence[torch.Tensor]) -> torch.Tensor:
    return x[0]


@evaluates("flatten")
def _all_elements(evaluator: Evaluating, layer: Layer, x: Sequence[torch.Tensor]) -> torch.Tensor:
    return x[0].permute(0, 2, 3, 1).reshape(len(x[0]), -1, 1, 1)


@evaluates("maxpool")
def _maxima(evaluator: Evaluating, layer: Layer, x: Sequence[torch.Tensor]) -> torch.Tensor:
    padded = _pad(x[0].double(), layer, float("-inf"))
    return F.max_pool2d(padded, layer.kernel, layer.stride).to(evaluator.real)


@evaluates("upsample")
def _repeated(evaluator: Evaluating, layer: Layer, x: Sequence[torch.Tensor]) -> torch.Tensor:
    return x[0].repeat_interleave(layer.kernel[0], 2).repeat_interleave(layer.kernel[1], 3)


@evaluates("avgpool")
def _window_sums(evaluator: Evaluating, layer: Layer, x: Sequence[torch.Tensor]) -> torch.Tensor:
    kind = torch.float32 if evaluator.net.is_float else torch.float64
    padded = _pad(x[0].to(kind), layer)
    return F.avg_pool2d(padded, layer.kernel, layer.stride, divisor_override=1).to(evaluator.real)


@evaluates("conv2d")
def _convolution(evaluator: Evaluating, layer: Layer, x: Sequence[torch.Tensor]) -> torch.Tensor:
    return _products(evaluator, layer, x[0], layer.groups)


@evaluates("depthwise")
def _depthwise(evaluator: Evaluating, layer: Layer, x: Sequence[torch.Tensor]) -> torch.Tensor:
    return _products(evaluator, layer, x[0], x[0].shape[1])


def _products(evaluator: Evaluating, layer: Layer, x: torch.Tensor, groups: int) -> torch.Tensor:
    weight = evaluator.weights[layer.name]
    padded = _pad(x.to(weight.dtype), layer)
    y = F.conv2d(plain(padded), plain(weight), None, layer.stride, 0, layer.dilation, groups)
    return y.to(evaluator.real)
