"""The network in memory: the arbiter's exactness, border classes, zero points. Its file: test_network_file.py."""

import numpy as np
import pytest

from sysmol import network
from sysmol.errors import SysmolError
from sysmol.grid import PRODUCT_SHIFT, integer
from sysmol.network import builder, reference
from sysmol.packing import slot_precisions, unpack


@pytest.fixture(scope="module")
def net():
    return builder.random_network(3)


def test_padding_with_code_zero_is_a_known_constant(net):
    """What a generator does: full vectors, code 0 outside the image and in unused slots, the constant taken from B."""
    layer = next(la for la in net.layers if la.op == "conv2d" and net.tensors[la.input].format == "smol")
    x = net.tensors[layer.input]
    stored = reference.run(net, net.samples.images[0])
    acc = reference.accumulate(net, layer, reference.values(net, layer.input, stored))
    precisions = slot_precisions(x.patterns)
    shifts = np.array([PRODUCT_SHIFT[int(p)] for p in precisions])
    weights = integer(unpack(layer.weight, x.patterns), precisions) << shifts
    slots = np.zeros((x.height, x.width, len(precisions)), dtype=np.int64)
    slots[..., x.slots] = stored[layer.input]
    top, left, bottom, right = layer.padding
    padded = integer(np.pad(slots, ((top, bottom), (left, right), (0, 0))), precisions)
    zero = integer(np.zeros(len(precisions), dtype=np.int64), precisions)
    used = np.zeros(len(precisions), dtype=bool)
    used[x.slots] = True
    (rows, row_taps), (columns, column_taps) = network.layer_classes(net, layer)
    for oy, row in enumerate(rows):
        for ox, column in enumerate(columns):
            y, x0 = oy * layer.stride[0], ox * layer.stride[1]
            physical = np.tensordot(weights, padded[y : y + layer.kernel[0], x0 : x0 + layer.kernel[1]], axes=3)
            inside = np.zeros(layer.kernel, dtype=bool)
            inside[slice(*row_taps[row]), slice(*column_taps[column])] = True
            known = (weights * zero * ~(inside[..., None] & used)).sum(axis=(1, 2, 3))
            assert (physical - known == acc[oy, ox]).all()


def test_border_classes_of_a_padded_3x3():
    index, classes = network.border_classes(8, 3, 1, 1, 1)
    assert index == [0, 1, 1, 1, 1, 1, 1, 2]
    assert classes == [(1, 3), (0, 3), (0, 2)]
    assert network.border_classes(5, 3, 2, 1, 1) == ([0, 1, 2], [(1, 3), (0, 3), (0, 2)])
    assert network.border_classes(1, 3, 1, 1, 1) == ([0], [(1, 2)])


def _padded_layer(rng, op, form, groups):
    """A layer with random kernel, stride and uneven padding over a random input, and its network."""
    b = builder.Builder(rng, 5, 6, 4)
    precisions = builder.random_precisions(rng, 6)
    b.layer("rescale", "image", ["s8"])
    kernel = tuple(int(k) for k in rng.integers(2, 4, 2))
    padding = tuple(int(p) for p in rng.integers(0, [*kernel, *kernel]))
    stride = tuple(int(k) for k in rng.integers(1, 3, 2))
    (x,) = b.layer("conv2d", "t0_0", ["s8" if form == "s8" else precisions], 6, apart=groups)
    (y,) = b.layer(op, x, ["s16"], 6, kernel, stride, padding, groups=groups)
    b.classifier(y if b.net.tensors[y].format == "s8" else b.layer("rescale", y, ["s8"])[0])
    return b.finish(1), b.net.layers[2]


@pytest.mark.parametrize("form", ["s8", "smol"])
@pytest.mark.parametrize(("op", "groups"), [("conv2d", 1), ("conv2d", 2), ("depthwise", 1)])
def test_border_constants_are_what_padding_with_the_zero_point_adds(op, groups, form, seed):
    """Every pixel of the padded image, computed with zero points written into the margin, against B's classes."""
    rng = np.random.default_rng(seed)
    net, layer = _padded_layer(rng, op, form, groups)
    x, (out,) = net.tensors[layer.input], layer.outputs
    points = rng.integers(-100, 100, 3 if form == "smol" else 1)
    x.zero_point = tuple(int(z) << network.ZERO_POINT_SHIFT for z in points)
    border = network.border_constants(network.border_sums(net, layer), out.M)
    stored = reference.run(net, net.samples.images[0])
    values = reference.values(net, layer.input, stored)
    top, left, bottom, right = layer.padding
    margin = np.pad(values, ((top, bottom), (left, right), (0, 0)))
    held = np.array([points[[4, 2, 1].index(p)] for p in x.precisions]) if form == "smol" else points[0]
    inside = np.zeros(margin.shape, dtype=bool)
    inside[top : top + x.height, left : left + x.width] = True
    margin = np.where(inside, margin, held)
    short = reference.accumulate(net, layer, values)
    x.height, x.width, layer.padding = x.height + top + bottom, x.width + left + right, (0, 0, 0, 0)
    whole = reference.accumulate(net, layer, margin)
    x.height, x.width, layer.padding = x.height - top - bottom, x.width - left - right, (top, left, bottom, right)
    (rows, _), (columns, _) = network.layer_classes(net, layer)
    assert ((whole - short) * out.M == border[rows][:, columns]).all()


def test_border_constants_refuse_what_could_leave_64_bits(seed):
    net, layer = _padded_layer(np.random.default_rng(seed), "conv2d", "smol", 1)
    layer.padding = (1, 1, 1, 1)
    net.tensors[layer.input].zero_point = (2**38, 2**38, 2**38)
    sums = network.border_sums(net, layer)
    assert network.border_constants(sums, np.full(6, 2)).shape == sums.shape
    with pytest.raises(SysmolError, match="too large"):
        network.border_constants(sums, np.full(6, 2**30))
    layer.weight, net.tensors[layer.input].format = np.full((6, 8, 8, 6), 127, np.int8), "s8"
    net.tensors[layer.input].zero_point = (2**47,)
    with pytest.raises(SysmolError, match="too large"):
        network.zero_point_taps(net, layer)


def test_factors_of_high_products_double_within_32_bits(seed):
    """The vectors of RISC-V double them as they are loaded: 2^30 is one too large."""
    b = builder.Builder(np.random.default_rng(seed), 4, 3, 2, "high", high=1.0)
    (x,) = b.layer("rescale", "image", ["s8"])
    b.classifier(x)
    net = b.finish()
    out = net.layers[0].outputs[0]
    assert out.multiply == network.HIGH and 2 * network.HIGH_FACTOR <= network.INT32_MAX
    out.M = np.full_like(out.M, network.HIGH_FACTOR + 1)
    with pytest.raises(SysmolError, match=f"a factor of {1 << 30} is too large for a high product"):
        network.validate(net)
