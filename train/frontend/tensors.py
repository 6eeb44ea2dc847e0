"""Weights and batch normalisation of the user's, cut, copied and scaled."""

from __future__ import annotations

import torch
from torch import nn


def copied(tensor: torch.Tensor | None) -> torch.Tensor | None:
    """A copy without a gradient's history."""
    return None if tensor is None else tensor.detach().clone()


def ungrouped(weight: torch.Tensor, groups: int) -> torch.Tensor:
    """Weights ``[K, C / groups, KH, KW]`` as ``[K, C, KH, KW]``, zero (False) for the channels of other groups."""
    blocks = weight.chunk(groups)
    per = weight.shape[1]
    dense = weight.new_zeros(weight.shape[0], per * groups, *weight.shape[2:])
    for number, (block, rows) in enumerate(zip(blocks, dense.chunk(groups), strict=True)):
        rows[:, number * per : (number + 1) * per] = block
    return dense


def holes(mask: torch.Tensor) -> torch.Tensor | None:
    """The mask, None where nothing is masked."""
    return None if bool(mask.all()) else mask.clone()


def norm_of_channels(module: nn.Module, own: slice | torch.Tensor) -> nn.BatchNorm2d:
    """Batch normalisation of some channels."""
    assert isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))
    count = len(torch.arange(module.num_features)[own])
    norm = nn.BatchNorm2d(count, module.eps, module.momentum, module.affine).eval()
    found = module.state_dict()
    norm.load_state_dict({name: found[name][own] if found[name].dim() else found[name] for name in norm.state_dict()})
    return norm


def moved_norm(norm: nn.BatchNorm2d, factor: torch.Tensor, addend: torch.Tensor) -> nn.BatchNorm2d:
    """Batch normalisation whose results are those of ``norm`` times ``factor`` plus ``addend``, both ``[C]``."""
    moved = nn.BatchNorm2d(norm.num_features, norm.eps, norm.momentum).eval()
    state = moved.state_dict() | norm.state_dict()
    state |= {"weight": state["weight"] * factor, "bias": state["bias"] * factor + addend}
    moved.load_state_dict(state)
    return moved


class Affine(nn.BatchNorm2d):
    """Constants of the user's in the place of a batch normalisation: ``x * weight[c] + bias[c]``, whatever the batch.

    They are not trained.
    """

    def __init__(self, factor: torch.Tensor, addend: torch.Tensor) -> None:
        super().__init__(len(factor), eps=0.0)
        self.weight = nn.Parameter(factor.clone(), requires_grad=False)
        self.bias = nn.Parameter(addend.clone(), requires_grad=False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
