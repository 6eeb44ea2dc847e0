"""Products of queries and keys: the first of attention's two products of activations."""

from collections.abc import Sequence

import numpy as np

from sysmol.network.model import Array, Layer, Network, Tensor, need
from sysmol.network.operations.base import Operation, register
from sysmol.network.operations.heads import MOST_TOKENS, by_heads, from_heads, tokens
from sysmol.network.operations.layer_checks import (
    check_formats,
    check_own_vectors,
    check_plain_window,
    check_shared,
)
from sysmol.network.values import alignment, group_tensor, magnitude, top_squares
from sysmol.packing import slot_precisions


@register
class Scores(Operation):
    """``acc[i, h * N + j] = sum over the channels c of head h of q[i, c] * k[j, c]``, aligned: query i, key j of N.

    ``input`` are the queries, ``second`` the keys. In SMOL tensors both have the same patterns and slots, and every
    head vectors of its own.
    """

    name = "scores"
    inputs = 2
    keeps_channels = False
    whole_vectors = True
    accumulates_with = "vdot"

    def channels(self, net: Network, layer: Layer) -> int:
        return layer.groups * tokens(net.tensors[layer.second])

    def check_channels(self, layer: Layer, x: Tensor, target: Tensor) -> None:
        """Nothing yet: :meth:`check_groups` knows the keys."""

    def check_groups(self, net: Network, layer: Layer) -> None:
        queries, keys = (net.tensors[name] for name in layer.inputs)
        check_shared(layer, queries)
        where = f"layer {layer.name}"
        need(
            queries.channels == keys.channels and queries.format == keys.format,
            f"{where}: queries {queries.name} and keys {keys.name} differ in channels or format",
        )
        need(tokens(keys) <= MOST_TOKENS, f"{where}: {keys.name} has more than {MOST_TOKENS} tokens")
        for name in layer.targets:
            count = net.tensors[name].channels
            wanted = self.channels(net, layer)
            need(count == wanted, f"{where} makes {wanted} scores of a query, {name} has {count}")

    def check(self, net: Network, layer: Layer) -> None:
        super().check(net, layer)
        check_plain_window(layer)
        check_formats(net, layer, ("smol", "s8", "f32"))
        queries, keys = (net.tensors[name] for name in layer.inputs)
        if queries.format != "smol":
            return
        same = queries.patterns == keys.patterns and np.array_equal(np.asarray(queries.slots), np.asarray(keys.slots))
        need(same, f"layer {layer.name}: queries {queries.name} and keys {keys.name} differ in patterns or slots")
        check_own_vectors(layer, queries)

    def evaluate(self, net: Network, layer: Layer, x: Sequence[Array]) -> Array:
        t = net.tensors[layer.input]
        queries = by_heads(x[0] if t.format == "f32" else x[0] << alignment(t), layer.groups)
        products = queries @ by_heads(x[1], layer.groups).transpose(0, 2, 1)
        return from_heads(products, t.height, t.width)

    def accumulator_bound(self, net: Network, layer: Layer) -> Array:
        """Sums of ``top**2 << align`` over a head's channels, ``[heads * N]``; of SMOL tensors over all slots of its
        vectors."""
        t = net.tensors[layer.input]
        sums = []
        for number in range(layer.groups):
            part = group_tensor(t, layer.groups, number)
            each = top_squares(slot_precisions(part.patterns)) if part.format == "smol" else magnitude(part) ** 2
            sums.append(int(each.sum()))
        return np.repeat(np.array(sums, dtype=np.int64), tokens(net.tensors[layer.second]))

    def macs(self, net: Network, layer: Layer) -> int:
        t = net.tensors[layer.input]
        return t.size * tokens(net.tensors[layer.second])

    def vector_multiplies(self, pattern: int) -> int:
        return 1
