"""First guesses of scales and offsets from a few images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from train.graph import Unit
from train.modes import FLOAT, FROZEN, OFFSET
from train.modules import Key, activate
from train.policy import LEARNED
from train.quantiser import fit_range, fit_weight_scale

if TYPE_CHECKING:
    from train.prepared import Prepared


@torch.no_grad()
def calibrate(prepared: Prepared, images: torch.Tensor) -> None:
    """Fit every grid of ``prepared`` to what real ``images [n, C, H, W]`` give, and the weights' to the weights
    (:meth:`train.prepared.Prepared.calibrate`)."""
    if prepared.is_float:
        return
    mode, training = prepared.mode, prepared.training
    prepared.eval()
    if prepared.mode == FROZEN:
        prepared.mode = FLOAT
    results = prepared.results(images)
    prepared.mode = mode
    prepared.train(training)
    for key in prepared.keys:
        if key[2] == "smol":
            _fit_codes(prepared, key, prepared.code_input(results[key[0]], key[1]))
        elif key[2] == "s8":
            _fit_bytes(prepared, key, activate(results[key[0]], key[1]))
    for unit in prepared.graph.convolutions:
        _fit_weight(prepared, unit)


def _fit_bytes(prepared: Prepared, key: Key, x: torch.Tensor) -> None:
    module = prepared.activation(key)
    if not module.log_scale.requires_grad:
        return
    low, high = _ends(x)
    if key[1] == "none":
        module.set(0, max(-low, high, 1e-6) / 127, 0.0)
    else:
        scale = max(high, 1e-6) / 255
        module.set(0, scale, 128 * scale)


def _fit_codes(prepared: Prepared, key: Key, x: torch.Tensor) -> None:
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


def _fit_weight(prepared: Prepared, unit: Unit) -> None:
    module = prepared.convolution(unit.name)
    if prepared.input_format(unit) == "s8":
        largest = module.weight.detach().abs().amax((1, 2, 3)).clamp_min(1e-8)
        module.log_scale.copy_((largest / 127).log())
        return
    _, levels = prepared.weight_grid(unit)
    module.log_scale.copy_(fit_weight_scale(module.weight, levels, prepared.unit_scale(unit)).log())


def _ends(x: torch.Tensor) -> tuple[float, float]:
    """Smallest and largest value, a few outliers apart."""
    flat = x.flatten()
    if flat.numel() > 1_000_000:
        flat = flat[:: flat.numel() // 1_000_000 + 1]
    count = max(1, flat.numel() // 10_000)
    return float(flat.kthvalue(count).values), float(flat.kthvalue(flat.numel() - count + 1).values)
