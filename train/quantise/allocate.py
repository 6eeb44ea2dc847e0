"""From learned precisions to a layout under limits of size and cycles.

Scores are real-valued precisions per channel, by domain: the learned ones, or others that an experiment compares with
them. Without limits they are rounded; with limits, a mixed-integer programme takes of all layouts
(:mod:`sysmol.patterns.layouts`) those whose predicted loss is least for the cycles that they take.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_matrix

from sysmol.errors import SysmolError
from sysmol.pattern import UNIFORM, chunk_precisions
from sysmol.patterns.layouts import Layouts, layouts
from sysmol.patterns.slots import Cover, cover
from sysmol.train.frontend.graph import Unit
from sysmol.train.quantise.forward import ForwardPass
from sysmol.train.quantise.quantiser import nearest_precision, precision_of

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Scores = Mapping[str, torch.Tensor]
"""Real-valued precision in bits of every channel, float ``[C]``, by domain."""

GAP = 1e-4
"""By how much of itself the objective of a layout may exceed the least."""
PRICE = 0.5
"""Value of all multiply-accumulates of uniform 4-bit codes, in parts of the least predicted loss within the limits
[own]: where registers are half empty, a percent of the predicted loss often saves a tenth of the cycles."""
CORE = 2e-3
"""How far above the relaxed optimum, in parts of it, the first search for a layout goes."""


# --- scores ----------------------------------------------------------------------------------------------------------


def learned_scores(prepared: ForwardPass) -> dict[str, torch.Tensor]:
    """The precisions that phase 1 has trained."""
    return {name: precision_of(domain.noise().detach()) for name, domain in prepared.learned_domains().items()}


def random_scores(prepared: ForwardPass, seed: int) -> dict[str, torch.Tensor]:
    """Precisions drawn evenly from 1 to 4 bits: what learning has to beat."""
    draw = torch.Generator().manual_seed(seed)
    return {n: 1 + 3 * torch.rand(len(d.s), generator=draw) for n, d in prepared.learned_domains().items()}


def sensitivity_scores(slopes: Scores, weights: Mapping[str, float]) -> dict[str, torch.Tensor]:
    """The precisions, but for a number of bits that all share, at which one more stored bit would save as much loss in
    every channel, by the law of :class:`Programme` from what it saves at 4 bits (:func:`sensitivity`).

    ``weights`` that read a channel, by domain (none where activations alone do). Channels whose slope is not positive
    have the score of the least that is.
    """
    per_bit = {name: slope.double() / (weights[name] or 1.0) for name, slope in slopes.items()}
    positive = torch.cat([values[values > 0] for values in per_bit.values()])
    least = float(positive.min()) if len(positive) else 1.0
    return {name: values.clamp_min(least).log2() / 2 for name, values in per_bit.items()}


@torch.enable_grad()
def sensitivity(
    prepared: ForwardPass, images: torch.Tensor, labels: torch.Tensor, batch: int = 250
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


# --- layouts ---------------------------------------------------------------------------------------------------------


def allocate(
    prepared: ForwardPass, patterns: Sequence[int], scores: Scores, bits: float | None = None, cost: float | None = None
) -> dict[str, Cover]:
    """Layouts of all learned domains in vectors of ``patterns``.

    Without limits every channel gets the bits nearest to its score, and what its vectors offer beyond them. Limits are
    of ``bits`` per parameter (:func:`stored_bits`) and of ``cost`` (:func:`vector_cost`); :class:`SysmolError` where
    they cannot be met.
    """
    if not scores:
        return {}
    widest = max(max(chunk_precisions(number)) for number in patterns)
    asked = {name: np.minimum(nearest_precision(score).numpy(), widest) for name, score in scores.items()}
    nearest = {n: prepared.domain(n).cover(a, patterns, _exact(scores[n])) for n, a in asked.items()}
    if bits is None and cost is None:
        return nearest
    # One precision for all channels of a head is no layout of channels: heads keep what is nearest [own].
    heads = {name: layout for name, layout in nearest.items() if prepared.domain(name).heads}
    if len(heads) == len(scores):
        return nearest
    if cost is not None:
        costs = prepared.domain_costs()
        cost -= sum(costs[name] * layout.registers for name, layout in heads.items())
    rest = {name: score for name, score in scores.items() if name not in heads}
    return Programme(prepared, patterns, rest).solve(bits, cost) | heads


class Programme:
    """Which layout every domain gets: a mixed-integer programme, with a variable for each layout of each domain.

    Rounding to q bits acts like noise of variance 4**-q. Phase 1 ends where one more bit would save as much loss as the
    penalty asks for it, in proportion to a weight w (:meth:`Prepared.penalty_weights`). So a channel that learned p
    bits loses w * 4**(p - q) with q bits, in one unit for all channels [own]. Minimised is the sum of that over the
    least that the limits allow, and :data:`PRICE` times the cost over uniform 4-bit's. A number of bits added to all
    scores changes nothing: limits alone say how much may be spent.
    """

    def __init__(self, prepared: ForwardPass, patterns: Sequence[int], scores: Scores) -> None:
        self.prepared, self.patterns, self.scores = prepared, tuple(patterns), scores
        self.tables = {n: layouts(_exact(x), self.patterns, prepared.domain(n).groups) for n, x in scores.items()}
        sizes = [len(table.bits) for table in self.tables.values()]
        self.owner = np.repeat(np.arange(len(sizes)), sizes)
        self.starts = np.cumsum([0, *sizes[:-1]])
        entries = np.arange(len(self.owner))
        self.one_each = csr_matrix((np.ones(len(entries)), (self.owner, entries)))
        self.parameters = _weight_count(prepared) + constant_count(prepared)
        self.fixed = CONSTANT_BITS * constant_count(prepared) + _weight_sum(
            prepared, lambda unit: 0.0 if _domain(prepared, unit) in scores else _bits(prepared, unit)
        )
        """Bits of the weights whose precision no score decides."""
        self.bits = self._column(prepared.domain_weights(), lambda table: table.bits)
        self.cost = self._column(prepared.domain_costs(), lambda table: table.registers)
        self.whole = uniform_cost(prepared)
        self.predicted = self._column(prepared.penalty_weights(), lambda table: table.error)

    def _column(self, factors: Mapping[str, float], of: Callable[[Layouts], npt.NDArray[np.generic]]) -> Floats:
        """An amount of every layout of every domain, domain after domain."""
        return np.concatenate([factors[name] * of(table).astype(float) for name, table in self.tables.items()])

    def solve(self, bits: float | None, cost: float | None) -> dict[str, Cover]:
        """The best covers within the limits."""
        room_bits = math.inf if bits is None else bits * self.parameters - self.fixed
        room_cost = math.inf if cost is None else cost
        if (least := self._least(self.bits)) > room_bits:
            raise SysmolError(
                f"{bits:g} bits per parameter cannot be reached: with every learned channel at its least the network "
                f"stores {(least + self.fixed) / self.parameters:.3f}; raise the target, or give the first and last "
                "layer SMOL codes too"
            )
        if (least := self._least(self.cost)) > room_cost:
            raise SysmolError(
                f"{room_cost / self.whole:.1%} of uniform 4-bit's multiply-accumulates cannot be reached: the least "
                f"are {least / self.whole:.1%}; raise the limit"
            )
        mildest = self._within(self.predicted / (self._least(self.predicted) or 1.0), room_bits, room_cost)
        if mildest is None:
            raise SysmolError(
                f"{bits:g} bits per parameter cannot be met together with {room_cost / self.whole:.1%} of uniform "
                "4-bit's multiply-accumulates: raise one of the limits"
            )
        objective = self.predicted / (self.predicted[mildest].sum() or 1.0) + PRICE * self.cost / (self.whole or 1.0)
        chosen = self._within(objective, room_bits, room_cost)
        # Limits lowered by the solver's tolerance may be out of reach: the layout of the least predicted loss is within
        # them all.
        return self._covers(mildest if chosen is None else chosen)

    def _within(self, objective: Floats, bits: float, cost: float) -> Integers | None:
        """Index of every domain's layout at the least objective; None where the limits, of the bits that scores decide
        and of cost, cannot be met together."""
        limits = {"bits": bits, "cost": cost}
        while (chosen := self._chosen(objective, **limits)) is not None:
            over = {"bits": self.bits[chosen].sum() - bits, "cost": self.cost[chosen].sum() - cost}
            if max(over.values()) <= 0:
                break
            # Within the solver's tolerance, not within the limit.
            limits = {name: limit - max(0.0, 2 * over[name]) for name, limit in limits.items()}
        return chosen

    def _least(self, amounts: Floats) -> float:
        return float(np.minimum.reduceat(amounts, self.starts).sum())

    def _chosen(self, objective: Floats, bits: float, cost: float) -> Integers | None:
        """The same to the solver's tolerance."""
        count = len(objective)
        limited = [(a / a[a > 0].min(), most / a[a > 0].min()) for a, most in ((self.bits, bits), (self.cost, cost))
                   if most < math.inf and a.any()]  # fmt: skip
        amounts, limits = np.array([a for a, _ in limited]), np.array([most for _, most in limited])
        amounts = amounts.reshape(len(limited), count)
        relaxed = linprog(objective, amounts, limits, self.one_each, np.ones(self.one_each.shape[0]))
        if relaxed.status:
            return None
        # What an entry adds to the relaxed optimum at least: one that adds more than a solution does is in no better
        # one. So a few entries are enough for the proof.
        excess = objective - amounts.T @ relaxed.ineqlin.marginals - self.one_each.T @ relaxed.eqlin.marginals
        margin = CORE * relaxed.fun
        while True:
            core = np.flatnonzero(excess <= margin)
            rows = [LinearConstraint(self.one_each[:, core], 1, 1), LinearConstraint(amounts[:, core], -np.inf, limits)]
            # Presolved programmes make HiGHS print.
            options = {"mip_rel_gap": GAP, "presolve": False}
            found = milp(
                objective[core], constraints=rows, integrality=np.ones(len(core)), bounds=Bounds(0, 1), options=options
            )
            if found.x is not None and found.fun <= relaxed.fun + margin:
                return core[found.x > 0.5]
            if len(core) == count:
                return None if found.x is None else core[found.x > 0.5]
            margin *= 4

    def _covers(self, chosen: Integers) -> dict[str, Cover]:
        covers = {}
        for (name, table), entry in zip(self.tables.items(), chosen - self.starts, strict=True):
            groups = self.prepared.domain(name).groups
            rank = _exact(self.scores[name])
            covers[name] = cover(table.requested(int(entry)), self.patterns, rank, False, groups)
        return covers


def _exact(scores: torch.Tensor) -> Floats:
    return scores.double().numpy()


# --- measures --------------------------------------------------------------------------------------------------------


def weighted_bits(prepared: ForwardPass, bits_of: Callable[[Unit], float]) -> float:
    """Mean of ``bits_of`` a convolution over all weights."""
    return _weight_sum(prepared, bits_of) / _weight_count(prepared)


def _weight_sum(prepared: ForwardPass, bits_of: Callable[[Unit], float]) -> float:
    return sum(prepared.convolution(u.name).weight.numel() * bits_of(u) for u in prepared.graph.convolutions)


def _weight_count(prepared: ForwardPass) -> float:
    return _weight_sum(prepared, lambda unit: 1.0)


def _domain(prepared: ForwardPass, unit: Unit) -> str:
    """Name of the domain that a convolution reads; empty where it reads no SMOL tensor."""
    if prepared.is_float or prepared.input_format(unit) == "s8":
        return ""
    assert unit.input is not None
    return prepared.domain_of[unit.input.unit]


def _bits(prepared: ForwardPass, unit: Unit, covers: Mapping[str, Cover] | None = None) -> float:
    """Mean bits of a convolution's weights."""
    name = _domain(prepared, unit)
    if not name:
        return 32 if prepared.is_float else 8
    found = (covers or {}).get(name)
    return float(np.mean(prepared.domain(name).precisions.numpy() if found is None else found.precisions))


def stored_bits(prepared: ForwardPass, covers: Mapping[str, Cover] | None = None) -> float:
    """Bits of all weights per parameter, 8-bit layers included; what only fills a register's unused slots is not
    stored. ``covers``: layouts by domain, instead of the present ones.
    """
    weights = _weight_sum(prepared, lambda unit: _bits(prepared, unit, covers))
    constants = constant_count(prepared)
    bits = 32 if prepared.is_float else CONSTANT_BITS
    return (weights + bits * constants) / (_weight_count(prepared) + constants)


CONSTANT_BITS = 16
"""Bits of an element of a constant tensor."""


def constant_count(prepared: ForwardPass) -> int:
    """Elements of all constant tensors."""
    return sum(each.numel() for each in prepared.constants.values())


def vector_cost(prepared: ForwardPass, covers: Mapping[str, Cover] | None = None) -> float:
    """Registers of every learned domain (parts of one where pixels are narrow) times what each costs in the layers
    that read it (:meth:`Prepared.domain_costs`). ``covers`` as in :func:`stored_bits`.
    """
    costs = prepared.domain_costs()
    layouts_of = prepared.learned_domains() if covers is None else covers
    return sum(costs[name] * layout.registers for name, layout in layouts_of.items())


def predicted_loss(prepared: ForwardPass, scores: Scores, covers: Mapping[str, Cover]) -> float:
    """What rounding costs by the law of :class:`Programme`, in one unit for all layouts of the same ``scores``."""
    weights = prepared.penalty_weights()
    return sum(
        weights[name] * float((4.0 ** (_exact(scores[name]) - found.precisions)).sum())
        for name, found in covers.items()
    )


def uniform_cost(prepared: ForwardPass) -> float:
    """:func:`vector_cost` with 4 bits in every learned channel: what shares of cycles are shares of."""
    return vector_cost(prepared, uniform_covers(prepared, [UNIFORM[4]], 4))


def least_limits(prepared: ForwardPass, patterns: Sequence[int]) -> tuple[float, float]:
    """Limits, of :func:`stored_bits` and of :func:`vector_cost`, that these patterns can meet together: those of the
    fewest bits in the fewest registers."""
    covers = uniform_covers(prepared, patterns, 1)
    return stored_bits(prepared, covers), vector_cost(prepared, covers)


def uniform_covers(prepared: ForwardPass, patterns: Sequence[int], bits: int) -> dict[str, Cover]:
    """Covers of all learned domains whose channels all ask for as many bits, without promotion."""
    return {
        name: domain.cover(np.full(len(domain.s), bits), patterns, None, False)
        for name, domain in prepared.learned_domains().items()
    }
