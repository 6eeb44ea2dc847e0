"""Is a network sound? Shapes, formats, order, groups, and that no sum leaves 32 bits."""

import numpy as np

from sysmol.network.geometry import layer_classes
from sysmol.network.model import FORMATS, INT32_MAX, RANGES, Array, Layer, Network, Output, Tensor, need
from sysmol.network.operations import OPERATIONS, operation
from sysmol.network.sums import requantised_bound
from sysmol.network.values import magnitude
from sysmol.pattern import capacity, check_id


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


def check_geometry(net: Network, layer: Layer, known: set[str]) -> None:
    """Refuse a layer that reads what is not ``known`` yet, or whose shapes do not fit, with :class:`SysmolError`.

    Weights and constants are not looked at.
    """
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
    need(
        min(layer.kernel) >= 1 and min(layer.stride) >= 1 and min(layer.padding) >= 0,
        f"{where} has a bad kernel, stride or padding",
    )
    top, left, bottom, right = layer.padding
    need(
        max(top, bottom) < layer.kernel[0] and max(left, right) < layer.kernel[1],
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
            need(r.shape == t.shape, f"{where}: residual {r.name} has shape {r.shape}, the output {t.shape}")
    kind.check_groups(net, layer)


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
    reach = None
    if out.R is not None:
        need(out.R.shape == (t.channels,), f"{where}: R must have one entry per channel")
        reach = magnitude(net.tensors[layer.residual])
    # |acc*M| + |B| + |constants that padding moves into B| <= 2*|acc bound*M| + |B|: acc, B' and their sum all fit.
    total = requantised_bound(2 * bound, out.M, out.B, reach, out.R)
    need(bool((total <= INT32_MAX).all()), f"{where}: the requantisation can leave 32 bits; lower M and the shift")


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
