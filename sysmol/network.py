"""The network file: what training exports and code generation reads (docs/network-format.md).

The bytes are :mod:`sysmol.network_file`'s. Arrays are in logical channel order, except the input side of packed SMOL
weights, which is in slot order.

The integer value ``x`` of a stored element is the odd ``g`` of a SMOL code, the number itself in every other format.
Every layer but ``maxpool`` accumulates and then writes one or more outputs::

    y[c] = clamp((acc[c] * M[c] + B[row class, column class, c] + r[c] * R[c]) >> S, lo, hi)

with an arithmetic shift; ``r`` is the layer's optional residual input. All intermediates fit int32:
:mod:`sysmol.network_check` proves it from the weights. In ``f32`` networks ``y = clamp(acc * M + B + r, lo, hi)`` in
float32, ``M`` absent for 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sysmol.errors import SysmolError
from sysmol.files import atomic_write_bytes
from sysmol.grid import PRECISIONS, PRODUCT_SHIFT, integer
from sysmol.packing import slot_precisions, unpack

Array = npt.NDArray[Any]

RANGES = {"u8": (0, 255), "s8": (-128, 127), "s16": (-32768, 32767), "s32": (-(2**31), 2**31 - 1)}
"""Formats of elements that are plain integers, with their ranges. The others are ``smol`` and ``f32``."""
FORMATS = (*RANGES, "smol", "f32")
OPS = ("rescale", "conv2d", "depthwise", "maxpool", "avgpool")
INT32_MAX = 2**31 - 1
ZERO_POINT_SHIFT = 16
"""Fraction bits of a tensor's zero points."""


@dataclass
class Tensor:
    """An activation tensor, one image: ``[height, width, channels]``.

    ``patterns`` (one id per 16-byte vector of a pixel) and ``slots`` (int64 ``[channels]``, slot of every logical
    channel) belong to the format ``smol``; unused slots hold code 0.

    ``zero_point`` are the integer values x that stand for the real number 0, in units of ``2**-ZERO_POINT_SHIFT``: one
    for each of 4, 2 and 1 bits in SMOL tensors, one otherwise, none where x is proportional to the real value. Padding
    means real zeros, so :func:`border_constants` needs them.
    """

    name: str
    height: int
    width: int
    channels: int
    format: str
    patterns: tuple[int, ...] = ()
    slots: Array | None = None
    zero_point: tuple[int, ...] = ()

    @property
    def precisions(self) -> Array:
        """Bits of every logical channel, int64 ``[channels]``; SMOL tensors only."""
        assert self.slots is not None
        return slot_precisions(self.patterns)[self.slots]

    @property
    def used_slots(self) -> int:
        """Slots up to the last one that a channel has; SMOL tensors only."""
        assert self.slots is not None
        return int(self.slots.max()) + 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(height, width, channels)``."""
        return self.height, self.width, self.channels


@dataclass
class Output:
    """One requantisation of a layer's accumulators into ``tensor``.

    ``M`` int32 ``[C]``, ``B`` int32 ``[row classes, column classes, C]``, ``R`` int32 ``[C]`` or None, ``shift`` in
    bits, ``lo``/``hi`` the clamp (for SMOL targets also limited to the codes of the channel's precision).
    For ``f32``, ``B`` is float32 ``[1, 1, C]``, ``M`` float32 ``[C]`` or None (1), and ``R`` is None.
    """

    tensor: str
    B: Array
    lo: float
    hi: float
    M: Array | None = None
    R: Array | None = None
    shift: int = 0


@dataclass
class Layer:
    """One layer. ``padding`` is (top, left, bottom, right); taps outside the image do not count.

    A linear layer is a ``conv2d`` whose kernel covers its whole input. A ``conv2d`` may have ``groups`` (G): output
    channel k sees the input channels of group ``k // (K / G)`` alone, ``C / G`` channels in a row. ``weight``:

    ========== ============ ==========================================
    op         input        array
    ========== ============ ==========================================
    conv2d     smol         uint8 ``[K, KH, KW, V / G, 16]`` packed codes
    conv2d     s8 (f32)     int8 (float32) ``[K, KH, KW, C / G]``
    depthwise  smol         uint8 ``[KH, KW, V, 16]``
    depthwise  s8 (f32)     int8 (float32) ``[KH, KW, C]``
    ========== ============ ==========================================
    """

    name: str
    op: str
    input: str
    outputs: list[Output] = field(default_factory=list)
    output: str = ""  # maxpool alone: its only output, not requantised
    residual: str = ""
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    weight: Array | None = None
    groups: int = 1

    @property
    def targets(self) -> list[str]:
        """Names of the tensors that this layer writes."""
        return [self.output] if self.op == "maxpool" else [out.tensor for out in self.outputs]


@dataclass
class Samples:
    """Real inputs with what the network must answer: images uint8 ``[n, H, W, C]``, labels int64 ``[n]``, logits
    int32 (float32 for ``f32`` networks) ``[n, classes]``."""

    images: Array
    labels: Array
    logits: Array


@dataclass
class Network:
    """Layers in execution order over named tensors.

    ``input`` is a ``u8`` image, ``output`` the logits ``[1, 1, classes]``.
    """

    name: str
    tensors: dict[str, Tensor]
    layers: list[Layer]
    input: str
    output: str
    samples: Samples | None = None
    description: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self.tensors[self.output].channels

    @property
    def is_float(self) -> bool:
        """Whether this is a full-precision network."""
        return self.tensors[self.output].format == "f32"

    @property
    def patterns(self) -> tuple[int, ...]:
        """Pattern ids in use, ascending."""
        return tuple(sorted({p for t in self.tensors.values() for p in t.patterns}))


# --- geometry --------------------------------------------------------------------------------------------------------


def output_size(size: int, kernel: int, stride: int, before: int, after: int) -> int:
    """Positions of a kernel along one axis."""
    return (size + before + after - kernel) // stride + 1


def border_classes(
    size: int, kernel: int, stride: int, before: int, after: int
) -> tuple[list[int], list[tuple[int, int]]]:
    """Border classes along one axis: class of every output position, and each class's valid taps ``[lo, hi)``.

    Positions with the same valid taps share a class; classes are numbered in order of first appearance.
    """
    classes: list[tuple[int, int]] = []
    index = []
    for position in range(output_size(size, kernel, stride, before, after)):
        start = position * stride - before
        taps = (max(0, -start), min(kernel, size - start))
        if taps not in classes:
            classes.append(taps)
        index.append(classes.index(taps))
    return index, classes


def layer_classes(
    net: Network, layer: Layer
) -> tuple[tuple[list[int], list[tuple[int, int]]], tuple[list[int], list[tuple[int, int]]]]:
    """Border classes of a layer's rows and of its columns."""
    x = net.tensors[layer.input]
    top, left, bottom, right = layer.padding
    rows = border_classes(x.height, layer.kernel[0], layer.stride[0], top, bottom)
    return rows, border_classes(x.width, layer.kernel[1], layer.stride[1], left, right)


def need(condition: bool, what: str) -> None:
    """:class:`SysmolError` that says ``what`` is wrong with a network, unless the condition holds."""
    if not condition:
        raise SysmolError(f"network: {what}")


# --- values ----------------------------------------------------------------------------------------------------------


def group_tensor(tensor: Tensor, groups: int, number: int) -> Tensor:
    """The channels of group ``number`` as a tensor of its own: of SMOL tensors the group's vectors and their slots."""
    if groups == 1:
        return tensor
    channels = tensor.channels // groups
    own = slice(number * channels, (number + 1) * channels)
    if tensor.format != "smol":
        return replace(tensor, channels=channels)
    vectors = len(tensor.patterns) // groups
    first = number * vectors
    before = len(slot_precisions(tensor.patterns[:first]))
    return replace(
        tensor,
        channels=channels,
        patterns=tensor.patterns[first : first + vectors],
        slots=np.asarray(tensor.slots)[own] - before,
    )


def group_parts(net: Network, layer: Layer) -> list[tuple[Tensor, slice]]:
    """Per group of a convolution its input as a tensor of its own and its output channels."""
    assert layer.weight is not None
    x, channels = net.tensors[layer.input], len(layer.weight) // layer.groups
    return [(group_tensor(x, layer.groups, g), slice(g * channels, (g + 1) * channels)) for g in range(layer.groups)]


def dense_weight(net: Network, layer: Layer) -> Array:
    """Weights in logical channel order, ``[K, KH, KW, C / groups]`` or depthwise ``[KH, KW, C]``.

    int64 (SMOL: the odd integers g, not aligned), or float32.
    """
    assert layer.weight is not None
    x = net.tensors[layer.input]
    if x.format == "smol" and layer.groups > 1:
        return np.concatenate(
            [
                integer(unpack(layer.weight[own], part.patterns), slot_precisions(part.patterns))[..., part.slots]
                for part, own in group_parts(net, layer)
            ]
        )
    if x.format == "smol":
        return integer(unpack(layer.weight, x.patterns), slot_precisions(x.patterns))[..., x.slots]
    return layer.weight if x.format == "f32" else layer.weight.astype(np.int64)


def alignment(tensor: Tensor) -> Array:
    """Left shift of the products of every logical channel: by precision in SMOL tensors, else 0."""
    if tensor.format != "smol":
        return np.zeros(tensor.channels, dtype=np.int64)
    return np.array([PRODUCT_SHIFT[int(p)] for p in tensor.precisions], dtype=np.int64)


def magnitude(tensor: Tensor) -> Array:
    """Largest ``|x|`` of every logical channel, int64 ``[channels]``."""
    if tensor.format == "smol":
        return (1 << tensor.precisions) - 1
    low, high = RANGES[tensor.format]
    return np.full(tensor.channels, max(-low, high), dtype=np.int64)


def accumulator_bound(net: Network, layer: Layer) -> Array:
    """Bound on ``|acc|`` per output channel, int64 ``[C]``: over any inputs, every tap and every slot of the vectors.

    Unused slots and taps outside the image are included, so that code may pad with any code and move the known
    constant into B.
    """
    x = net.tensors[layer.input]
    if layer.op == "rescale":
        return magnitude(x)
    if layer.op == "avgpool":
        return magnitude(x) * layer.kernel[0] * layer.kernel[1]
    assert layer.weight is not None
    if x.format == "smol":

        def products(weight: Array, patterns: Sequence[int]) -> Array:
            precisions = slot_precisions(patterns)
            unit = ((1 << precisions) - 1) << np.array([PRODUCT_SHIFT[int(p)] for p in precisions], dtype=np.int64)
            result: Array = np.abs(integer(unpack(weight, patterns), precisions)) * unit
            return result

        if layer.op == "depthwise":
            return products(layer.weight, x.patterns)[..., x.slots].sum(axis=(0, 1))
        parts = group_parts(net, layer)
        return np.concatenate([products(layer.weight[own], part.patterns).sum(axis=(1, 2, 3)) for part, own in parts])
    each = np.abs(layer.weight.astype(np.int64)) * magnitude(group_tensor(x, layer.groups, 0))
    return each.sum(axis=(0, 1)) if layer.op == "depthwise" else each.sum(axis=(1, 2, 3))


def zero_point_taps(net: Network, layer: Layer) -> Array:
    """What each tap of a layer's weights adds to acc where the input holds real zeros, int64 ``[K, KH, KW]`` in units
    of ``2**-ZERO_POINT_SHIFT``.

    Raises :class:`SysmolError` where weights and zero points are so large that a sum could leave 64 bits.
    """
    x = net.tensors[layer.input]
    channels = len(layer.weight) if layer.op == "conv2d" and layer.weight is not None else x.channels
    if not any(x.zero_point) or layer.weight is None:
        return np.zeros((channels, *layer.kernel), dtype=np.int64)
    by_bits = dict(zip(PRECISIONS, x.zero_point, strict=True)) if x.format == "smol" else {}
    bits = x.precisions if x.format == "smol" else np.zeros(x.channels, dtype=np.int64)
    each = np.array([by_bits.get(int(p), x.zero_point[0]) for p in bits], dtype=np.int64) << alignment(x)
    weight = dense_weight(net, layer)
    largest = float(np.abs(each).max()) * float(np.abs(weight).max()) * weight.size / channels
    need(largest < 2**62, f"layer {layer.name}: the zero point {x.zero_point} of {x.name} is too large")
    if layer.op == "depthwise":
        return np.asarray(weight * each).transpose(2, 0, 1)
    grouped = weight.reshape(layer.groups, -1, *weight.shape[1:])
    return np.asarray((grouped * each.reshape(layer.groups, 1, 1, 1, -1)).sum(-1)).reshape(channels, *layer.kernel)


def border_sums(net: Network, layer: Layer) -> Array:
    """What the taps outside the image would add to acc if they held real zeros: int64 ``[row classes, column classes,
    K]`` in units of ``2**-ZERO_POINT_SHIFT`` (:func:`zero_point_taps`).
    """
    (_, rows), (_, columns) = layer_classes(net, layer)
    taps = zero_point_taps(net, layer)
    inside = [[taps[:, top:bottom, left:right].sum((1, 2)) for left, right in columns] for top, bottom in rows]
    return taps.sum((1, 2)) - np.array(inside)


def border_constants(sums: Array, M: Array) -> Array:
    """What B holds at an image's border beyond its value where every tap counts, int64 ``[row classes, column classes,
    C]``: ``M`` (int ``[C]``) times :func:`border_sums`, rounded to whole numbers.
    """
    factor = M.astype(np.int64)
    largest = float(np.abs(sums).max(initial=0)) * float(np.abs(factor).max(initial=0))
    need(largest < 2**62, "the zero point of a layer's input and its M are too large")
    return (factor * sums + (1 << (ZERO_POINT_SHIFT - 1))) >> ZERO_POINT_SHIFT


def upper_codes(tensor: Tensor, hi: float) -> Array:
    """Upper clamp per logical channel: ``hi``, in SMOL tensors limited to the channel's codes."""
    if tensor.format == "smol":
        return np.minimum(int(hi), (1 << tensor.precisions) - 1)
    return np.full(tensor.channels, hi)


# --- file ------------------------------------------------------------------------------------------------------------


def save(path: str | Path, net: Network, deploy: bool = False) -> Path:
    """Validate and write a network, atomically. The same network gives the same bytes.

    ``deploy``: only what inference needs, without samples, provenance (but for ``logit_scale``) and metrics.
    """
    from sysmol.network_check import validate  # both need the classes of this module
    from sysmol.network_file import encode

    validate(net)
    return atomic_write_bytes(path, encode(net, deploy))


def load(path: str | Path) -> Network:
    """Read and validate a network file.

    Raises :class:`SysmolError` on a file that is absent, cut short, damaged, of another format, of a newer version, or
    invalid.
    """
    from sysmol.network_check import validate
    from sysmol.network_file import decode, read

    description, arrays = read(path)
    try:
        net = decode(description, arrays)
        validate(net)
    except SysmolError as error:
        raise SysmolError(f"{path}: {error}") from None
    return net
