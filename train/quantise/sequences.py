"""Transformers' operations in PyTorch's integers: attention, normalisation, tables, gates, slices and joins.

Products run in float64 on whole numbers, whose sums stay far below 2**53, so that they are exact in any order.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from sysmol.grid import PRODUCT_SHIFT
from sysmol.network import Layer, alignment
from sysmol.network.operations.attend import BYTE_PRODUCT_BITS, MEAN_BITS, byte_shares, dividend
from sysmol.network.operations.heads import head_precisions
from sysmol.network.operations.normalisation import (
    EPSILON,
    RECIPROCAL_ROOTS,
    fraction_bits,
    magnitude_bits,
)
from sysmol.network.operations.softmax import weight_bits, weight_table
from sysmol.train.frontend.tables import TABLES
from sysmol.train.quantise.accumulate import Evaluating, evaluates


def _heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """``[n, heads * d, H, W]`` as ``[n, heads, tokens, d]``."""
    return x.flatten(2).unflatten(1, (heads, -1)).transpose(2, 3)


def _joined(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Inverse of :func:`_heads`."""
    return x.transpose(2, 3).flatten(1, 2).unflatten(2, (height, width))


@evaluates("scores")
def _scores(evaluator: Evaluating, layer: Layer, x: Sequence[torch.Tensor]) -> torch.Tensor:
    t = evaluator.net.tensors[layer.input]
    queries = x[0] if evaluator.net.is_float else x[0] << torch.as_tensor(alignment(t)).view(1, -1, 1, 1)
    kind = x[0].dtype if evaluator.net.is_float else torch.float64
    a, b = (_heads(each.to(kind), layer.groups) for each in (queries, x[1]))
    return _joined(a @ b.transpose(2, 3), t.height, t.width).to(evaluator.real)


@evaluates("softmax")
def _softmax(evaluator: Evaluating, layer: Layer, x: Sequence[torch.Tensor]) -> torch.Tensor:
    target = evaluator.net.tensors[layer.output]
    scores = _heads(x[0], layer.groups)
    if target.format == "f32":
        return _joined(scores.softmax(3), target.height, target.width)
    below = scores.amax(3, keepdim=True) - scores
    codes = []
    for head, bits in enumerate(weight_bits(layer, target)):
        table = torch.as_tensor(weight_table(int(bits)))
        table = 2 * table - ((1 << int(bits)) - 1) if target.format == "smol" else table
        codes.append(table[below[:, head].clamp(max=len(table) - 1)])
    return _joined(torch.stack(codes, 1), target.height, target.width)


@evaluates("attend")
def _attend(evaluator: Evaluating, layer: Layer, x: Sequence[torch.Tensor]) -> torch.Tensor:
    weights, values = (evaluator.net.tensors[name] for name in layer.inputs)
    if values.format != "smol":
        u, v = (_heads(each, layer.groups) for each in x)
        if values.format == "f32":
            return _joined(u @ v, weights.height, weights.width)
        sums = (u.double() @ v.double()).to(torch.int64)
        shift, share = (torch.as_tensor(each) for each in byte_shares(u.sum(3, keepdim=True).numpy()))
        means = (sums >> shift) * share >> BYTE_PRODUCT_BITS - MEAN_BITS
        return _joined(means, weights.height, weights.width)
    bits = torch.as_tensor(head_precisions(layer, values)).view(1, -1, 1, 1)
    u = (_heads(x[0], layer.groups) + (1 << bits) - 1) // 2
    acc = (u.double() @ _heads(x[1], layer.groups).double()).to(torch.int64)
    align = torch.as_tensor([PRODUCT_SHIFT[int(p)] for p in bits.flatten()]).view(1, -1, 1, 1)
    shares = torch.as_tensor([dividend(int(p)) for p in bits.flatten()]).view(1, -1, 1, 1)
    reciprocal = shares.div(u.sum(3, keepdim=True), rounding_mode="floor")
    return _joined((2 * acc << align) * reciprocal >> MEAN_BITS, weights.height, weights.width)


@evaluates("gate")
def _gate(evaluator: Evaluating, layer: Layer, x: Sequence[torch.Tensor]) -> torch.Tensor:
    return x[0] * x[1]


@evaluates("lookup")
def _lookup(evaluator: Evaluating, layer: Layer, x: Sequence[torch.Tensor]) -> torch.Tensor:
    return TABLES[layer.function](x[0]) if layer.function else torch.as_tensor(layer.table)[x[0]]


@evaluates("layernorm")
def _layernorm(evaluator: Evaluating, layer: Layer, x: Sequence[torch.Tensor]) -> torch.Tensor:
    return _normalised(evaluator, x[0], centred=True)


@evaluates("rmsnorm")
def _rmsnorm(evaluator: Evaluating, layer: Layer, x: Sequence[torch.Tensor]) -> torch.Tensor:
    return _normalised(evaluator, x[0], centred=False)


def _normalised(evaluator: Evaluating, x: torch.Tensor, centred: bool) -> torch.Tensor:
    """:func:`sysmol.network.operations.normalisation.normalised` of ``x [n, C, H, W]``."""
    if evaluator.net.is_float:
        x = x - x.mean(1, keepdim=True) if centred else x
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + EPSILON)
    n = x.shape[1]
    size, fraction = magnitude_bits(n), fraction_bits(n)
    total = x.sum(1, keepdim=True) if centred else torch.zeros_like(x[:, :1])
    spread = n * x.square().sum(1, keepdim=True) - total.square() + n
    e = (torch.frexp(spread.double())[1].long() - 15) >> 1
    m = torch.where(e >= 0, spread >> (2 * e).clamp(min=0), spread << (-2 * e).clamp(min=0))
    first = torch.as_tensor(RECIPROCAL_ROOTS)[(m >> 8) - 64]
    root = (first * ((3 << 16) - ((first.square() >> 14) * m >> 14))) >> 17
    factor = (n * root + (1 << size >> 1) >> size).clamp(max=32_767)
    mean = (2 * total + n).div(2 * n, rounding_mode="floor")
    up = size - 7 - e + fraction
    left, right = up.clamp(min=0), (-up).clamp(min=0)
    rest = (((total - mean * n) << left) + n // 2).div(n, rounding_mode="floor")
    centre = (((x - mean) << left) + (1 << right >> 1)) >> right
    return (centre - rest) * factor + (1 << 14) >> 15


@evaluates("slice")
def _slice(evaluator: Evaluating, layer: Layer, x: Sequence[torch.Tensor]) -> torch.Tensor:
    return x[0][:, layer.begin : layer.begin + evaluator.net.tensors[layer.targets[0]].channels]


@evaluates("join")
def _join(evaluator: Evaluating, layer: Layer, x: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat(list(x), 1)


@evaluates("pad")
def _pad(evaluator: Evaluating, layer: Layer, x: Sequence[torch.Tensor]) -> torch.Tensor:
    top, left, bottom, right = layer.padding
    return F.pad(x[0], (left, right, top, bottom))
