"""Which N of the 45 precision patterns hardware should have, given what channels learned (docs/patterns.md).

Every tensor order (a *demand*) asks for channels of 4, 2 and 1 bits. With a set of patterns it takes the fewest vectors
that :func:`sysmol.patterns.slots.cover` finds, and each costs cycles in all layers that read it. :func:`choose` finds
the set with the fewest cycles over all demands: as a mixed-integer programme (:mod:`sysmol.patterns.selection_milp`),
greedily, or by trying every set.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sysmol.errors import SysmolError
from sysmol.grid import PRECISIONS
from sysmol.pattern import PATTERNS, REGISTER_BYTES, UNIFORM, capacity, check_id, narrow_bytes
from sysmol.patterns.chunk_totals import Counts, Reach, alone, members
from sysmol.patterns.selection_milp import solve
from sysmol.patterns.selection_programme import Bundle, Gains, Programme

METHODS = ("milp", "greedy", "exhaustive")
MOST_SETS = 200_000
"""Exhaustive search refuses more sets than this (4 of 45 are 148,995)."""


@dataclass(frozen=True)
class Demand:
    """What one tensor order asks for.

    ``counts``: channels that ask for 4, 2 and 1 bits. ``cycles``: that one 128-bit vector costs in all layers that read
    it (:mod:`sysmol.analysis.costs.vectors`), > 0. ``gains``: loss saved per channel promoted from 2 to 4, 1 to 4 and 1
    to 2 bits; negative ones count as 0, since nobody must promote.
    """

    name: str
    counts: Counts
    cycles: float
    gains: Gains = (0.0, 0.0, 0.0)


def tensor_demand(name: str, counts: Counts, cycles: float, gains: Gains = (0.0, 0.0, 0.0), groups: int = 1) -> Demand:
    """The demand of an order of channels, or of one of its ``groups``; where its pixels can be narrow (groups cannot),
    of all the register that they are part of.

    Only the uniform pattern of the highest precision can store them narrow (:func:`sysmol.patterns.slots.cover` then
    does), and only it has a whole register of that precision; with any other the demand takes two vectors or more.
    """
    highest = next(p for p, count in zip(PRECISIONS, counts, strict=True) if count)
    part = narrow_bytes((UNIFORM[highest],), sum(counts)) / REGISTER_BYTES
    if not part or groups > 1:
        return Demand(name, counts, cycles, gains)
    c4, c2, c1 = (capacity(UNIFORM[p]) if p == highest else 0 for p in PRECISIONS)
    return Demand(name, (c4, c2, c1), cycles * part)


@dataclass(frozen=True)
class Choice:
    """Pattern ids (ascending) with their figures over all demands.

    ``objective`` = ``cycles`` - gain weight * ``gain``; ``bound``: no choice has a smaller objective. ``vectors`` per
    demand; ``counts`` per demand to ask of the cover: its own, and the promotions that gains paid for (then
    ``cover`` takes just ``vectors``). ``gain`` is 0 where gains have no weight. ``seconds`` of wall-clock time.
    """

    patterns: tuple[int, ...]
    cycles: float
    gain: float
    objective: float
    bound: float
    vectors: tuple[int, ...]
    counts: tuple[Counts, ...]
    method: str
    seconds: float

    @property
    def gap(self) -> float:
        """How far above the bound the objective may be, relative to it."""
        return max(self.objective - self.bound, 0.0) / max(abs(self.bound), 1e-12)

    @property
    def optimal(self) -> bool:
        """Whether no choice is better, beyond rounding."""
        return self.gap <= 1e-6


def choose(
    demands: Sequence[Demand],
    count: int,
    method: str = "milp",
    candidates: Iterable[int] = range(len(PATTERNS)),
    gain_weight: float = 0.0,
    time_limit: float = 10.0,
) -> Choice:
    """At most ``count`` of the ``candidates`` that minimise ``sum cycles * vectors - gain_weight * sum gains``.

    ``greedy`` adds the pattern that helps most until ``count`` are there or more would not help, then makes one pass
    of exchanges; ``milp`` proves the optimum, or returns the best set that it has after ``time_limit`` seconds
    (``optimal`` tells, ``gap`` says how good it is); ``exhaustive`` tries every set. :class:`SysmolError` where the
    input is bad, or no set holds all channels.
    """
    began = time.perf_counter()
    ids = tuple(sorted({check_id(int(i)) for i in candidates}))
    _check(demands, count, method, ids, gain_weight, time_limit)
    bundles, bundle_of = _merge(demands, gain_weight)
    size = min(count, len(ids))
    programme, greedy = _greedy(bundles, ids, size)
    patterns, objective = greedy
    bound = programme.bound()
    if method != "greedy" and not programme.meets_bound(objective):
        programme = _bounded(programme, objective)
        if method == "milp":
            patterns, objective, bound = solve(programme, size, greedy, began + time_limit)
        else:
            patterns, objective = _exhaustive(programme, size, greedy)
            bound = objective
    return _result(demands, bundle_of, programme, patterns, bound, gain_weight, method, time.perf_counter() - began)


class SetValues:
    """What sets of patterns are worth for the same demands: the objective that :func:`choose` minimises. Sets that take
    more than ``slack`` times the vectors of uniform 4-bit in the largest demand are not looked at."""

    def __init__(self, demands: Sequence[Demand], gain_weight: float = 0.0, slack: int = 2) -> None:
        ids = tuple(range(len(PATTERNS)))
        _check(demands, 1, "greedy", ids, gain_weight, 1.0)
        self.demands, self.gain_weight = demands, gain_weight
        bundles, self._bundle_of = _merge(demands, gain_weight)
        most = max(alone(bundle.counts, UNIFORM[4]) or 1 for bundle in bundles)
        self._programme = Programme(bundles, ids, slack * most)
        _settle(self._programme)

    def of(self, patterns: Sequence[int], above: float = math.inf) -> float:
        """The objective of a set; infinite where it is not below ``above``, or the set does not hold all channels in so
        few vectors."""
        return self._programme.objective(self._programme.reach(patterns), above)

    def choice(self, patterns: Sequence[int], method: str, bound: float, seconds: float) -> Choice:
        """The figures of a set, of which ``bound`` is known."""
        chosen = tuple(sorted(patterns))
        found = self.demands, self._bundle_of, self._programme, chosen, bound, self.gain_weight, method, seconds
        return _result(*found)


def _settle(programme: Programme) -> None:
    """Set every bundle's lower bound, and the fewest vectors that it may need."""
    everything = programme.reach(programme.candidates)
    for bundle in programme.bundles:
        bundle.lower, vectors = bundle.best(everything, programme.limit)
        bundle.start = 1 if bundle.most_gain else vectors


def _check(
    demands: Sequence[Demand], count: int, method: str, ids: Sequence[int], gain_weight: float, time_limit: float
) -> None:
    if method not in METHODS:
        raise SysmolError(f"there is no method {method!r} to choose patterns: take one of {', '.join(METHODS)}")
    if not demands or not ids or count < 1:
        raise SysmolError("to choose patterns, give at least one demand, one candidate, and a count of 1 or more")
    if not (math.isfinite(gain_weight) and gain_weight >= 0 and time_limit > 0):
        raise SysmolError("gain_weight must be 0 or more and time_limit more than 0 seconds")
    if method == "exhaustive" and math.comb(len(ids), min(count, len(ids))) > MOST_SETS:
        sets = math.comb(len(ids), count)
        raise SysmolError(
            f"{count} of {len(ids)} patterns are {sets:,} sets, and exhaustive search tries {MOST_SETS:,} at most: "
            "give fewer candidates, or use milp"
        )
    for demand in demands:
        if min(demand.counts) < 0 or not sum(demand.counts):
            raise SysmolError(f"demand {demand.name}: {demand.counts} are no channels with 4, 2 and 1 bits")
        if not (math.isfinite(demand.cycles) and demand.cycles > 0):
            raise SysmolError(f"demand {demand.name}: a vector costs {demand.cycles} cycles; it must cost more than 0")
        if not all(map(math.isfinite, demand.gains)):
            raise SysmolError(f"demand {demand.name}: the gains {demand.gains} are not finite")
        if all(alone(demand.counts, i) is None for i in ids):
            bits = 4 if demand.counts[0] else 2
            raise SysmolError(
                f"demand {demand.name} has channels of {bits} bits, but no candidate has a chunk that wide: add one"
            )


def _merge(demands: Sequence[Demand], gain_weight: float) -> tuple[list[Bundle], list[int]]:
    """The different bundles, and the index of every demand's."""
    gains_of = [tuple(gain_weight * max(gain, 0.0) for gain in demand.gains) for demand in demands]
    keys = [
        (d.counts, gains, d.cycles) if any(gains) else (d.counts,) for d, gains in zip(demands, gains_of, strict=True)
    ]
    index = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    cycles, total_gains = np.zeros(len(index)), np.zeros((len(index), 3))
    for demand, gains, key in zip(demands, gains_of, keys, strict=True):
        cycles[index[key]] += demand.cycles
        total_gains[index[key]] += gains
    bundles = [
        Bundle(key[0], float(c), (float(g[0]), float(g[1]), float(g[2])))
        for key, c, g in zip(index, cycles, total_gains, strict=True)
    ]
    return bundles, [index[key] for key in keys]


def _greedy(bundles: list[Bundle], ids: tuple[int, ...], size: int) -> tuple[Programme, tuple[tuple[int, ...], float]]:
    """The greedy set with its objective; settles every bundle's lower bound."""
    # Without promotions, one pattern alone needs so many vectors; with more patterns nothing gets worse.
    first, single = _best_alone(bundles, ids)
    limits = [bundle.limit(bundle.cycles * vectors, ids) for bundle, vectors in zip(bundles, single, strict=True)]
    programme = Programme(bundles, ids, max(*limits, *single))
    _settle(programme)
    chosen: tuple[int, ...] = (first,)
    value = programme.objective(programme.reach(chosen))
    while len(chosen) < size and not programme.meets_bound(value):
        reach = programme.reach(chosen)
        value, best = min(
            (programme.objective(reach.with_pattern(i)), i) for i in programme.candidates if i not in chosen
        )
        chosen = (*chosen, best)
    return programme, programme.swaps(tuple(sorted(chosen)), value)


def _best_alone(bundles: list[Bundle], ids: tuple[int, ...]) -> tuple[int, list[int]]:
    """The pattern that is best on its own, with its vectors per bundle."""
    found: list[tuple[float, int, list[int]]] = []
    for i in ids:
        vectors = [alone(bundle.counts, i) for bundle in bundles]
        known = [v for v in vectors if v is not None]
        if len(known) == len(bundles):
            found.append((sum(bundle.cycles * v for bundle, v in zip(bundles, known, strict=True)), i, known))
    _, best, vectors_of_best = min(found)
    return best, vectors_of_best


def _bounded(programme: Programme, objective: float) -> Programme:
    """The programme of the sets that may beat ``objective``: no bundle of theirs exceeds its lower bound by more than
    the objective exceeds all lower bounds."""
    slack = objective - programme.bound()
    limits = []
    for bundle in programme.bundles:
        bundle.ceiling = bundle.lower + slack * (1 + 1e-9) + 1e-9 * bundle.cycles
        limits.append(bundle.limit(bundle.ceiling, programme.candidates))
    return Programme(programme.bundles, programme.candidates, max(limits))


def _exhaustive(programme: Programme, size: int, start: tuple[tuple[int, ...], float]) -> tuple[tuple[int, ...], float]:
    """Every set of ``size`` candidates: smaller ones are never better. Sets that share patterns share their tables."""
    patterns, objective = start

    def extend(reach: Reach, chosen: tuple[int, ...], later: tuple[int, ...]) -> None:
        nonlocal patterns, objective
        if len(chosen) == size:
            found = programme.objective(reach, objective)
            if found < objective:
                patterns, objective = chosen, found
            return
        for at, i in enumerate(later):
            extend(reach.with_pattern(i), (*chosen, i), later[at + 1 :])

    extend(programme.root, (), programme.candidates)
    return patterns, objective


def _result(
    demands: Sequence[Demand],
    bundle_of: list[int],
    programme: Programme,
    patterns: tuple[int, ...],
    bound: float,
    gain_weight: float,
    method: str,
    seconds: float,
) -> Choice:
    """The figures of a set, demand by demand."""
    reach = programme.reach(patterns)
    answers = []
    for bundle in programme.bundles:
        vectors = bundle.best(reach, programme.limit)[1]
        counts = bundle.counts
        if bundle.most_gain:
            n4, n2 = members(reach[vectors] & bundle.holding(vectors, reach.width), reach.width)
            promoted = bundle.promotions(n4, n2)
            best = int(np.argmax(np.array(bundle.gains) @ promoted))
            p24, p14, p12 = (int(n) for n in promoted[:, best])
            counts = (counts[0] + p24 + p14, counts[1] - p24 + p12, counts[2] - p14 - p12)
            answers.append((vectors, counts, (p24, p14, p12)))
        else:
            answers.append((vectors, counts, (0, 0, 0)))
    of = [answers[number] for number in bundle_of]
    cycles = sum(demand.cycles * vectors for demand, (vectors, _, _) in zip(demands, of, strict=True))
    gain = sum(
        max(g, 0.0) * p
        for demand, (_, _, ps) in zip(demands, of, strict=True)
        for g, p in zip(demand.gains, ps, strict=True)
    )
    return Choice(
        patterns,
        cycles,
        gain,
        cycles - gain_weight * gain,
        bound,
        tuple(vectors for vectors, _, _ in of),
        tuple(counts for _, counts, _ in of),
        method,
        seconds,
    )
