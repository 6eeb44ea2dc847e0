"""Networks that between them reach every path of the generator. Shapes are small, prime where they can be."""

from collections.abc import Callable

import numpy as np

from sysmol.network import Network
from sysmol.network.builder import Builder, random_network, random_precisions
from sysmol.pattern import PATTERNS, capacity, chunk_precisions

SAME = (1, 1, 1, 1)


def patterns_network(seed: int, ids: list[int]) -> Network:
    """A chain of 1x1 convolutions whose tensors use the given pattern ids, one vector each, all slots in use."""
    rng = np.random.default_rng(seed)
    b = Builder(rng, 2, 3, 1, f"patterns{seed}_{ids[0]}")
    (x,) = b.layer("rescale", "image", ["s8"])
    for number in ids:
        precisions = [p for p in chunk_precisions(number) for _ in range(16 // p)]
        assert len(precisions) == capacity(number)
        (x,) = b.layer("conv2d", x, [precisions], len(precisions), patterns=[[number]])
    b.classifier(x, 5)
    return b.finish(1)


def mixed_vectors_network(seed: int) -> Network:
    """Several vectors of different patterns per pixel, sparsely used slots, both strides, residual codes."""
    rng = np.random.default_rng(seed)
    b = Builder(rng, 5, 11, 2, f"vectors{seed}")
    ids = [int(n) for n in rng.integers(0, len(PATTERNS), 3)] + [0, 0, 36, 44]
    p = [4] * 35 + [2] * 33 + [1] * 37
    (x,) = b.layer("rescale", "image", [[4, 4]])
    (x,) = b.layer("conv2d", x, [p], len(p), (3, 3), padding=SAME, patterns=[ids])
    (y,) = b.layer("conv2d", x, [[4] * 13], 13, (1, 1))
    (y,) = b.layer("conv2d", y, [p], len(p), (3, 3), padding=SAME, residual=x, patterns=[ids])
    (y,) = b.layer("conv2d", y, [[2] * 7 + [4] * 3], 10, (3, 5), stride=(2, 3), padding=(2, 4, 1, 2))
    (y,) = b.layer("rescale", y, [[2] * 7 + [4] * 3], residual=y)
    b.classifier(y, 7)
    return b.finish()


def ragged_network(seed: int) -> Network:
    """Tensors that meet element by element but have their channels in different slots: the scalar paths."""
    rng = np.random.default_rng(seed)
    b = Builder(rng, 4, 3, 3, f"ragged{seed}")
    p, q = random_precisions(rng, 19), random_precisions(rng, 19)
    (x,) = b.layer("rescale", "image", ["s8"])
    x, wide, narrow = b.layer("conv2d", x, [p, "s16", "s8"], 19, (3, 3), padding=SAME)
    (y,) = b.layer("conv2d", x, [q], 19, (3, 3), padding=SAME, residual=wide)
    (y,) = b.layer("conv2d", y, [p], 19, residual=y)
    (y,) = b.layer("rescale", y, [q], residual=narrow)
    y, _ = b.layer("depthwise", y, [p, "s16"], kernel=(2, 2))
    (y,) = b.layer("avgpool", y, [q], kernel=(2, 2), padding=SAME)
    b.classifier(y, 3)
    b.net.layers[1].outputs[0].lo = 1  # unused slots must keep code 0 nevertheless
    return b.finish()


def depthwise_network(seed: int) -> Network:
    """Depthwise kernels up to sizes that need a second stage in 8-bit lanes, with strides and several vectors."""
    rng = np.random.default_rng(seed)
    b = Builder(rng, 9, 7, 1, f"depthwise{seed}")
    p = random_precisions(rng, 79)
    (x,) = b.layer("rescale", "image", ["s8"])
    (x,) = b.layer("conv2d", x, [p], 79)
    (x,) = b.layer("depthwise", x, [p], kernel=(5, 5), padding=(2, 2, 2, 2))
    (x,) = b.layer("depthwise", x, [p], kernel=(3, 3), stride=(2, 2), padding=(0, 1, 1, 0))
    (x,) = b.layer("depthwise", x, [p], kernel=(1, 2))
    (x,) = b.layer("maxpool", x, [], kernel=(3, 3), stride=(1, 1), padding=SAME)
    x, wide, bytes_ = b.layer("avgpool", x, [p, "s16", "s8"], kernel=(2, 3), padding=(1, 1, 0, 1))
    (wide,) = b.layer("maxpool", wide, [], kernel=(2, 2), stride=(1, 1), padding=(0, 1, 1, 0))
    (bytes_,) = b.layer("maxpool", bytes_, [], kernel=(2, 2), stride=(1, 1), padding=(0, 1, 1, 0))
    (x,) = b.layer("rescale", wide, [p], residual=x)
    (x,) = b.layer("rescale", bytes_, [p], residual=x)
    b.classifier(x, 11)
    return b.finish()


def int8_network(seed: int) -> Network:
    """All of int8: stem, residual in 8 and 16 bits, depthwise, both poolings, classifier."""
    rng = np.random.default_rng(seed)
    b = Builder(rng, 7, 5, 3, f"int8_{seed}")
    (x,) = b.layer("rescale", "image", ["s8"])
    x, stream = b.layer("conv2d", x, ["s8", "s16"], 33, (3, 3), padding=SAME)
    (y,) = b.layer("conv2d", x, ["s8"], 7, (1, 1), stride=(1, 1))
    y, wide = b.layer("conv2d", y, ["s8", "s16"], 33, (3, 3), padding=SAME, residual=stream)
    (y,) = b.layer("conv2d", y, ["s8"], 33, (1, 1), residual=wide)
    (y,) = b.layer("depthwise", y, ["s8"], kernel=(3, 3), padding=SAME, residual=x)
    (y,) = b.layer("rescale", stream, ["s8"], residual=y)
    (y,) = b.layer("maxpool", y, [], kernel=(2, 2), stride=(1, 1), padding=(1, 0, 0, 1))
    (y,) = b.layer("conv2d", y, ["s8"], 20, (3, 3), stride=(2, 2), padding=(1, 0, 0, 1))
    t = b.net.tensors[y]
    (y,) = b.layer("avgpool", y, ["s8"], kernel=(2, 2), padding=(1, 1, 0, 0))
    t = b.net.tensors[y]
    (y,) = b.layer("avgpool", y, ["s8"], kernel=(t.height, t.width))
    b.classifier(y, 10)
    return b.finish()


def float_network(seed: int) -> Network:
    """All of fp32."""
    rng = np.random.default_rng(seed)
    b = Builder(rng, 7, 5, 3, f"float{seed}")
    (x,) = b.layer("rescale", "image", ["f32"])
    (x,) = b.layer("conv2d", x, ["f32"], 33, (3, 3), padding=SAME)
    (y,) = b.layer("conv2d", x, ["f32"], 7, (1, 1))
    (y,) = b.layer("conv2d", y, ["f32"], 33, (3, 3), padding=SAME, residual=x)
    (y,) = b.layer("depthwise", y, ["f32"], kernel=(3, 3), padding=SAME)
    (y,) = b.layer("rescale", y, ["f32"], residual=x)
    (y,) = b.layer("maxpool", y, [], kernel=(2, 2), stride=(1, 1), padding=(1, 0, 0, 1))
    (y,) = b.layer("conv2d", y, ["f32"], 20, (3, 3), stride=(2, 2), padding=(1, 0, 0, 1))
    t = b.net.tensors[y]
    (y,) = b.layer("avgpool", y, ["f32"], kernel=(t.height, t.width))
    b.classifier(y, 10)
    return b.finish()


def narrow_network(seed: int) -> Network:
    """Tensors of one precision in 2, 4 and 8 bytes per pixel: all that reads or writes them, odd kernels."""
    rng = np.random.default_rng(seed)
    b = Builder(rng, 7, 5, 3, f"narrow{seed}")
    (x,) = b.layer("rescale", "image", ["s8"])
    for p, channels in ((4, 13), (2, 17), (1, 61), (4, 3), (1, 13)):
        x, wide = b.layer("conv2d", x, [[p] * channels, "s16"], channels, (3, 3), padding=SAME)
        (x,) = b.layer("conv2d", x, [[p] * channels], channels, (2, 1), padding=(1, 0, 0, 0), residual=wide)
    (x,) = b.layer("conv2d", x, [[4] * 7], 7, (1, 1))
    (x,) = b.layer("conv2d", x, [[4] * 7], 7, (5, 5), padding=(2, 2, 2, 2), residual=x)
    (x,) = b.layer("maxpool", x, [], kernel=(2, 2), padding=(1, 0, 0, 1))
    (x,) = b.layer("depthwise", x, [[4] * 7], kernel=(3, 3), padding=SAME, residual=x)
    (x,) = b.layer("conv2d", x, [[2] * 23], 23, (3, 2), stride=(2, 2), padding=(1, 1, 2, 0))
    (x,) = b.layer("rescale", x, [[2] * 23], residual=x)
    (x,) = b.layer("conv2d", x, [[1] * 37], 37, (3, 3), stride=(1, 2), padding=SAME)
    (x,) = b.layer("avgpool", x, [[1] * 37], kernel=(2, 1))
    b.classifier(x, 11)
    return b.finish()


def grouped_network(seed: int) -> Network:
    """Convolutions with groups: of SMOL tensors with equal and unequal patterns, int8; tiles of one and two groups."""
    rng = np.random.default_rng(seed)
    b = Builder(rng, 7, 5, 3, f"grouped{seed}")
    (x,) = b.layer("rescale", "image", ["s8"])
    p = random_precisions(rng, 66)
    (x,) = b.layer("conv2d", x, [p], 66, (3, 3), padding=SAME, apart=3)
    x, _ = b.layer("conv2d", x, [p, "s16"], 66, (3, 3), padding=SAME, groups=3, apart=3)
    (x,) = b.layer("conv2d", x, [[4] * 12], 12, (2, 3), stride=(2, 1), padding=(1, 1, 0, 1), groups=3)
    (x,) = b.layer("conv2d", x, [[4] * 36], 36, apart=2)
    (x,) = b.layer("conv2d", x, ["s8"], 32, (3, 3), padding=SAME, groups=2)
    (x,) = b.layer("conv2d", x, ["s8"], 24, (3, 3), padding=SAME, groups=4)
    (x,) = b.layer("conv2d", x, [[2] * 20], 20, (1, 1), groups=2, apart=5)
    (x,) = b.layer("conv2d", x, ["s8"], 15, (3, 3), padding=SAME, groups=5)
    b.classifier(x, 11)
    return b.finish()


def grouped_float_network(seed: int) -> Network:
    """Convolutions with groups in fp32."""
    b = Builder(np.random.default_rng(seed), 5, 7, 3, f"grouped_float{seed}")
    (x,) = b.layer("rescale", "image", ["f32"])
    (x,) = b.layer("conv2d", x, ["f32"], 24, (3, 3), padding=SAME)
    (y,) = b.layer("conv2d", x, ["f32"], 24, (3, 3), padding=SAME, groups=3, residual=x)
    (y,) = b.layer("conv2d", y, ["f32"], 10, (3, 3), stride=(2, 2), padding=SAME, groups=2)
    b.classifier(y, 10)
    return b.finish()


def dilated_network(seed: int) -> Network:
    """Taps that are pixels apart: SMOL codes of one and several vectors, narrow ones, bytes; with groups, strides,
    uneven paddings, a kernel wider than its image; depthwise; and pixels that are repeated."""
    rng = np.random.default_rng(seed)
    b = Builder(rng, 6, 9, 3, f"dilated{seed}")
    p, q = random_precisions(rng, 70), random_precisions(rng, 30)
    (x,) = b.layer("rescale", "image", ["s8"])
    x, bytes_ = b.layer("conv2d", x, [p, "s8"], 70, (3, 3), padding=(2, 2, 2, 2), dilation=(2, 2), apart=2)
    x, wide = b.layer("conv2d", x, [p, "s16"], 70, (3, 2), padding=(3, 0, 3, 1), dilation=(3, 1), groups=2)
    (x,) = b.layer("depthwise", x, [p], kernel=(3, 3), padding=(2, 3, 2, 3), dilation=(2, 3), residual=wide)
    (x,) = b.layer("conv2d", x, [[4] * 9], 9, (2, 3), stride=(2, 1), padding=(0, 4, 2, 1), dilation=(2, 2))
    (x,) = b.layer("upsample", x, [], kernel=(2, 1))
    (x,) = b.layer("conv2d", x, [q], 30, (3, 3), padding=(6, 1, 5, 0), dilation=(3, 1))
    (y,) = b.layer("depthwise", bytes_, ["s8"], kernel=(2, 3), padding=(2, 2, 0, 2), dilation=(2, 2))
    (y,) = b.layer("upsample", y, [], kernel=(1, 3))
    (y,) = b.layer("conv2d", y, [q], 30, (3, 3), padding=(4, 0, 2, 6), stride=(1, 3), dilation=(2, 3))
    (y,) = b.layer("upsample", y, [], kernel=(2, 2))
    b.classifier(y, 5)
    return b.finish()


def dilated_float_network(seed: int) -> Network:
    """The same in fp32."""
    b = Builder(np.random.default_rng(seed), 7, 6, 3, f"dilated_float{seed}")
    (x,) = b.layer("rescale", "image", ["f32"])
    (x,) = b.layer("conv2d", x, ["f32"], 20, (3, 3), padding=(2, 3, 2, 3), dilation=(2, 3))
    (x,) = b.layer("conv2d", x, ["f32"], 12, (3, 3), padding=(2, 1, 2, 1), dilation=(2, 1), groups=2)
    (x,) = b.layer("depthwise", x, ["f32"], kernel=(3, 2), padding=(4, 0, 1, 2), dilation=(2, 2))
    (x,) = b.layer("upsample", x, [], kernel=(2, 3))
    b.classifier(x, 5)
    return b.finish()


def all_networks(seed: int) -> dict[str, Callable[[], Network]]:
    """Name and maker of every network of the suite. The 45 patterns appear in five networks of nine layers."""
    makers: dict[str, Callable[[], Network]] = {
        "random": lambda: random_network(seed),
        "vectors": lambda: mixed_vectors_network(seed),
        "ragged": lambda: ragged_network(seed),
        "depthwise": lambda: depthwise_network(seed),
        "narrow": lambda: narrow_network(seed),
        "grouped": lambda: grouped_network(seed),
        "grouped_float": lambda: grouped_float_network(seed),
        "dilated": lambda: dilated_network(seed),
        "dilated_float": lambda: dilated_float_network(seed),
        "int8": lambda: int8_network(seed),
        "float": lambda: float_network(seed),
    }
    for start in range(0, len(PATTERNS), 9):
        ids = list(range(start, start + 9))
        makers[f"patterns{start}"] = lambda ids=ids: patterns_network(seed, ids)
    return makers
