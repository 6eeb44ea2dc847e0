"""From learned precisions to a layout: rounding under a size target, and what it asks of the patterns.

Scores are real-valued precisions per channel, by domain: the learned ones, or others that an experiment compares with
them. All are shifted by the same number of bits until the stored network meets the target; what is then left of the
target goes to one domain after the other, that with the highest mean score first, as long as its pixels fill no more
registers (a target of cost says itself how many).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from sysmol.errors import SysmolError
from sysmol.patterns import chunk_precisions
from train.cover import Cover, cover
from train.quantiser import nearest_precision, precision_of

if TYPE_CHECKING:
    from train.graph import Unit
    from train.prepared import Prepared

Scores = Mapping[str, torch.Tensor]
"""Real-valued precision in bits of every channel, float ``[C]``, by domain."""

REACH = 8.0
"""Largest shift in bits: beyond it every channel has 1 or 4 bits."""


def learned_scores(prepared: Prepared) -> dict[str, torch.Tensor]:
    """The precisions that phase 1 has trained."""
    return {name: precision_of(domain.s.detach()) for name, domain in prepared.learned_domains().items()}


def random_scores(prepared: Prepared, seed: int) -> dict[str, torch.Tensor]:
    """Precisions drawn evenly from 1 to 4 bits: what learning has to beat."""
    draw = torch.Generator().manual_seed(seed)
    return {n: 1 + 3 * torch.rand(len(d.s), generator=draw) for n, d in prepared.learned_domains().items()}


def ranked_scores(values: Scores) -> dict[str, torch.Tensor]:
    """Precisions from 1 to 4 bits in the order of any other measure, such as :func:`sensitivity`, over all domains."""
    flat = torch.cat(list(values.values()))
    ranks = torch.empty(len(flat))
    ranks[flat.argsort()] = torch.linspace(1, 4, len(flat))
    return dict(zip(values, ranks.split([len(v) for v in values.values()]), strict=True))


class Allocation:
    """Covers of every learned domain at any shift of its scores, each computed once."""

    def __init__(self, prepared: Prepared, patterns: Sequence[int], scores: Scores) -> None:
        self.prepared = prepared
        self.patterns = tuple(patterns)
        self.scores = scores
        self.widest = max(max(chunk_precisions(number)) for number in self.patterns)
        """No channel asks for more than the patterns have."""
        self.found: dict[tuple[str, bytes, bool], Cover] = {}

    def cover(self, name: str, shift: float, promote: bool) -> Cover:
        """Vectors and slots of one domain."""
        scores = self.scores[name] + shift
        requested = np.minimum(nearest_precision(scores).numpy(), self.widest)
        if shift <= -REACH:  # the least there is, whatever the scores
            requested = np.ones_like(requested)
        key = name, requested.tobytes(), promote
        if key not in self.found:
            groups = self.prepared.domain(name).groups
            self.found[key] = cover(requested, self.patterns, scores.double().numpy(), promote, groups)
        return self.found[key]

    def solve(self, bits: float | None = None, cost: float | None = None) -> dict[str, Cover]:
        """Covers of all domains; with limits, a layout that exceeds none and leaves little of them unused.

        ``bits`` per parameter as :func:`stored_bits`, ``cost`` as :func:`vector_cost`.
        """
        if bits is None and cost is None:
            return {name: self.cover(name, 0.0, True) for name in self.scores}
        self.bits, self.cost = bits or math.inf, cost or math.inf
        common = largest_shift(lambda shift: self.fits(self.least(shift)))
        if common is None:
            raise self.out_of_reach()
        covers = self.least(common)
        for name in sorted(self.scores, key=lambda n: -float(self.scores[n].mean())):
            covers = self.enlarge(covers, name, common)
        return covers

    def least(self, shift: float) -> dict[str, Cover]:
        """All covers, without promotion."""
        return {name: self.cover(name, shift, False) for name in self.scores}

    def fits(self, covers: Mapping[str, Cover]) -> bool:
        """Whether covers of all domains stay below both limits."""
        return stored_bits(self.prepared, covers) <= self.bits and vector_cost(self.prepared, covers) <= self.cost

    def enlarge(self, covers: dict[str, Cover], name: str, shift: float) -> dict[str, Cover]:
        """The covers with as many bits for one domain as the limits leave it; registers only where there is a limit of
        their cost."""

        def fits(found: Cover) -> bool:
            bounded = found.registers <= covers[name].registers or self.cost < math.inf
            return bounded and self.fits(covers | {name: found})

        own = largest_shift(lambda x: fits(self.cover(name, x, False)), shift)
        own = shift if own is None else own
        for promote in (True, False):
            found = self.cover(name, own, promote)
            if fits(found):
                return covers | {name: found}
        return covers

    def out_of_reach(self) -> SysmolError:
        """The error that says what the limits would have to be."""
        least = self.least(-REACH)
        bits, cost = stored_bits(self.prepared, least), vector_cost(self.prepared, least)
        if bits > self.bits:
            return SysmolError(
                f"{self.bits:g} bits per parameter cannot be reached: with every learned channel at its least the "
                f"network stores {bits:.3f}; raise the target, or give the first and last layer SMOL codes too"
            )
        return SysmolError(f"a cost of {self.cost:g} cannot be reached: the least is {cost:g}; raise the limit")


def largest_shift(fits: Callable[[float], bool], low: float = -REACH) -> float | None:
    """The largest shift up to REACH that fits, to a thousandth of a bit; None where ``low`` does not."""
    if not fits(low):
        return None
    high = REACH
    if fits(high):
        return high
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def weighted_bits(prepared: Prepared, bits_of: Callable[[Unit], float]) -> float:
    """Mean of ``bits_of`` a convolution over all weights."""
    counts = {unit.name: prepared.convolution(unit.name).weight.numel() for unit in prepared.graph.convolutions}
    bits = sum(counts[unit.name] * bits_of(unit) for unit in prepared.graph.convolutions)
    return bits / sum(counts.values())


def stored_bits(prepared: Prepared, covers: Mapping[str, Cover] | None = None) -> float:
    """Bits of all weights per parameter, 8-bit layers included; what only fills a register's unused slots is not
    stored. ``covers``: layouts by domain, instead of the present ones.
    """

    def bits_of(unit: Unit) -> float:
        if prepared.is_float or prepared.input_format(unit) == "s8":
            return 32 if prepared.is_float else 8
        assert unit.input is not None
        name = prepared.domain_of[unit.input.unit]
        found = (covers or {}).get(name)
        return float(np.mean(prepared.domain(name).precisions.numpy() if found is None else found.precisions))

    return weighted_bits(prepared, bits_of)


def vector_cost(prepared: Prepared, covers: Mapping[str, Cover] | None = None) -> float:
    """Registers of every learned domain (parts of one where pixels are narrow) times what each costs in the layers
    that read it (:meth:`Prepared.domain_costs`). ``covers`` as in :func:`stored_bits`.
    """
    costs = prepared.domain_costs()
    layouts = prepared.learned_domains() if covers is None else covers
    return sum(costs[name] * layout.registers for name, layout in layouts.items())


def least_limits(prepared: Prepared, patterns: Sequence[int]) -> tuple[float, float]:
    """The smallest limits, of :func:`stored_bits` and of :func:`vector_cost`, that these patterns can meet."""
    covers = Allocation(prepared, patterns, learned_scores(prepared)).least(-REACH)
    return stored_bits(prepared, covers), vector_cost(prepared, covers)


@torch.enable_grad()
def sensitivity(
    prepared: Prepared, images: torch.Tensor, labels: torch.Tensor, batch: int = 250
) -> dict[str, torch.Tensor]:
    """What a bit more would save: ``-d loss / d precision`` per channel, float ``[C]`` by learned domain.

    The mean over batches of the cross entropy's gradient with noise (phase 1), for real ``images [n, C, H, W]`` and
    ``labels [n]``; by the chain rule through ``p = 1 + log2(1 + e**-s)``.
    """
    domains = prepared.learned_domains()
    total = {name: torch.zeros_like(domain.s) for name, domain in domains.items()}
    training = prepared.training
    prepared.eval()
    starts = range(0, len(images), batch)
    for i in starts:
        loss = F.cross_entropy(prepared(images[i : i + batch]), labels[i : i + batch])
        slopes = torch.autograd.grad(loss, [domain.s for domain in domains.values()])
        for (name, domain), slope in zip(domains.items(), slopes, strict=True):
            per_bit = -torch.sigmoid(-domain.s.detach()) / np.log(2)  # d p / d s
            total[name] -= slope / per_bit
    prepared.train(training)
    return {name: x / len(starts) for name, x in total.items()}
