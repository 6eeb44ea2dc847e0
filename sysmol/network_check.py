"""Is a network sound? Shapes, formats, order, groups, and that no sum leaves 32 bits."""

from __future__ import annotations

import numpy as np

from sysmol.network import (
    FORMATS,
    INT32_MAX,
    OPS,
    RANGES,
    Array,
    Layer,
    Network,
    Output,
    Tensor,
    accumulator_bound,
    group_tensor,
    layer_classes,
    magnitude,
    need,
    output_size,
)
from sysmol.packing import slot_precisions
from sysmol.pattern import REGISTER_BYTES, capacity, check_id


def check_tensor(t: Tensor) -> None:
    """Refuse a tensor whose format, shape, patterns, slots or zero points make no sense, with :class:`SysmolError`."""
    need(t.format in FORMATS, f"tensor {t.name} has the unknown format {t.format!r}")
    need(min(t.shape) >= 1, f"tensor {t.name} has the empty shape {t.shape}")
    need(
        len(t.zero_point) in (0, 3 if t.format == "smol" else 1) and all(abs(z) < 2**48 for z in t.zero_point),
        f"tensor {t.name} of format {t.format} has the bad zero point {t.zero_point}",
    )
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


def _weight_shape(layer: Layer, x: Tensor, k: int) -> tuple[int, ...]:
    outer = (k, *layer.kernel) if layer.op == "conv2d" else layer.kernel
    inner = (len(x.patterns) // layer.groups, REGISTER_BYTES) if x.format == "smol" else (x.channels // layer.groups,)
    return *outer, *inner


def _check_groups(net: Network, layer: Layer) -> None:
    where, x, groups = f"layer {layer.name}", net.tensors[layer.input], layer.groups
    need(groups >= 1, f"{where} has {groups} groups")
    if groups == 1:
        return
    need(layer.op == "conv2d", f"{where}: only convolutions have groups")
    for name in (layer.input, *layer.targets):
        channels = net.tensors[name].channels
        need(channels % groups == 0, f"{where}: {name} has {channels} channels, no multiple of its {groups} groups")
    if x.format != "smol":
        return
    need(
        len(x.patterns) % groups == 0,
        f"{where}: {x.name} has {len(x.patterns)} vectors; each of {groups} groups needs as many of its own",
    )
    for number in range(groups):
        part = group_tensor(x, groups, number)
        slots, total = np.asarray(part.slots), len(slot_precisions(part.patterns))
        need(
            bool((slots >= 0).all() and (slots < total).all()),
            f"{where}: group {number} of {x.name} has channels outside its {len(part.patterns)} vectors",
        )


def _check_output(net: Network, layer: Layer, out: Output, bound: Array | None) -> None:
    where = f"layer {layer.name}, output {out.tensor}"
    t = net.tensors[out.tensor]
    (_, rows), (_, columns) = layer_classes(net, layer)
    if t.format == "f32":
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
    # |acc*M| + |B| + |constants that padding moves into B| <= 2*|acc bound*M| + |B|: acc, B' and their sum all fit.
    total = 2 * bound * np.abs(out.M.astype(np.int64)) + np.abs(out.B.astype(np.int64)).max(axis=(0, 1))
    if out.R is not None:
        r = net.tensors[layer.residual]
        need(out.R.shape == (t.channels,), f"{where}: R must have one entry per channel")
        total = total + magnitude(r) * np.abs(out.R.astype(np.int64))
    need(bool((total <= INT32_MAX).all()), f"{where}: the requantisation can leave 32 bits; lower M and the shift")


def check_geometry(net: Network, layer: Layer, known: set[str]) -> None:
    """Refuse a layer that reads what is not ``known`` yet, or whose shapes do not fit, with :class:`SysmolError`.

    Weights and constants are not looked at.
    """
    where = f"layer {layer.name}"
    need(layer.op in OPS, f"{where} has the unknown operation {layer.op!r}")
    for name in filter(None, (layer.input, layer.residual)):
        need(name in known, f"{where} reads {name!r}, which no earlier layer writes")
    need(
        bool(layer.targets) and all(name in net.tensors for name in layer.targets),
        f"{where} writes an undeclared tensor",
    )
    need(not known & set(layer.targets), f"{where} writes a tensor twice")
    x = net.tensors[layer.input]
    need(
        min(layer.kernel) >= 1 and min(layer.stride) >= 1 and min(layer.padding) >= 0,
        f"{where} has a bad kernel, stride or padding",
    )
    top, left, bottom, right = layer.padding
    need(
        max(top, bottom) < layer.kernel[0] and max(left, right) < layer.kernel[1],
        f"{where}: padding must be smaller than the kernel",
    )
    height = output_size(x.height, layer.kernel[0], layer.stride[0], top, bottom)
    width = output_size(x.width, layer.kernel[1], layer.stride[1], left, right)
    for name in layer.targets:
        t = net.tensors[name]
        need(
            (t.height, t.width) == (height, width),
            f"{where} makes {height}x{width} pixels, but {name} has {t.height}x{t.width}",
        )
        need(layer.op == "conv2d" or t.channels == x.channels, f"{where} cannot change the number of channels")
        need(
            layer.op == "maxpool"
            or (t.format == "f32") == (x.format == "f32" or (layer.op == "rescale" and net.is_float)),
            f"{where} mixes float and integer tensors",
        )
        if layer.residual:
            r = net.tensors[layer.residual]
            need(r.shape == t.shape, f"{where}: residual {r.name} has shape {r.shape}, the output {t.shape}")
    _check_groups(net, layer)


def _check_layer(net: Network, layer: Layer, known: set[str]) -> None:
    check_geometry(net, layer, known)
    where, x = f"layer {layer.name}", net.tensors[layer.input]
    if layer.op == "maxpool":
        t = net.tensors[layer.output]
        same = (
            t.format == x.format
            and t.patterns == x.patterns
            and (t.slots is None or np.array_equal(t.slots, np.asarray(x.slots)))
        )
        need(
            same and not layer.residual,
            f"{where}: a maximum keeps format, patterns and slots of its input, and has no residual",
        )
        return
    if layer.op in ("conv2d", "depthwise"):
        need(x.format in ("smol", "s8", "f32"), f"{where} cannot convolve format {x.format}")
        need(layer.weight is not None, f"{where} has no weights")
        assert layer.weight is not None
        shape = _weight_shape(layer, x, net.tensors[layer.targets[0]].channels)
        need(layer.weight.shape == shape, f"{where}: weights are {layer.weight.shape}, expected {shape}")
        kind = {"smol": np.uint8, "s8": np.int8, "f32": np.float32}[x.format]
        need(layer.weight.dtype == kind, f"{where}: weights are {layer.weight.dtype}, expected {np.dtype(kind)}")
    bound = None if net.is_float else accumulator_bound(net, layer)
    for out in layer.outputs:
        _check_output(net, layer, out, bound)


def validate(net: Network) -> None:
    """Check shapes, formats, order and that every intermediate fits int32.

    Raises :class:`SysmolError` with the first fault.
    """
    for t in net.tensors.values():
        check_tensor(t)
    for name in (net.input, net.output):
        need(name in net.tensors, f"the tensor {name!r} is not declared")
    need(net.tensors[net.input].format == "u8", "the input must be a u8 image")
    need(net.tensors[net.output].format in ("s32", "f32"), "the logits must be s32 or f32")
    known = {net.input}
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
