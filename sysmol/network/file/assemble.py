"""From a description and arrays to a network, whatever version they were stored in."""

from collections.abc import Sequence
from math import isfinite
from typing import Any, Protocol, TypeVar

import numpy as np

from sysmol.network.checks import check_geometry, check_tensor
from sysmol.network.file.container import Arrays, Description
from sysmol.network.model import Array, Layer, Network, Output, Samples, Tensor, need
from sysmol.network.operations import operation

Kind = TypeVar("Kind")

MOST_LINES = 1 << 21
"""Most rows and columns of all tensors together: what checking a network takes grows with them."""


class Source(Protocol):
    """Where a version keeps its arrays; called once per tensor, layer and output, in the description's order."""

    def network(self, net: Network) -> None:
        """Fill in what the network as a whole has in this version alone."""

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
    name, image, logits = (_of(str, description[key]) for key in ("name", "input", "output"))
    net = Network(name, {}, [], image, logits)
    net.description, net.metrics = (
        _of(str, description.get("description", "")),
        _of(dict, description.get("metrics", {})),
    )
    net.provenance = _of(dict, description["provenance"])
    number(net.provenance.get("logit_scale", 1))
    source.network(net)
    for row in description["tensors"]:
        height, width, channels = (int(v) for v in row["shape"])
        t = Tensor(_of(str, row["name"]), height, width, channels, row["format"], **source.tensor(row))
        check_tensor(t)
        need(t.name not in net.tensors, f"two tensors are called {t.name}")
        net.tensors[t.name] = t
    need(sum(t.height + t.width for t in net.tensors.values()) <= MOST_LINES, "its tensors are too many and too large")
    known = net.given
    for row in description["layers"]:
        layer = _layer(row)
        check_geometry(net, layer, known)
        known.update(layer.targets)
        layer.weight = source.weight(net, layer, row)
        missing = layer.weight is None and operation(layer).has_weights
        need(not missing, f"layer {layer.name} has no weights")
        for place, out in enumerate(row.get("outputs", [])):
            source.constants(net, layer, place, out)
        net.layers.append(layer)
    source.finish()
    if "samples.images" in arrays:
        net.samples = Samples(arrays["samples.images"], arrays["samples.labels"], arrays["samples.logits"])
    return net


def _layer(row: Description) -> Layer:
    """A layer without its arrays."""
    top, left, bottom, right = (int(v) for v in row.get("padding", (0, 0, 0, 0)))
    name, op, source = (_of(str, row[key]) for key in ("name", "op", "input"))
    layer = Layer(name, op, source, padding=(top, left, bottom, right))
    layer.residual, layer.output = (_of(str, row.get(key, "")) for key in ("residual", "output"))
    layer.groups, layer.begin, layer.second = (
        int(row.get("groups", 1)),
        int(row.get("begin", 0)),
        _of(str, row.get("second", "")),
    )
    layer.function = _of(str, row.get("function", ""))
    layer.kernel, layer.stride, layer.dilation = (
        _pair(row.get(key, (1, 1))) for key in ("kernel", "stride", "dilation")
    )
    for out in row.get("outputs", []):
        ends = (("lo", -np.inf), ("hi", np.inf))
        lo, hi = (otherwise if out.get(key) is None else number(out[key]) for key, otherwise in ends)
        layer.outputs.append(Output(_of(str, out["tensor"]), np.zeros((1, 1, 0)), lo, hi, shift=int(out["shift"])))
    return layer


def _of(kind: type[Kind], value: Any) -> Kind:
    if not isinstance(value, kind):
        raise TypeError(f"{str(value)[:50]!r}, which is no {kind.__name__}")
    return value


def number(value: Any) -> float:
    """A finite number as it is."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        raise TypeError(f"{str(value)[:50]!r}, which is no number")
    return value


def _pair(values: Sequence[int]) -> tuple[int, int]:
    first, second = (int(v) for v in values)
    return first, second
