"""Precisions of their own for weights and activations: what sharing one per input channel costs.

No SMOL instruction computes with such a network (both operands of one share a pattern), so it is trained for comparison
only, without patterns, and never exported.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from sysmol.errors import SysmolError
from sysmol.train.frontend.graph import Unit
from sysmol.train.frontend.policy import LEARNED
from sysmol.train.quantise.allocate import weighted_bits
from sysmol.train.quantise.modes import FROZEN
from sysmol.train.quantise.modules import Domain
from sysmol.train.quantise.prepared import Prepared
from sysmol.train.quantise.quantiser import nearest_precision, precision_of

REACH = 8.0
"""Largest shift in bits: beyond it every channel has 1 or 4 bits."""


def separate(prepared: Prepared) -> None:
    """Give every convolution that reads a learned domain precisions of its own for the weights, per input channel.

    For a prepared network before phase 1; then :meth:`Prepared.start_noise` and training as always, and
    :func:`freeze` instead of :meth:`Prepared.freeze`.
    """
    for unit in prepared.graph.convolutions:
        if prepared.input_format(unit) == "smol":
            assert unit.input is not None
            shared = prepared.domain(unit.input.unit)
            if shared.bits == LEARNED:
                prepared.weight_domains[unit.name] = Domain(len(shared.s), LEARNED)


def freeze(prepared: Prepared, bits: float) -> None:
    """Round both kinds of precisions, so that weights take at most ``bits`` per parameter (8-bit layers included), and
    the activations that they meet as many on average.
    """
    for domains, mean in ((_of_weights(prepared), weight_bits), (_of_activations(prepared), activation_bits)):
        _round(domains, lambda mean=mean: mean(prepared) <= bits, bits)  # type: ignore[misc]
    prepared.mode = FROZEN


def _round(domains: list[Domain], fits: Callable[[], bool], bits: float) -> None:
    learned = [precision_of(domain.s.detach()) for domain in domains]

    def at(shift: float) -> bool:
        for domain, p in zip(domains, learned, strict=True):
            domain.precisions.copy_(nearest_precision(p + shift))
        return fits()

    low, high = -REACH, REACH
    if not at(low):
        raise SysmolError(f"{bits:g} bits per parameter cannot be reached, even with one bit for every learned channel")
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle) else (low, middle)
    at(low)


def _of_weights(prepared: Prepared) -> list[Domain]:
    return [d for d in prepared.weight_domains.values() if isinstance(d, Domain)]


def _of_activations(prepared: Prepared) -> list[Domain]:
    return list(prepared.learned_domains().values())


def weight_bits(prepared: Prepared) -> float:
    """Mean bits of all weights."""
    own = dict(prepared.weight_domains.items())
    return weighted_bits(prepared, lambda unit: _bits(own.get(unit.name)))


def activation_bits(prepared: Prepared) -> float:
    """Mean bits of the activations that all weights meet."""

    def bits_of(unit: Unit) -> float:
        assert unit.input is not None
        return _bits(prepared.domain(unit.input.unit) if unit.name in prepared.weight_domains else None)

    return weighted_bits(prepared, bits_of)


def _bits(domain: torch.nn.Module | None) -> float:
    """Mean bits of a domain; of bytes where there is none."""
    return float(domain.precisions.float().mean()) if isinstance(domain, Domain) else 8.0
