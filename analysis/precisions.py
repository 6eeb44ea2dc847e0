"""Precisions of a network's input channels, layer by layer."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from sysmol.grid import PRECISIONS
from sysmol.network import Network
from sysmol.pattern import pattern_name


def precision_table(network: Network) -> pd.DataFrame:
    """Input channels per layer with weights and precision: columns layer, bits, channels, patterns (of each vector)."""
    rows = []
    for layer in network.layers:
        tensor = network.tensors[layer.input]
        if layer.weight is None:
            continue
        if tensor.format == "smol":
            patterns = " ".join(pattern_name(pattern) for pattern in tensor.patterns)
            counts = Counter(tensor.precisions.tolist())
            rows += [(layer.name, bits, counts[bits], patterns) for bits in PRECISIONS if counts[bits]]
        elif tensor.format == "s8":
            rows.append((layer.name, 8, tensor.channels, ""))
    return pd.DataFrame(rows, columns=["layer", "bits", "channels", "patterns"])
