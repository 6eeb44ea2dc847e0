"""What a network consists of: tensors, layers with their outputs, samples (docs/network-format.md)."""

from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy.typing as npt

from sysmol.errors import SysmolError
from sysmol.packing import slot_precisions

Array = npt.NDArray[Any]

RANGES = {"u8": (0, 255), "s8": (-128, 127), "s16": (-32768, 32767), "s32": (-(2**31), 2**31 - 1)}
"""Formats of elements that are plain integers, with their ranges. The others are ``smol`` and ``f32``."""
FORMATS = (*RANGES, "smol", "f32")
INT32_MIN, INT32_MAX = RANGES["s32"]
"""What every intermediate of an integer network fits."""
ZERO_POINT_SHIFT = 16
"""Fraction bits of a tensor's zero points."""


LOW, HIGH = MULTIPLIES = "low", "high"
"""What of a product with M or R counts: all of it, in 32 bits, or what lies above its lowest :data:`HIGH_SHIFT`."""
HIGH_SHIFT = 31
HIGH_FACTOR = (1 << 30) - 1
"""Largest ``|M|`` and ``|R|`` of :data:`HIGH` products: doubled they still fit 32 bits, as one of the two instruction
sets needs them."""


def span(taps: int, dilation: int) -> int:
    """Pixels from the first of some taps to the last, ``dilation`` apart."""
    return (taps - 1) * dilation + 1


def need(condition: bool, what: str) -> None:
    """:class:`SysmolError` that says ``what`` is wrong with a network, unless the condition holds."""
    if not condition:
        raise SysmolError(f"network: {what}")


@dataclass
class Tensor:
    """An activation tensor, one image: ``[height, width, channels]``.

    ``patterns`` (one id per 16-byte vector of a pixel) and ``slots`` (int64 ``[channels]``, slot of every logical
    channel) belong to the format ``smol``; unused slots hold code 0.

    ``zero_point`` are the integer values x that stand for the real number 0, in units of ``2**-ZERO_POINT_SHIFT``: one
    for each of 4, 2 and 1 bits in SMOL tensors, one otherwise, none where x is proportional to the real value. Padding
    means real zeros, so :func:`sysmol.network.sums.border_constants` needs them.

    ``data``, of constant tensors, are the elements ``[height, width, channels]``, int8, int16 or float32; no layer
    writes such a tensor.
    """

    name: str
    height: int
    width: int
    channels: int
    format: str
    patterns: tuple[int, ...] = ()
    slots: Array | None = None
    zero_point: tuple[int, ...] = ()
    data: Array | None = None

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

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.height * self.width * self.channels


@dataclass(frozen=True)
class Normalisation:
    """What pixels stand for: ``(x - mean[c]) * scale[c]``, x from 0 to 255. One entry for all channels, or one each."""

    mean: tuple[float, ...] = (128.0,)
    scale: tuple[float, ...] = (1.0 / 64.0,)

    def __post_init__(self) -> None:
        entries = (*self.mean, *self.scale)
        need(bool(self.mean and self.scale), "a normalisation needs a mean and a scale")
        need(all(isfinite(each) for each in entries), f"a normalisation is made of finite numbers, not {entries}")
        need(all(each > 0 for each in self.scale), f"the scales of a normalisation are positive, not {self.scale}")

    @classmethod
    def of_unit_range(cls, mean: tuple[float, ...], deviation: tuple[float, ...]) -> "Normalisation":
        """Of ``(x / 255 - mean[c]) / deviation[c]``, the way in which torchvision states it."""
        need(all(each > 0 for each in deviation), f"deviations are positive, not {deviation}")
        return cls(tuple(255.0 * each for each in mean), tuple(1 / (255.0 * each) for each in deviation))

    def of_channels(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and scale of each channel; :class:`SysmolError` where their number is another."""
        for each in (self.mean, self.scale):
            need(len(each) in (1, channels), f"a normalisation of {len(each)} channels for images of {channels}")
        mean, scale = (each * (channels // len(each)) for each in (self.mean, self.scale))
        return mean, scale


@dataclass
class Output:
    """One requantisation of a layer's accumulators into ``tensor``.

    ``M`` int32 ``[C]``, ``B`` int32 ``[row classes, column classes, C]``, ``R`` int32 ``[C]`` or None, ``shift`` in
    bits, ``lo``/``hi`` the clamp (for SMOL targets also limited to the codes of the channel's precision).
    For ``f32``, ``B`` is float32 ``[1, 1, C]``, ``M`` float32 ``[C]`` or None (1), and ``R`` is None.

    ``multiply`` and ``residual_multiply``, of :data:`MULTIPLIES`, say what M and R are
    (:mod:`sysmol.network.sums`); ``pre`` shifts an accumulator left before a high product.
    """

    tensor: str
    B: Array
    lo: float
    hi: float
    M: Array | None = None
    R: Array | None = None
    shift: int = 0
    multiply: str = LOW
    residual_multiply: str = LOW
    pre: int = 0


@dataclass
class Layer:
    """One layer. ``op`` names its operation (:mod:`sysmol.network.operations`), whose class says which of the fields
    count and what ``weight`` looks like. ``padding`` is (top, left, bottom, right); taps outside the image do not
    count. ``dilation``, of convolutions, is how many pixels lie from one tap to the next.

    ``second`` is the second activation of operations that take two, ``begin`` the first channel that a ``slice`` takes,
    ``table`` the values of a ``lookup``, ``function`` its name in full precision. Operations that requantise have
    ``outputs``, the others their only result in ``output``. A linear layer is a ``conv2d`` whose kernel covers its
    whole input.
    """

    name: str
    op: str
    input: str
    outputs: list[Output] = field(default_factory=list)
    output: str = ""
    residual: str = ""
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    weight: Array | None = None
    groups: int = 1
    second: str = ""
    dilation: tuple[int, int] = (1, 1)
    begin: int = 0
    table: tuple[int, ...] = ()
    function: str = ""

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns of pixels from the first tap to the last."""
        return span(self.kernel[0], self.dilation[0]), span(self.kernel[1], self.dilation[1])

    @property
    def targets(self) -> list[str]:
        """Names of the tensors that this layer writes."""
        return [self.output] if self.output else [out.tensor for out in self.outputs]

    @property
    def inputs(self) -> list[str]:
        """Names of the activations that the operation takes."""
        return [self.input, self.second] if self.second else [self.input]

    @property
    def reads(self) -> list[str]:
        """Names of all tensors that this layer reads: the operation's, then the residual."""
        return [*self.inputs, self.residual] if self.residual else self.inputs


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

    ``input`` is a ``u8`` image, ``output`` the logits ``[1, 1, classes]``. ``normalisation`` says what pixels stand
    for, where that is known; the constants of the layer that reads the image contain it.
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
    normalisation: Normalisation | None = None

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self.tensors[self.output].channels

    @property
    def is_float(self) -> bool:
        """Whether this is a full-precision network."""
        return self.tensors[self.output].format == "f32"

    @property
    def constants(self) -> set[str]:
        """Names of the constant tensors."""
        return {name for name, t in self.tensors.items() if t.data is not None}

    @property
    def given(self) -> set[str]:
        """Names of the tensors that no layer writes: the image and the constant ones."""
        return {self.input} | self.constants

    @property
    def patterns(self) -> tuple[int, ...]:
        """Pattern ids in use, ascending."""
        return tuple(sorted({p for t in self.tensors.values() for p in t.patterns}))
