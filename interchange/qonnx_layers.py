"""Layers of the network file from QONNX's integers.

A *sum* is a whole number s that a layer accumulates, times a scale per channel a real number; elementwise nodes and a
Quant node make an *activation* of it, integers on a grid. The activation's codes rise or fall with s: the function is
run to find where each begins, and integers M, B and a shift are found that give the same codes
(:mod:`sysmol.interchange.thresholds`).

Activations of n levels take the codes 0 .. n - 1 of 1, 2 or 4 bits, or bytes where those are too few. Weights on codes
are odd numbers; where a layer has even ones, zero among them, twice a weight is the sum of two odd numbers: a second
row of sums is added (:func:`odd_parts`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sysmol.errors import SysmolError
from sysmol.grid import PRECISIONS, PRODUCT_SHIFT
from sysmol.interchange.onnx_out import EXACT_FLOAT
from sysmol.interchange.qonnx_nodes import Grid, chain
from sysmol.interchange.thresholds import Steps, requantisation, steps_of
from sysmol.network import (
    INT32_MAX,
    RANGES,
    ZERO_POINT_SHIFT,
    Array,
    Layer,
    Network,
    Output,
    Tensor,
    accumulator_bound,
    border_constants,
    border_sums,
    operation,
)
from sysmol.packing import assign_slots, filler_codes, free_cover, pack

PIXEL = 1 / 255
"""Real value of one step of a pixel: models take images of 0 .. 1."""
BYTE = 8


@dataclass
class Sum:
    """What a layer accumulates: s of every output ``[K, H, W]`` lies in ``low[k] .. high[k]`` and stands for
    ``s * scale[k]``. ``chain`` are the elementwise nodes behind it so far, the first of which reads ``source``."""

    maker: Maker
    source: str
    chain: tuple[Any, ...] = ()


@dataclass
class Maker:
    """A layer, or two that make one, before what it writes is known. ``moved`` int64 ``[classes, K]``: accumulators are
    ``unit * s - moved``, ``unit`` int64; ``factor`` times M is the residual's R, 0 without one. ``bound`` int64 ``[K]``
    is of accumulators and residual together.
    """

    layer: Layer
    shape: tuple[int, int, int]
    low: Array
    high: Array
    scale: Array
    unit: int = 1
    moved: Array = field(default_factory=lambda: np.zeros((1, 1), dtype=np.int64))
    factor: int = 0
    flat: bool = False


@dataclass
class Activation:
    """Integers on a grid, of shape ``[K, H, W]``: codes of ``sum`` behind its chain, or ``moved`` from another
    activation by a maximum. ``flat``: the model sees a vector, channels first."""

    name: str
    grid: Grid
    shape: tuple[int, int, int]
    sum: Sum | None = None
    moved: tuple[Activation, Layer] | None = None
    flat: bool = False


class Layers:
    """The network under construction."""

    def __init__(self, name: str, shape: tuple[int, int, int], constants: dict[str, Array], opset: int) -> None:
        channels, height, width = shape
        self.net = Network(name, {"image": Tensor("image", height, width, channels, "u8")}, [], "image", "")
        self.constants, self.opset = constants, opset
        self.written: dict[tuple[str, str], Tensor] = {}

    # --- sums --------------------------------------------------------------------------------------------------------

    def image(self, name: str, flat: bool) -> Sum:
        """The pixels, one after another where the model flattens them at once."""
        image = self.net.tensors["image"]
        count = image.channels * (image.height * image.width if flat else 1)
        op, kernel = ("flatten", (image.height, image.width)) if flat else ("rescale", (1, 1))
        shape = (count, 1, 1) if flat else (image.channels, image.height, image.width)
        ends = np.zeros(count, dtype=np.int64), np.full(count, 255)
        maker = Maker(Layer("input", op, "image", kernel=kernel), shape, *ends, np.full(count, PIXEL), flat=flat)
        return Sum(self._begin(maker), name)

    def convolution(
        self, name: str, source: str, x: Activation, weight: Array, scale: Array, geometry: dict[str, Any]
    ) -> Sum:
        """A convolution of whole-number weights ``[K, C / G, KH, KW]`` with the real ``scale [K]`` of one step;
        ``geometry`` are fields of :class:`Layer`."""
        groups, channels = geometry.get("groups", 1), x.shape[0]
        depthwise = groups == channels == len(weight) and groups > 1
        if depthwise:
            geometry = {key: value for key, value in geometry.items() if key != "groups"}
        codes = x.grid.bits != BYTE and (groups == 1 or depthwise)
        parts = odd_parts(weight, x.grid.bits) if codes else [weight]
        codes = codes and bool(parts)
        tensor = self.tensor(x, "smol" if codes else "s8")
        op = "depthwise" if depthwise else "conv2d"
        low, high = _reach(weight, x.grid, any(geometry.get("padding", ())))
        target = Layer(name, op, tensor.name, **geometry)
        shape = (len(weight), *operation(op).size(target, tensor))
        maker = Maker(target, shape, low, high, scale * x.grid.scale)
        if not codes:
            target.weight = self._bytes(weight, depthwise)
            self._begin(maker, [target])
            # Stored integers are those of the grid less a constant; padding stands for 0, as the zero point says.
            maker.moved = self._moved(target, weight, byte_shift(x.grid), 1, 1)
            return Sum(maker, source)
        # g = 2 * u - (2**p - 1) of the integer low + step * u; sums add up w * g << align, once or twice.
        times, align = len(parts), PRODUCT_SHIFT[x.grid.bits]
        maker.unit = (2 * times << align) // x.grid.step
        layers = [target]
        if times == 2:
            first = Layer(f"{name}.ones", op, tensor.name, **geometry)
            layers.insert(0, first)
        for layer, part in zip(layers, parts[::-1], strict=True):
            # One row of -1 serves all outputs.
            alike = layer is not target and not depthwise and (part == -1).all()
            layer.weight = self._packed(part[:1] if alike else part, tensor, depthwise)
        self._begin(maker, layers)
        offset = ((1 << x.grid.bits) - 1) * x.grid.step + 2 * x.grid.low
        maker.moved = self._moved(target, weight, offset, times << align, x.grid.step)
        if times == 2:
            self._add_ones(maker, layers[0], tensor, align)
        return Sum(maker, source)

    def _add_ones(self, maker: Maker, first: Layer, tensor: Tensor, align: int) -> None:
        """Add the sums of the first layer, in 16 bits, to those of the second; one row of them is added to all."""
        assert first.weight is not None
        rows = len(first.weight) if first.op == "conv2d" else maker.shape[0]
        partial = Tensor(f"{first.name}.sums", *maker.shape[1:], rows, "s16")
        self.net.tensors[partial.name] = partial
        ones = np.ones(rows, dtype=np.int64)
        out = Output(partial.name, border_constants(border_sums(self.net, first), ones), *RANGES["s16"], ones)
        out.shift = align
        first.outputs.append(out)
        if int((accumulator_bound(self.net, first) + np.abs(out.B).max()).max()) >> align > RANGES["s16"][1]:
            raise SysmolError(f"layer {maker.layer.name}: the sums that zeros among its weights need leave 16 bits")
        maker.layer.residual = partial.name
        maker.factor = 1 << align

    def sum_of_two(self, name: str, source: str, a: Activation, b: Activation) -> Sum:
        """Two activations added; one's scale is a whole multiple of the other's."""
        if a.shape != b.shape:
            raise SysmolError(f"'{source}' adds shapes {list(a.shape)} and {list(b.shape)}")
        if a.grid.scale < b.grid.scale:
            a, b = b, a
        ratio = a.grid.scale / b.grid.scale
        times = round(ratio)
        if abs(ratio - times) > 1e-6 * ratio or times > 256:
            raise SysmolError(f"'{source}' adds activations whose scales are no whole multiples of one another")
        if a.name == b.name:
            raise SysmolError(f"'{source}' adds an activation to itself")
        # The one that counts once is the accumulator; R makes the other count as often as it must.
        x, r = self.tensor(b, "s8"), self.tensor(a, "s8")
        low = np.full(a.shape[0], times * a.grid.low + b.grid.low)
        high = np.full(a.shape[0], times * a.grid.high + b.grid.high)
        layer = Layer(name, "rescale", x.name, residual=r.name)
        maker = Maker(layer, a.shape, low, high, np.full(a.shape[0], b.grid.scale))
        maker.factor = times
        maker.moved = np.full((1, a.shape[0]), byte_shift(b.grid) + times * byte_shift(a.grid))
        return Sum(self._begin(maker), source)

    def elements(self, name: str, source: str, x: Activation) -> Sum:
        """Every element by itself: what nodes between two grids need."""
        found = self._windows(Layer(name, "rescale", self.tensor(x, "s8").name), source, x, 1)
        found.maker.flat = x.flat
        return found

    def average(self, name: str, source: str, x: Activation, geometry: dict[str, Any]) -> Sum:
        """An average over windows, without padding."""
        layer = Layer(name, "avgpool", self.tensor(x, "s8").name, **geometry)
        return self._windows(layer, source, x, layer.kernel[0] * layer.kernel[1])

    def _windows(self, layer: Layer, source: str, x: Activation, count: int) -> Sum:
        channels = x.shape[0]
        size = operation(layer).size(layer, self.net.tensors[layer.input])
        ends = np.full(channels, count * x.grid.low), np.full(channels, count * x.grid.high)
        maker = Maker(layer, (channels, *size), *ends, np.full(channels, x.grid.scale / count))
        maker.moved = np.full((1, channels), count * byte_shift(x.grid))
        return Sum(self._begin(maker), source)

    def maximum(self, name: str, x: Activation, geometry: dict[str, Any]) -> Activation:
        """A maximum over windows keeps the grid."""
        layer = Layer(name, "maxpool", "", **geometry)
        some = Tensor("", x.shape[1], x.shape[2], x.shape[0], "s8")
        return Activation(name, x.grid, (x.shape[0], *operation(layer).size(layer, some)), moved=(x, layer))

    def _begin(self, maker: Maker, layers: Sequence[Layer] = ()) -> Maker:
        self.net.layers += layers or [maker.layer]
        count = maker.shape[0]
        if maker.moved.shape[1] != count:
            maker.moved = np.zeros((1, count), dtype=np.int64)
        if max(-int(maker.low.min()), int(maker.high.max())) > EXACT_FLOAT:
            raise SysmolError(
                f"layer {maker.layer.name}: its sums leave the whole numbers that the model's floats hold"
            )
        return maker

    # --- weights -----------------------------------------------------------------------------------------------------

    def _packed(self, weight: Array, x: Tensor, depthwise: bool) -> Array:
        bits = x.precisions
        odd = weight[:, 0].transpose(1, 2, 0) if depthwise else weight.transpose(0, 2, 3, 1)
        codes = np.tile(filler_codes(x.patterns), (*odd.shape[:-1], 1))
        codes[..., x.slots] = (odd + (1 << bits) - 1) // 2
        return pack(codes, x.patterns)

    @staticmethod
    def _bytes(weight: Array, depthwise: bool) -> Array:
        if np.abs(weight).max(initial=0) > 127:
            raise SysmolError("weights beyond 8 bits")
        order = weight[:, 0].transpose(1, 2, 0) if depthwise else weight.transpose(0, 2, 3, 1)
        return np.ascontiguousarray(order.astype(np.int8))

    def _moved(self, layer: Layer, weight: Array, offset: int, times: int, step: int) -> Array:
        """What a layer's accumulators lack, int64 ``[classes, K]``, classes row by row: ``times / step * offset`` times
        the sum of all weights, and what taps outside the image would add if they held zeros."""
        everywhere = weight.sum((1, 2, 3)) * offset * times // step
        outside = border_sums(self.net, layer) >> ZERO_POINT_SHIFT
        return np.asarray(everywhere + outside.reshape(-1, len(weight)))

    # --- activations -------------------------------------------------------------------------------------------------

    def tensor(self, x: Activation, form: str) -> Tensor:
        """The activation in a format, ``smol`` or ``s8``, written by the layer that makes it."""
        key = (x.name, form)
        if key not in self.written:
            self.written[key] = self._write(x, form)
        return self.written[key]

    def _write(self, x: Activation, form: str) -> Tensor:
        channels, height, width = x.shape
        tensor = Tensor(f"{x.name}.{form}", height, width, channels, form)
        if form == "smol":
            bits = np.full(channels, x.grid.bits)
            tensor.patterns = free_cover(bits)
            tensor.slots = assign_slots(bits, tensor.patterns)
            # g of the integer 0, which padding stands for.
            zero = -(2 * x.grid.low // x.grid.step) - ((1 << x.grid.bits) - 1)
            tensor.zero_point = tuple((zero << ZERO_POINT_SHIFT) * (p == x.grid.bits) for p in PRECISIONS)
        else:
            tensor.zero_point = (-byte_shift(x.grid) << ZERO_POINT_SHIFT,)
        self.net.tensors[tensor.name] = tensor
        if x.moved is not None:
            source, layer = x.moved
            before = self.tensor(source, form)
            fields: dict[str, Any] = {"kernel": layer.kernel, "stride": layer.stride, "padding": layer.padding}
            self.net.layers.append(Layer(f"{x.name}.{form}", "maxpool", before.name, output=tensor.name, **fields))
            return tensor
        assert x.sum is not None
        x.sum.maker.layer.outputs.append(self._output(x, tensor))
        return tensor

    def _output(self, x: Activation, tensor: Tensor) -> Output:
        """M, B and a shift that give the activation's codes, in the tensor's format, for every sum."""
        assert x.sum is not None
        maker = x.sum.maker
        first = 0 if tensor.format == "smol" else x.grid.low - byte_shift(x.grid)
        if tensor.format != "smol" and x.grid.step != 1:
            raise SysmolError(
                f"'{x.name}' holds -1 and +1, where bytes are needed: only linear layers and convolutions"
            )
        steps = self._steps(x)
        bound = accumulator_bound(self.net, maker.layer)
        if maker.factor:
            bound = bound + maker.factor * _largest(self.net.tensors[maker.layer.residual])
        found = requantisation(steps, maker.moved, bound, tensor.format == "smol")
        classes = border_sums(self.net, maker.layer).shape[:2]
        B = (found.B + (first << found.shift)).reshape(*classes, -1)
        if np.abs(B).max() > INT32_MAX:
            raise SysmolError(f"layer {maker.layer.name}: its constants leave 32 bits")
        last = first + x.grid.levels - 1
        out = Output(tensor.name, B, first, last, found.M, None, found.shift, found.multiply, pre=found.pre)
        if maker.factor:
            if found.multiply != "low":
                raise SysmolError(f"layer {maker.layer.name}: no 32-bit integers hold its steps beside a second sum")
            out.R = found.M * maker.factor
        return out

    def _steps(self, x: Activation) -> list[Steps]:
        """Where the codes of every channel change, in accumulators but for what is moved."""
        assert x.sum is not None
        maker, values = x.sum.maker, self.values(x.sum)
        return steps_of(lambda sums: x.grid.codes(values(sums)), maker.low, maker.high, x.grid.levels - 1, maker.unit)

    def values(self, found: Sum) -> Callable[[Array], Array]:
        """Real numbers float32 ``[n, K]`` that the model has for sums ``[n, K]``, or ``[n, 1]`` of every channel."""
        maker, channels = found.maker, len(found.maker.scale)
        shape = (channels,) if maker.flat else (channels, 1, 1)
        run = chain(list(found.chain), found.source, shape, self.constants, self.opset)

        def real(sums: Array) -> Array:
            scaled = (sums.astype(np.float64) * maker.scale).astype(np.float32)
            return run(scaled.reshape(-1, *shape)).reshape(scaled.shape)

        return real

    # --- logits ------------------------------------------------------------------------------------------------------

    def finish(self, found: Sum) -> None:
        """The last sum as logits: whole numbers that stand for ``logit_scale * x + logit_offset``."""
        maker = found.maker
        if maker.shape[1:] != (1, 1):
            raise SysmolError(f"it ends in an image of {list(maker.shape)}, not in a number per class")
        logits = Tensor("logits", 1, 1, maker.shape[0], "s32")
        self.net.tensors[logits.name] = logits
        self.net.output = logits.name
        slope, offset = self._line(found)
        alike = np.ptp(slope) < 1e-6 * np.abs(slope).max() and np.ptp(offset) < 1e-6 * np.abs(slope).max()
        bound = accumulator_bound(self.net, maker.layer)
        if maker.factor:
            bound = bound + maker.factor * _largest(self.net.tensors[maker.layer.residual])
        M, scale, zero = np.ones(len(slope), dtype=np.int64), float(slope.mean()) / maker.unit, float(offset.mean())
        B = maker.moved[0]
        if not alike or slope.min() <= 0:
            # Classes that count in different units: as fine as 32 bits hold.
            room = INT32_MAX / 4 / (bound * np.abs(slope) / maker.unit + np.abs(offset) + 1e-30)
            unit = 1 / float(room.min())
            M = np.rint(slope / maker.unit / unit).astype(np.int64)
            B = np.rint(offset / unit).astype(np.int64) + M * maker.moved[0]
            scale, zero = unit, 0.0
        R = M * maker.factor if maker.factor else None
        maker.layer.outputs.append(Output(logits.name, B.reshape(1, 1, -1), *RANGES["s32"], M, R, 0))
        self.net.provenance |= {"logit_scale": scale, "logit_offset": zero}

    def _line(self, found: Sum) -> tuple[Array, Array]:
        """Slope and offset of the logits by s, float64 ``[K]``; refuses what is no line."""
        maker = found.maker
        ends = np.array([int(maker.low.min()), 0, int(maker.high.max())])
        real = self.values(found)(ends[:, None]).astype(np.float64)
        slope = (real[2] - real[0]) / max(int(ends[2] - ends[0]), 1)
        if np.abs(real[0] + slope * (0 - ends[0]) - real[1]).max() > 1e-5 * np.abs(real).max():
            raise SysmolError("what follows the last layer is no factor and addend per class")
        return slope, real[1]


def byte_shift(grid: Grid) -> int:
    """What a byte's integer lacks to that of the grid: stored is the grid's integer less this."""
    low, high = RANGES["s8"]
    return 0 if grid.low >= low and grid.high <= high else grid.low - low


def odd_parts(weight: Array, bits: int) -> list[Array]:
    """Whole-number weights as themselves where all are odd; else two parts of odd numbers whose sum is twice each:
    doubled and one more with -1 everywhere, or each with 1 more and less where it is even. None where no part fits so
    many bits.
    """
    largest = (1 << bits) - 1
    even = weight % 2 == 0
    whole = [[weight]] if not even.any() else []
    pairs = [[2 * weight + 1, np.full_like(weight, -1)], [weight + even, weight - even]]
    return next((parts for parts in whole + pairs if max(np.abs(part).max() for part in parts) <= largest), [])


def _reach(weight: Array, grid: Grid, padded: bool) -> tuple[Array, Array]:
    """Smallest and largest sum of products of every output, int64 ``[K]``."""
    ends = np.stack([weight * grid.low, weight * grid.high] + ([weight * 0] if padded else []))
    return ends.min(0).sum((1, 2, 3)), ends.max(0).sum((1, 2, 3))


def _largest(tensor: Tensor) -> int:
    return -RANGES[tensor.format][0]
