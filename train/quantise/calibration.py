"""First guesses of scales and offsets from a few images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from sysmol.train.frontend.graph import Unit
from sysmol.train.frontend.policy import LEARNED
from sysmol.train.quantise.forward import ForwardPass
from sysmol.train.quantise.modes import FLOAT, FROZEN, OFFSET
from sysmol.train.quantise.modules import Key, activate
from sysmol.train.quantise.quantiser import fit_range, fit_weight_scale, sample


@torch.no_grad()
def calibrate(prepared: ForwardPass, images: torch.Tensor) -> None:
    """Fit every grid of ``prepared`` to what real ``images [n, C, H, W]`` give, and the weights' to the weights
    (:meth:`sysmol.train.quantise.prepared.Prepared.calibrate`)."""
    if prepared.is_float:
        return
    mode = prepared.mode
    if mode == FROZEN:
        prepared.mode = FLOAT
    with batch_statistics(prepared, len(images) > 1):
        results = prepared.results(images)
    prepared.mode = mode
    for key in prepared.keys:
        if key[2] == "smol":
            _fit_codes(prepared, key, prepared.code_input(results[key[0]], key[1]))
        elif key[2] == "s8":
            _fit_bytes(prepared, key, activate(results[key[0]], key[1]))
    for unit in prepared.graph.convolutions:
        _fit_weight(prepared, unit)


@contextmanager
def batch_statistics(module: nn.Module, own: bool = True) -> Iterator[None]:
    """Batch normalisation by the batch's ``own`` statistics, as in training, else by the running ones, which stay as
    they are.

    Those that noise or coarse codes have left do not fit full precision, and grids that were fitted to what they give
    would miss what the first training step sees: at 1 bit too far for training to find back.
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


def _fit_bytes(prepared: ForwardPass, key: Key, x: torch.Tensor) -> None:
    module = prepared.activation(key)
    if not module.log_scale.requires_grad:
        return
    low, high = _ends(x)
    if key[1] == "none":
        module.set(0, (max(-low, high) or 1.0) / 127, 0.0)
    else:
        scale = (max(high, 0.0) or 1.0) / 255
        module.set(0, scale, 128 * scale)


def _fit_codes(prepared: ForwardPass, key: Key, x: torch.Tensor) -> None:
    module, domain = prepared.activation(key), prepared.domain(key[0])
    rows = domain.row()
    frozen = prepared.mode == FROZEN or domain.bits != LEARNED
    for row, precision in enumerate((4, 2, 1)):
        channels = (rows == row).nonzero().flatten() if frozen else torch.arange(x.shape[1])
        if len(channels):
            scale, offset = fit_range(x[:, channels], precision, centred=prepared.grid != OFFSET)
            module.set(row, scale, offset)
    if not frozen or not bool((rows == 0).any()):
        # Noise knows one grid per tensor: the one of the highest precision in use.
        first = 0 if not frozen else int(rows.min())
        module.log_scale[0], module.ratio[0] = module.log_scale[first].clone(), module.ratio[first].clone()


def _fit_weight(prepared: ForwardPass, unit: Unit) -> None:
    module = prepared.convolution(unit.name)
    if prepared.input_format(unit) == "s8":
        largest = module.weight.detach().abs().amax((1, 2, 3))
        module.log_scale.copy_((torch.where(largest > 0, largest, 1.0) / 127).log())
        return
    _, levels = prepared.weight_grid(unit)
    module.log_scale.copy_(fit_weight_scale(module.weight, levels, prepared.unit_scale(unit)).log())


def _ends(x: torch.Tensor) -> tuple[float, float]:
    """Smallest and largest value, a few outliers apart."""
    flat = sample(x, 1_000_000)
    count = max(1, flat.numel() // 10_000)
    return float(flat.kthvalue(count).values), float(flat.kthvalue(flat.numel() - count + 1).values)
