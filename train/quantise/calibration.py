"""First guesses of scales and offsets from a few images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import nn

from sysmol.errors import SysmolError
from sysmol.grid import PRECISIONS
from sysmol.train.frontend.graph import Unit
from sysmol.train.frontend.policy import LEARNED
from sysmol.train.frontend.tables import TABLES
from sysmol.train.quantise.forward import ForwardPass
from sysmol.train.quantise.modes import FLOAT, FROZEN, OFFSET
from sysmol.train.quantise.modules import INDEX, VALUE, Key, activate
from sysmol.train.quantise.quantiser import (
    MOST_VALUES,
    fit_ranges,
    fit_table,
    fit_weight_scale,
    sample,
    smol_levels,
)

MOST_PIXELS = 2_000
"""Pixels of attention's operands that their grids are fitted to."""
MOST_ENDS = 1_000_000
"""Values of a tensor of bytes whose ends its grid spans."""


@torch.no_grad()
def calibrate(prepared: ForwardPass, images: torch.Tensor) -> None:
    """Fit every grid of ``prepared`` to what real ``images [n, C, H, W]`` give, and the weights' to the weights
    (:meth:`sysmol.train.quantise.prepared.Prepared.calibrate`)."""
    if prepared.is_float:
        return
    mode = prepared.mode
    if mode == FROZEN:
        prepared.mode = FLOAT
    own = prepared.training and len(images) > 1
    share = 1 if own else 4  # batches of any size give the same by the running statistics
    samples = _Samples(prepared, mode == FROZEN, len(batches(prepared, len(images), share)))
    with batch_statistics(prepared, own):
        for results in in_batches(prepared, images, share):
            samples.take(results)
    prepared.mode = mode
    for key in prepared.keys:
        if key[2] == "smol":
            _fit_sampled(prepared, key, samples)
        elif key[2] == "s8":
            fit_bytes(prepared, key, samples.values(key))
        elif key[2] != "s16":
            fit_own(prepared, key, samples.values(key))
    for unit in prepared.graph.convolutions:
        fit_weight(prepared, unit)


@contextmanager
def batch_statistics(module: nn.Module, own: bool = True) -> Iterator[None]:
    """Batch normalisation by the batch's ``own`` statistics, as in training, else by the running ones, which stay as
    they are.

    In front of training: running statistics that noise or coarse codes have left do not fit full precision, and grids
    that were fitted to what they give would miss what the first step sees, at 1 bit too far for training to find back.
    Without training behind it: the exported network has the running statistics, which may be far from a few images'.
    """
    norms = [each for each in module.modules() if isinstance(each, nn.BatchNorm2d)]
    before = [norm.training for norm in norms]
    for norm in norms:
        norm.training, norm.track_running_stats = own, not own
    try:
        yield
    finally:
        for norm, training in zip(norms, before, strict=True):
            norm.training, norm.track_running_stats = training, True


MEMORY = 800 << 20
"""Bytes of activations, float32, that a batch of calibration images may take: the results of all units, and as much
again behind their activation functions."""


def batches(prepared: ForwardPass, count: int, share: int = 1) -> list[slice]:
    """Slices, about equal, of so many images, each of whose activations take at most :data:`MEMORY` over ``share``."""
    each = sum(2 * 4 * math.prod(unit.shape) for unit in prepared.graph.units.values())
    number = -(-count * each * share // MEMORY) if count > 1 else 1
    number = min(number, max(count // 2, 1))  # batch statistics need two images
    ends = [count * n // number for n in range(number + 1)]
    return [slice(a, b) for a, b in pairwise(ends)]


def in_batches(prepared: ForwardPass, images: torch.Tensor, share: int = 1) -> Iterator[dict[str, torch.Tensor]]:
    """The results of all units (:meth:`ForwardPass.results`), batch after batch of real ``images [n, C, H, W]``;
    ``share`` as in :func:`batches`.

    Raises :class:`SysmolError` that names the first layer whose results are no finite numbers.
    """
    parts = batches(prepared, len(images), share)
    if not all(bool(images[part].isfinite().all()) for part in parts):
        raise SysmolError("the calibration images hold NaN or infinite numbers")
    for part in parts:
        results = prepared.results(images[part])
        for name, result in results.items():
            if not bool(result.isfinite().all()):
                path = prepared.graph.units[name].path or name
                raise SysmolError(f"layer {path} gives NaN or infinite numbers on the calibration images")
        yield results
        results.clear()  # before the next batch: who reads them may hold them still


class _Samples:
    """Values of every stored tensor that grids are fitted to, at random from all batches of images."""

    def __init__(self, prepared: ForwardPass, frozen: bool, parts: int) -> None:
        self.prepared = prepared
        self.frozen = frozen
        self.parts = parts
        self.found: dict[tuple[Key, int], torch.Tensor] = {}
        self.counts: dict[tuple[Key, int], int] = {}

    def take(self, results: Mapping[str, torch.Tensor]) -> None:
        """Draw from the results of one of the batches."""
        for key in self.prepared.keys:
            if key[2] == "s8":
                self._add(key, 0, sample(activate(results[key[0]], key[1]), MOST_ENDS // self.parts), MOST_ENDS)
            elif key[2] == "smol":
                x = self.prepared.code_input(results[key[0]], key[1])
                for bits, channels in channels_by_bits(self.prepared, key, self.frozen).items():
                    self._add(key, bits, sample(x[:, channels], MOST_VALUES // self.parts), MOST_VALUES)
            elif key[2] == INDEX:
                values = activate(results[key[0]], key[1])
                self._add(key, 0, sample(values, MOST_VALUES // self.parts), MOST_VALUES)
            elif key[2] != "s16":
                x = self.prepared.code_input(results[key[0]], key[1])
                self._add(key, 0, sample_pixels(x, MOST_PIXELS // self.parts), MOST_PIXELS)

    def values(self, key: Key, bits: int = 0) -> torch.Tensor:
        """Of the channels of a SMOL tensor that have these bits, of any other tensor of all."""
        return self.found[key, bits][: self.counts[key, bits]]

    def _add(self, key: Key, bits: int, values: torch.Tensor, most: int) -> None:
        if (key, bits) not in self.found:
            # One block for all batches: small ones between the large ones of every batch would keep those from reuse.
            room = self.parts * (most // self.parts)
            self.found[key, bits], self.counts[key, bits] = values.new_empty((room, *values.shape[1:])), 0
        start = self.counts[key, bits]
        self.counts[key, bits] = start + len(values)
        self.found[key, bits][start : start + len(values)] = values


def sample_pixels(x: torch.Tensor, count: int) -> torch.Tensor:
    """All channels of at most ``count`` pixels of ``x [n, C, H, W]``, ``[pixels, C]``, at random from a fixed seed."""
    pixels = x.detach().permute(0, 2, 3, 1).flatten(0, 2)
    if len(pixels) <= count:
        return pixels
    draw = torch.Generator().manual_seed(0)
    return pixels[torch.randint(len(pixels), (count,), generator=draw).to(pixels.device)]


def fit_own(prepared: ForwardPass, key: Key, x: torch.Tensor) -> None:
    """Fit a tensor that one operation reads by rules of its own: the places of a table to values ``x``, the scales of
    attention's operands to all channels of some pixels, ``x [pixels, C]``."""
    module = prepared.activation(key)
    if key[2] == INDEX:
        module.set(0, *fit_table(x, _table_of(prepared, key)))
        return
    count = len(module.log_scale)
    runs = x.T.reshape(count, -1, len(x))
    offset = runs.mean((1, 2)) if key[2] == VALUE else torch.zeros(count)
    levels = smol_levels(prepared.domain(key[0]).precisions.view(count, -1, 1))
    scale = fit_weight_scale(runs - offset.view(-1, 1, 1), levels, torch.ones(()))
    for index in range(count):
        module.set(index, float(scale[index]), float(offset[index]))


def _table_of(prepared: ForwardPass, key: Key) -> Callable[[torch.Tensor], torch.Tensor]:
    """The function that is looked up by a tensor."""
    units = prepared.graph.units.values()
    return next(TABLES[u.function] for u in units if u.function and u.input and prepared.key(u.input, INDEX) == key)


def fit_bytes(prepared: ForwardPass, key: Key, x: torch.Tensor) -> None:
    """Fit the grid of a tensor of bytes to values ``x`` of it."""
    module = prepared.activation(key)
    if not module.log_scale.requires_grad:
        return
    low, high = _ends(x)
    if key[1] == "none":
        module.set(0, (max(-low, high) or 1.0) / 127, 0.0)
    else:
        scale = (max(high, 0.0) or 1.0) / 255
        module.set(0, scale, 128 * scale)


def channels_by_bits(prepared: ForwardPass, key: Key, frozen: bool) -> dict[int, torch.Tensor]:
    """The channels of every precision of a SMOL tensor, by bits; before they are frozen every channel may come to have
    any."""
    domain = prepared.domain(key[0])
    if not frozen and domain.bits == LEARNED:
        return {p: torch.arange(len(domain.precisions)) for p in PRECISIONS}
    found = {p: (domain.precisions == p).nonzero().flatten() for p in PRECISIONS}
    return {p: channels for p, channels in found.items() if len(channels)}


def fit_codes(prepared: ForwardPass, key: Key, frozen: bool, values: Mapping[int, torch.Tensor]) -> None:
    """Fit the grids of a SMOL tensor to ``values`` of the channels of every precision, by bits."""
    squares = _weights_that_read(prepared, key)
    sizes = {p: float(squares[own].mean().sqrt()) for p, own in channels_by_bits(prepared, key, frozen).items()}
    for p, (scale, offset) in fit_ranges(values, sizes, centred=prepared.grid != OFFSET).items():
        prepared.activation(key).set(PRECISIONS.index(p), scale, offset)


def _weights_that_read(prepared: ForwardPass, key: Key) -> torch.Tensor:
    """Sums of squares of the weights that meet every channel of a SMOL tensor, float32 ``[C]``."""
    found = torch.zeros(len(prepared.domain(key[0]).precisions))
    for unit in prepared.smol_convolutions():
        if unit.input and prepared.key(unit.input, "smol") == key:
            found += by_channel(unit, prepared.convolution(unit.name).weight.detach().square())
    return found


def by_channel(unit: Unit, weights: torch.Tensor) -> torch.Tensor:
    """Sums of ``[K, C / groups, KH, KW]`` by the channel that each is read with, ``[C]``."""
    return weights.reshape(unit.groups, -1, *weights.shape[1:]).sum((1, 3, 4)).flatten()


def _fit_sampled(prepared: ForwardPass, key: Key, samples: _Samples) -> None:
    found = {p: samples.values(key, p) for p in channels_by_bits(prepared, key, samples.frozen)}
    fit_codes(prepared, key, samples.frozen, found)
    module, domain = prepared.activation(key), prepared.domain(key[0])
    frozen = samples.frozen or domain.bits != LEARNED
    rows = domain.row()
    if not frozen or not bool((rows == 0).any()):
        # Noise knows one grid per tensor: the one of the highest precision in use.
        first = 0 if not frozen else int(rows.min())
        module.log_scale[0], module.ratio[0] = module.log_scale[first].clone(), module.ratio[first].clone()


def fit_weight(prepared: ForwardPass, unit: Unit) -> None:
    """Fit the scales of a convolution's weights to the weights."""
    module = prepared.convolution(unit.name)
    if prepared.input_format(unit) == "s8":
        largest = module.weight.detach().abs().amax((1, 2, 3))
        module.log_scale.copy_((torch.where(largest > 0, largest, 1.0) / 127).log())
        return
    _, levels = prepared.weight_grid(unit)
    module.log_scale.copy_(fit_weight_scale(module.weight, levels, prepared.unit_scale(unit)).log())


def _ends(x: torch.Tensor) -> tuple[float, float]:
    """Smallest and largest value, a few outliers apart."""
    flat = sample(x, MOST_ENDS)
    count = max(1, flat.numel() // 10_000)
    return float(flat.kthvalue(count).values), float(flat.kthvalue(flat.numel() - count + 1).values)
