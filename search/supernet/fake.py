"""Rounding of weights and activations while a supernet is trained; gradients pass as if there were none.

It approximates :mod:`sysmol.train.quantise`: the same numbers of levels, no zero among the weights, scales from the
tensors themselves. What a search reports is that of exported integers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle


class FakeQuantised:
    """While it is open, the named convolutions of a module read rounded activations; :meth:`weights` rounds theirs."""

    def __init__(self, module: nn.Module, bits: Mapping[str, int]) -> None:
        self.module, self.bits = module, bits
        self.hooks: list[RemovableHandle] = []

    def __enter__(self) -> FakeQuantised:
        for name, module in self.module.named_modules():
            if name in self.bits:
                self.hooks.append(module.register_forward_pre_hook(_rounding(self.bits[name])))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self.hooks:
            hook.remove()

    def weights(self, parts: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Parameters by name, those of the named convolutions rounded."""
        result = {}
        for name, value in parts.items():
            owner = name.removesuffix(".weight")
            result[name] = round_weights(value, self.bits[owner]) if owner in self.bits else value
        return result


def _rounding(bits: int) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], tuple[torch.Tensor, ...]]:
    def before(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (round_activations(inputs[0], bits), *inputs[1:])

    return before


def round_weights(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """To odd multiples of half a step per output channel; the step is twice the mean size over the mean level."""
    top = (1 << bits) - 1
    axes = tuple(range(1, weight.dim()))
    size = weight.detach().abs().mean(axes, keepdim=True).clamp_min(1e-8)
    step = 2 * size / max((1 << bits) / 2, 1)
    code = torch.clamp(torch.floor(weight / step + (1 << (bits - 1))), 0, top)
    rounded = (code - top / 2) * step
    return weight + (rounded - weight).detach()


def round_activations(x: torch.Tensor, bits: int) -> torch.Tensor:
    """To 2**bits levels between the least and the 99.5% greatest value of the batch."""
    top = (1 << bits) - 1
    flat = x.detach().flatten()
    low = flat.min()
    high = flat.kthvalue(max(1, int(0.995 * flat.numel()))).values.clamp_min(low + 1e-6)
    step = (high - low) / top
    rounded = torch.clamp(torch.round((x - low) / step), 0, top) * step + low
    inside = torch.minimum(torch.maximum(x, low), high)
    return inside + (rounded - inside).detach()
