"""What numbers a tensor can hold, by the clamps of the layers that write it."""

import numpy as np

from sysmol.network.model import RANGES, Network


def limits(net: Network, name: str) -> tuple[int, int]:
    """Least and largest element of a tensor of plain integers."""
    t = net.tensors[name]
    if t.data is not None:
        return int(np.min(t.data)), int(np.max(t.data))
    for layer in net.layers:
        if layer.output == name and t.format == net.tensors[layer.input].format:
            return limits(net, layer.input)
        for out in layer.outputs:
            if out.tensor == name:
                return int(out.lo), int(out.hi)
    return RANGES[t.format]
