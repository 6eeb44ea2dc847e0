"""From a description and arrays to a network, whatever version they were stored in."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from sysmol.network.checks import check_geometry, check_tensor
from sysmol.network.file.container import Arrays, Description
from sysmol.network.model import Array, Layer, Network, Output, Samples, Tensor


class Source(Protocol):
    """Where a version keeps its arrays; called once per tensor, layer and output, in the description's order."""

    def tensor(self, row: Description) -> dict[str, Any]:
        """``patterns``, ``slots`` and ``zero_point``, where the tensor has them."""

    def weight(self, net: Network, layer: Layer, row: Description) -> Array | None:
        """Weights of a layer whose shapes are known to fit."""

    def constants(self, net: Network, layer: Layer, number: int, row: Description) -> None:
        """Fill in M, B and R of the layer's output of that number."""

    def finish(self) -> None:
        """Refuse what is left over."""


def assemble(description: Description, arrays: Arrays, source: Source) -> Network:
    """The network of a description; every layer's shapes are checked before its arrays are taken."""
    net = Network(description["name"], {}, [], description["input"], description["output"])
    net.description, net.metrics = description.get("description", ""), description.get("metrics", {})
    net.provenance = description["provenance"]
    for row in description["tensors"]:
        height, width, channels = (int(v) for v in row["shape"])
        t = Tensor(row["name"], height, width, channels, row["format"], **source.tensor(row))
        check_tensor(t)
        net.tensors[t.name] = t
    known = {net.input}
    for row in description["layers"]:
        layer = _layer(row)
        check_geometry(net, layer, known)
        known.update(layer.targets)
        layer.weight = source.weight(net, layer, row)
        for number, out in enumerate(row.get("outputs", [])):
            source.constants(net, layer, number, out)
        net.layers.append(layer)
    source.finish()
    if "samples.images" in arrays:
        net.samples = Samples(arrays["samples.images"], arrays["samples.labels"], arrays["samples.logits"])
    return net


def _layer(row: Description) -> Layer:
    """A layer without its arrays."""
    top, left, bottom, right = (int(v) for v in row.get("padding", (0, 0, 0, 0)))
    layer = Layer(row["name"], row["op"], row["input"], padding=(top, left, bottom, right))
    layer.residual, layer.output = row.get("residual", ""), row.get("output", "")
    layer.groups = int(row.get("groups", 1))
    layer.kernel, layer.stride = _pair(row.get("kernel", (1, 1))), _pair(row.get("stride", (1, 1)))
    for out in row.get("outputs", []):
        lo, hi = (otherwise if out.get(k) is None else out[k] for k, otherwise in (("lo", -np.inf), ("hi", np.inf)))
        layer.outputs.append(Output(out["tensor"], np.zeros((1, 1, 0)), lo, hi, shift=int(out["shift"])))
    return layer


def _pair(values: Sequence[int]) -> tuple[int, int]:
    first, second = (int(v) for v in values)
    return first, second
