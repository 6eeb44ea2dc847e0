"""Random networks with attention, by the same generator as all others (:mod:`sysmol.network.builder`)."""

from collections.abc import Sequence

import numpy as np

from sysmol.network.builder import Builder, Format, random_precisions
from sysmol.network.checks import CONSTANT_TYPES
from sysmol.network.model import Array, Layer, Network, Output, Tensor
from sysmol.network.operations import operation
from sysmol.network.operations.functions import FUNCTIONS
from sysmol.network.operations.heads import tokens
from sysmol.network.operations.lookup import ENTRIES
from sysmol.network.operations.normalisation import INPUT_BITS

TABLES = ("gelu", "silu", "hardswish", "sigmoid", "tanh")


def table_of(name: str, low: float, high: float, scale: float) -> tuple[int, ...]:
    """The function at 64 points from ``low`` to ``high``, in steps of ``scale``, rounded."""
    values = FUNCTIONS[name](np.linspace(low, high, ENTRIES))
    return tuple(int(v) for v in np.round(values / scale))


class SequenceBuilder(Builder):
    """Grows networks over sequences; every method appends one layer and returns the name of what it writes."""

    def append(
        self,
        layer: Layer,
        form: Format,
        channels: int,
        apart: int = 1,
    ) -> str:
        """Append a layer without weights that writes one tensor, whose ``apart`` groups have vectors of their own."""
        number, kind = len(self.net.layers), operation(layer)
        height, width = kind.size(layer, self.net.tensors[layer.input])
        layer.name = f"{layer.op}{number}"
        name = self.tensor(f"t{number}_0", height, width, channels, form, groups=apart)
        self.net.layers.append(layer)
        if kind.requantises:
            layer.outputs = [Output(name, np.zeros((1, 1, 0)), 0, 0)]  # what has channels asks for it
            layer.outputs = [self._output(layer, name)]
        else:
            layer.output = name
        return name

    def constant(self, height: int, width: int, channels: int, form: str, most: int) -> str:
        """A constant tensor of random numbers up to ``most``."""
        name = f"constant{len(self.net.tensors)}"
        data = self.rng.integers(-most, most + 1, size=(height, width, channels))
        self.net.tensors[name] = Tensor(name, height, width, channels, form)
        self.net.tensors[name].data = data.astype(CONSTANT_TYPES[form])
        return name

    def narrowed(self, name: str, low: int, high: int) -> str:
        """Clamp what the last layer writes as ``name`` to a part of its format, and shift it to fit."""
        (out,) = (out for out in self.net.layers[-1].outputs if out.tensor == name)
        lost = max(int(np.ceil(np.log2((out.hi - out.lo + 1) / (high - low + 1)))), 0)
        out.B = out.B + (((high + low) // 2 << out.shift + lost) - out.B.mean()).astype(np.int64)
        out.lo, out.hi, out.shift = low, high, min(out.shift + lost, 31)
        return name

    def stream(self, name: str) -> str:
        """Clamp what the last layer writes to the bits that a normalisation reads."""
        half = 1 << INPUT_BITS - 1
        return self.narrowed(name, -half, half - 1)

    def scores(
        self, queries: str, keys: str, heads: int, form: Format, apart: int = 1, spread: float | None = None
    ) -> str:
        """Scores whose standard deviation, about ``spread`` steps, is one of many, from nearly equal ones to those that
        differ by octaves."""
        layer = Layer("", "scores", queries, second=keys, groups=heads)
        count = heads * tokens(self.net.tensors[keys])
        name = self.append(layer, form, count, apart)
        q = self.net.tensors[queries]
        depth = q.channels / heads
        if form == "f32":
            return self.scaled(name, (spread / 20 if spread else self.rng.choice([0.1, 1.0, 5.0])) / np.sqrt(depth))
        if form == "s16":
            typical = 80 if q.format == "smol" else 50**2
            wanted = float(spread or self.rng.choice([0.3, 4.0, 20.0, 60.0, 500.0])) / (typical * np.sqrt(depth))
            out = layer.outputs[0]
            most = 2**31 / 4 / max(int(operation(layer).accumulator_bound(self.net, layer).max()), 1)
            out.shift = int(np.clip(np.floor(np.log2(most / wanted)), 0, 24))
            out.M = np.full(count, max(1, round(wanted * 2**out.shift)))
            out.B = np.full((1, 1, count), (1 << out.shift) // 2) + self.rng.integers(-3, 4, (1, 1, count))
            out.multiply, out.pre = "low", 0
        return name

    def scaled(self, name: str, most: float) -> str:
        """Floats that the last layer writes as ``name``, times factors up to ``most``, not clamped."""
        (out,) = (out for out in self.net.layers[-1].outputs if out.tensor == name)
        out.M = (most * self.rng.uniform(0.5, 1.0, self.net.tensors[name].channels)).astype(np.float32)
        out.lo, out.hi = -np.inf, np.inf
        return name

    def softmax(self, scores: str, heads: int, bits: Array | str) -> str:
        """Weights of so many bits for each head, or of that format."""
        channels = self.net.tensors[scores].channels
        layer = Layer("", "softmax", scores, groups=heads)
        form = bits if isinstance(bits, str) else np.repeat(bits, channels // heads)
        return self.append(layer, form, channels, heads)

    def plain_attention(self, x: str, heads: int, depth: int, form: str, source: str = "") -> str:
        """Heads over a sequence in ``s8`` or ``f32``; keys and values come from ``source`` where that is another."""
        channels = heads * depth
        q, k, v = (self.layer("conv2d", y, [form], channels)[0] for y in (x, source or x, source or x))
        t = self.scores(q, k, heads, "f32" if form == "f32" else "s16")
        layer = Layer("", "attend", self.softmax(t, heads, form), second=v, groups=heads)
        name = self.append(layer, form, channels)
        return self.scaled(name, 2.0) if form == "f32" else name

    def attention(self, x: str, heads: int, depth: int, form: Format, source: str = "") -> str:
        """Heads over a sequence of SMOL codes; their keys and values come from ``source`` where that is another one."""
        rng, source = self.rng, source or x
        channels = heads * depth
        each = _random_head_precisions(rng, heads, depth)
        (queries,) = self.layer("conv2d", x, [each], channels, apart=heads)
        (keys,) = self.layer("conv2d", source, [each], channels, apart=heads)
        bits = rng.choice([4, 2, 1], heads)
        (values,) = self.layer("conv2d", source, [np.repeat(bits, depth)], channels)
        weights = self.softmax(self.scores(queries, keys, heads, "s16"), heads, bits)
        layer = Layer("", "attend", weights, second=values, groups=heads)
        return self.append(layer, form, channels, heads if rng.random() < 0.5 else 1)

    def function(self, x: str) -> str:
        """One of the functions of :data:`FUNCTIONS` of floats."""
        layer = Layer("", "lookup", x, function=str(self.rng.choice(list(FUNCTIONS))))
        return self.scaled(self.append(layer, "f32", self.net.tensors[x].channels), 2.0)

    def lookup(self, x: str, form: Format) -> str:
        """One of the functions of :data:`FUNCTIONS` of bytes from 0 to 63."""
        low = -float(self.rng.uniform(1, 8))
        table = table_of(str(self.rng.choice(TABLES)), low, float(self.rng.uniform(1, 8)), 2.0**-10)
        name = self.append(Layer("", "lookup", x, table=table), form, self.net.tensors[x].channels)
        if self.rng.random() < 0.5:
            self.same_for_all(self.net.layers[-1].outputs[0])
        return name

    @staticmethod
    def same_for_all(out: Output) -> None:
        """Give all channels the constants of the first."""
        assert out.M is not None
        out.M = np.full_like(out.M, out.M[0])
        out.B = np.full_like(out.B, out.B[0, 0, 0])


def _precisions(rng: np.random.Generator, channels: int) -> Array:
    """Precisions of channels: in half of all tensors the same for all."""
    one = rng.random() < 0.5
    return np.full(channels, rng.choice([4, 2, 1])) if one else random_precisions(rng, channels)


def _random_head_precisions(rng: np.random.Generator, heads: int, depth: int) -> Array:
    """Precisions of queries and keys: mixed within a head, every head with as many channels of each as the first, so
    that all have equally many vectors."""
    first = random_precisions(rng, depth, list(rng.dirichlet([0.7, 0.7, 0.7])))
    return np.concatenate([rng.permutation(first) for _ in range(heads)])


MOST_CHANNELS = 64
"""Channels of all heads of :func:`any_transformer`: its programs are to compile in seconds."""


def any_transformer(seed: int) -> Network:
    """A network that is random in everything that attention knows: 1 to 4 heads of 5 to 64 channels, 15 among them,
    over 1 to 197 tokens; 4, 2 and 1 bits within a head; both normalisations; functions as tables; gates, slices, joins,
    a class token; self- and cross-attention.

    Integer networks only; two sample images with the reference's logits come with it.
    """
    rng = np.random.default_rng(seed)
    height, width = (int(v) for v in rng.integers(1, 6, 2))
    if rng.random() < 0.1:
        height, width = 14, 14
    b = SequenceBuilder(
        rng, height, width, int(rng.integers(1, 4)), f"transformer{seed}", float(rng.choice([0.0, 0.5]))
    )
    heads = int(rng.integers(1, 5))
    depths = [depth for depth in (5, 8, 15, 16, 21, 32, 64) if heads * depth <= MOST_CHANNELS]
    depth = int(rng.choice(depths)) if height < 14 else 5
    channels = int(rng.choice([heads * depth, *rng.integers(3, 24, 3)]))
    (x,) = b.layer("rescale", "image", ["s8"])
    positions = b.constant(height, width, channels, "s16", 400)
    (stream,) = b.layer("conv2d", x, ["s16"], channels, residual=positions)
    b.stream(stream)
    if rng.random() < 0.3 or height == 14:
        stream = _with_class_token(b, stream)
    for _ in range(1 + (rng.random() < 0.2)):
        stream = _any_block(b, stream, heads, depth)
    t = b.net.tensors[stream]
    if rng.random() < 0.5:
        (x,) = b.layer("avgpool", stream, ["s8"], kernel=(t.height, t.width))
    else:
        pad = (0, 0, 1 - t.height, 1 - t.width)
        x = b.append(Layer("", "pad", stream, padding=pad), _precisions(rng, t.channels), t.channels)
    b.classifier(x)
    return b.finish()


def plain_transformer(seed: int, form: str) -> Network:
    """A random network of one encoder layer, or two, in 8 bits (``s8``) or full precision (``f32``): self- or
    cross-attention of 1 to 4 heads of 5 to 64 channels over 1 to 197 tokens, a normalisation in front of either part,
    a function.

    Two sample images with the reference's logits come with it.
    """
    rng = np.random.default_rng(seed)
    height, width = (int(v) for v in rng.integers(1, 7, 2))
    if rng.random() < 0.1:
        height, width = 14, 14
    b = SequenceBuilder(rng, height, width, int(rng.integers(1, 4)), f"plain{seed}", float(rng.choice([0.0, 0.5])))
    heads, depth = int(rng.integers(1, 5)), int(rng.choice([5, 8, 15, 16])) if height < 14 else 5
    depth = 64 if heads == 1 and height < 14 else depth
    wide = "f32" if form == "f32" else "s16"
    channels = int(rng.choice([heads * depth, *rng.integers(3, 24, 2)]))
    (x,) = b.layer("rescale", "image", [form])

    def stream(x: str, residual: str = "") -> str:
        (name,) = b.layer("conv2d", x, [wide], channels, residual=residual)
        return b.stream(name) if wide == "s16" else b.scaled(name, 1.0)

    def normal(x: str) -> str:
        name = b.append(Layer("", str(rng.choice(["layernorm", "rmsnorm"])), x), form, channels)
        return b.scaled(name, 2.0) if form == "f32" else name

    main = stream(x, b.constant(height, width, channels, wide, 400 if wide == "s16" else 2))
    for _ in range(1 + (rng.random() < 0.3)):
        source = normal(main) if rng.random() < 0.3 else ""
        main = stream(b.plain_attention(normal(main), heads, depth, form, source), main)
        hidden = int(rng.integers(4, 24))
        (y,) = b.layer("conv2d", normal(main), [form], hidden)
        y = b.function(y) if form == "f32" else b.lookup(b.narrowed(y, 0, ENTRIES - 1), form)
        main = stream(y, main)
    (x,) = b.layer("avgpool", main, [form], kernel=(height, width))
    b.classifier(b.scaled(x, 1.0) if form == "f32" else x)
    return b.finish()


def _with_class_token(b: SequenceBuilder, stream: str) -> str:
    """The tokens in one row behind a constant one."""
    t = b.net.tensors[stream]
    if t.height > 1:
        rows: list[str] = []
        for row in range(t.height):
            pad = (-row, row * t.width, row + 1 - t.height, (t.height - 1 - row) * t.width)
            layer = Layer("", "pad", stream, padding=pad, residual=rows[-1] if rows else "")
            rows.append(b.stream(b.append(layer, "s16", t.channels)))
        stream = rows[-1]
    t = b.net.tensors[stream]
    token = b.constant(1, t.width + 1, t.channels, "s16", 900)
    layer = Layer("", "pad", stream, padding=(0, 1, 0, 0), residual=token)
    return b.stream(b.append(layer, "s16", t.channels))


def _any_block(b: SequenceBuilder, stream: str, heads: int, depth: int) -> str:
    """One encoder layer, with or without a gate, a slice and a join; returns the new stream."""
    rng, t = b.rng, b.net.tensors[stream]

    def normal(x: str) -> str:
        layer = Layer("", str(rng.choice(["layernorm", "rmsnorm"])), x)
        return b.append(layer, _precisions(rng, t.channels), t.channels)

    x = normal(stream)
    source = normal(stream) if rng.random() < 0.3 else ""
    y = b.attention(x, heads, depth, _precisions(rng, heads * depth), source)
    if rng.random() < 0.3:
        y = _cut_and_joined(b, y)
    if rng.random() < 0.4:
        y = _gated(b, y)
    (stream,) = b.layer("conv2d", y, ["s16"], t.channels, residual=stream)
    x = normal(b.stream(stream))
    hidden = int(rng.integers(4, 24))
    (index,) = b.layer("conv2d", x, ["s8"], hidden)
    y = b.lookup(b.narrowed(index, 0, ENTRIES - 1), _precisions(rng, hidden))
    (stream,) = b.layer("conv2d", y, ["s16"], t.channels, residual=stream)
    return b.stream(stream)


def _cut_and_joined(b: SequenceBuilder, x: str) -> str:
    """The last channels of a tensor in front of the first."""
    count = b.net.tensors[x].channels
    cut = int(b.rng.integers(1, count))
    last = b.append(Layer("", "slice", x, begin=cut), "s8", count - cut)
    first = b.append(Layer("", "slice", x), _precisions(b.rng, cut), cut)
    return b.append(Layer("", "join", last, second=first), _precisions(b.rng, count), count)


def _gated(b: SequenceBuilder, x: str) -> str:
    """Squeeze-and-excitation: channels times a function of their means, or a gate of every pixel's own."""
    rng, t = b.rng, b.net.tensors[x]
    whole = rng.random() < 0.7
    (mean,) = b.layer("avgpool", x, [_precisions(rng, t.channels)], kernel=(t.height, t.width) if whole else (1, 1))
    (index,) = b.layer("conv2d", mean, ["s8"], t.channels)
    gate = b.lookup(b.narrowed(index, 0, ENTRIES - 1), str(rng.choice(["s8", "s16"])))
    if b.net.tensors[gate].format == "s16":
        b.stream(gate)
    return b.append(Layer("", "gate", x, second=gate), _precisions(rng, t.channels), t.channels)


def any_gate(rng: np.random.Generator, forms: Sequence[Format]) -> Network:
    """A network whose gate reads tensors of these two formats."""
    b = SequenceBuilder(rng, 4, 3, 2, "gate")
    channels = 19
    (x,) = b.layer("rescale", "image", ["s8"])
    (first,) = b.layer("conv2d", x, [forms[0]], channels)
    (second,) = b.layer("conv2d", x, [forms[1]], channels)
    y = b.append(Layer("", "gate", first, second=second), _precisions(rng, channels), channels)
    b.classifier(y)
    return b.finish()
