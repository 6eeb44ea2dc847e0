"""The arbiter: a network evaluated in plain NumPy, as close to the file format's formulas as the language allows.

Slow and obvious on purpose. Everything faster (PyTorch, generated C, gem5) must give the same integers.
"""

import numpy as np

from sysmol.network.geometry import layer_classes
from sysmol.network.model import Array, Layer, Network, Output
from sysmol.network.operations import operation
from sysmol.network.sums import RESIDUAL_SHIFT, product
from sysmol.network.values import codes_of, upper_codes, values_of


def evaluate(net: Network, images: Array) -> Array:
    """Logits of images uint8 ``[n, H, W, C]``: int32 (float32 for ``f32`` networks) ``[n, classes]``."""
    return np.stack([run(net, image)[net.output].reshape(-1) for image in images])


def run(net: Network, image: Array) -> dict[str, Array]:
    """All activation tensors of one image ``[H, W, C]``, as codes (SMOL) or integers, logical channel order."""
    stored: dict[str, Array] = {net.input: image.astype(np.int64)}
    for name in net.constants:
        data = np.asarray(net.tensors[name].data)
        stored[name] = data.astype(np.float64 if data.dtype.kind == "f" else np.int64)
    for layer in net.layers:
        kind = operation(layer)
        result = kind.evaluate(net, layer, [values(net, name, stored) for name in layer.inputs])
        if not kind.requantises:
            stored[layer.output] = codes_of(net.tensors[layer.output], result)
            continue
        r = values(net, layer.residual, stored) if layer.residual else None
        for out in layer.outputs:
            stored[out.tensor] = requantise(net, layer, out, result, r)
    final = stored[net.output]
    stored[net.output] = final.astype(np.float32 if net.is_float else np.int32)
    return stored


def values(net: Network, name: str, stored: dict[str, Array]) -> Array:
    """Integer values x of a stored tensor: the odd g of SMOL codes, the numbers themselves otherwise."""
    return values_of(net.tensors[name], stored[name])


def accumulate(net: Network, layer: Layer, x: Array) -> Array:
    """Accumulators ``[OH, OW, K]`` of a layer of one input over the valid taps: int64, or float64 for ``f32``."""
    return operation(layer).evaluate(net, layer, [x])


def requantise(net: Network, layer: Layer, out: Output, acc: Array, r: Array | None) -> Array:
    """Codes or integers ``[OH, OW, C]`` of one output of a layer."""
    t = net.tensors[out.tensor]
    if t.format == "f32":
        factor = 1.0 if out.M is None else out.M.astype(np.float64)
        total = acc * factor + out.B.astype(np.float64) + (0 if r is None else r)
        return np.clip(total, out.lo, out.hi)
    (rows, _), (columns, _) = layer_classes(net, layer)
    assert out.M is not None
    y = product(acc, out.M, out.multiply, out.pre) + out.B.astype(np.int64)[rows][:, columns]
    if r is not None:
        assert out.R is not None
        left = RESIDUAL_SHIFT[net.tensors[layer.residual].format]
        y = y + product(r, out.R, out.residual_multiply, left)
    return np.asarray(np.clip(y >> out.shift, int(out.lo), upper_codes(t, out.hi)))
