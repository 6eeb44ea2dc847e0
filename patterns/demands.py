"""What a network file asks of a set of patterns: one demand per channel order, for
:func:`sysmol.patterns.selection.choose`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from sysmol.errors import SysmolError
from sysmol.grid import PRECISIONS
from sysmol.network import Layer, Network, operation
from sysmol.patterns.selection import Demand, tensor_demand
from sysmol.patterns.slots import vector_instructions


def network_demands(net: Network, per_vector: Mapping[str, float] | None = None) -> list[Demand]:
    """Demands of a trained network, of the precisions that its channels have.

    SMOL tensors with the same patterns and slots are one order; with groups, whose channels share no vectors, each
    group is one. A vector costs the sum of ``per_vector`` (cycles by layer name, :mod:`sysmol.analysis.costs.vectors`)
    over the layers that read it; without that, their SMOL multiply-accumulate instructions. Tensors whose vectors cost
    nothing (pooling alone reads them) are left out. :class:`SysmolError` where the network has no SMOL tensor, or the
    costs are those of another network.
    """
    costs = {layer.name: _instructions(net, layer) for layer in net.layers} if per_vector is None else per_vector
    readers = [layer for layer in net.layers if net.tensors[layer.input].format == "smol"]
    if not readers:
        raise SysmolError(
            f"network {net.name} has no tensors of 1, 2 or 4 bits: there is nothing to choose patterns for"
        )
    missing = [layer.name for layer in readers if layer.name not in costs]
    if missing:
        raise SysmolError(f"the costs lack the layers {', '.join(missing)} of {net.name}: make them from this network")
    orders: dict[tuple[tuple[int, ...], bytes], list[Layer]] = {}
    for layer in readers:
        x = net.tensors[layer.input]
        assert x.slots is not None
        orders.setdefault((x.patterns, x.slots.tobytes()), []).append(layer)
    demands = []
    for layers in orders.values():
        cycles = sum(costs[layer.name] for layer in layers)
        groups = math.lcm(*(layer.groups for layer in layers if operation(layer).mixes_channels))
        for number, precisions in enumerate(np.split(net.tensors[layers[0].input].precisions, groups)):
            c4, c2, c1 = (int((precisions == p).sum()) for p in PRECISIONS)
            label = f"{net.name}/{layers[0].input}" + (f"/{number}" if groups > 1 else "")
            if cycles > 0:
                demands.append(tensor_demand(label, (c4, c2, c1), cycles, groups=groups))
    return demands


def _instructions(net: Network, layer: Layer) -> float:
    """SMOL multiply-accumulates per vector of a layer's input, of one image."""
    out = net.tensors[layer.targets[0]]
    outputs = out.channels // layer.groups
    return vector_instructions(operation(layer), layer.kernel, outputs, out.height * out.width)
