"""Encoder layers of transformers with numbers, in full precision, 8 bits, or codes of one precision.

The numbers are random; formats are those of trained networks: the stream has 16 bits, what linear layers and attention
read has the variant's precision, indices of GELU's table have 6 bits in 8. Where the variant is ``int8``, weights of
values have 7 bits.
"""

import zlib

import numpy as np

from sysmol.benchmarks.shapes import EncoderShape
from sysmol.errors import SysmolError
from sysmol.network import Array, Layer, Network
from sysmol.network.operations.lookup import ENTRIES
from sysmol.network.sequences import SequenceBuilder, table_of

ENCODER_VARIANTS = ("fp32", "int8", "w4", "w2", "w1")


class _Encoder:
    """Grows the network of one shape and variant."""

    def __init__(self, shape: EncoderShape, variant: str, seed: int) -> None:
        if variant not in ENCODER_VARIANTS:
            raise SysmolError(f"encoders have no variant {variant!r}: choose from {', '.join(ENCODER_VARIANTS)}")
        self.shape, self.variant = shape, variant
        rng = np.random.default_rng([seed, zlib.crc32(f"{shape.name} {variant}".encode())])
        self.b = SequenceBuilder(rng, shape.height, shape.width, shape.channels, shape.name)
        self.real = variant == "fp32"
        self.wide = "f32" if self.real else "s16"

    def form(self, channels: int) -> str | Array:
        """What linear layers read."""
        plain = {"fp32": "f32", "int8": "s8"}.get(self.variant)
        return plain or np.full(channels, int(self.variant[1:]))

    def named(self, name: str, tensor: str, factor: float = 1.0) -> str:
        """The last layer's result, under a name of its own; floats are not clamped."""
        self.b.net.layers[-1].name = name
        return self.b.scaled(tensor, factor) if self.b.net.tensors[tensor].format == "f32" else tensor

    def linear(self, name: str, x: str, channels: int, form: str | Array, residual: str = "", apart: int = 1) -> str:
        (y,) = self.b.layer("conv2d", x, [form], channels, residual=residual, apart=apart)
        return self.named(name, y)

    def stream(self, name: str, x: str, residual: str = "") -> str:
        y = self.linear(name, x, self.shape.channels, self.wide, residual)
        return y if self.real else self.b.stream(y)

    def normal(self, name: str, x: str) -> str:
        c = self.shape.channels
        return self.named(name, self.b.append(Layer("", "layernorm", x), self.form(c), c))

    def attention(self, x: str) -> str:
        b, c, heads = self.b, self.shape.channels, self.shape.heads
        q, k = (self.linear(name, x, c, self.form(c), apart=heads) for name in ("queries", "keys"))
        v = self.linear("values", x, c, self.form(c))
        t = b.scores(q, k, heads, self.wide, spread=20.0)
        b.net.layers[-1].name = "scores"
        form = self.form(1)
        u = b.softmax(t, heads, form if isinstance(form, str) else np.full(heads, form[0]))
        b.net.layers[-1].name = "softmax"
        y = b.append(Layer("", "attend", u, second=v, groups=heads), self.form(c), c, heads)
        return self.named("attend", y)

    def mlp(self, x: str) -> str:
        b, hidden = self.b, self.shape.expansion * self.shape.channels
        if self.real:
            y = self.linear("mlp1", x, hidden, "f32")
            return self.named("gelu", b.append(Layer("", "lookup", y, function="gelu"), "f32", hidden))
        y = b.narrowed(self.linear("mlp1", x, hidden, "s8"), 0, ENTRIES - 1)
        layer = Layer("", "lookup", y, table=table_of("gelu", -4.0, 4.0, 2.0**-10))
        y = b.append(layer, self.form(hidden), hidden)
        b.same_for_all(layer.outputs[0])
        return self.named("gelu", y)

    def build(self, samples: int) -> Network:
        """The whole network with random images and the reference's logits."""
        b, shape = self.b, self.shape
        (x,) = b.layer("rescale", "image", ["f32" if self.real else "s8"])
        x = self.named("image_scaled", x, 0.02)
        if shape.expansion:
            stream = self.stream("stem", x)
            stream = self.stream("projection", self.attention(self.normal("norm1", stream)), stream)
            stream = self.stream("mlp2", self.mlp(self.normal("norm2", stream)), stream)
        else:
            stream = self.attention(self.linear("stem", x, shape.channels, self.form(shape.channels)))
        if shape.expansion:
            (x,) = b.layer("rescale", stream, ["f32" if self.real else "s8"])
            stream = self.named("rounded", x)
        b.classifier(stream)  # of every output, so that each counts
        b.net.layers[-1].name = "logits"
        return b.finish(samples)


def make_encoder(shape: EncoderShape, variant: str, seed: int, samples: int) -> Network:
    """The validated network of ``shape`` in one of :data:`ENCODER_VARIANTS`; equal arguments give equal networks."""
    return _Encoder(shape, variant, seed).build(samples)
