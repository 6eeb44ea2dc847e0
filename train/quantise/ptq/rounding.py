"""Weights of one layer rounded so that its sums, not its weights, change least.

For windows x of rounded activations and the sums y of full precision, ``E |q x + b - y|**2`` is to be small over
weights q on their grid and biases b. In three steps:

1. Least squares near the old weights: they make up for what rounding the activations has changed.
2. GPTQ (Frantar et al., arXiv 2210.17323): weight after weight is rounded, those to come make up for its error; for
   several scales per output, of which the best stays.
3. Coordinate descent: a weight at a time moves to the best point of its grid, and the scale is fitted to the weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sysmol.train.quantise.ptq.moments import Moments
from sysmol.train.quantise.quantiser import Levels, codes

DAMPING = 0.01
"""Added to the covariance's diagonal, in parts of its mean: how much the old weights are trusted."""
ROUNDOFF = 1e-4
"""The least that is added, in parts of the mean square of what is read: inputs that hardly change leave a covariance of
rounding errors, which is no covariance."""
FACTORS = (0.6, 0.7, 0.78, 0.85, 0.92, 1.0, 1.08, 1.16, 1.25)
"""Scales that are tried, in parts of the one with the least error of the weights."""
BLOCK = 64
"""Weights whose errors reach the rest together."""
SWEEPS = 4


@dataclass
class WeightGrid:
    """Where the weights ``[G, R, D]`` of a layer may lie: on ``scale [G, R] * column * (level of its codes)``, or at 0
    where ``kept`` is False. ``column`` and all of ``levels`` are ``[G, R, D]``.
    """

    column: torch.Tensor
    levels: Levels
    kept: torch.Tensor | None = None

    def nearest(self, weight: torch.Tensor, scale: torch.Tensor, at: slice | int = slice(None)) -> torch.Tensor:
        """The points nearest to ``weight [..., n]`` of the columns ``at``, for ``scale [...]``."""
        step = (scale if isinstance(at, int) else scale[..., None]) * self.column[..., at]
        levels = Levels(*(each[..., at] for each in vars(self.levels).values()))
        found = (codes(weight, step, weight.new_zeros(()), levels) * levels.step + levels.start) * step
        return found if self.kept is None else found * self.kept[..., at]


def reconstruct(
    weight: torch.Tensor, scale: torch.Tensor, grid: WeightGrid, moments: Moments
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weights ``[G, R, D]`` on the grid, their scale ``[G, R]``, and the mean squared error ``[G, R]`` of the sums,
    all but the same constant; ``scale`` is a first guess. Everything is float64.
    """
    size = weight.shape[2]
    power = moments.covariance.diagonal(dim1=1, dim2=2).mean(1)
    trust = torch.maximum(DAMPING * power, ROUNDOFF * (power + moments.mean_x.square().mean(1))).clamp_min(1e-12)
    damped = moments.covariance + torch.eye(size).double() * trust[:, None, None]
    target = least_squares(weight, damped, moments)
    if grid.kept is not None:
        target = target * grid.kept
    best, best_scale = target, scale
    best_error = torch.full_like(scale, float("inf"))
    inverse = torch.linalg.cholesky(torch.linalg.inv(damped), upper=True)
    for factor in FACTORS:
        tried = scale * factor
        found = gptq(target, tried, grid, inverse)
        best, best_scale, best_error = _better(best, best_scale, best_error, found, tried, target, damped)
    for _ in range(SWEEPS):
        found = descend(best, best_scale, grid, target, damped)
        tried = fitted(found, best_scale, target, damped)
        found = found * (tried / best_scale)[..., None]
        best, best_scale, best_error = _better(best, best_scale, best_error, found, tried, target, damped)
    return best, best_scale, best_error


def least_squares(weight: torch.Tensor, damped: torch.Tensor, moments: Moments) -> torch.Tensor:
    """The weights whose sums are nearest to y, without a grid; damping holds them at ``weight``."""
    missing = moments.cross - weight @ moments.covariance
    return weight + torch.linalg.solve(damped, missing, left=False)


def gptq(target: torch.Tensor, scale: torch.Tensor, grid: WeightGrid, inverse: torch.Tensor) -> torch.Tensor:
    """Rounded weights; ``inverse`` is the upper Cholesky factor of the covariance's inverse."""
    rest, found = target.clone(), torch.empty_like(target)
    size = target.shape[2]
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        errors = torch.empty_like(rest[..., start:stop])
        for at in range(start, stop):
            found[..., at] = grid.nearest(rest[..., at], scale, at)
            error = (rest[..., at] - found[..., at]) / inverse[:, at, at, None]
            rest[..., at:stop] -= error[..., None] * inverse[:, None, at, at:stop]
            errors[..., at - start] = error
        rest[..., stop:] -= errors @ inverse[:, start:stop, stop:]
    return found


def descend(
    found: torch.Tensor, scale: torch.Tensor, grid: WeightGrid, target: torch.Tensor, damped: torch.Tensor
) -> torch.Tensor:
    """One weight after another at its best point of the grid while the others stay."""
    found = found.clone()
    slope = (found - target) @ damped
    for at in range(found.shape[2]):
        best = found[..., at] - slope[..., at] / damped[:, at, at, None]
        moved = grid.nearest(best, scale, at) - found[..., at]
        found[..., at] += moved
        slope += moved[..., None] * damped[:, None, at]
    return found


def fitted(found: torch.Tensor, scale: torch.Tensor, target: torch.Tensor, damped: torch.Tensor) -> torch.Tensor:
    """The scale with the least error while codes stay."""
    mapped = found @ damped
    power = (mapped * found).sum(2)
    factor = (mapped * target).sum(2) / power
    return torch.where((power > 0) & (factor > 0.1) & (factor < 10), scale * factor, scale)


def _better(
    best: torch.Tensor, best_scale: torch.Tensor, best_error: torch.Tensor,
    found: torch.Tensor, scale: torch.Tensor, target: torch.Tensor, damped: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """The outputs' better of two roundings."""
    off = found - target
    error = ((off @ damped) * off).sum(2)
    better = error < best_error
    return (
        torch.where(better[..., None], found, best),
        torch.where(better, scale, best_scale),
        torch.where(better, error, best_error),
    )
