"""What a prepared network consists of: weights with their scales, quantisers of stored tensors, channel orders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from sysmol.pattern import registers
from sysmol.patterns.slots import Cover, cover
from sysmol.train.frontend.graph import Unit
from sysmol.train.frontend.policy import LEARNED, Bits
from sysmol.train.quantise.heads import heads_cover
from sysmol.train.quantise.quantiser import s_of

Array = npt.NDArray[np.int64]

Key = tuple[str, str, str]
"""A stored tensor: unit, activation function, form: a format of the network file, or one of :data:`STORED`."""

QUERY, KEY, VALUE, INDEX = "query", "key", "value", "index"
STORED = {QUERY: "smol", KEY: "smol", VALUE: "smol", INDEX: "s8"}
"""Forms of tensors that are read by an operation with rules of its own, and their formats in the network file:
attention's operands, whose scales belong to heads or channels, and what functions are looked up by."""


def stored(form: str) -> str:
    """The format of a form in the network file."""
    return STORED.get(form, form)


class Convolution(nn.Module):
    """Weights, bias and batch normalisation of one unit, and the logarithm of its weight scale per output channel.

    ``mask`` is False where weights must stay 0.
    """

    def __init__(self, unit: Unit) -> None:
        super().__init__()
        assert unit.weight is not None
        self.weight = nn.Parameter(unit.weight.clone())
        self.mask: torch.Tensor | None
        self.register_buffer("mask", unit.mask, persistent=False)
        self.bias = None if unit.bias is None else nn.Parameter(unit.bias.clone())
        self.bn = unit.bn
        self.log_scale = nn.Parameter(torch.zeros(unit.weight.shape[0]))

    def affine(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Factor and addend per output channel, float64 ``[K]``, of bias and batch normalisation (running
        statistics).
        """
        bias = torch.zeros(len(self.weight)).double() if self.bias is None else self.bias.detach().double()
        if self.bn is None:
            return torch.ones(len(self.weight)).double(), bias
        factor, addend = norm_affine(self.bn)
        return factor, addend + bias * factor

    def kept(self) -> torch.Tensor:
        """The weights; those that must be 0 have no gradient and stay it."""
        return self.weight if self.mask is None else self.weight * self.mask


class Activation(nn.Module):
    """Scale and offset of a stored tensor. SMOL tensors have one of each per precision (4, 2, 1), bytes one.

    The offset is learned in units of the scale, which is learned as a logarithm.
    """

    def __init__(self, count: int, learned: bool = True, shifted: bool = True) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(count), requires_grad=learned)
        self.ratio = nn.Parameter(torch.zeros(count), requires_grad=learned and shifted)

    def set(self, index: int, scale: float, offset: float) -> None:
        """Set one scale and offset (real units)."""
        with torch.no_grad():
            self.log_scale[index] = torch.tensor(scale).log()
            self.ratio[index] = offset / scale

    @property
    def scale(self) -> torch.Tensor:
        """Scales, real units."""
        return self.log_scale.exp()

    @property
    def offset(self) -> torch.Tensor:
        """Offsets, real units."""
        return self.ratio * self.scale

    def of_channels(self, domain: Domain) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and offset of every channel of a SMOL tensor in its frozen precisions, ``[C]``."""
        row = domain.row()
        return self.scale[row], self.offset[row]

    def of_noise(self, domain: Domain) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and offset of every channel in phase 1, ``[C]`` or ``[1]``."""
        return self.scale[:1], self.offset[:1]


class SpreadActivation(Activation):
    """Scale and offset of runs of channels, equally many, whatever their precisions: of attention's operands.

    The sums of queries times keys are over the channels of a head, so that those share one scale, and an offset of
    queries would not be the same for all keys. Values are summed over tokens: every channel has its own.
    """

    def of_channels(self, domain: Domain) -> tuple[torch.Tensor, torch.Tensor]:
        run = len(domain.s) // len(self.log_scale)
        return self.scale.repeat_interleave(run), self.offset.repeat_interleave(run)

    def of_noise(self, domain: Domain) -> tuple[torch.Tensor, torch.Tensor]:
        return self.of_channels(domain)


class LayerNormalisation(nn.Module):
    """Gamma and beta ``[C]`` of a layer normalisation, None where it has none."""

    def __init__(self, unit: Unit) -> None:
        super().__init__()
        self.gamma = None if unit.gamma is None else nn.Parameter(unit.gamma.clone())
        self.beta = None if unit.beta is None else nn.Parameter(unit.beta.clone())
        self.centred = unit.op == "layernorm"
        self.epsilon = unit.epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x [n, C, H, W]`` normalised over channels."""
        last = x.permute(0, 2, 3, 1)
        if self.centred:
            y = F.layer_norm(last, last.shape[-1:], self.gamma, self.beta, self.epsilon)
        else:
            y = last * (last.square().mean(-1, keepdim=True) + self.epsilon).rsqrt()
            y = y if self.gamma is None else y * self.gamma
        return y.permute(0, 3, 1, 2)

    def affine(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Gamma and beta, float64 ``[C]`` or ``[1]``."""
        gamma = torch.ones(1) if self.gamma is None else self.gamma.detach()
        beta = torch.zeros(1) if self.beta is None else self.beta.detach()
        return gamma.double(), beta.double()


class Domain(nn.Module):
    """Channels that share one order and one precision each: a residual stream with what pooling and depthwise
    convolutions make of it. ``s`` float32 ``[C]`` is trained in phase 1, ``precisions`` int64 ``[C]`` hold after
    freezing. ``groups`` equal runs of channels lie in vectors of their own; in each of ``heads`` equal runs (0: none)
    all channels have one precision.
    """

    def __init__(self, channels: int, bits: Bits, groups: int = 1, heads: int = 0) -> None:
        super().__init__()
        self.bits = bits
        self.groups = groups
        self.heads = heads
        self.s = nn.Parameter(torch.full((channels,), s_of(4.0)), requires_grad=bits == LEARNED)
        self.precisions: torch.Tensor
        self.slots: torch.Tensor
        self.register_buffer("precisions", torch.full((channels,), 4 if bits == LEARNED else int(bits)))
        self.register_buffer("slots", torch.arange(channels))
        self.patterns: tuple[int, ...] = ()

    def get_extra_state(self) -> tuple[int, ...]:
        return self.patterns

    def set_extra_state(self, state: Any) -> None:
        self.patterns = tuple(state)

    def cover(
        self,
        requested: Array,
        patterns: Sequence[int],
        rank: npt.NDArray[np.float64] | None = None,
        promote: bool = True,
    ) -> Cover:
        """A layout of its channels in these patterns, as :func:`sysmol.patterns.slots.cover`. Heads of one precision
        get the largest that a channel asks for, and are never promoted, which would split them."""
        if not self.heads:
            return cover(requested, patterns, rank, promote, self.groups)
        return heads_cover(requested.reshape(self.heads, -1), patterns, math.lcm(self.groups, self.heads), self.groups)

    def place(self, layout: Cover) -> None:
        """Take the precisions and slots of a layout."""
        self.patterns = layout.patterns
        self.slots.copy_(torch.from_numpy(layout.slots))
        self.precisions.copy_(torch.from_numpy(layout.precisions))

    @property
    def registers(self) -> float:
        """What a pixel of the frozen layout fills."""
        return registers(self.patterns, int(self.slots.max()) + 1)

    def noise(self) -> torch.Tensor:
        """``s`` of every channel, that of its fixed precision where none is learned; the mean of a head's."""
        if self.bits != LEARNED:
            return torch.full_like(self.s, s_of(max(float(self.bits), 1.001)))
        if not self.heads:
            return self.s
        return self.s.view(self.heads, -1).mean(1).repeat_interleave(len(self.s) // self.heads)

    def row(self) -> torch.Tensor:
        """Index of every channel's precision in an :class:`Activation`: 4 bits 0, 2 bits 1, 1 bit 2."""
        return 2 - torch.div(self.precisions, 2, rounding_mode="floor")


def norm_affine(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Factor and addend per channel, float64 ``[C]``, of batch normalisation with its running statistics."""
    assert norm.running_mean is not None and norm.running_var is not None
    factor = (norm.running_var.double() + norm.eps).rsqrt()
    addend = -norm.running_mean.double() * factor
    if norm.affine:
        factor = factor * norm.weight.detach().double()
        addend = addend * norm.weight.detach().double() + norm.bias.detach().double()
    return factor, addend


def activate(x: torch.Tensor, act: str) -> torch.Tensor:
    """An activation function by its name."""
    if act == "relu":
        return F.relu(x)
    if act == "negative":
        return x.clamp(max=0)
    return F.relu6(x) if act == "relu6" else x
