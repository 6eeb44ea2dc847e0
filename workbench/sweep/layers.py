"""Single-layer networks, so that layers of equal shape and patterns are simulated once.

A layer keeps its own weights and constants. In front of it stands a layer that makes its input from an image (and, with
a residual whose shape is another, one that makes that), behind it what turns an output into logits; only the layer's
own region is counted. Its input then comes from the layer before as in the whole network, but the caches hold other
things: the sum over the layers is close to the whole network's cycles, not equal.
"""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sysmol.files import content_key
from sysmol.network import Layer, Network, Tensor
from sysmol.network.builder import Builder, Format

LAYER = "layer"
"""Name of the layer that counts."""


@dataclass(frozen=True)
class Single:
    """A single-layer network, how often its layer stands in the whole one, and its place among the regions."""

    name: str
    network: Network
    count: int
    region: int


def _form(tensor: Tensor) -> dict[str, Any]:
    return {"shape": tensor.shape, "format": tensor.format, "patterns": tensor.patterns}


def signature(net: Network, layer: Layer) -> str:
    """Equal for layers that compute alike: operation, shapes, formats, patterns, and what shapes the epilogue."""
    facts = {
        "op": layer.op,
        "kernel": layer.kernel,
        "stride": layer.stride,
        "padding": layer.padding,
        "dilation": layer.dilation,
        "groups": layer.groups,
        "input": _form(net.tensors[layer.input]),
        "residual": _form(net.tensors[layer.residual]) if layer.residual else None,
        "targets": [_form(net.tensors[name]) for name in layer.targets],
        "clamps": [(str(out.lo), str(out.hi), out.shift % 2, out.M is None, out.R is None) for out in layer.outputs],
        "first": layer.input == net.input,
        "last": net.output in layer.targets,
    }
    return content_key(facts)[:12]


def content(tensor: Tensor) -> tuple[Format, list[int]]:
    """What the builder is asked for to make a tensor of this kind."""
    return (tensor.format, []) if tensor.format != "smol" else (tensor.precisions, list(tensor.patterns))


def single_network(net: Network, layer: Layer, name: str) -> tuple[Network, int]:
    """The network around one layer, with two random images, and the layer's place in it."""
    x = net.tensors[layer.input]
    builder = Builder(np.random.default_rng(0), x.height, x.width, x.channels, name)
    source, residual = "image", ""
    rest = net.tensors[layer.residual] if layer.residual else None
    if layer.input != net.input:
        form, patterns = content(x)
        (source,) = builder.layer("rescale", "image", [form], patterns=[patterns], apart=layer.groups)
    if rest is not None:
        # By a layer of its own: outputs of one layer share their channels' order, which is not the input's here.
        form, patterns = content(rest)
        if rest.shape == x.shape:
            (residual,) = builder.layer("rescale", "image", [form], patterns=[patterns])
        else:
            (residual,) = builder.layer(
                "conv2d", source, [form], rest.channels, layer.kernel, layer.stride, layer.padding, patterns=[patterns],
                dilation=layer.dilation,
            )  # fmt: skip
    # The builder gives every channel a slot of its precision; the layer's constants know the original ones.
    for name, tensor in ((source, x), (residual, rest)):
        if tensor is not None and tensor.slots is not None:
            builder.net.tensors[name].slots = tensor.slots
    names = {old: f"{LAYER}_{old}" for old in layer.targets}
    for old, new in names.items():
        builder.net.tensors[new] = replace(net.tensors[old], name=new)
    region = len(builder.net.layers)
    alone = replace(
        layer,
        name=LAYER,
        input=source,
        residual=residual,
        outputs=[replace(out, tensor=names[out.tensor]) for out in layer.outputs],
        output=names.get(layer.output, ""),
    )
    builder.net.layers.append(alone)
    if net.output in names:
        builder.net.output = names[net.output]
    else:
        _answer(builder, names[layer.targets[0]])
    return builder.finish(), region


def _answer(builder: Builder, name: str) -> None:
    """Logits from a tensor: pooled to one pixel, then a linear layer."""
    tensor = builder.net.tensors[name]
    form = "f32" if tensor.format == "f32" else "s8"
    (pooled,) = builder.layer("avgpool", name, [form], kernel=(tensor.height, tensor.width))
    builder.classifier(pooled)


def split(net: Network) -> list[Single]:
    """The different layers of a network, in the order of their first appearance."""
    signatures = [signature(net, layer) for layer in net.layers]
    counts = Counter(signatures)
    singles = []
    for mark, layer in zip(signatures, net.layers, strict=True):
        if mark in counts:
            name = f"{layer.op}-{mark}"
            network, region = single_network(net, layer, name)
            singles.append(Single(name, network, counts.pop(mark), region))
    return singles
