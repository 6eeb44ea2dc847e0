"""Real constants as integers: what is held, what is refused, and networks whose sums leave few bits for a factor."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import frozen, random_images
from torch import nn

from sysmol.errors import SysmolError
from sysmol.network import HIGH, LOW, Output
from sysmol.network.sums import RESIDUAL_SHIFT, product
from sysmol.train.frontend.data import to_real
from sysmol.train.quantise import fixed_point
from sysmol.train.quantise.export import export
from sysmol.train.quantise.fixed_point import LEAST_BITS, STEP, Wanted, integers


def wanted(rng, size, bound, form="s8", residual=False):
    """Random constants of ``size`` channels whose sums reach ``bound``, of which a normal sum is 1/300."""
    clamp = {"s8": (-128, 127), "smol": (0, 15), "s16": (-32768, 32767)}[form]
    slope = (clamp[1] - clamp[0]) / 4 / (bound / 300)
    multiplier = slope * np.exp(rng.normal(0, 0.6, size)) * rng.choice([-1, 1], size)
    made = Wanted(
        "t", form, clamp, multiplier, rng.normal(0, clamp[1] / 4, size), np.full(size, bound, dtype=np.int64),
        np.zeros((1, 1, size), dtype=np.int64),
    )  # fmt: skip
    if residual:
        made.residual = np.full(size, 1.25 * clamp[1] / 32768)
        made.reach, made.residual_format = np.full(size, 32768), "s16"
    return made


def evaluated(out: Output, form: str, acc, r=None):
    y = product(acc, out.M, out.multiply, out.pre) + out.B[0, 0]
    if r is not None:
        y = y + product(r, out.R, out.residual_multiply, RESIDUAL_SHIFT[form])
    return np.clip(y >> out.shift, int(out.lo), int(out.hi))


@pytest.mark.parametrize("form", ["s8", "smol", "s16"])
@pytest.mark.parametrize("bits", [6, 12, 17, 20, 24, 28, 30])
@pytest.mark.parametrize("residual", [False, True])
def test_outputs_are_those_of_real_constants_but_at_the_very_ends_of_a_step(form, bits, residual, seed):
    """However large sums can get; y differs where the real one lies within the promised part of a step's end."""
    rng = np.random.default_rng([seed, bits])
    size = 24
    made = wanted(rng, size, (1 << bits) + int(rng.integers(1 << bits - 1)), form, residual)
    out = integers(made, "layer x")
    assert out.M is not None and np.abs(out.M).max() >= 1 << (LEAST_BITS - 1)
    acc = np.rint(rng.normal(0, float(made.bound[0]) / 300, (4000, size))).astype(np.int64)
    r = rng.integers(-32768, 32768, acc.shape) if residual else None
    real = made.multiplier * acc + made.addend + (0 if r is None else made.residual * r)
    found = evaluated(out, made.residual_format, acc, r)
    right = np.clip(np.floor(real), *made.clamp)
    # Factors of 12 bits err by 2**-12 of a term, biases of 16 bits by half a step of s16; then there are the steps.
    terms = np.abs(made.multiplier * acc) + (0 if r is None else np.abs(made.residual * r))
    slack = 2.0**-LEAST_BITS * terms + (2 if form == "s16" else 3 * STEP)
    assert (np.abs(found - np.clip(real - 0.5, *made.clamp)) <= 0.5 + slack + (found != right)).all()
    near = np.abs(real - np.rint(real)) <= slack
    assert (found == right)[~near].all()
    assert form == "s16" or (found != right).mean() < 0.1


def test_small_sums_keep_low_products_and_large_ones_do_not(seed):
    rng = np.random.default_rng(seed)
    assert integers(wanted(rng, 8, 1 << 12), "x").multiply == LOW
    assert integers(wanted(rng, 8, 1 << 26), "x").multiply == HIGH


def test_channels_without_a_factor_do_not_count(seed):
    made = wanted(np.random.default_rng(seed), 6, 1 << 10)
    made.multiplier[:2] = 0, 1e-9
    out = integers(made, "x")
    assert out.multiply == LOW and out.M[0] == out.M[1] == 0


def test_a_factor_of_too_few_bits_is_noticed(seed, monkeypatch):
    """Where fewer bits are enough, low products are taken that have no more."""
    made = wanted(np.random.default_rng(seed), 8, 1 << 26)
    monkeypatch.setattr("sysmol.train.quantise.fixed_point.LEAST_BITS", 1)
    coarse = integers(made, "x")
    assert coarse.multiply == LOW and np.abs(coarse.M).max() < 1 << (LEAST_BITS - 1)


def test_sums_beyond_32_bits_name_the_layer():
    made = wanted(np.random.default_rng(0), 4, 1 << 31)
    with pytest.raises(SysmolError, match=r"^layer fc: its sums can reach 2,147,483,648, beyond 32 bits"):
        integers(made, "layer fc")


def test_scales_that_no_integers_hold_name_the_layer():
    made = wanted(np.random.default_rng(0), 4, 1 << 30)
    made.multiplier[:] = 1e6
    with pytest.raises(SysmolError, match=r"^layer fc: no 32-bit integers hold"):
        integers(made, "layer fc")


# --- networks --------------------------------------------------------------------------------------------------------


class GlobalMean(nn.Module):
    """A mean over an image whose sums fill 31 bits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 1)
        self.head = nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.stem(x)).mean((2, 3)))


class ManyFeatures(nn.Module):
    """A linear layer of 200,704 features."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(448 * 448, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.flatten(1))


class ManyChannels(nn.Module):
    """A 7x7 convolution of 512 channels, with a batch normalisation whose gains differ."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 512, 1)
        self.wide = nn.Conv2d(512, 64, 7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(64)
        self.head = nn.Linear(64, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.wide(F.relu(self.stem(x)))))
        return self.head(x.mean((2, 3)))


LARGE = {
    "mean": (GlobalMean, (224, 224, 1)),
    "linear": (ManyFeatures, (448, 448, 1)),
    "conv": (ManyChannels, (7, 7, 1)),
}


@pytest.mark.parametrize("name", LARGE)
def test_the_largest_layers_are_exact_to_rounding(name, seed, monkeypatch):
    """Every output of the exported network against the real constants that it was made from."""
    made = {}

    def noting(function):
        def call(what, *rest):
            out = function(what, *rest)
            if out is not None:
                made[what.tensor] = what
            return out

        return call

    for function in (fixed_point.integers, fixed_point.best):
        monkeypatch.setattr(f"sysmol.train.quantise.export.{function.__name__}", noting(function))
    torch.manual_seed(seed)
    kind, shape = LARGE[name]
    images = random_images(seed, 4, shape)
    net = export(frozen(kind(), images, "int8", seed), name, to_real(images))
    assert any(out.multiply == HIGH for layer in net.layers for out in layer.outputs)
    rng = np.random.default_rng(seed)
    for layer in net.layers:
        for out in layer.outputs:
            what = made[out.tensor]
            # Sums whose outputs cover the range between the clamps, as far as sums reach.
            y = rng.uniform(out.lo, out.hi, (500, len(out.M)))
            most = np.minimum(what.bound, 2.0**30)
            acc = np.rint(np.clip((y - what.addend) / np.where(what.multiplier == 0, 1, what.multiplier), -most, most))
            real = np.clip(what.multiplier * acc + what.addend - 0.5, out.lo, out.hi)
            # B of border classes: the one in the middle lacks nothing.
            inner = replace(out, B=out.B[out.B.shape[0] // 2, out.B.shape[1] // 2][None, None])
            error = np.abs(evaluated(inner, "", acc.astype(np.int64)) - real)
            wide = net.tensors[out.tensor].format in ("s16", "s32")
            mean = 0 if what.mean_acc is None else what.mean_acc
            terms = np.abs(what.multiplier * acc) + np.abs(what.multiplier * mean) + np.abs(what.addend)
            slack = (2 if wide else 0.5 + 2 * STEP) + terms * 2.0**-LEAST_BITS
            assert (error <= slack).all(), (layer.name, out.tensor, out.multiply)
