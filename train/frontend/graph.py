"""What training knows of a network: a short list of units, the layers of the network file before any number format.

A :class:`Unit` is one accumulation (convolution, pooling, addition) with the batch normalisation and the residual
addition that ride on it; a :class:`Value` is what a later unit reads, a unit's result behind an activation function.
:func:`sysmol.train.frontend.trace.trace` makes them from a user's module.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import nn

from sysmol.network.operations import Operation, operation

RESCALES = dict.fromkeys(("input", "add", "norm", "leaky", "constant"), "rescale") | {"attention": "attend"}
"""Units whose layer in the network file is called otherwise; an ``attention`` is three layers, of which this is the
last."""
ENDS = {
    "none": (-math.inf, math.inf), "relu": (0.0, math.inf), "relu6": (0.0, 6.0), "negative": (-math.inf, 0.0)
}  # fmt: skip
"""What activation functions clamp to."""


@dataclass(frozen=True)
class Value:
    """The result of a unit behind an activation function: one of :data:`ENDS`."""

    unit: str
    act: str = "none"


@dataclass
class Unit:
    """One accumulation. ``op``: input, constant (``data``, which reads nothing), conv2d, depthwise, avgpool, maxpool,
    upsample, add (``input`` + ``residual``), leaky (``slope * input + residual``, of what is negative and what is
    positive), norm (batch normalisation of something else than a convolution), layernorm and rmsnorm (over channels),
    lookup (a ``function`` of every element), gate (``input`` times ``second``, of one pixel or as many), slice
    (channels from ``begin`` on) or attention (of ``input``, the queries, to keys ``second`` and values ``third`` in
    ``groups`` heads: ``softmax(factor * Q K^T) V``, channels of a head side by side, pixels as tokens).

    ``shape`` is (channels, height, width) of the result; ``path`` is the layer's name in the user's module,
    ``norm_path`` that of its batch normalisation;
    ``padding`` is (top, left, bottom, right); ``divisor`` belongs to avgpool. ``weight`` is ``[K, C / groups, KH,
    KW]`` (depthwise: ``groups`` = C = K); a linear layer is a convolution over its whole input. ``mask``, bool of the
    same shape, is False where a weight must stay exactly 0, None without such weights. ``slope`` is ``[C]``, and so
    are ``gamma`` and ``beta`` of layernorm and rmsnorm (None: 1 and 0), which add ``epsilon`` to the mean square.
    """

    name: str
    op: str
    shape: tuple[int, int, int]
    path: str = ""
    input: Value | None = None
    residual: Value | None = None
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    divisor: int = 1
    groups: int = 1
    weight: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    bias: torch.Tensor | None = None
    bn: nn.BatchNorm2d | None = None
    slope: torch.Tensor | None = None
    learned_slope: bool = False
    norm_path: str = ""
    second: Value | None = None
    third: Value | None = None
    factor: float = 1.0
    gamma: torch.Tensor | None = None
    beta: torch.Tensor | None = None
    epsilon: float = 0.0
    function: str = ""
    data: torch.Tensor | None = None
    learned_data: bool = False
    begin: int = 0

    @property
    def reads(self) -> list[Value]:
        """All values that it reads."""
        return [v for v in (self.input, self.second, self.third, self.residual) if v is not None]

    @property
    def has_weights(self) -> bool:
        """Whether this is a convolution."""
        return self.operation.has_weights

    @property
    def operation(self) -> Operation:
        """What it is in the network file: the image's conversion, additions and normalisations are ``rescale``."""
        return operation(RESCALES.get(self.op, self.op))

    @property
    def normalises(self) -> bool:
        """Whether this is a batch normalisation of its own, not one that rides on a convolution."""
        return self.bn is not None and not self.has_weights


@dataclass
class Graph:
    """Units in execution order; ``output`` is the value of the logits. ``dropped``: the function behind them that is
    left out, ``softmax`` or ``log_softmax``, or nothing."""

    units: dict[str, Unit] = field(default_factory=dict)
    output: Value = Value("")
    dropped: str = ""

    @property
    def convolutions(self) -> list[Unit]:
        """The units with weights, in execution order."""
        return [unit for unit in self.units.values() if unit.has_weights]

    @property
    def attentions(self) -> list[Unit]:
        """The units of attention, in execution order."""
        return [unit for unit in self.units.values() if unit.op == "attention"]

    def root(self, value: Value) -> Value:
        """The value that is stored: a maximum keeps the numbers of its input, so it looks through max pooling."""
        while not self.units[value.unit].operation.requantises:
            inner = self.units[value.unit].input
            assert inner is not None
            value = inner
        return value
