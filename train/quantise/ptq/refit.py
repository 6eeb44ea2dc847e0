"""Scales, offsets, biases and weights of a rounded network, fitted together to what it gave in full precision.

Weights keep their place relative to their grid (:func:`relative`), so that a scale moves the weights with it, and rates
are in steps of the grid whatever a network's numbers are; they move themselves through the straight-through estimator.
Minimised is how far the logits' probabilities and the results of all layers are from those of full precision; where
there are labels, also the cross entropy with them. Batch normalisation stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from sysmol.errors import SysmolError
from sysmol.train.frontend.graph import Unit
from sysmol.train.quantise.modules import Activation
from sysmol.train.quantise.prepared import Prepared

Batch = tuple[torch.Tensor, torch.Tensor | None]
"""Real images ``[n, C, H, W]``, and their labels ``[n]`` where those are known."""


@dataclass(frozen=True)
class Refit:
    """How long and how fast: Adam's rates for weights in steps of their grid, for the logarithms of scales and offsets
    in scales, and for biases in parts of the layer's usual sum; ``layers``: what the layers' results weigh beside the
    logits'; ``labels``: the share of the loss that labels have where there are any."""

    steps: int = 300
    batch: int = 64
    weights: float = 0.02
    scales: float = 0.002
    biases: float = 0.005
    layers: float = 1.0
    labels: float = 0.5


class Everything(nn.Module):
    """All units' results as a module's."""

    def __init__(self, prepared: Prepared) -> None:
        super().__init__()
        self.prepared = prepared

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return self.prepared.results(x)


def refit(
    prepared: Prepared, exact: Prepared, images: torch.Tensor, how: Refit, seed: int = 0,
    said: Callable[[str], None] = lambda _: None,
) -> None:  # fmt: skip
    """Fit a frozen network to ``exact``, the same in full precision, on real ``images [n, C, H, W]`` without labels."""
    fit(prepared, exact, _draws(images, how, seed), how, said)


def fit(
    prepared: Prepared, exact: Prepared, batches: Iterable[Batch], how: Refit,
    said: Callable[[str], None] = lambda _: None, device: torch.device | None = None,
) -> None:  # fmt: skip
    """Fit a frozen network to ``exact`` on ``how.steps`` batches; ``said`` is told the loss from time to time.

    Raises :class:`SysmolError` where the loss is no finite number.
    """
    for each in (prepared, exact):
        each.eval().to(device or torch.device("cpu"))
    units = prepared.graph.convolutions
    places = {unit.name: nn.Parameter(relative(prepared, unit)) for unit in units}
    optimiser = torch.optim.Adam(_groups(prepared, places, how))
    peaks = [group["lr"] for group in optimiser.param_groups]
    everything = Everything(prepared)
    for step, (x, labels) in enumerate(batches):
        for group, peak in zip(optimiser.param_groups, peaks, strict=True):
            group["lr"] = peak * 0.5 * (1 + float(np.cos(np.pi * step / how.steps)))
        with torch.no_grad():
            wanted = exact.results(x)
        weights = {f"prepared.convolutions.{u.name}.weight": absolute(prepared, u, places[u.name]) for u in units}
        found = functional_call(everything, weights, (x,))
        loss = distance(prepared, found, wanted, how.layers)
        if labels is not None:
            right = F.cross_entropy(found[prepared.graph.output.unit].flatten(1), labels)
            loss = (1 - how.labels) * loss + how.labels * right
        if not bool(loss.isfinite()):
            raise SysmolError(
                "the rounded network gives no finite numbers: quantise it with other images, or more bits"
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if step % max(how.steps // 10, 1) == 0:
            said(f"step {step} of {how.steps}: loss {float(loss.detach()):.4f}")
    with torch.no_grad():
        for unit in units:
            prepared.convolution(unit.name).weight.copy_(absolute(prepared, unit, places[unit.name]))
    prepared.cpu()
    exact.cpu()


def _groups(prepared: Prepared, places: dict[str, nn.Parameter], how: Refit) -> list[dict[str, Any]]:
    """What is fitted, with its rates."""
    kinds = [each for each in prepared.activations.children() if isinstance(each, Activation)]
    activations = [each for each in kinds if each.log_scale.requires_grad]
    scales = [prepared.convolution(name).log_scale for name in places]
    biases = [_bias(prepared, name) for name in places]
    return [
        {"params": list(places.values()), "lr": how.weights},
        {"params": [*scales, *(p for each in activations for p in (each.log_scale, each.ratio))], "lr": how.scales},
        *({"params": [bias], "lr": how.biases * size} for bias, size in biases),
    ]


def relative(prepared: Prepared, unit: Unit) -> torch.Tensor:
    """A convolution's weights in steps of their grid, float32 ``[K, C / groups, KH, KW]``."""
    with torch.no_grad():
        scale, levels = prepared.weight_grid(unit)
        return prepared.convolution(unit.name).kept() / (scale * levels.step)


def absolute(prepared: Prepared, unit: Unit, places: torch.Tensor) -> torch.Tensor:
    """The inverse of :func:`relative`, differentiable by places and scales."""
    scale, levels = prepared.weight_grid(unit)
    return places * (scale * levels.step)


def distance(
    prepared: Prepared, found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], layers: float
) -> torch.Tensor:
    """Cross entropy of the logits with what full precision says, less its own, and the mean of all layers' squared
    errors in parts of their variance, weighed with ``layers``."""
    logits, target = (each[prepared.graph.output.unit].flatten(1) for each in (found, wanted))
    loss = F.kl_div(logits.log_softmax(1), target.log_softmax(1), reduction="batchmean", log_target=True)
    names = [unit.name for unit in prepared.graph.convolutions]
    errors = [(found[n] - wanted[n]).square().mean() / wanted[n].var().clamp_min(1e-12) for n in names]
    return loss + layers * torch.stack(errors).mean()


def _bias(prepared: Prepared, name: str) -> tuple[nn.Parameter, float]:
    """A convolution's bias, made where there is none, and the usual size of its sums, by its weights."""
    module = prepared.convolution(name)
    if module.bias is None:
        module.bias = nn.Parameter(torch.zeros_like(module.log_scale))
    size = float(module.weight.detach().square().sum((1, 2, 3)).mean().sqrt())
    return module.bias, size


def _draws(images: torch.Tensor, how: Refit, seed: int) -> Iterator[Batch]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(how.steps):
        yield images[torch.randint(len(images), (min(how.batch, len(images)),), generator=generator)], None
