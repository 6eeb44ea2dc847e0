"""Precisions of their own for weights and activations: what sharing one per input channel costs.

No SMOL instruction computes with such a network (both operands of one share a pattern), so it is trained for comparison
only, without patterns, and never exported.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from sysmol.errors import SysmolError
from train.allocate import largest_shift
from train.prepared import FROZEN, LEARNED, Domain, Prepared
from train.quantiser import nearest_precision, precision_of


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

    shift = largest_shift(at)
    if shift is None:
        raise SysmolError(f"{bits:g} bits per parameter cannot be reached, even with one bit for every learned channel")
    at(shift)


def _of_weights(prepared: Prepared) -> list[Domain]:
    return [d for d in prepared.weight_domains.values() if isinstance(d, Domain)]


def _of_activations(prepared: Prepared) -> list[Domain]:
    return list(prepared.learned_domains().values())


def weight_bits(prepared: Prepared) -> float:
    """Mean bits of all weights."""
    return _mean(prepared, lambda unit: prepared.weight_domains[unit])


def activation_bits(prepared: Prepared) -> float:
    """Mean bits of the activations that all weights meet."""
    inputs = {unit.name: unit.input.unit for unit in prepared.graph.convolutions if unit.input is not None}
    return _mean(prepared, lambda unit: prepared.domain(inputs[unit]))


def _mean(prepared: Prepared, domain_of: Callable[[str], torch.nn.Module]) -> float:
    bits = weights = 0.0
    for unit in prepared.graph.convolutions:
        count = prepared.convolution(unit.name).weight.numel()
        weights += count
        if unit.name not in prepared.weight_domains:
            bits += 8 * count
        else:
            domain = domain_of(unit.name)
            assert isinstance(domain, Domain)
            bits += count * float(domain.precisions.float().mean())
    return bits / weights
