"""The arbiter: a network evaluated in plain NumPy, as close to the file format's formulas as the language allows.

Slow and obvious on purpose. Everything faster (PyTorch, generated C, gem5) must give the same integers.
"""

import numpy as np

from sysmol.grid import integer
from sysmol.network import (
    Array,
    Layer,
    Network,
    Output,
    alignment,
    dense_weight,
    group_parts,
    group_tensor,
    layer_classes,
    upper_codes,
)


def evaluate(net: Network, images: Array) -> Array:
    """Logits of images uint8 ``[n, H, W, C]``: int32 (float32 for ``f32`` networks) ``[n, classes]``."""
    return np.stack([run(net, image)[net.output].reshape(-1) for image in images])


def run(net: Network, image: Array) -> dict[str, Array]:
    """All activation tensors of one image ``[H, W, C]``, as codes (SMOL) or integers, logical channel order."""
    stored: dict[str, Array] = {net.input: image.astype(np.int64)}
    for layer in net.layers:
        x = values(net, layer.input, stored)
        if layer.op == "maxpool":
            best = windows(net, layer, x, lambda taps: taps.max(axis=0))
            stored[layer.output] = to_codes(net, layer.output, best)
            continue
        acc = accumulate(net, layer, x)
        r = values(net, layer.residual, stored) if layer.residual else None
        for out in layer.outputs:
            stored[out.tensor] = requantise(net, layer, out, acc, r)
    final = stored[net.output]
    stored[net.output] = final.astype(np.float32 if net.is_float else np.int32)
    return stored


def values(net: Network, name: str, stored: dict[str, Array]) -> Array:
    """Integer values x of a tensor: the odd g of SMOL codes, the numbers themselves otherwise."""
    t = net.tensors[name]
    return integer(stored[name], t.precisions) if t.format == "smol" else stored[name]


def to_codes(net: Network, name: str, x: Array) -> Array:
    """Inverse of :func:`values`."""
    t = net.tensors[name]
    return (x + (1 << t.precisions) - 1) // 2 if t.format == "smol" else x


def windows(net: Network, layer: Layer, x: Array, reduce) -> Array:  # type: ignore[no-untyped-def]
    """Apply ``reduce([taps, C]) -> [C]`` to the valid taps of every output position."""
    (rows, row_taps), (columns, column_taps) = layer_classes(net, layer)
    top, left = layer.padding[:2]
    result = []
    for oy, row in enumerate(rows):
        for ox, column in enumerate(columns):
            y, x0 = oy * layer.stride[0] - top, ox * layer.stride[1] - left
            (y_lo, y_hi), (x_lo, x_hi) = row_taps[row], column_taps[column]
            patch = x[y + y_lo : y + y_hi, x0 + x_lo : x0 + x_hi]
            result.append(reduce(patch.reshape(-1, x.shape[-1])))
    return np.stack(result).reshape(len(rows), len(columns), -1)


def accumulate(net: Network, layer: Layer, x: Array) -> Array:
    """Accumulators ``[OH, OW, K]`` of a layer over the valid taps: int64, or float64 for ``f32``."""
    t = net.tensors[layer.input]
    if layer.op == "rescale":
        return x
    if layer.op == "avgpool":
        return windows(net, layer, x, lambda taps: taps.sum(axis=0))
    weight = dense_weight(net, layer)
    part = group_tensor(t, layer.groups, 0).channels
    if t.format == "f32":
        weight = weight.astype(np.float64)
    elif layer.groups == 1:
        weight = weight << alignment(t)
    else:
        weight = np.concatenate([weight[own] << alignment(group) for group, own in group_parts(net, layer)])
    (rows, row_taps), (columns, column_taps) = layer_classes(net, layer)
    top, left = layer.padding[:2]
    channels = net.tensors[layer.targets[0]].channels
    acc = np.zeros((len(rows), len(columns), channels), dtype=weight.dtype)
    for oy, row in enumerate(rows):
        for ox, column in enumerate(columns):
            y, x0 = oy * layer.stride[0] - top, ox * layer.stride[1] - left
            (y_lo, y_hi), (x_lo, x_hi) = row_taps[row], column_taps[column]
            patch = x[y + y_lo : y + y_hi, x0 + x_lo : x0 + x_hi]
            if layer.op == "depthwise":
                acc[oy, ox] = (patch * weight[y_lo:y_hi, x_lo:x_hi]).sum(axis=(0, 1))
            else:
                for g, own in enumerate(np.split(np.arange(channels), layer.groups)):
                    taps = weight[own, y_lo:y_hi, x_lo:x_hi]
                    acc[oy, ox, own] = np.tensordot(taps, patch[..., g * part : (g + 1) * part], axes=3)
    return acc


def requantise(net: Network, layer: Layer, out: Output, acc: Array, r: Array | None) -> Array:
    """Codes or integers ``[OH, OW, C]`` of one output of a layer."""
    t = net.tensors[out.tensor]
    if t.format == "f32":
        factor = 1.0 if out.M is None else out.M.astype(np.float64)
        total = acc * factor + out.B.astype(np.float64) + (0 if r is None else r)
        return np.clip(total, out.lo, out.hi)
    (rows, _), (columns, _) = layer_classes(net, layer)
    assert out.M is not None
    y = acc * out.M.astype(np.int64) + out.B.astype(np.int64)[rows][:, columns]
    if r is not None:
        assert out.R is not None
        y = y + r * out.R.astype(np.int64)
    return np.clip(y >> out.shift, int(out.lo), upper_codes(t, out.hi))
