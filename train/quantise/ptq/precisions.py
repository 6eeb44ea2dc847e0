"""Bits per channel without labels: what the network says itself, in full precision, stands for them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sysmol.train.quantise.allocate import sensitivity, sensitivity_scores
from sysmol.train.quantise.modes import FLOAT
from sysmol.train.quantise.prepared import Prepared

DRAWS = 4
"""How often noise is drawn for every image."""


def choose_precisions(
    prepared: Prepared, images: torch.Tensor, bits: float, patterns: Sequence[int] | None = None, seed: int = 0
) -> None:
    """Freeze a network with learned precisions at most ``bits`` per parameter, in vectors of ``patterns``.

    A bit more is worth what it saves of the cross entropy between the network with noise and in full precision, for
    real ``images [n, C, H, W]`` (:func:`sysmol.train.quantise.allocate.sensitivity`).
    """
    prepared.calibrate(images)
    prepared.mode = FLOAT
    with torch.no_grad():
        wanted = prepared.eval()(images).softmax(1)
    prepared.start_noise()
    torch.manual_seed(seed)
    slopes = sensitivity(prepared, images.repeat(DRAWS, 1, 1, 1), wanted.repeat(DRAWS, 1))
    prepared.freeze(bits, None, patterns, sensitivity_scores(slopes, prepared.domain_weights()))
