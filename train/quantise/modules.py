"""What a prepared network consists of: weights with their scales, quantisers of stored tensors, channel orders."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from sysmol.pattern import registers
from sysmol.patterns.slots import Cover
from sysmol.train.frontend.graph import Unit
from sysmol.train.frontend.policy import LEARNED, Bits
from sysmol.train.quantise.quantiser import s_of

Key = tuple[str, str, str]
"""A stored tensor: unit, activation function, format (smol, s8 or s16)."""


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


class Domain(nn.Module):
    """Channels that share one order and one precision each: a residual stream with what pooling and depthwise
    convolutions make of it. ``s`` float32 ``[C]`` is trained in phase 1, ``precisions`` int64 ``[C]`` hold after
    freezing. ``groups`` equal runs of channels lie in vectors of their own.
    """

    def __init__(self, channels: int, bits: Bits, groups: int = 1) -> None:
        super().__init__()
        self.bits = bits
        self.groups = groups
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
        """``s`` of every channel, that of its fixed precision where none is learned."""
        return self.s if self.bits == LEARNED else torch.full_like(self.s, s_of(max(float(self.bits), 1.001)))

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
