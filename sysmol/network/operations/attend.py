"""Weighted means of values: the second of attention's two products of activations."""

from collections.abc import Sequence

import numpy as np

from sysmol.grid import PRODUCT_SHIFT
from sysmol.network.model import Array, Layer, Network, Tensor, need
from sysmol.network.operations.base import Operation, register
from sysmol.network.operations.heads import MOST_TOKENS, by_heads, from_heads, head_precisions, tokens
from sysmol.network.operations.layer_checks import (
    check_formats,
    check_own_vectors,
    check_plain_window,
    check_shared,
)

MEAN_BITS = 15
"""``|acc|`` is at most two to this power."""
DIVIDEND_BITS = 30
BYTE_PRODUCT_BITS = 29
"""``|sum u v|`` of bytes times their reciprocal is at most two to this power."""
BYTE_SUM_BITS = 9
"""Bits that a sum of weights in bytes keeps."""


def dividend(precision: int) -> int:
    """R of values with that precision: ``|2 sum u g << align| * floor(R / sum u)`` is at most ``2**30``."""
    return (1 << DIVIDEND_BITS) // (2 * ((1 << precision) - 1) << PRODUCT_SHIFT[precision])


def byte_shares(total: Array) -> tuple[Array, Array]:
    """Of sums ``total >= 127`` of weights in bytes: how far sums of products are shifted right, and what they are
    multiplied with then, ``floor(2**(22 + shift) / total)``, at most 33,026.

    A sum has ``2**7 total`` at most, so the product is at most ``2**29``; of the sum at least 9 bits remain.
    """
    bits = np.frexp(total.astype(np.float64))[1].astype(np.int64)
    shift = np.maximum(bits - BYTE_SUM_BITS, 0)
    return shift, (1 << BYTE_PRODUCT_BITS - 7 + shift) // total


@register
class Attend(Operation):
    """``acc[i, c] = (2 * (sum over j of u[i, h, j] * v[j, c], aligned) * floor(R / sum over j of u[i, h, j])) >> 15``.

    ``input`` are weights of H heads as codes u (:class:`~sysmol.network.operations.softmax.Softmax`), ``second`` the
    values v of N tokens; h is the head of channel c. Weights and values of a head have one precision. Of bytes ``acc =
    ((sum of u v) >> s) * floor(2**(22 + s) / sum of u) >> 14`` (:func:`byte_shares`), of floats the sum of u v.
    """

    name = "attend"
    inputs = 2
    keeps_channels = False
    whole_vectors = True
    accumulates_with = "vdot"

    def channels(self, net: Network, layer: Layer) -> int:
        return net.tensors[layer.second].channels

    def check_channels(self, layer: Layer, x: Tensor, target: Tensor) -> None:
        """Nothing yet: :meth:`check_groups` knows the values."""

    def check_groups(self, net: Network, layer: Layer) -> None:
        weights, values = (net.tensors[name] for name in layer.inputs)
        check_shared(layer, weights)
        check_shared(layer, values)
        where, count = f"layer {layer.name}", tokens(values)
        need(count <= MOST_TOKENS, f"{where}: {values.name} has more than {MOST_TOKENS} tokens")
        need(
            weights.channels == layer.groups * count,
            f"{where}: {weights.name} has {weights.channels} weights of a query, "
            f"{layer.groups} heads over {count} tokens need {layer.groups * count}",
        )
        for name in layer.targets:
            channels = net.tensors[name].channels
            need(channels == values.channels, f"{where} makes {values.channels} channels, {name} has {channels}")

    def check(self, net: Network, layer: Layer) -> None:
        super().check(net, layer)
        check_plain_window(layer)
        weights, values = (net.tensors[name] for name in layer.inputs)
        check_formats(net, layer, ("smol", "s8", "f32"))
        need(
            weights.format == values.format,
            f"layer {layer.name}: weights {weights.name} and values {values.name} differ in format",
        )
        made = any(la.op == "softmax" and la.output == layer.input and la.groups == layer.groups for la in net.layers)
        need(made, f"layer {layer.name}: {weights.name} are no weights of a softmax over {layer.groups} heads")
        if weights.format != "smol":
            return
        check_own_vectors(layer, weights)
        bits = [head_precisions(layer, t) for t in (weights, values)]
        need(
            np.array_equal(bits[0], bits[1]),
            f"layer {layer.name}: weights {weights.name} and values {values.name} of a head differ in precision",
        )

    def evaluate(self, net: Network, layer: Layer, x: Sequence[Array]) -> Array:
        weights, values = (net.tensors[name] for name in layer.inputs)
        result = []
        if values.format != "smol":
            u, v = (by_heads(each, layer.groups) for each in x)
            acc = u @ v
            if values.format == "s8":
                shift, share = byte_shares(u.sum(axis=2, keepdims=True))
                acc = (acc >> shift) * share >> BYTE_PRODUCT_BITS - MEAN_BITS
            return from_heads(acc, weights.height, weights.width)
        for g, v, p in zip(
            by_heads(x[0], layer.groups), by_heads(x[1], layer.groups), head_precisions(layer, values), strict=True
        ):
            bits = int(p)
            u = (g + (1 << bits) - 1) // 2
            acc = 2 * (u @ v) << PRODUCT_SHIFT[bits]
            total = u.sum(axis=1, keepdims=True)
            need(bool((total > 0).all()), f"layer {layer.name}: a query has no weight above 0")
            result.append(acc * (dividend(bits) // total) >> MEAN_BITS)
        return from_heads(np.stack(result), weights.height, weights.width)

    def accumulator_bound(self, net: Network, layer: Layer) -> Array:
        rounded = net.tensors[layer.input].format == "s8"  # sums of bytes are rounded down before they are multiplied
        return np.full(self.channels(net, layer), (1 << MEAN_BITS) + rounded, dtype=np.int64)

    def macs(self, net: Network, layer: Layer) -> int:
        return tokens(net.tensors[layer.input]) * net.tensors[layer.second].size

    def vector_multiplies(self, pattern: int) -> int:
        return 1
