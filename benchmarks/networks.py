"""From a layer shape to a network with numbers, in one of several precisions.

The numbers are random and solve no task; formats are those of trained networks: the stem and the classifier read 8
bits, residual streams and the input of pooling have 16 bits, everything between has the variant's precision.

=============  =======================================================================================================
variant        what convolutions between stem and classifier read
=============  =======================================================================================================
fp32           float32, everywhere
int8           8 bits, activations -128 .. 127 (with an offset, as this project trains them)
int8-positive  the same with activations 0 .. 127
int8w4         8-bit activations, weights of 4 bits (-7 .. 7)
w4 w2 w1       SMOL codes of one precision
mixP4          SMOL codes whose precision differs by channel, in the four patterns of P4: see :func:`mixed_cover`
=============  =======================================================================================================

With ``-stem4`` behind it, the stem has weights on the grid of 4-bit codes (odd numbers from -15 to 15). With
``-codes``, as in ``w2-codes``, residuals are read as SMOL codes, too, and there is no stream of 16 bits; with
``-lean``, the stem is that of ``-stem4`` and the classifier has weights of 4 bits (-7 .. 7) besides. All of them take
fewer instructions, at an accuracy that no training has shown. No training has produced the precisions of ``mixP4``.
"""

import zlib
from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from sysmol.benchmarks.encoders import make_encoder
from sysmol.benchmarks.shapes import IMAGE, EncoderShape, LayerShape, NetworkShape
from sysmol.errors import SysmolError
from sysmol.machine import PATTERN_SETS
from sysmol.network import Array, Layer, Network, operation
from sysmol.network.builder import Builder
from sysmol.packing import slot_precisions
from sysmol.pattern import UNIFORM, capacity

STEM, CODES, LEAN = "-stem4", "-codes", "-lean"
"""Endings of the variants whose stem has weights of 4 bits, whose residuals are codes, and of those with both and a
classifier with weights of 4 bits."""
SMOL_VARIANTS = ("w4", "w2", "w1", "mixP4")
VARIANTS = (
    *("fp32", "int8", "int8-positive", "int8w4"),
    *(name + ending for ending in ("", STEM, CODES, LEAN) for name in SMOL_VARIANTS),
)
REGISTER_BITS = 128
IMAGE_CHANNELS = 4
"""Most channels of an image."""
SHARES = (0.15, 0.35, 0.35, 0.15)
"""How often :func:`mixed_cover` draws the patterns of P4, in the order of their ids: (8,0,0), (2,4,2), (0,8,0),
(0,0,8)."""


def uniform_cover(channels: int, bits: int) -> tuple[Array, tuple[int, ...]]:
    """Precision per channel, int64 ``[channels]``, and pattern ids of as many vectors as they need."""
    return np.full(channels, bits), (UNIFORM[bits],) * -(-channels * bits // REGISTER_BITS)


def mixed_cover(rng: np.random.Generator, channels: int) -> tuple[Array, tuple[int, ...]]:
    """A random mix of P4's patterns with at most 2 bits per channel: precisions int64 ``[channels]``, pattern ids.

    From 64 channels on: as many vectors as 2 bits per channel fill (rounded down); patterns drawn at random until they
    hold the channels, in more than one precision where any that hold them do; every channel in a random slot. Fewer
    channels do not fill a vector with 2 bits each: they have 2 bits, all of them.
    """
    vectors = 2 * channels // REGISTER_BITS
    if vectors == 0:
        return uniform_cover(channels, 2)
    ids = PATTERN_SETS["P4"]
    possible = [
        drawn for drawn in combinations_with_replacement(ids, vectors) if sum(capacity(i) for i in drawn) >= channels
    ]
    mixed = {drawn for drawn in possible if len(set(slot_precisions(drawn))) > 1}
    while True:
        drawn = tuple(sorted(int(i) for i in rng.choice(ids, size=vectors, p=SHARES)))
        if drawn in (mixed or possible):
            return rng.permutation(slot_precisions(drawn))[:channels], drawn


def domains(shape: NetworkShape) -> dict[str, str]:
    """The first of the tensors (layers' results) whose channels must have one precision, for every tensor.

    Tensors that meet element by element share precisions and order: residuals, depthwise convolutions, pooling.
    """
    parent = {IMAGE: IMAGE} | {layer.name: layer.name for layer in shape.layers}
    order = list(parent)

    def find(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for layer in shape.layers:
        tied = [layer.residual] if layer.residual else []
        tied += [layer.source] if layer.depthwise or layer.op in ("maxpool", "avgpool") else []
        for name in tied:
            first, second = sorted((find(layer.name), find(name)), key=order.index)
            parent[second] = first
    return {name: find(name) for name in parent}


class _Weights(Builder):
    """:class:`Builder` whose 8-bit weights have no magnitude above ``limit``, and whose float weights keep the variance
    of activations through any number of layers, so that the logits depend on all of them."""

    limit = 127
    on_grid = False
    """Whether weights of the image's channels are on the grid of 4-bit codes."""

    def _weight(self, layer: Layer, channels: int, *rest: Any) -> Array:
        weight = super()._weight(layer, channels, *rest)
        if weight.dtype == np.float32:
            alone = 1 if operation(layer).mixes_channels else self.net.tensors[layer.input].channels
            return weight * np.float32(np.sqrt(2 * alone))
        if weight.dtype == np.int8 and self.on_grid and layer.op == "conv2d" and weight.shape[-1] <= IMAGE_CHANNELS:
            return (2 * (weight // 16) + 1).astype(np.int8)
        if weight.dtype == np.int8 and self.limit < 127:
            return np.round(weight * (self.limit / 127)).astype(np.int8)
        return weight


class _Maker:
    """Grows the network of one shape and variant."""

    def __init__(self, shape: NetworkShape, variant: str, seed: int) -> None:
        self.shape, self.variant = shape, variant.removesuffix(STEM).removesuffix(CODES).removesuffix(LEAN)
        self.wide = "f32" if variant == "fp32" else "smol" if variant.endswith((CODES, LEAN)) else "s16"
        """Format of residuals."""
        rng = np.random.default_rng([seed, zlib.crc32(f"{shape.name} {variant}".encode())])
        self.builder = _Weights(rng, shape.height, shape.width, shape.channels, shape.name)
        self.builder.whole = self.wide == "smol"
        self.builder.limit = 7 if variant == "int8w4" or variant.endswith(LEAN) else 127
        self.builder.on_grid = variant.endswith((STEM, LEAN))
        self.domain = domains(shape)
        self.covers: dict[str, tuple[Array, tuple[int, ...]]] = {}
        self.tensors: dict[tuple[str, str], str] = {}

    def form(self, layer: LayerShape) -> str:
        """Format that a layer reads."""
        if self.variant == "fp32":
            return "f32"
        if layer.op == "avgpool":
            return "s16"
        stem = layer.source == IMAGE and not self.shape.probes
        return "s8" if stem or layer.op == "linear" or self.variant.startswith("int8") else "smol"

    def forms(self, name: str) -> list[str]:
        """Formats in which a layer's result is read: those of its readers; 16 bits as a residual."""
        found: dict[str, None] = {}
        for later in self.shape.layers:
            if later.source == name:
                found.update(dict.fromkeys(self.forms(later.name) if later.op == "maxpool" else [self.form(later)]))
            if later.residual == name:
                found[self.wide] = None
        return list(found) or ["f32" if self.variant == "fp32" else "s32"]

    def cover(self, name: str, channels: int) -> tuple[Array, tuple[int, ...]]:
        """Precisions and patterns of a result as SMOL codes, drawn once per domain."""
        domain = self.domain[name]
        if domain not in self.covers:
            if self.variant == "mixP4":
                self.covers[domain] = mixed_cover(self.builder.rng, channels)
            else:
                self.covers[domain] = uniform_cover(channels, int(self.variant[1:]))
        return self.covers[domain]

    def append(
        self,
        name: str,
        op: str,
        source: str,
        channels: int,
        act: str,
        residual: str = "",
        layer: LayerShape | None = None,
    ) -> None:
        """Append a layer that writes all formats in which ``name`` is read."""
        forms = self.forms(name)
        covers = [self.cover(name, channels) if form == "smol" else (form, ()) for form in forms]
        kernel, stride, padding, groups = (1, 1), 1, 0, 1
        if layer is not None:
            kernel, stride, padding = layer.kernel, layer.stride, layer.padding
            if layer.op == "conv" and layer.groups > 1 and not layer.depthwise:
                groups = layer.groups
        made = self.builder.layer(
            op,
            source,
            [content for content, _ in covers],
            channels,
            kernel,
            (stride, stride),
            (padding,) * 4,
            residual,
            [list(ids) for _, ids in covers],
            groups,
        )
        appended = self.builder.net.layers[-1]
        appended.name = f"{IMAGE}_scaled" if name == IMAGE else name
        for form, tensor, out in zip(forms, made, appended.outputs, strict=True):
            self.tensors[name, form] = tensor
            if form == "f32":
                out.lo, out.hi = -np.inf if act == "none" else 0.0, 6.0 if act == "relu6" else np.inf
            elif form == "s16":
                out.lo = -32768 if act == "none" else 0
            elif form == "s8":  # a trained activation has an offset, so that it uses all of the range
                out.lo = 0 if self.variant == "int8-positive" else -128

    def build(self, samples: int) -> Network:
        """The whole network with random images and the reference's logits."""
        ops = {"conv": "conv2d", "linear": "conv2d", "avgpool": "avgpool"}
        self.append(IMAGE, "rescale", IMAGE, self.shape.channels, "none")
        for layer in self.shape.layers:
            if layer.op == "maxpool":
                for form in self.forms(layer.name):
                    (made,) = self.builder.layer(
                        "maxpool",
                        self.tensors[layer.source, form],
                        [],
                        kernel=layer.kernel,
                        stride=(layer.stride, layer.stride),
                        padding=(layer.padding,) * 4,
                    )
                    self.builder.net.layers[-1].name = f"{layer.name}_{form}"
                    self.tensors[layer.name, form] = made
                continue
            residual = ""
            if layer.residual:
                residual = self.tensors[layer.residual, self.wide]
            op = "depthwise" if layer.depthwise else ops[layer.op]
            tensor = self.tensors[layer.source, self.form(layer)]
            self.append(layer.name, op, tensor, layer.outputs, layer.act, residual, layer)
        (self.builder.net.output,) = self.builder.net.layers[-1].targets
        return self.builder.finish(samples)


def make_network(shape: NetworkShape, variant: str, seed: int = 0, samples: int = 2) -> Network:
    """The validated network of ``shape`` in one of :data:`VARIANTS`; equal arguments give equal networks.

    Raises :class:`SysmolError` where the variant is unknown or the builder refuses a layer.
    """
    if variant not in VARIANTS:
        raise SysmolError(f"there is no network variant {variant!r}: choose from {', '.join(VARIANTS)}")
    if isinstance(shape, EncoderShape):
        net = make_encoder(shape, variant, seed, samples)
    else:
        net = _Maker(shape, variant, seed).build(samples)
    net.description = f"{shape.name} in {variant}; random numbers of seed {seed}, no training"
    return net


def weight_bits(net: Network, layers: Sequence[Layer] | None = None) -> float:
    """Mean precision over the weights of a network (or of some layers): every weight has its input channel's."""
    bits = count = 0.0
    for layer in net.layers if layers is None else layers:
        if layer.weight is None:
            continue
        x = net.tensors[layer.input]
        each = {"smol": lambda x=x: x.precisions, "s8": lambda x=x: np.full(x.channels, 8)}.get(x.format)
        precisions = np.full(x.channels, 32) if each is None else each()
        outputs = net.tensors[layer.targets[0]].channels if operation(layer).mixes_channels else 1
        weights = layer.kernel[0] * layer.kernel[1] * outputs
        bits += float(precisions.sum()) * weights
        count += len(precisions) * weights
    return bits / count if count else 0.0
