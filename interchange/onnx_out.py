"""A network file as plain ONNX operators that give the reference's logits bit for bit.

The input is the image, uint8 ``[n, H, W, C]``, the output the logits ``[n, classes]``, int32 (float32 in ``f32``
networks, within :data:`FLOAT_TOLERANCE`). Values are the integers x of docs/network-format.md, not codes.

* Sums are whole numbers in any order of adding: a float32 ``Conv`` where the bound on the accumulator is below 2**24,
  up to which float32 holds every integer; a ``ConvInteger`` elsewhere.
* A high product ``((x << left) * M) >> 31`` is one of int64, moved to where it is not negative and divided.
* ``(acc * M + B + r * R) >> shift``, clamped, becomes ``Clip`` to what will be shifted into ``lo .. hi``, then a
  division by ``2**shift``: ONNX divides integers towards zero, so ``lo`` is taken off first and added afterwards. All
  in int32, in int64 where the offset could leave 32 bits.
* A constant per border class is gathered to one per pixel; runtimes fold that when they load the model.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sysmol.files import atomic_write_bytes
from sysmol.interchange.extras import extra
from sysmol.network import (
    HIGH_SHIFT,
    INT32_MAX,
    LOW,
    RESIDUAL_SHIFT,
    Array,
    Layer,
    Network,
    Output,
    accumulator_bound,
    alignment,
    dense_weight,
    largest_sum,
    layer_classes,
    magnitude,
    product_bound,
    upper_codes,
)
from sysmol.network.operations import aligned_weight

extra("onnx", "ONNX")

import onnx  # noqa: E402

from sysmol.interchange.nodes import Nodes  # noqa: E402
from sysmol.interchange.onnx_sequences import SEQUENCES  # noqa: E402

EXACT_FLOAT = 1 << 24
"""float32 holds every integer up to here."""
FLOAT_TOLERANCE = 1e-4
"""Difference of the logits of ``f32`` networks, relative to an image's largest, that summation orders explain."""
UINT8_ZERO = 128
"""Where ``ConvInteger``'s uint8 operands have their zero."""


def write(path: str | Path, net: Network) -> Path:
    """Write a network as an ONNX model, atomically."""
    return atomic_write_bytes(path, to_onnx(net).SerializeToString(deterministic=True))


def to_onnx(net: Network) -> onnx.ModelProto:
    """A valid network as an ONNX model that passes ``onnx.checker``."""
    return Writer(net).model()


class Writer:
    """Writes layer by layer. A tensor has up to three forms, made when a layer asks for them: ``float32``, ``int32``
    and ``uint8`` (the value plus :data:`UINT8_ZERO`), all ``[n, C, H, W]``.
    """

    images: int | str = "n"
    """How many images the model takes: any number."""
    domains: ClassVar[dict[str, int]] = {}
    """Other operators than ONNX's that it has, by domain with a version."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.nodes = Nodes()
        self.forms: dict[tuple[str, str], str] = {}

    def model(self) -> onnx.ModelProto:
        net, nodes = self.net, self.nodes
        image, logits = net.tensors[net.input], net.tensors[net.output]
        source = nodes.unique(net.input)
        pixels = nodes.node("Transpose", [source], f"{net.input}.planes", perm=[0, 3, 1, 2])
        self.forms[net.input, "raw"] = pixels
        for name in sorted(net.constants):
            data = np.asarray(net.tensors[name].data).transpose(2, 0, 1)[None]
            kind = "float32" if net.is_float else "int32"
            self.forms[name, kind] = nodes.constant(name, data, np.dtype(kind))
        for layer in net.layers:
            LAYERS[layer.op](self, layer)
        kind = "float32" if net.is_float else "int32"
        flat = nodes.constant("logits.shape", [-1, net.classes], np.int64)
        result = nodes.node("Reshape", [self.form(logits.name, kind), flat], "logits")
        facts = {"network": net.name, "description": net.description}
        if "logit_scale" in net.provenance:
            facts["logit_scale"] = repr(net.provenance["logit_scale"])
        if net.normalisation is not None:
            means, scales = net.normalisation.of_channels(image.channels)
            facts |= {"input_mean": " ".join(map(repr, means)), "input_scale": " ".join(map(repr, scales))}
        shape = [self.images, image.height, image.width, image.channels]
        inputs, outputs = {source: ("uint8", shape)}, {result: (kind, [self.images, net.classes])}
        return nodes.model(net.name, inputs, outputs, facts, self.domains)

    # --- forms of a tensor -------------------------------------------------------------------------------------------

    def form(self, tensor: str, kind: str) -> str:
        """Name of the tensor's values as ``float32``, ``int32`` or ``uint8``."""
        if (tensor, kind) not in self.forms:
            self.forms[tensor, kind] = self._converted(tensor, kind)
        return self.forms[tensor, kind]

    def _converted(self, tensor: str, kind: str) -> str:
        nodes = self.nodes
        if kind == "uint8":
            zero = nodes.constant("uint8_zero", UINT8_ZERO, np.int32)
            raised = nodes.node("Add", [self.form(tensor, "int32"), zero], f"{tensor}.raised")
            return nodes.cast(raised, "uint8", f"{tensor}.uint8")
        other = next(name for (key, _), name in self.forms.items() if key == tensor)
        return nodes.cast(other, kind, f"{tensor}.{kind}")

    # --- sums --------------------------------------------------------------------------------------------------------

    def convolution(self, layer: Layer, weight: Array, groups: int) -> str:
        """Accumulators of aligned weights ``[K, C / groups, KH, KW]``: int32, or float32 in ``f32`` networks."""
        options = windows(layer) | {"group": groups}
        if self.net.is_float or int(accumulator_bound(self.net, layer).max()) < EXACT_FLOAT:
            name = self.nodes.constant(f"{layer.name}.weight", weight, np.float32)
            acc = self.nodes.node("Conv", [self.form(layer.input, "float32"), name], f"{layer.name}.conv", **options)
            return acc if self.net.is_float else self.nodes.cast(acc, "int32", f"{layer.name}.acc")
        name = self.nodes.constant(f"{layer.name}.weight", weight + UINT8_ZERO, np.uint8)
        zero = self.nodes.constant("uint8_zero_point", UINT8_ZERO, np.uint8)
        operands = [self.form(layer.input, "uint8"), name, zero, zero]
        return self.nodes.node("ConvInteger", operands, f"{layer.name}.acc", **options)

    def window_sums(self, layer: Layer) -> str:
        """Sums over windows: of the whole image at once, else of shifted images, first along columns, then rows."""
        x, kind = self.net.tensors[layer.input], "float32" if self.net.is_float else "int32"
        total = self.form(layer.input, kind)
        if layer.kernel == (x.height, x.width) and not any(layer.padding):
            axes = self.nodes.constant("height_and_width", [2, 3], np.int64)
            return self.nodes.node("ReduceSum", [total, axes], f"{layer.name}.acc", keepdims=1)
        if any(layer.padding):
            top, left, bottom, right = layer.padding
            sizes = self.nodes.constant(f"{layer.name}.padding", [0, 0, top, left, 0, 0, bottom, right], np.int64)
            total = self.nodes.node("Pad", [total, sizes], f"{layer.name}.padded")
        out = self.net.tensors[layer.targets[0]]
        for axis, positions, kernel, stride in (
            (2, out.height, layer.kernel[0], layer.stride[0]),
            (3, out.width, layer.kernel[1], layer.stride[1]),
        ):
            where = self.nodes.constant(f"axis_{axis}", [axis], np.int64)
            step = self.nodes.constant(f"step_{stride}", [stride], np.int64)
            taps = []
            for tap in range(kernel):
                start = self.nodes.constant(f"at_{tap}", [tap], np.int64)
                stop = tap + (positions - 1) * stride + 1
                end = self.nodes.constant(f"at_{stop}", [stop], np.int64)
                taps.append(self.nodes.node("Slice", [total, start, end, where, step], f"{layer.name}.tap"))
            total = taps[0]
            for tap_name in taps[1:]:
                total = self.nodes.node("Add", [total, tap_name], f"{layer.name}.sum")
        return total

    # --- outputs -----------------------------------------------------------------------------------------------------

    def requantise(self, layer: Layer, acc: str) -> None:
        """Write the outputs of a layer with these accumulators."""
        for out in layer.outputs:
            if self.net.is_float:
                self.forms[out.tensor, "float32"] = self._real_output(layer, out, acc)
            else:
                self._integer_output(layer, out, acc)

    def _real_output(self, layer: Layer, out: Output, y: str) -> str:
        nodes, name = self.nodes, out.tensor
        if out.M is not None:
            y = nodes.node("Mul", [y, nodes.constant(f"{name}.M", channels(out.M), np.float32)], f"{name}.scaled")
        y = nodes.node("Add", [y, nodes.constant(f"{name}.B", out.B.transpose(2, 0, 1), np.float32)], f"{name}.biased")
        if layer.residual:
            y = nodes.node("Add", [y, self.form(layer.residual, "float32")], f"{name}.added")
        ends = [nodes.constant(f"clamp_{end}", end, np.float32) if np.isfinite(end) else "" for end in (out.lo, out.hi)]
        return nodes.node("Clip", [y, *ends], name) if any(ends) else y

    def _integer_output(self, layer: Layer, out: Output, y: str) -> None:
        """``clamp((acc * M + B + r * R) >> shift, lo, hi)``, of SMOL targets as the odd integer of that code."""
        nodes, name, t = self.nodes, out.tensor, self.net.tensors[out.tensor]
        assert out.M is not None
        span = Span.of(self.net, layer, out)
        kind = np.int32 if span.fits_int32 else np.int64
        bound = accumulator_bound(self.net, layer)
        y = self._product(y, f"{name}.M", out.M, out.multiply, out.pre, bound, kind)
        y = nodes.node("Add", [y, self._bias(layer, out, span.offset << out.shift, kind)], f"{name}.biased")
        if layer.residual:
            assert out.R is not None
            r = self.net.tensors[layer.residual]
            left, multiply = RESIDUAL_SHIFT[r.format], out.residual_multiply
            operand = self.form(layer.residual, "int32")
            added = self._product(operand, f"{name}.R", out.R, multiply, left, magnitude(r), kind)
            y = nodes.node("Add", [y, added], f"{name}.added")
        if span.clamps:
            # Ends of what the shift maps into 0 .. hi - lo. A Clip takes numbers, a Min one per channel.
            limits = ((span.high - span.offset + 1) << out.shift) - 1
            low, high = (int(out.lo) - span.offset) << out.shift, int(limits.max())
            ends = [nodes.constant(f"{name}.{end}", value, kind) for end, value in (("low", low), ("high", high))]
            y = nodes.node("Clip", [y, *ends], f"{name}.clamped")
            if (limits != high).any():
                y = nodes.node("Min", [y, nodes.constant(f"{name}.limits", channels(limits), kind)], f"{name}.limited")
        if out.shift:
            y = nodes.node("Div", [y, nodes.constant(f"{name}.unit", 1 << out.shift, kind)], f"{name}.shifted")
        if span.offset:
            y = nodes.node("Add", [y, nodes.constant(f"{name}.offset", span.offset, kind)], f"{name}.moved")
        if t.format != "smol":
            self.forms[name, "int32"] = y if kind is np.int32 else nodes.cast(y, "int32", name)
            return
        code = nodes.cast(y, "float32", f"{name}.code")
        twice = nodes.node("Mul", [code, nodes.constant("two", 2, np.float32)], f"{name}.twice")
        middle = nodes.constant(f"{name}.middle", channels((1 << t.precisions) - 1), np.float32)
        self.forms[name, "float32"] = nodes.node("Sub", [twice, middle], name)

    def _product(
        self, x: str, name: str, factor: Array, multiply: str, left: int, bound: Array, kind: type
    ) -> str:  # fmt: skip
        """``sysmol.network.sums.product`` of ``|x| <= bound``, in int32 or int64 as ``kind`` says."""
        nodes = self.nodes
        if multiply == LOW:
            x = x if kind is np.int32 else nodes.cast(x, "int64", f"{name}.operand")
            return nodes.node("Mul", [x, nodes.constant(name, channels(factor), kind)], f"{name}.product")
        x = nodes.cast(x, "int64", f"{name}.operand")
        shifted = nodes.constant(name, channels(factor.astype(np.int64) << left), np.int64)
        whole = nodes.node("Mul", [x, shifted], f"{name}.whole")
        # A division by 2**31 towards zero is the shift where nothing is negative.
        offset = int(product_bound(bound, factor, multiply, left).max())
        raised = nodes.constant(f"{name}.raise", offset << HIGH_SHIFT, np.int64)
        unit = nodes.constant("high_unit", 1 << HIGH_SHIFT, np.int64)
        high = nodes.node("Div", [nodes.node("Add", [whole, raised], f"{name}.raised"), unit], f"{name}.high")
        lowered = nodes.node("Sub", [high, nodes.constant(f"{name}.lower", offset, np.int64)], f"{name}.product")
        return lowered if kind is np.int64 else nodes.cast(lowered, "int32", f"{name}.product_int32")

    def _bias(self, layer: Layer, out: Output, offset: int, kind: type) -> str:
        """Name of B less the offset, ``[C, 1, 1]`` or one per pixel."""
        nodes = self.nodes
        name = nodes.constant(f"{out.tensor}.B", out.B.astype(np.int64).transpose(2, 0, 1) - offset, kind)
        for axis, (index, classes) in zip((1, 2), layer_classes(self.net, layer), strict=True):
            if len(classes) > 1:
                rows = nodes.constant(f"{layer.name}.border_{'rows' if axis == 1 else 'columns'}", index, np.int64)
                name = nodes.node("Gather", [name, rows], f"{out.tensor}.B_by_pixel", axis=axis)
        return name


class Span:
    """What the sum of an output can be, and what follows for its arithmetic.

    ``offset`` is what is subtracted from the result before the division so that it is not negative; ``high`` int64
    ``[C]`` the upper clamp per channel; ``clamps``: whether a sum can reach beyond the clamp at all.
    """

    def __init__(self, total: int, low: int, high: Array, shift: int) -> None:
        self.high = high
        self.clamps = bool(shift) or -total < low or total > int(high.min())
        self.offset = low if shift else 0
        largest = max(total + (abs(self.offset) << shift), ((int(high.max()) - self.offset + 1) << shift) - 1)
        self.fits_int32 = largest <= INT32_MAX

    @classmethod
    def of(cls, net: Network, layer: Layer, out: Output) -> Span:
        assert out.M is not None
        r = net.tensors[layer.residual] if layer.residual else None
        reach, form = (None, "") if r is None else (magnitude(r), r.format)
        total = largest_sum(out, accumulator_bound(net, layer), reach, form, padded=False)
        high = upper_codes(net.tensors[out.tensor], out.hi).astype(np.int64)
        return cls(int(total.max()), int(out.lo), high, out.shift)


def channels(values: Array) -> Array:
    """``[C]`` as ``[C, 1, 1]``."""
    return np.asarray(values).reshape(-1, 1, 1)


def windows(layer: Layer) -> dict[str, Any]:
    """A layer's kernel, stride, padding and dilation as attributes."""
    shape = {"kernel_shape": layer.kernel, "strides": layer.stride, "pads": layer.padding}
    return shape if layer.dilation == (1, 1) else shape | {"dilations": layer.dilation}


# --- layers ----------------------------------------------------------------------------------------------------------


def _conv2d(writer: Writer, layer: Layer) -> None:
    weight = aligned_weight(writer.net, layer).transpose(0, 3, 1, 2)
    writer.requantise(layer, writer.convolution(layer, weight, layer.groups))


def _depthwise(writer: Writer, layer: Layer) -> None:
    x, weight = writer.net.tensors[layer.input], dense_weight(writer.net, layer)
    weight = weight if writer.net.is_float else weight << alignment(x)
    writer.requantise(layer, writer.convolution(layer, weight.transpose(2, 0, 1)[:, None], x.channels))


def _avgpool(writer: Writer, layer: Layer) -> None:
    writer.requantise(layer, writer.window_sums(layer))


def _rescale(writer: Writer, layer: Layer) -> None:
    writer.requantise(layer, writer.form(layer.input, "float32" if writer.net.is_float else "int32"))


def _flatten(writer: Writer, layer: Layer) -> None:
    x = writer.form(layer.input, "float32" if writer.net.is_float else "int32")
    by_pixel = writer.nodes.node("Transpose", [x], f"{layer.name}.by_pixel", perm=[0, 2, 3, 1])
    count = writer.net.tensors[layer.targets[0]].channels
    shape = writer.nodes.constant(f"{layer.name}.shape", [-1, count, 1, 1], np.int64)
    writer.requantise(layer, writer.nodes.node("Reshape", [by_pixel, shape], f"{layer.name}.acc"))


def _maxpool(writer: Writer, layer: Layer) -> None:
    # float32 holds all formats but s32 exactly.
    wide = writer.net.tensors[layer.input].format == "s32"
    options = windows(layer)
    if wide:
        exact = writer.nodes.cast(writer.form(layer.input, "int32"), "float64", f"{layer.output}.float64")
        largest = writer.nodes.node("MaxPool", [exact], f"{layer.output}.largest", **options)
        writer.forms[layer.output, "int32"] = writer.nodes.cast(largest, "int32", layer.output)
        return
    operand = writer.form(layer.input, "float32")
    writer.forms[layer.output, "float32"] = writer.nodes.node("MaxPool", [operand], layer.output, **options)


def _upsample(writer: Writer, layer: Layer) -> None:
    t = writer.net.tensors[layer.input]
    kind = "int32" if t.format == "s32" else "float32"  # float32 holds all other formats exactly
    scales = writer.nodes.constant(f"{layer.name}.scales", [1, 1, *layer.kernel], np.float32)
    options = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    larger = writer.nodes.node("Resize", [writer.form(layer.input, kind), "", scales], layer.output, **options)
    writer.forms[layer.output, kind] = larger


LAYERS: dict[str, Callable[[Writer, Layer], None]] = {
    "upsample": _upsample,
    "conv2d": _conv2d,
    "depthwise": _depthwise,
    "avgpool": _avgpool,
    "rescale": _rescale,
    "flatten": _flatten,
    "maxpool": _maxpool,
    **SEQUENCES,
}
"""How every operation of :data:`sysmol.network.OPERATIONS` is written."""
