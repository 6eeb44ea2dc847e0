"""Is a network sound? Shapes, formats, order, groups, and that no sum leaves 32 bits."""

import numpy as np

from sysmol.network.geometry import layer_classes
from sysmol.network.model import (
    FORMATS,
    HIGH,
    HIGH_FACTOR,
    INT32_MAX,
    MULTIPLIES,
    RANGES,
    Array,
    Layer,
    Network,
    Output,
    Tensor,
    need,
)
from sysmol.network.operations import OPERATIONS, operation
from sysmol.network.sums import largest_sum
from sysmol.network.values import magnitude
from sysmol.pattern import capacity, check_id

LONGEST_NAME = 200
MOST_PIXELS, MOST_CHANNELS, MOST_ELEMENTS = 1 << 16, 1 << 22, 1 << 28
"""Largest height and width, channels, and elements of a tensor."""
MOST_CONSTANTS = 1 << 22
"""Most entries of one B: border classes times channels."""


def check_name(what: str, name: object) -> None:
    """Refuse names that are empty, long, or of more than printable characters: they come to stand in messages, tables
    and C code."""
    need(
        isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable(),
        f"a {what} is called {str(name)[:LONGEST_NAME]!r}: names have 1 to {LONGEST_NAME} printable characters",
    )


def check_tensor(t: Tensor) -> None:
    """Refuse a tensor whose format, shape, patterns, slots or zero points make no sense, with :class:`SysmolError`."""
    check_name("tensor", t.name)
    need(t.format in FORMATS, f"tensor {t.name} has the unknown format {t.format!r}")
    need(min(t.shape) >= 1, f"tensor {t.name} has the empty shape {t.shape}")
    need(
        max(t.height, t.width) <= MOST_PIXELS and t.channels <= MOST_CHANNELS
        and t.height * t.width * t.channels <= MOST_ELEMENTS,
        f"tensor {t.name} is too large: {t.height} x {t.width} x {t.channels}",
    )  # fmt: skip
    need(
        len(t.zero_point) in (0, 3 if t.format == "smol" else 1) and all(abs(z) < 2**48 for z in t.zero_point),
        f"tensor {t.name} of format {t.format} has the bad zero point {t.zero_point}",
    )
    if t.data is not None:
        _check_data(t)
    if t.format != "smol":
        need(not t.patterns and t.slots is None, f"tensor {t.name} of format {t.format} has patterns or slots")
        return
    for number in t.patterns:
        check_id(number)
    need(t.slots is not None and t.slots.shape == (t.channels,), f"tensor {t.name} needs one slot per channel")
    slots = np.asarray(t.slots)
    total = sum(capacity(number) for number in t.patterns)
    need(
        bool((slots >= 0).all() and (slots < total).all()),
        f"tensor {t.name} has slots outside its {len(t.patterns)} vectors",
    )
    need(len(np.unique(slots)) == t.channels, f"tensor {t.name} puts two channels into one slot")


CONSTANT_TYPES = {"s8": np.int8, "s16": np.int16, "f32": np.float32}
"""Types of the elements of constant tensors by format."""


def _check_data(t: Tensor) -> None:
    assert t.data is not None
    where, kind = f"the constant tensor {t.name}", CONSTANT_TYPES.get(t.format)
    need(kind is not None, f"{where} cannot have format {t.format}, only {', '.join(CONSTANT_TYPES)}")
    need(t.data.dtype == kind and t.data.shape == t.shape, f"{where} holds {t.data.dtype} {t.data.shape}")
    need(bool(np.isfinite(t.data).all()), f"{where} holds a number that is not finite")


def check_geometry(net: Network, layer: Layer, known: set[str]) -> None:
    """Refuse a layer that reads what is not ``known`` yet, or whose shapes do not fit, with :class:`SysmolError`.

    Weights and constants are not looked at.
    """
    check_name("layer", layer.name)
    where = f"layer {layer.name}"
    need(layer.op in OPERATIONS, f"{where} has the unknown operation {layer.op!r}")
    kind = operation(layer)
    need(len(layer.inputs) == kind.inputs, f"{where}: a {kind.name} takes {kind.inputs} inputs, not {layer.inputs}")
    for name in layer.reads:
        need(name in known, f"{where} reads {name!r}, which no earlier layer writes")
    need(
        bool(layer.targets) and all(name in net.tensors for name in layer.targets),
        f"{where} writes an undeclared tensor",
    )
    unwanted = layer.output if kind.requantises else [out.tensor for out in layer.outputs]
    need(not unwanted, f"{where}: a {kind.name} has no output such as {unwanted!r}")
    need(not known & set(layer.targets), f"{where} writes a tensor twice")
    inside = kind.any_padding or min(layer.padding) >= 0
    need(
        min(layer.kernel) >= 1 and min(layer.stride) >= 1 and inside and min(layer.dilation) >= 1,
        f"{where} has a bad kernel, stride, padding or dilation",
    )
    need(kind.has_begin or not layer.begin, f"{where}: a {kind.name} takes all channels, from 0 on")
    need(kind.has_table or not (layer.table or layer.function), f"{where}: a {kind.name} has no table")
    need(kind.has_weights or layer.dilation == (1, 1), f"{where}: only convolutions have a dilation")
    top, left, bottom, right = layer.padding
    need(
        kind.any_padding or (max(top, bottom) < layer.reach[0] and max(left, right) < layer.reach[1]),
        f"{where}: padding must be smaller than the kernel",
    )
    x = net.tensors[layer.input]
    height, width = kind.size(layer, x)
    for name in layer.targets:
        t = net.tensors[name]
        need(
            (t.height, t.width) == (height, width),
            f"{where} makes {height}x{width} pixels, but {name} has {t.height}x{t.width}",
        )
        kind.check_channels(layer, x, t)
        kind.check_formats(net, layer, t)
        if layer.residual:
            r = net.tensors[layer.residual]
            alike = r.format == "s16" and r.shape == (t.height, t.width, 1)
            need(alike or r.shape == t.shape, f"{where}: residual {r.name} has shape {r.shape}, the output {t.shape}")
    kind.check_groups(net, layer)
    (_, rows), (_, columns) = layer_classes(net, layer)
    entries = len(rows) * len(columns) * net.tensors[layer.targets[0]].channels
    need(entries <= MOST_CONSTANTS, f"{where} has too many border classes: {len(rows)} x {len(columns)}")


def _check_output(net: Network, layer: Layer, out: Output, bound: Array | None) -> None:
    where = f"layer {layer.name}, output {out.tensor}"
    t = net.tensors[out.tensor]
    (_, rows), (_, columns) = layer_classes(net, layer)
    if t.format == "f32":
        need(
            all(bool(np.isfinite(each).all()) for each in (out.B, out.M) if each is not None),
            f"{where}: a constant is no finite number",
        )
        need(
            out.B.shape == (1, 1, t.channels) and out.R is None and (out.M is None or out.M.shape == (t.channels,)),
            f"{where}: a float output has a bias [1, 1, C], perhaps a factor [C], and no R",
        )
        return
    need(bound is not None, f"{where}: a float layer writes the integer format {t.format}")
    assert bound is not None
    need(
        out.B.shape == (len(rows), len(columns), t.channels),
        f"{where}: B is {out.B.shape}, its border classes ask for {(len(rows), len(columns), t.channels)}",
    )
    need(out.M is not None and out.M.shape == (t.channels,), f"{where}: M must have one entry per channel")
    need(
        (out.R is not None) == bool(layer.residual),
        f"{where}: R must stand where the layer has a residual input, and only there",
    )
    need(0 <= out.shift <= 31, f"{where}: shift {out.shift} is not in 0..31")
    low, high = RANGES.get(t.format, (0, 15))
    need(low <= out.lo <= out.hi <= high, f"{where}: clamp {out.lo}..{out.hi} does not fit {t.format}")
    assert out.M is not None
    reach = None
    if out.R is not None:
        need(out.R.shape == (t.channels,), f"{where}: R must have one entry per channel")
        reach = magnitude(net.tensors[layer.residual])
    _check_products(out, bound, where)
    # |acc*M| + |B| + |constants that padding moves into B| <= 2*|acc bound*M| + |B|: acc, B' and their sum all fit.
    total = largest_sum(out, bound, reach, net.tensors[layer.residual].format if layer.residual else "")
    need(bool((total <= INT32_MAX).all()), f"{where}: the requantisation can leave 32 bits; lower M and the shift")


def _check_products(out: Output, bound: Array, where: str) -> None:
    """How M and R are multiplied with, and that what high products take fits 32 bits."""
    for multiply, factor in ((out.multiply, out.M), (out.residual_multiply, out.R)):
        need(multiply in MULTIPLIES, f"{where}: there is no product {multiply!r}, only {', '.join(MULTIPLIES)}")
        size = 0 if factor is None else int(np.abs(factor.astype(np.int64)).max())
        need(multiply != HIGH or size <= HIGH_FACTOR, f"{where}: a factor of {size} is too large for a high product")
    need(0 <= out.pre <= 31, f"{where}: it shifts sums by {out.pre}, which is not in 0..31")
    if out.multiply == HIGH:
        need(int(bound.max()) << out.pre <= INT32_MAX, f"{where}: its sums can leave 32 bits")
    else:
        need(not out.pre, f"{where}: only sums of high products are shifted before")


def _check_layer(net: Network, layer: Layer, known: set[str]) -> None:
    check_geometry(net, layer, known)
    kind = operation(layer)
    kind.check(net, layer)
    bound = None if net.is_float or not kind.requantises else kind.accumulator_bound(net, layer)
    for out in layer.outputs:
        _check_output(net, layer, out, bound)


def validate(net: Network) -> None:
    """Check shapes, formats, order and that every intermediate fits int32.

    Raises :class:`SysmolError` with the first fault.
    """
    check_name("network", net.name)
    for t in net.tensors.values():
        check_tensor(t)
    need(len({layer.name for layer in net.layers}) == len(net.layers), "two layers have one name")
    for name in (net.input, net.output):
        need(name in net.tensors, f"the tensor {name!r} is not declared")
    need(net.tensors[net.input].format == "u8", "the input must be a u8 image")
    need(net.tensors[net.output].format in ("s32", "f32"), "the logits must be s32 or f32")
    known = net.given
    for layer in net.layers:
        _check_layer(net, layer, known)
        known.update(layer.targets)
    need(net.output in known, f"no layer writes the output {net.output!r}")
    if net.samples is not None:
        s, image = net.samples, net.tensors[net.input]
        need(s.images.shape[1:] == image.shape and s.images.dtype == np.uint8, "sample images do not match the input")
        need(
            s.logits.shape == (len(s.images), net.classes) and s.labels.shape == (len(s.images),),
            "sample logits do not match the images",
        )
        need(
            s.logits.dtype == (np.float32 if net.is_float else np.int32) and s.labels.dtype.kind == "i",
            "sample logits or labels have the wrong type",
        )
    if net.normalisation is not None:
        net.normalisation.of_channels(net.tensors[net.input].channels)
