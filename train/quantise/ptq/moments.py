"""Means and covariances of what a convolution reads and of what it should give."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from sysmol.train.frontend.graph import Unit
from sysmol.train.quantise.windows import pad

MOST_PATCHES = 1 << 14
"""Windows of a batch of images that count, at random from all: their number, not which they are, decides the error."""


@dataclass
class Moments:
    """Of windows x and wanted sums y: ``covariance`` float64 ``[G, D, D]`` of x, ``cross`` ``[G, R, D]`` of y with x,
    means ``[G, D]`` and ``[G, R]``.

    G groups of R outputs each, D weights per output.
    """

    covariance: torch.Tensor
    cross: torch.Tensor
    mean_x: torch.Tensor
    mean_y: torch.Tensor


class Gathered:
    """Sums over batches of images, from which :meth:`moments` follow."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.count = 0
        self.sums: list[torch.Tensor] = []
        self.generator = torch.Generator().manual_seed(0)

    def add(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """A batch: the rounded input ``[n, C, H, W]`` and the sums ``[n, K, OH, OW]`` that full precision has."""
        windows = patches(x, self.unit)
        wanted = y.reshape(len(y), self.unit.groups, -1, y.shape[2] * y.shape[3]).permute(1, 2, 0, 3).flatten(2)
        if windows.shape[2] > MOST_PATCHES:
            pick = torch.randint(windows.shape[2], (MOST_PATCHES,), generator=self.generator)
            windows, wanted = windows[:, :, pick], wanted[:, :, pick]
        parts = [windows.sum(2), wanted.sum(2), windows @ windows.mT, wanted @ windows.mT]
        doubles = [part.double() for part in parts]
        self.sums = doubles if not self.sums else [a + b for a, b in zip(self.sums, doubles, strict=True)]
        self.count += windows.shape[2]

    def moments(self) -> Moments:
        """Of all batches so far, at least one."""
        x, y, xx, yx = (each / self.count for each in self.sums)
        return Moments(xx - x[:, :, None] * x[:, None, :], yx - y[:, :, None] * x[:, None, :], x, y)


def patches(x: torch.Tensor, unit: Unit) -> torch.Tensor:
    """Windows of ``x [n, C, H, W]`` as a convolution reads them, ``[G, D, n * OH * OW]``; taps outside the image
    are 0."""
    columns = F.unfold(pad(x, unit.padding), unit.kernel, dilation=unit.dilation, stride=unit.stride)
    return columns.reshape(len(x), unit.groups, -1, columns.shape[2]).permute(1, 2, 0, 3).flatten(2)
