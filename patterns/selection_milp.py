"""The choice of patterns as a mixed-integer programme, solved by HiGHS through SciPy (docs/patterns.md).

Written out with vectors per demand and pattern, ``x[d, i] <= U y[i]``, the programme's relaxation is so weak that 50
layers take minutes. So the vectors are projected out (Benders): y[i] says whether pattern i is chosen, and whatever
else the master programme knows of a demand are *cuts*. If the patterns F together cannot give demand d a value below v,

    d's value >= v   or   sum over i not in F of y[i] >= 1.

F is taken as large as possible, which makes the cut strong. Values are steps e[d, k] in 0..1 between the v that cuts
speak of. The master's optimum is a lower bound; where it underestimates a demand for the set that it chose, this demand
gives new cuts. There are finitely many, and every round adds one or ends with the optimum proven.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix

from sysmol.patterns.selection_programme import Bundle, Programme

Found = tuple[tuple[int, ...], float]
"""Pattern ids and the objective."""

ORDERS = 32
"""Cuts per underestimated demand and value: F depends on the order in which patterns are tried."""
STEPS = 4
"""So many values between a demand's lower bound and its true value get cuts of their own."""


def solve(programme: Programme, count: int, start: Found, until: float) -> tuple[tuple[int, ...], float, float]:
    """The best set of at most ``count`` patterns, its objective, and the proven lower bound.

    ``start`` is a known set; ``until`` a moment of :func:`time.perf_counter`. Deterministic but for that.
    """
    master = Master(programme, count)
    best, objective = start
    bound = programme.bound()
    master.learn(best)
    while (left := until - time.perf_counter()) > 0:
        chosen, lower, complete = master.solve(left)
        bound = max(bound, lower)
        if not complete or bound >= objective - 1e-9 * abs(objective):
            break
        new = master.learn(chosen)
        better = programme.swaps(chosen, programme.objective(programme.reach(chosen)))
        if better[0] != chosen:
            master.learn(better[0])
        if better[1] < objective:
            best, objective = better
        if not new:  # the master knows this set's value, and found none better
            bound = objective
            break
    return best, objective, min(bound, objective)


class Master:
    """The programme over y and the demands' steps, and the cuts so far."""

    def __init__(self, programme: Programme, count: int) -> None:
        self.programme, self.count = programme, count
        self.candidates = programme.candidates
        self.cuts: list[dict[tuple[float, tuple[int, ...]], None]] = [{} for _ in programme.bundles]
        """By bundle: (value, patterns of which one must be chosen for less)."""
        self.random = np.random.default_rng(0)
        self.scale = float(np.mean([bundle.cycles for bundle in programme.bundles]))
        for number, bundle in enumerate(programme.bundles):
            self._cut(number, min(bundle.lower + bundle.cycles, bundle.ceiling), ())

    def learn(self, chosen: tuple[int, ...]) -> bool:
        """Add the cuts of a set of patterns; whether there was a new one."""
        reach = self.programme.reach(chosen)
        new = False
        for number, bundle in enumerate(self.programme.bundles):
            value = bundle.best(reach, self.programme.limit)[0]
            steps = [bundle.lower + bundle.cycles * k for k in range(1, STEPS + 1)]
            for level in [*(step for step in steps if step < value - 1e-6 * bundle.cycles), value]:
                if level > bundle.lower + 1e-9 * self.scale:
                    new |= self._cut(number, level, chosen)
        return new

    def _cut(self, number: int, value: float, chosen: tuple[int, ...]) -> bool:
        """Add cuts of sets that contain ``chosen`` (which gives the bundle no value below ``value``)."""
        bundle, limit = self.programme.bundles[number], self.programme.limit
        goals = bundle.goals(value, self.programme.root.width, limit)
        known = len(self.cuts[number])
        others = [i for i in self.candidates if i not in chosen]
        for _ in range(ORDERS):
            order = [*chosen, *(others[at] for at in self.random.permutation(len(others)))]
            outside = tuple(sorted(set(order) - self._failing(goals, order)))
            self.cuts[number][value, outside] = None
        return len(self.cuts[number]) > known

    def _failing(self, goals: Sequence[tuple[int, int]], order: Sequence[int]) -> set[int]:
        """A largest set of patterns that reach no goal, taken in this order."""
        reach, taken = self.programme.root, set()
        for i in order:
            longer = reach.with_pattern(i)
            if not any(longer[vectors] & totals for vectors, totals in goals):
                reach = longer
                taken.add(i)
        return taken

    def solve(self, seconds: float) -> tuple[tuple[int, ...], float, bool]:
        """The master's set, its lower bound, and whether it was solved to the end in that time."""
        y = {i: column for column, i in enumerate(self.candidates)}
        cost = [0.0] * len(y)
        rows: list[tuple[list[int], list[float], float]] = [(list(y.values()), [-1.0] * len(y), -float(self.count))]
        for bundle, cuts in zip(self.programme.bundles, self.cuts, strict=True):
            self._rows(bundle, cuts, y, cost, rows)
        row = np.repeat(np.arange(len(rows)), [len(columns) for columns, _, _ in rows])
        matrix = csr_matrix(
            (np.concatenate([r[1] for r in rows]), (row, np.concatenate([r[0] for r in rows]))),
            shape=(len(rows), len(cost)),
        )
        found = milp(
            np.array(cost) / self.scale,
            constraints=LinearConstraint(matrix, np.array([r[2] for r in rows]), np.inf),
            integrality=(np.arange(len(cost)) < len(y)).astype(np.int64),
            bounds=Bounds(0, 1),
            options={"time_limit": seconds, "mip_rel_gap": 0.0},
        )
        bound = self.programme.bound()
        if found.mip_dual_bound is not None and np.isfinite(found.mip_dual_bound):
            bound += self.scale * found.mip_dual_bound
        chosen = () if found.x is None else tuple(i for i, column in y.items() if found.x[column] > 0.5)
        return chosen, bound, found.status == 0

    def _rows(
        self,
        bundle: Bundle,
        cuts: dict[tuple[float, tuple[int, ...]], None],
        y: dict[int, int],
        cost: list[float],
        rows: list[tuple[list[int], list[float], float]],
    ) -> None:
        """Columns of a bundle's steps, and the rows of its cuts: a cut at a value raises the step that ends there, and
        no step is raised before the one below it."""
        below, step = bundle.lower, -1
        columns = {}
        for value in sorted({value for value, _ in cuts}):
            cost.append(value - below)
            if step >= 0:
                rows.append(([step, len(cost) - 1], [1.0, -1.0], 0.0))
            below, step = value, len(cost) - 1
            columns[value] = step
        for value, outside in cuts:
            rows.append(([columns[value], *(y[i] for i in outside)], [1.0] * (1 + len(outside)), 1.0))
