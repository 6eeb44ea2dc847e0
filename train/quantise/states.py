"""Whether what a file holds is the state of a module or an optimiser, before anything of it is taken over."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def is_state_of(module: nn.Module, found: Any) -> bool:
    """Whether ``found`` has the names, shapes and kinds of numbers of the module's own state."""
    own = module.state_dict()
    if not isinstance(found, dict) or found.keys() != own.keys():
        return False
    return all(_like(found[name], value) for name, value in own.items())


def _like(found: Any, value: Any) -> bool:
    if not isinstance(value, torch.Tensor):
        return type(found) is type(value)
    if not isinstance(found, torch.Tensor) or found.layout != torch.strided or found.shape != value.shape:
        return False
    return found.is_floating_point() == value.is_floating_point() and found.is_complex() == value.is_complex()


def is_optimiser_state(optimiser: torch.optim.Optimizer, found: Any) -> bool:
    """Whether ``found`` is a state of this optimiser: its groups and settings, moments of its parameters' shapes."""
    if not isinstance(found, dict) or found.keys() != {"state", "param_groups"}:
        return False
    groups, own = found["param_groups"], optimiser.state_dict()["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(own):
        return False
    for group, mine in zip(groups, own, strict=True):
        if not isinstance(group, dict) or group.keys() != mine.keys() or group["params"] != mine["params"]:
            return False
        if not all(_plain_like(group[name], value) for name, value in mine.items()):
            return False
    parameters = [each for group in optimiser.param_groups for each in group["params"]]
    numbers = [number for group in own for number in group["params"]]
    shapes = {number: each.shape for number, each in zip(numbers, parameters, strict=True)}
    return isinstance(found["state"], dict) and all(
        number in shapes and _moments(moments, shapes[number]) for number, moments in found["state"].items()
    )


def _plain_like(found: Any, value: Any) -> bool:
    """A setting of the same type; a learning rate may be whole or not."""
    numbers = (int, float)
    if type(value) in numbers:
        return type(found) in numbers
    return type(found) is type(value)


def _moments(found: Any, shape: torch.Size) -> bool:
    if not isinstance(found, dict) or found.keys() != {"step", "exp_avg", "exp_avg_sq"}:
        return False
    return all(
        isinstance(each, torch.Tensor)
        and each.is_floating_point()
        and each.layout == torch.strided
        and each.shape == (() if name == "step" else shape)
        for name, each in found.items()
    )


def is_log(found: Any, epochs: Any) -> bool:
    """Whether ``found`` is a training log of so many epochs: a row of numbers for each."""
    if not isinstance(found, list) or type(epochs) is not int or len(found) != epochs:
        return False
    return all(isinstance(row, dict) and all(_is_number(name, each) for name, each in row.items()) for row in found)


def _is_number(name: Any, value: Any) -> bool:
    return isinstance(name, str) and type(value) in (int, float)
