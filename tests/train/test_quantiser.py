"""Rounding, its gradients and the noise, against the number grid and against plain autograd."""

import numpy as np
import pytest
import torch

from sysmol import grid
from sysmol.train.quantise.quantiser import (
    LEAST_SHARE,
    add_noise,
    byte_levels,
    codes,
    fit_range,
    fit_ranges,
    fit_weight_scale,
    nearest_precision,
    precision_of,
    quantise,
    s_of,
    smol_levels,
)

ONE, ZERO = torch.ones(()), torch.zeros(())


@pytest.mark.parametrize("p", grid.PRECISIONS)
def test_codes_are_the_grid(p: int) -> None:
    seed = np.random.SeedSequence().entropy
    print("seed", seed)
    rng = np.random.default_rng(seed)
    steps = np.arange(-64, 65) / 16  # every boundary between codes, exactly
    v = np.concatenate([rng.uniform(-3, 3, 500).astype(np.float32), steps])
    found = codes(torch.tensor(v, dtype=torch.float32), ONE, ZERO, smol_levels(torch.tensor(p)))
    assert np.array_equal(found.numpy(), grid.encode(v.astype(np.float32), p))
    q = quantise(torch.tensor(v, dtype=torch.float32), ONE, ZERO, smol_levels(torch.tensor(p)))
    assert np.array_equal(q.numpy(), grid.value(grid.encode(v.astype(np.float32), p), p))


def test_channels_have_precisions_scales_and_offsets_of_their_own() -> None:
    x = torch.linspace(-4, 4, 400).repeat(3, 1).T
    precisions = torch.tensor([4, 2, 1])
    scale, offset = torch.tensor([0.5, 1.0, 2.0]), torch.tensor([0.3, -0.2, 1.0])
    q = quantise(x, scale, offset, smol_levels(precisions))
    for c, p in enumerate(precisions.tolist()):
        v = (x[:, c] - offset[c]) / scale[c]
        wanted = torch.tensor(grid.value(grid.encode(v.numpy(), p), p)) * scale[c] + offset[c]
        assert torch.allclose(q[:, c].double(), wanted.double(), atol=1e-6)
        assert len(q[:, c].unique()) == 2**p


def test_straight_through_gradients() -> None:
    x = torch.tensor([-5.0, -1.3, 0.1, 0.9, 7.0], requires_grad=True)
    scale, offset = torch.tensor(0.8, requires_grad=True), torch.tensor(0.25, requires_grad=True)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    levels = smol_levels(torch.tensor(2))
    (quantise(x, scale, offset, levels) * weights).sum().backward()
    v = ((x - offset) / scale).detach()
    inside = v.abs() < 2
    q = torch.tensor(grid.value(grid.encode(v.numpy(), 2), 2)).float()
    assert x.grad is not None and scale.grad is not None and offset.grad is not None
    assert torch.equal(x.grad, weights * inside)
    assert torch.allclose(scale.grad, (weights * torch.where(inside, q - v, q)).sum())
    assert torch.allclose(offset.grad, (weights * ~inside).sum())


def test_gradient_of_the_scale_is_the_derivative_outside_the_grid() -> None:
    x = torch.tensor([9.0, -9.0])
    scale = torch.tensor(0.7, requires_grad=True)
    quantise(x, scale, ZERO, smol_levels(torch.tensor(4)))[0].backward()
    h = 1e-3
    ends = [float(quantise(x, torch.tensor(0.7 + d), ZERO, smol_levels(torch.tensor(4)))[0]) for d in (-h, h)]
    assert scale.grad is not None and float(scale.grad) == pytest.approx((ends[1] - ends[0]) / (2 * h), rel=1e-3)


def test_bytes_round_to_the_nearest() -> None:
    x = torch.tensor([-300.0, -128.6, -0.5, 0.49, 0.5, 126.6, 500.0])
    assert codes(x, ONE, ZERO, byte_levels()).tolist() == [-128, -128, 0, 0, 1, 127, 127]
    assert codes(x, ONE, ZERO, byte_levels(-127)).tolist() == [-127, -127, 0, 0, 1, 127, 127]


def test_precision_and_its_noise() -> None:
    for p in (1.01, 1.5, 2.0, 3.3, 4.0, 6.0):
        s = torch.tensor(s_of(p))
        assert float(precision_of(s)) == pytest.approx(p, abs=1e-4)
        assert float(torch.sigmoid(s)) == pytest.approx(2 ** (1 - p), rel=1e-4)
    assert nearest_precision(torch.tensor([1.0, 1.4, 1.5, 2.8, 2.9, 9.0])).tolist() == [1, 1, 2, 2, 4, 4]


def test_noise_spans_the_rounding_error() -> None:
    torch.manual_seed(1)
    s = torch.tensor([s_of(4.0), s_of(2.0), s_of(1.001)])
    x = torch.zeros(4000, 3)
    noise = add_noise(x, torch.tensor(0.5), ZERO, s)
    for c, p in enumerate((4, 2, 1)):
        largest = float(noise[:, c].abs().max())
        assert 0.97 * 0.5 * 2 ** (1 - p) < largest <= 0.5 * 2 ** (1 - p) * 1.001


def test_noise_gradients_equal_plain_autograd() -> None:
    torch.manual_seed(3)
    x0, s0 = torch.randn(5, 3, 2, 2) * 2, torch.randn(1, 3, 1, 1)
    scale, offset = torch.rand(5, 1, 1, 1) + 0.5, torch.tensor(0.2)
    weights = torch.randn(5, 3, 2, 2)
    grads = []
    for plain in (False, True):
        x, s = x0.clone().requires_grad_(), s0.clone().requires_grad_()
        torch.manual_seed(4)
        if plain:
            reach = scale * (2 - torch.sigmoid(s))
            eps = torch.empty_like(x).uniform_(-1, 1)
            y = torch.maximum(torch.minimum(x, offset + reach), offset - reach) + scale * torch.sigmoid(s) * eps
        else:
            y = add_noise(x, scale, offset, s)
        (y * weights).sum().backward()
        grads.append((y.detach(), x.grad, s.grad))
    for ours, theirs in zip(*grads, strict=True):
        assert ours is not None and theirs is not None
        assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("p", grid.PRECISIONS)
def test_first_guesses_are_no_worse_than_obvious_ones(p: int) -> None:
    torch.manual_seed(p)
    x = torch.relu(torch.randn(4000))
    levels = smol_levels(torch.tensor(p))

    def error(scale: float, offset: float) -> float:
        return float((quantise(x, torch.tensor(scale), torch.tensor(offset), levels) - x).square().mean())

    scale, offset = fit_range(x, p)
    assert error(scale, offset) <= error(float(x.max()) / 4, float(x.max()) / 2)
    weight = torch.randn(6, 8, 3, 3) * torch.tensor([0.01, 0.1, 1.0, 2.0, 5.0, 9.0]).view(-1, 1, 1, 1)
    found = fit_weight_scale(weight, levels, ONE)
    ratio = found / weight.square().mean((1, 2, 3)).sqrt()
    assert float(ratio.max() / ratio.min()) < 1.5


@pytest.mark.parametrize("precision", [1, 2, 4])
@pytest.mark.parametrize("value", [3.7, -0.002, 1e-7, 5e4])
@pytest.mark.parametrize("centred", [False, True])
def test_a_constant_tensor_keeps_its_value(precision: int, value: float, centred: bool):
    x = torch.full((2, 3, 8, 8), value)
    scale, offset = fit_range(x, precision, centred)
    found = quantise(x, torch.tensor(scale), torch.tensor(offset), smol_levels(torch.tensor(precision)))
    assert scale > 0 and torch.allclose(found, x, rtol=5e-3, atol=0)


@pytest.mark.parametrize("precision", [1, 2, 4])
def test_small_spreads_are_as_good_as_large_ones(precision: int, seed: int):
    """A grid has no size of its own: scaled values have a scaled grid."""
    x = torch.rand(1000, generator=torch.Generator().manual_seed(seed))
    scale, offset = fit_range(x, precision)
    small, moved = fit_range(x * 1e-7, precision)
    assert small == pytest.approx(scale * 1e-7, rel=1e-3) and moved == pytest.approx(offset * 1e-7, rel=1e-3)


def test_a_zero_tensor_has_a_grid():
    scale, offset = fit_range(torch.zeros(10), 4)
    assert scale > 0 and offset == 0


@pytest.mark.parametrize("silent", [1, 2, 4])
@pytest.mark.parametrize("low", [0.0, -0.3])
def test_channels_that_are_nearly_alike_get_a_share_of_the_others_scale(silent: int, low: float, seed: int):
    """One unit of a sum is the same number for all: with a tiny scale of their own they would be as loud as others."""
    draw = torch.Generator().manual_seed(seed)
    live, other = torch.randn(4000, generator=draw).relu(), {1: 2, 2: 4, 4: 2}[silent]
    quiet = low + 1e-3 * torch.rand(4000, generator=draw)
    found = fit_ranges({other: live, silent: quiet}, {other: 1.0, silent: 0.0})
    assert found[other] == fit_range(live, other)
    scale, offset = (torch.tensor(each) for each in found[silent])
    assert float(scale) == LEAST_SHARE * found[other][0]
    rounded = quantise(quiet, scale, offset, smol_levels(torch.tensor(silent)))
    assert float((rounded - quiet).abs().max()) < 1.1e-3


def test_a_scale_of_their_own_where_weights_make_up_for_it(seed: int):
    draw = torch.Generator().manual_seed(seed)
    live = torch.randn(4000, generator=draw).relu()
    small = {4: live, 2: 1e-3 * live}
    assert fit_ranges(small, {4: 1.0, 2: 1e3}) == {p: fit_range(x, p) for p, x in small.items()}
    assert fit_ranges({2: 1e-3 * live}, {2: 1.0}) == {2: fit_range(1e-3 * live, 2)}
    # A constant says nothing of how fine the others are.
    beside = {4: torch.full((9,), 5e4), 2: live}
    assert fit_ranges(beside, {4: 1.0, 2: 1.0})[2] == fit_range(live, 2)


def test_weights_of_nothing_are_the_quietest():
    """No code is 0, so that they are never quite nothing."""
    weight = torch.randn(5, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    weight[2] = 0
    scale = fit_weight_scale(weight, smol_levels(torch.tensor(4)), ONE)
    assert float(scale[2]) < 0.01 * float(scale[[0, 1, 3, 4]].min())


def test_the_sample_does_not_alias():
    """512 images with a grey border, which every k-th value is where k is a multiple of the width."""
    x = torch.zeros(512, 14, 16, 16)
    x[..., 1:-1, 1:-1] = 2.82 * torch.rand(512, 14, 14, 14, generator=torch.Generator().manual_seed(0))
    scale, offset = fit_range(x, 4)
    assert offset + scale * 1.875 > 2.5
