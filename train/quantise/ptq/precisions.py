"""Bits per channel without labels: what the network says itself stands for them.

A bit more is worth what it saves of the cross entropy between the network with noise and without. To second order that
is half the sum of every number's noise variance times its Fisher information, the mean squared slope of the logarithm
of a class's probability, for classes that the network draws itself. The mean of squares needs no noise to be averaged
away: a few hundred images rank the channels, where the slopes of the cross entropy itself differ from draw to draw by
more than they do from channel to channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from sysmol.train.frontend.graph import Value
from sysmol.train.quantise.allocate import sensitivity_scores
from sysmol.train.quantise.calibration import by_channel
from sysmol.train.quantise.modules import stored
from sysmol.train.quantise.prepared import Prepared

DRAWS = 4
"""How often classes are drawn for every image."""
BATCH = 64
"""Images whose slopes are added: classes drawn by the network itself have slopes of mean 0, so that a sum's square is
the sum of the squares, on average."""
VARIANCE = 4.0**-3 / 3
"""Of the noise of 4 bits, in squared scales: it is even between -1/8 and 1/8 (:func:`..quantiser.add_noise`)."""


def choose_precisions(
    prepared: Prepared, images: torch.Tensor, bits: float, patterns: Sequence[int] | None = None, seed: int = 0
) -> None:
    """Freeze a network with learned precisions at most ``bits`` per parameter, in vectors of ``patterns``, by the
    :func:`noise_losses` of real ``images [n, C, H, W]``."""
    prepared.calibrate(images)
    prepared.start_noise()
    losses = noise_losses(prepared.eval(), images, seed)
    slopes = {name: 2 * np.log(2) * loss for name, loss in losses.items()}  # of a * 4**-p
    prepared.freeze(bits, None, patterns, sensitivity_scores(slopes, prepared.domain_weights()))


@torch.enable_grad()
def noise_losses(
    prepared: Prepared, images: torch.Tensor, seed: int = 0, draws: int = DRAWS
) -> dict[str, torch.Tensor]:
    """Cross entropy, in nats, that 4-bit noise in a channel and in the weights that read it adds: float64 ``[C]`` by
    learned domain, of a network in phase 1."""
    torch.manual_seed(seed)
    found = {name: torch.zeros(len(each.s)).double() for name, each in prepared.learned_domains().items()}
    for batch in images.repeat(draws, *[1] * (images.dim() - 1)).split(BATCH):
        read: dict[tuple[Value, str], torch.Tensor] = {}
        logits = prepared.results(batch, read)[prepared.graph.output.unit].flatten(1)
        classes = torch.multinomial(logits.detach().softmax(1), 1)[:, 0]
        loss = F.cross_entropy(logits, classes, reduction="sum")
        _add(prepared, read, loss, found)
    return {name: VARIANCE / 2 * total / (draws * len(images)) for name, total in found.items()}


def _add(
    prepared: Prepared, read: dict[tuple[Value, str], torch.Tensor], loss: torch.Tensor, found: dict[str, torch.Tensor]
) -> None:
    """Add the squared slopes of a batch's ``loss``, by scales, to every channel of ``found``."""
    units = [u for u in prepared.smol_convolutions() if u.input and prepared.domain_of[u.input.unit] in found]
    own = {each: x for each, x in read.items() if prepared.domain_of[each[0].unit] in found}
    codes = {each: x for each, x in own.items() if _is_code(prepared, *each)}
    weights = [prepared.convolution(unit.name).weight for unit in units]
    slopes = torch.autograd.grad(loss, [*codes.values(), *weights])
    for (value, form), slope in zip(codes, slopes, strict=False):
        name = prepared.domain_of[value.unit]
        scale, _ = prepared.activation(prepared.key(value, form)).of_noise(prepared.domain(name))
        found[name] += (slope.square().sum((0, 2, 3)) * scale.detach().square()).double()
    for unit, slope in zip(units, slopes[len(codes) :], strict=True):
        assert unit.input is not None
        scale, _ = prepared.weight_grid(unit)
        found[prepared.domain_of[unit.input.unit]] += by_channel(unit, (slope * scale.detach()).square()).double()


def _is_code(prepared: Prepared, value: Value, form: str) -> bool:
    """Whether something is rounded to codes where it is read, rather than moved from there."""
    return stored(form) == "smol" and prepared.graph.units[value.unit].operation.requantises
