"""Which function evaluates an operation in PyTorch's integers: the register of :mod:`sysmol.train.quantise.integer`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from sysmol.network import Layer, Network


class Evaluating(Protocol):
    """What such a function may know: the network, the type of sums, and the unpacked weights by layer."""

    net: Network
    real: torch.dtype
    weights: dict[str, torch.Tensor]


Accumulate = Callable[[Evaluating, Layer, Sequence[torch.Tensor]], torch.Tensor]
"""Sums (results, where an operation does not requantise) ``[n, K, OH, OW]`` of the integer values x ``[n, C, H, W]`` of
a layer's inputs, in the evaluator's ``real`` type."""

ACCUMULATE: dict[str, Accumulate] = {}
"""By the operation's name."""


def evaluates(name: str) -> Callable[[Accumulate], Accumulate]:
    """Decorator: the function evaluates this operation from now on."""

    def register(function: Accumulate) -> Accumulate:
        ACCUMULATE[name] = function
        return function

    return register
