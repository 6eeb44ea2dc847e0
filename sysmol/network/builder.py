"""Networks made by hand or at random: for tests, benchmarks, and precisions that no training has produced yet.

The integers are valid (they pass :func:`sysmol.network.checks.validate`) and spread over their ranges; they solve no
task.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sysmol.errors import SysmolError
from sysmol.network.checks import validate
from sysmol.network.geometry import layer_classes
from sysmol.network.model import (
    HIGH,
    HIGH_FACTOR,
    HIGH_SHIFT,
    INT32_MAX,
    LOW,
    RANGES,
    Array,
    Layer,
    Network,
    Normalisation,
    Output,
    Samples,
    Tensor,
)
from sysmol.network.operations import operation, weighted
from sysmol.network.reference import evaluate
from sysmol.network.sums import RESIDUAL_SHIFT, accumulator_bound, product_bound
from sysmol.network.values import alignment, group_tensor, magnitude
from sysmol.packing import assign_slots, free_cover, pack, slot_precisions

Format = str | Sequence[int] | Array
"""What to store: ``"s8"``, ``"s16"``, ``"s32"``, ``"f32"``, or the precisions of a SMOL tensor, one per channel."""


def trained_like(rng: np.random.Generator, shape: tuple[int, ...], axes: tuple[int, ...], top: int = 127) -> Array:
    """Int8 weights distributed as trained ones: normal, scaled per output channel so that its largest is ``top``.

    ``axes`` are those of one output channel's weights. Kernels whose speed depends on the weights' sizes (16-bit sums
    on RISC-V) meet in uniformly distributed weights what no trained network holds.
    """
    real = rng.normal(size=shape)
    return np.round(real * (top / np.abs(real).max(axis=axes, keepdims=True))).astype(np.int8)


class Builder:
    """Grows a network layer by layer with random weights and constants from ``rng``.

    ``high``: share of the outputs, and of the residuals, that are multiplied with high products
    (:mod:`sysmol.network.sums`).
    """

    whole = False
    """Whether low factors R of residuals of codes are multiples of M, as sums of the input's products count them, so
    that kernels can add such residuals to their sums."""

    def __init__(
        self, rng: np.random.Generator, height: int, width: int, channels: int, name: str = "random", high: float = 0.0
    ) -> None:
        self.rng = rng
        self.high = high
        self.net = Network(name, {"image": Tensor("image", height, width, channels, "u8")}, [], "image", "")

    def tensor(
        self,
        name: str,
        height: int,
        width: int,
        channels: int,
        form: Format,
        patterns: Sequence[int] = (),
        groups: int = 1,
    ) -> str:
        """Declare a tensor; SMOL tensors take the fewest vectors unless ``patterns`` says which.

        SMOL tensors that a convolution of several ``groups`` reads have as many vectors for each of them.
        """
        if isinstance(form, str):
            self.net.tensors[name] = Tensor(name, height, width, channels, form)
        else:
            parts = np.split(np.asarray(form), groups)
            covers = [tuple(c) for c in np.split(np.array(patterns, int), groups)] if len(patterns) else []
            covers = covers or [free_cover(part) for part in parts]
            most = max(len(cover) for cover in covers)
            ids: list[int] = []
            slots = []
            for part, cover in zip(parts, covers, strict=True):
                own = [*map(int, cover), *[int(cover[-1])] * (most - len(cover))]
                slots.append(assign_slots(part, own) + len(slot_precisions(ids)))
                ids += own
            self.net.tensors[name] = Tensor(name, height, width, channels, "smol", tuple(ids), np.concatenate(slots))
        return name

    def _weight(self, layer: Layer, channels: int) -> Array:
        x = self.net.tensors[layer.input]
        kind = weighted(layer)
        outer = kind.outer_shape(layer, channels)
        if x.format == "smol" and layer.groups > 1:
            parts = [group_tensor(x, layer.groups, g).patterns for g in range(layer.groups)]
            sizes = [kind.outer_shape(layer, channels // layer.groups) for _ in parts]
            limits = [1 << slot_precisions(part) for part in parts]
            codes = [self.rng.integers(0, m, size=(*s, len(m))) for m, s in zip(limits, sizes, strict=True)]
            return np.concatenate([pack(code, part) for code, part in zip(codes, parts, strict=True)])
        if x.format == "smol":
            limit = 1 << slot_precisions(x.patterns)
            return pack(self.rng.integers(0, limit, size=(*outer, len(limit))), x.patterns)
        x = group_tensor(x, layer.groups, 0)
        if x.format == "f32":
            return self.rng.normal(
                0, 1 / np.sqrt(np.prod(layer.kernel) * x.channels), size=(*outer, x.channels)
            ).astype(np.float32)
        return trained_like(self.rng, (*outer, x.channels), kind.weight_axes)

    def _output(self, layer: Layer, name: str) -> Output:
        """Constants that use most of the target's range and fit int32."""
        t = self.net.tensors[name]
        if t.format == "f32":
            factor = (
                None if operation(layer).has_weights else self.rng.uniform(0.01, 0.02, t.channels).astype(np.float32)
            )
            return Output(
                name,
                self.rng.normal(0, 0.1, (1, 1, t.channels)).astype(np.float32),
                0.0 if self.rng.random() < 0.5 else -np.inf,
                np.inf,
                factor,
            )
        (_, rows), (_, columns) = layer_classes(self.net, layer)
        bound = np.maximum(accumulator_bound(self.net, layer), 1)
        multiply, pre = LOW, 0
        largest = np.minimum(INT32_MAX // 8 // bound, 1 << 15)
        M = np.maximum(1, (largest * self.rng.uniform(0.4, 1.0, t.channels)).astype(np.int64))
        if self.high and self.rng.random() < self.high:
            multiply, pre = HIGH, int(self.rng.integers(int(INT32_MAX // bound.max()).bit_length()))
            M = self._factors(t.channels, HIGH_FACTOR)
        worst = product_bound(bound, M, multiply, pre)
        low, high = RANGES.get(t.format, (0, 15))
        spread = float(np.median(worst)) / 3
        shift = int(np.clip(np.round(np.log2(max(spread / (high - low), 1))), 0, 24)) if t.format != "s32" else 0
        codes = (1 << t.precisions) if t.format == "smol" else np.zeros(t.channels)
        middle = (codes / 2 * 2.0**shift).astype(np.int64)
        B = middle + self.rng.integers(-(1 << shift), (1 << shift) + 1, size=(len(rows), len(columns), t.channels))
        R, residual_multiply = None, LOW
        if layer.residual:
            residual = self.net.tensors[layer.residual]
            size = magnitude(residual)
            R = np.maximum(
                1,
                (INT32_MAX // 8 // size * self.rng.uniform(0.1, 0.5, t.channels))
                .astype(np.int64)
                .clip(max=int(spread / size.max()) + 1),
            )
            if self.high and self.rng.random() < self.high:
                below = HIGH_SHIFT - RESIDUAL_SHIFT[residual.format]
                residual_multiply, R = HIGH, self._factors(t.channels, min(HIGH_FACTOR, int(R.max()) << below))
            elif self.whole and multiply == LOW and residual.format == "smol":
                R = self._whole(layer, R, M)
        rectified = t.format in ("s8", "s16") and self.rng.random() < 0.3
        lo = 0 if t.format == "smol" or rectified else low
        return Output(name, B, lo, high, M, R, shift, multiply, residual_multiply, pre)

    def _whole(self, layer: Layer, R: Array, M: Array) -> Array:
        """R as multiples of M and of the step by which sums of the input's products of one precision differ."""
        x = self.net.tensors[layer.input]
        step = M << (int(alignment(x).min()) if x.format == "smol" else 0)
        return np.maximum(R // step, 1) * step

    def _factors(self, count: int, largest: int) -> Array:
        """Random factors of both signs, most of them of the order of ``largest``, at most that."""
        sizes = (largest * self.rng.uniform(0.3, 1.0, count) ** self.rng.choice([1, 8])).astype(np.int64)
        return np.maximum(sizes, 1) * self.rng.choice([-1, 1], count)

    def layer(
        self,
        op: str,
        x: str,
        forms: Sequence[Format],
        channels: int = 0,
        kernel: tuple[int, int] = (1, 1),
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        residual: str = "",
        patterns: Sequence[Sequence[int]] = (),
        groups: int = 1,
        apart: int = 1,
        second: str = "",
        dilation: tuple[int, int] = (1, 1),
    ) -> list[str]:
        """Append a layer with one output per entry of ``forms``; returns the names of the new tensors.

        ``channels`` defaults to the input's; ``patterns`` gives the pattern ids per output. Operations that do not
        requantise ignore ``forms``: they keep their input's format. ``groups``: of a convolution; ``apart``: groups of
        the convolution that reads the outputs, whose channels get vectors of their own; ``second``: of operations that
        take two inputs.
        """
        source, kind = self.net.tensors[x], operation(op)
        number = len(self.net.layers)
        layer = Layer(f"{op}{number}", op, x, kernel=kernel, stride=stride, padding=padding, residual=residual)
        layer.groups, layer.second, layer.dilation = groups, second, dilation
        height, width = kind.size(layer, source)
        self.net.layers.append(layer)
        if not kind.requantises:
            layer.output = f"t{number}"
            self.net.tensors[layer.output] = Tensor(
                layer.output, height, width, source.channels, source.format, source.patterns, source.slots
            )
            return [layer.output]
        ids = list(patterns) + [()] * (len(forms) - len(patterns))
        count = channels or source.channels
        names = [
            self.tensor(f"t{number}_{i}", height, width, count, form, ids[i], apart) for i, form in enumerate(forms)
        ]
        if kind.has_weights:
            layer.weight = self._weight(layer, count)
        layer.outputs = [self._output(layer, name) for name in names]
        return names

    def flatten(self, x: str, forms: Sequence[Format]) -> list[str]:
        """Append a layer that makes all elements of ``x`` channels, one output per entry of ``forms``."""
        t = self.net.tensors[x]
        return self.layer("flatten", x, forms, t.size, (t.height, t.width))

    def classifier(self, x: str, classes: int = 10) -> str:
        """Append a linear layer over all of ``x`` that writes the logits."""
        t = self.net.tensors[x]
        form = "f32" if t.format == "f32" else "s32"
        (self.net.output,) = self.layer("conv2d", x, [form], classes, (t.height, t.width))
        return self.net.output

    def finish(self, samples: int = 2) -> Network:
        """Validated network with random images and the reference's logits."""
        validate(self.net)
        image = self.net.tensors["image"]
        images = self.rng.integers(0, 256, size=(samples, *image.shape)).astype(np.uint8)
        self.net.samples = Samples(images, np.zeros(samples, dtype=np.int64), evaluate(self.net, images))
        return self.net


def random_precisions(rng: np.random.Generator, channels: int, mix: Sequence[float] = (1, 1, 1)) -> Array:
    """Precisions of channels drawn with weights for 4, 2 and 1 bits, int64 ``[channels]``."""
    share = np.asarray(mix, dtype=float)
    return rng.choice([4, 2, 1], size=channels, p=share / share.sum())


def random_network(
    seed: int, size: int = 7, widths: Sequence[int] = (7, 33), mix: Sequence[float] = (1, 1, 1), high: float = 0.0
) -> Network:
    """A small network with every operation: s8 stem, SMOL blocks with residual, strides, depthwise, pooling, s8 head.

    ``widths`` are the channel counts of its two stages, ``high`` as in :class:`Builder`; two sample images with the
    reference's logits come with it.
    """
    rng = np.random.default_rng(seed)
    b = Builder(rng, size, size, 3, f"random{seed}", high)
    first, second = widths
    p1, p2 = random_precisions(rng, first, mix), random_precisions(rng, second, mix)
    (x,) = b.layer("rescale", "image", ["s8"])
    x, stream = b.layer("conv2d", x, [p1, "s16"], first, (3, 3), padding=(1, 1, 1, 1))
    (y,) = b.layer("conv2d", x, [random_precisions(rng, second, mix)], second, (3, 3), padding=(1, 1, 1, 1))
    (x,) = b.layer("conv2d", y, [p1], first, (3, 3), padding=(1, 1, 1, 1), residual=stream)
    (x,) = b.layer("maxpool", x, [], kernel=(2, 2), stride=(1, 2), padding=(1, 0, 0, 1))
    (x,) = b.layer("conv2d", x, [p2], second, (2, 3), stride=(2, 1), padding=(0, 1, 1, 1))
    (x,) = b.layer("depthwise", x, [p2], kernel=(3, 3), padding=(1, 1, 1, 1))
    (x,) = b.layer("conv2d", x, [p2], second)
    height, width = b.net.tensors[x].height, b.net.tensors[x].width
    (x,) = b.layer("avgpool", x, ["s8"], kernel=(height, width))
    b.classifier(x)
    return b.finish()


def any_network(seed: int) -> Network:
    """A network that is random in everything that the format knows: shapes (one of five is a single row),
    operations in any order, uneven kernels, strides, paddings and dilations, formats of every layer, the first and the
    last among them, precisions, groups, residuals, several outputs, low and high products, a normalisation.

    Integer networks only; two sample images with the reference's logits come with it.
    """
    rng = np.random.default_rng(seed)
    height, width = (int(v) for v in rng.integers(3, 10, 2))
    height = 1 if rng.random() < 0.2 else height
    b = Builder(rng, height, width, int(rng.integers(1, 5)), f"any{seed}", float(rng.choice([0.0, 0.5, 1.0])))
    mean, scale = rng.uniform(0, 255, b.net.tensors["image"].channels), rng.uniform(0.001, 0.1, 1)
    b.net.normalisation = Normalisation(tuple(map(float, mean)), tuple(map(float, scale)))
    if rng.random() < 0.2:
        (x,) = b.flatten("image", [_any_format(rng, b.net.tensors["image"].size)])
    else:
        (x,) = b.layer("rescale", "image", [_any_format(rng, b.net.tensors["image"].channels)])
    for _ in range(int(rng.integers(2, 6))):
        x = _any_layer(b, x)
    t = b.net.tensors[x]
    if t.format not in ("s8", "smol") or (rng.random() < 0.4 and t.size <= 600):
        (x,) = b.flatten(x, [_any_format(rng, t.size, ("s8",))])
    b.classifier(x, int(rng.integers(2, 12)))
    return b.finish()


def _any_format(rng: np.random.Generator, channels: int, plain: Sequence[str] = ("s8", "s8", "s16")) -> Format:
    """SMOL codes in two of three cases."""
    if rng.random() < 2 / 3:
        return random_precisions(rng, channels, list(rng.dirichlet([0.7, 0.7, 0.7])))
    return str(rng.choice(plain))


MOST_UPSAMPLED = 1000
"""Elements of a tensor beyond which :func:`any_network` makes it no larger."""


def _any_layer(b: Builder, x: str) -> str:
    """One more layer over ``x``; returns one of its tensors."""
    rng, t = b.rng, b.net.tensors[x]
    convolves = t.format in ("s8", "smol")
    grows = t.size <= MOST_UPSAMPLED
    ops = [
        *("rescale", "avgpool", "maxpool"),
        *(["upsample"] if grows else []),
        *(["conv2d", "conv2d", "conv2d", "depthwise"] if convolves else []),
    ]
    op = str(rng.choice(ops))
    window: dict[str, Any] = {}
    if op == "upsample":
        window = {"kernel": tuple(int(k) for k in rng.integers(1, 4, 2))}
    elif op != "rescale":
        kernel: Any = tuple(int(k) for k in rng.integers(1, 4, 2).clip(max=[t.height, t.width]))
        reach = kernel
        if operation(op).has_weights and rng.random() < 0.3:
            window["dilation"] = tuple(int(d) for d in rng.integers(1, 4, 2))
            reach = Layer("", op, x, kernel=kernel, dilation=window["dilation"]).reach
        # At least what a kernel that is larger than the image needs.
        short = [max(reach[i] - size, 0) for i, size in enumerate((t.height, t.width))]
        before = [int(rng.integers(-(-short[i] // 2), reach[i])) for i in (0, 1)]
        after = [int(rng.integers(max(short[i] - before[i], 0), reach[i])) for i in (0, 1)]
        window |= {"kernel": kernel, "padding": (*before, *after), "stride": tuple(map(int, rng.integers(1, 3, 2)))}
    channels = int(rng.integers(1, 40)) if op == "conv2d" else t.channels
    probe = Layer("", op, x, **window)
    height, width = operation(op).size(probe, t)
    streams = [
        name
        for name, s in b.net.tensors.items()
        if s.shape == (height, width, channels) and s.format in ("s16", "s8", "smol") and name != x
    ]
    residual = str(rng.choice(streams)) if streams and operation(op).requantises and rng.random() < 0.7 else ""
    groups, apart = 1, 1
    if op == "conv2d" and rng.random() < 0.5:
        groups = int(rng.choice([g for g in (1, 2, 3, 4, 5) if _has_groups(b.net, x, g)]))
        channels += -channels % groups
        residual = residual if b.net.tensors.get(residual, t).channels == channels else ""
    forms = [_any_format(rng, channels) for _ in range(1 + (rng.random() < 0.3))]
    if operation(op).requantises and rng.random() < 0.3:
        apart = int(rng.choice([g for g in (1, 2, 3, 4, 5) if channels % g == 0]))
    if op == "depthwise" and t.format == "smol" and rng.random() < 0.5:
        forms = [t.precisions]
    made = b.layer(op, x, forms, channels, residual=residual, groups=groups, apart=apart, **window)
    return str(rng.choice(made))


def _has_groups(net: Network, x: str, groups: int) -> bool:
    """Whether a convolution with so many groups can read a tensor."""
    try:
        operation("conv2d").check_groups(net, Layer("", "conv2d", x, groups=groups))
    except SysmolError:
        return False
    return True
