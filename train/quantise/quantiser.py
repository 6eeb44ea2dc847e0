"""Rounding with a straight-through estimator, and SMOL's noise that stands for rounding before precisions are frozen.

All quantisers share one form. With ``v = (x - offset) / scale``::

    code = clamp(floor(v * multiplier + half), low, high)
    y    = scale * (code * step + start) + offset

For a p-bit SMOL code (docs/isa.md): multiplier ``2**(p-2)``, half ``2**(p-1)``, codes ``0 .. 2**p - 1``, step
``2**(2-p)``, start ``-(2**p - 1) * 2**(1-p)``. For a signed byte: multiplier 1, half 1/2, codes -128 .. 127 (weights
-127 .. 127), step 1, start 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from sysmol.network.operations.lookup import ENTRIES


@dataclass(frozen=True)
class Levels:
    """The constants of a quantiser, float32, broadcastable over what it rounds."""

    multiplier: torch.Tensor
    half: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    step: torch.Tensor
    start: torch.Tensor


def smol_levels(precisions: torch.Tensor) -> Levels:
    """Levels of SMOL codes with these precisions (1, 2 or 4 bits, any shape)."""
    p = precisions.float()
    top = torch.exp2(p) - 1
    return Levels(
        torch.exp2(p - 2), torch.exp2(p - 1), torch.zeros_like(p), top, torch.exp2(2 - p), -top * torch.exp2(1 - p)
    )  # fmt: skip


def byte_levels(low: int = -128, device: torch.device | None = None) -> Levels:
    """Levels of signed bytes from ``low`` to 127."""
    one = torch.ones((), device=device)
    return Levels(one, one / 2, one * low, one * 127, one, one * 0)


def index_levels(device: torch.device | None = None) -> Levels:
    """Levels of the places of a table, from 0 on."""
    one = torch.ones((), device=device)
    return Levels(one, one / 2, one * 0, one * (ENTRIES - 1), one, one * 0)


def codes(x: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor, levels: Levels) -> torch.Tensor:
    """The codes (whole numbers, in float32) that ``x`` is rounded to."""
    code = torch.floor((x - offset) / scale * levels.multiplier + levels.half)
    return torch.clamp(code, levels.low, levels.high)


class _Round(torch.autograd.Function):
    """Rounding; the gradient passes to x inside the grid's range, and to scale and offset as in learned step size
    quantisation: d y / d scale = q - v inside and q outside, d y / d offset = 1 outside the range."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor, levels: Levels) -> torch.Tensor:
        v = (x - offset).div_(scale)
        code = (v * levels.multiplier).add_(levels.half).floor_()
        q = torch.clamp(code, levels.low, levels.high)
        # 1.0 inside and 0.0 outside: PyTorch vectorises no operation that has truth values in or out.
        inside = code.eq_(q)
        q.mul_(levels.step).add_(levels.start)
        ctx.save_for_backward(inside, torch.addcmul(q, v, inside, value=-1))
        ctx.shapes = scale.shape, offset.shape
        return q.mul_(scale).add_(offset)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        (grad,) = grads
        inside, error = ctx.saved_tensors
        grad_x = grad * inside
        scale_shape, offset_shape = ctx.shapes
        grad_scale = (grad * error).sum_to_size(scale_shape) if ctx.needs_input_grad[1] else None
        grad_offset = None
        if ctx.needs_input_grad[2]:
            grad_offset = grad.sum_to_size(offset_shape) - grad_x.sum_to_size(offset_shape)
        return grad_x, grad_scale, grad_offset, None


def quantise(x: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor, levels: Levels) -> torch.Tensor:
    """``x`` rounded onto the grid ``scale * q + offset``; straight-through gradients (:class:`_Round`)."""
    return _Round.apply(x, scale, offset, levels)


def precision_of(s: torch.Tensor) -> torch.Tensor:
    """Real-valued precision in bits, ``p = 1 + log2(1 + e**-s)``, the solution of ``sigmoid(s) = 2**(1-p)``."""
    return 1 + F.softplus(-s) / torch.log(torch.tensor(2.0))


def s_of(precision: float) -> float:
    """Inverse of :func:`precision_of`."""
    return -float(
        torch.log(torch.expm1(torch.tensor((precision - 1.0), dtype=torch.float64) * torch.log(torch.tensor(2.0))))
    )


def add_noise(x: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """``clamp(x) + scale * sigmoid(s) * eps``, eps uniform in [-1, 1]: the size of the rounding error of precision
    p(s).

    Codes of p bits are 2 * 2**(1-p) apart, so rounding errs by up to 2**(1-p) = sigmoid(s) scales. ``x`` is clamped
    to what the grid reaches, ``offset +- scale * (2 - sigmoid(s))``. ``s`` is broadcastable over ``x``.
    """
    noisy: torch.Tensor = _Noise.apply(x, scale, offset, torch.sigmoid(s))
    return noisy


class _Noise(torch.autograd.Function):
    """Clamp and noise; gradients for x and sigma. Scale and offset stand still in phase 1 and get none."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor, sigma: torch.Tensor
    ) -> torch.Tensor:
        reach = scale * (2 - sigma)
        low, high = offset - reach, offset + reach
        clamped = torch.clamp(x, low, high)
        side = (x - clamped).sign_()  # 1 above the range, -1 below, 0 inside
        eps = torch.empty_like(x).uniform_(-1, 1)
        noisy = clamped.addcmul_(eps, scale * sigma)
        # d y / d sigma = scale * eps, and at the ends of the range, which depend on sigma, one scale more or less.
        ctx.save_for_backward(side.abs().neg_().add_(1), eps.sub_(side), scale)
        ctx.shape = sigma.shape
        return noisy

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        (grad,) = grads
        inside, slope, scale = ctx.saved_tensors
        grad_sigma = None
        if ctx.needs_input_grad[3]:
            both = torch.broadcast_shapes(scale.shape, ctx.shape)
            grad_sigma = ((grad * slope).sum_to_size(both) * scale).sum_to_size(ctx.shape)
        return grad * inside, None, None, grad_sigma


def nearest_precision(precision: torch.Tensor) -> torch.Tensor:
    """Learned precisions to the grid's 1, 2 or 4 bits, the nearest on a logarithmic scale (int64)."""
    p = precision.detach()
    return torch.where(p < 2**0.5, 1, torch.where(p < 8**0.5, 2, 4)).long()


# --- first guesses ---------------------------------------------------------------------------------------------------

SPREAD = 1e-5
"""Values that lie closer than this part of the largest are one number: float32 has little more than that."""
CONSTANT_SCALE = 2.0**-8
"""Scale of a constant tensor's grid, in parts of the constant: codes err by an eighth of it, 0.05 percent."""


MOST_VALUES = 5_000
"""Values of a tensor that its grid is fitted to."""


def sample(x: torch.Tensor, count: int) -> torch.Tensor:
    """At most ``count`` of a tensor's values, flat: drawn at random from a fixed seed, since every k-th value can be
    the same column of every image.
    """
    flat = x.detach().flatten()
    if flat.numel() <= count:
        return flat
    draw = torch.Generator().manual_seed(0)
    return flat[torch.randint(flat.numel(), (count,), generator=draw).to(flat.device)]


def is_constant(values: torch.Tensor) -> bool:
    """Whether all are the same number, but for a :data:`SPREAD` of it."""
    low, high = float(values.min()), float(values.max())
    return high - low <= SPREAD * max(abs(low), abs(high))


def fit_range(values: torch.Tensor, precision: int, centred: bool = False) -> tuple[float, float]:
    """Scale and offset with the smallest squared error over ``values`` on the grid of that precision (by search).

    ``centred``: the offset is 0. Values that are all the same number, but for a :data:`SPREAD` of it, get it exactly:
    as the offset, with a scale that is small beside it, or as the grid's end where there is no offset.
    """
    x = sample(values, MOST_VALUES).float()
    low, high = float(x.min()), float(x.max())
    levels = smol_levels(torch.tensor(precision))
    largest = max(abs(low), abs(high))
    if is_constant(x):
        if centred:
            return (largest or 1.0) / -float(levels.start), 0.0
        return (largest or 1.0) * CONSTANT_SCALE, (low + high) / 2
    reach = 2 * (2 - 2.0 ** (1 - precision))
    lows = torch.quantile(x, torch.tensor([0.0, 0.02, 0.1, 0.2, 0.3, 0.4, 0.5])).unique().tolist()
    highs = torch.quantile(x, torch.tensor([0.6, 0.7, 0.8, 0.87, 0.92, 0.96, 0.98, 0.99, 0.997, 1.0])).unique().tolist()
    best = (float("inf"), (high - low) / reach, 0.0 if centred else (high + low) / 2)
    if centred:
        highs = x.abs().quantile(torch.tensor([0.5, 0.7, 0.8, 0.87, 0.92, 0.96, 0.98, 0.99, 0.997, 1.0])).tolist()
    for top in highs:
        for bottom in [-top] if centred else lows:
            if top - bottom > SPREAD * largest:
                scale, offset = torch.tensor((top - bottom) / reach), torch.tensor((top + bottom) / 2)
                q = codes(x, scale, offset, levels) * levels.step + levels.start
                error = float((q * scale + offset - x).square().mean())
                best = min(best, (error, float(scale), float(offset)))
    return best[1], best[2]


LEAST_SHARE = 0.25
"""Of the scale of channels beside them, what channels of another precision have at least [own]."""


def fit_ranges(
    values: Mapping[int, torch.Tensor], weights: Mapping[int, float], centred: bool = False
) -> dict[int, tuple[float, float]]:
    """Scales and offsets of the parts of a tensor with different precisions, of their ``values``, by bits.

    One unit of a sum is the same number in all parts, so that weights are rounded in steps in proportion to one over
    the scale of what they meet. Channels that are nearly always 0 would have a tiny scale: each of their products would
    count as much in the sums as any other's. Their grid is widened, from their values' lower end on, to
    :data:`LEAST_SHARE` of the others'; of less where the others meet smaller ``weights`` (their usual size, by bits):
    a scale of its own then fits.
    """
    own = {p: fit_range(x, p, centred) for p, x in values.items()}
    live = {p: scale for p, (scale, _) in own.items() if not is_constant(values[p])}

    def widened(p: int) -> tuple[float, float]:
        shares = {q: min(1.0, weights[q] / weights[p]) if weights[p] > 0 else 1.0 for q in live}
        least = LEAST_SHARE * max((live[q] * shares[q] for q in live), default=0.0)
        return own[p] if own[p][0] >= least else (least, 0.0 if centred else _offset(values[p], p, least))

    return {p: widened(p) for p in values}


def _offset(values: torch.Tensor, precision: int, scale: float) -> float:
    """The offset with the smallest squared error of those at which a grid begins with a usual value."""
    x, levels = sample(values, MOST_VALUES).float(), smol_levels(torch.tensor(precision))
    best = float("inf"), 0.0
    for low in torch.quantile(x, torch.tensor([0.0, 0.1, 0.5])).tolist():
        offset = low - float(levels.start) * scale
        rounded = quantise(x, torch.tensor(scale), torch.tensor(offset), levels)
        best = min(best, (float((rounded - x).square().mean()), offset))
    return best[1]


ZERO_SCALE = 2.0**-10
"""Scale of weights that are all 0, in parts of the layer's mean one."""


def fit_weight_scale(weight: torch.Tensor, levels: Levels, unit: torch.Tensor) -> torch.Tensor:
    """Scale per output channel ``[K]`` with the smallest squared error of ``weight`` ``[K, ...]`` on ``scale / unit
    * grid``.

    ``unit`` (broadcastable over weight) is the scale of the activations that the weight meets.
    """
    scaled = weight.detach() * unit
    axes = tuple(range(1, scaled.dim()))
    spread = scaled.square().mean(axes, keepdim=True).sqrt()
    # No code is 0: weights that are all 0, of channels that say nothing, get the finest scale.
    usual = float(spread.mean()) or 1.0
    spread = torch.where(spread > 0, spread, usual * ZERO_SCALE)
    best_error = torch.full_like(spread, float("inf"))
    best = spread.clone()
    zero = torch.zeros(())
    for factor in torch.linspace(0.4, 3.0, 27):
        scale = spread * factor
        q = codes(scaled, scale, zero, levels) * levels.step + levels.start
        error = (q * scale - scaled).square().mean(axes, keepdim=True)
        better = error < best_error
        best = torch.where(better, scale, best)
        best_error = torch.where(better, error, best_error)
    return best.flatten()


LOWS = (0.0, 0.001, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4)
"""Quantiles of values that a table may begin with; it may end with one minus each."""


def fit_table(values: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor]) -> tuple[float, float]:
    """Scale and offset of places 0 .. 63 at which a table of the function errs least over ``values``, squared."""
    x = sample(values, MOST_VALUES).float()
    ends = torch.quantile(x, torch.tensor([*LOWS, *(1 - each for each in LOWS)])).split(len(LOWS))
    levels, wanted = index_levels(), function(x)
    best, spread = (float("inf"), 1.0, 0.0), float(x.max() - x.min())
    for low in ends[0].tolist():
        for high in ends[1].tolist():
            scale = torch.tensor(max(high - low, SPREAD * spread, 1e-30) / (ENTRIES - 1))
            found = function(codes(x, scale, torch.tensor(low), levels) * scale + low)
            best = min(best, (float((found - wanted).square().mean()), float(scale), low))
    return best[1], best[2]
