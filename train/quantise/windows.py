"""What layers without weights make of real numbers: the register of training's back ends."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from sysmol.train.frontend.graph import Unit


def average(x: torch.Tensor, unit: Unit) -> torch.Tensor:
    """Sums over windows, divided by the unit's divisor."""
    return F.avg_pool2d(pad(x, unit.padding), unit.kernel, unit.stride, divisor_override=unit.divisor)


def maximum(x: torch.Tensor, unit: Unit) -> torch.Tensor:
    """Maxima over windows; taps outside the image do not count."""
    return F.max_pool2d(pad(x, unit.padding, float("-inf")), unit.kernel, unit.stride)


def flatten(x: torch.Tensor, unit: Unit) -> torch.Tensor:
    """All elements ``[n, C, H, W]`` as channels, row by row, pixel by pixel: ``[n, H * W * C, 1, 1]``."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, 1, 1)


def upsample(x: torch.Tensor, unit: Unit) -> torch.Tensor:
    """Every pixel as many times as the kernel has rows and columns."""
    return x.repeat_interleave(unit.kernel[0], 2).repeat_interleave(unit.kernel[1], 3)


def pad(x: torch.Tensor, padding: tuple[int, int, int, int], value: float = 0.0) -> torch.Tensor:
    """``x [n, C, H, W]`` with (top, left, bottom, right) elements of ``value`` around it."""
    top, left, bottom, right = padding
    return F.pad(x, (left, right, top, bottom), value=value) if any(padding) else x


def plain(x: torch.Tensor) -> torch.Tensor:
    """``x [n, C, H, W]`` for a convolution: a single channel with the strides that its shape has in memory.

    A single channel counts as contiguous in every order, whatever the strides that it was given; with those of
    ``channels_last`` PyTorch's convolutions on CPUs (2.13) can read beside it, as in its issue 82060.
    ``contiguous()`` leaves such strides as they are.
    """
    return x.clone(memory_format=torch.contiguous_format) if x.shape[1] == 1 else x


WINDOWS: dict[str, Callable[[torch.Tensor, Unit], torch.Tensor]] = {
    "avgpool": average,
    "maxpool": maximum,
    "upsample": upsample,
    "flatten": flatten,
}
"""By the unit's operation; units without an entry (additions) pass their input on."""
