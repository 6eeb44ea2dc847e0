"""The choice of patterns under an area budget: closed sets, exactness, and the costs of chunks."""

import copy
import csv

import numpy as np
import pytest

from sysmol import hwcost
from sysmol.errors import SysmolError
from sysmol.files import PACKAGE
from sysmol.machine import pattern_set
from sysmol.pattern import PATTERNS, chunk_precisions
from sysmol.patterns.area_budget import ChunkArea, Front, choose_within_area, closed_sets, precisions_of
from sysmol.patterns.chunk_costs import fitted
from sysmol.patterns.selection import Demand, choose

AREA = ChunkArea({(4,): 50, (2,): 30, (1,): 20, (4, 2): 60, (4, 1): 61, (2, 1): 33, (4, 2, 1): 65}, 0.2)


def closure(patterns: tuple[int, ...]) -> tuple[int, ...]:
    """All patterns that the chunks of some can hold."""
    held = precisions_of(patterns)
    return tuple(n for n in range(len(PATTERNS)) if all(p in h for p, h in zip(chunk_precisions(n), held, strict=True)))


def random_sets(rng: np.random.Generator, count: int) -> list[tuple[int, ...]]:
    """Sets of one to eight patterns."""
    sizes = rng.integers(1, 9, size=count)
    return [tuple(sorted(int(n) for n in rng.choice(len(PATTERNS), size=size, replace=False))) for size in sizes]


def demands(rng: np.random.Generator) -> list[Demand]:
    """Five tensors of up to 100 channels."""
    shares = [rng.multinomial(rng.integers(1, 100), rng.dirichlet([1, 1, 1])) for _ in range(5)]
    return [Demand(f"d{n}", (int(a), int(b), int(c)), float(rng.uniform(1, 9))) for n, (a, b, c) in enumerate(shares)]


def test_closed_sets_are_all_that_chunks_can_hold(seed: int) -> None:
    sets = set(closed_sets())
    assert len(sets) == len(closed_sets()) == 4127
    for patterns in random_sets(np.random.default_rng(seed), 200):
        assert closure(patterns) in sets
    assert pattern_set("P1") in sets and tuple(range(45)) in sets and pattern_set("P4") not in sets


def test_no_set_within_the_budget_is_better(seed: int) -> None:
    """Against the objective that the choice by number computes, for sets that need not be closed."""
    rng = np.random.default_rng(seed)
    asked = demands(rng)
    tried = random_sets(rng, 40)
    for budget in (330.0, 400.0, 460.0):
        best = choose_within_area(asked, AREA, budget)
        assert AREA.of(best.patterns) <= budget
        assert best.objective == pytest.approx(choose(asked, 45, "greedy", best.patterns).objective)
        for patterns in tried:
            if AREA.of(closure(patterns)) <= budget and any(PATTERNS[n][0] for n in patterns):
                assert best.objective <= choose(asked, 45, "greedy", patterns).objective * (1 + 1e-9)


def test_more_area_is_never_slower_and_none_is_wasted(seed: int) -> None:
    asked = demands(np.random.default_rng(seed))
    points = list(Front(asked, AREA).points())
    areas, values = [AREA.of(patterns) for _, patterns in points], [value for value, _ in points]
    assert areas == sorted(areas) and values == sorted(values, reverse=True) and len(set(values)) == len(values)
    assert values[-1] == pytest.approx(choose(asked, 45).objective)
    assert choose_within_area(asked, AREA, 1e9).patterns == points[-1][1]


def test_budgets_that_no_array_meets_are_refused() -> None:
    with pytest.raises(SysmolError, match="no array within 50 um2 holds all channels"):
        choose_within_area([Demand("a", (1, 0, 0), 1.0)], AREA, 50.0)


def test_the_best_sets_of_the_cost_table_are_those_that_were_found() -> None:
    with (PACKAGE.parent / "results" / "pattern_area.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["kind"] == "budget"]
    assert {row["name"]: row["patterns"].replace(" ", ",") for row in rows} == hwcost.BEST_SETS


def test_costs_of_chunks_add_up() -> None:
    table = hwcost.read()
    fit = fitted(table)
    assert max(map(abs, fit.differences.values())) < 0.01, "the areas of arrays are sums of what their chunks cost"
    assert set(fit.left_out) == set(hwcost.BEST_SETS.values()) and fit.worst == max(map(abs, fit.left_out.values()))
    assert all(0 < difference < 0.04 for difference in fit.left_out.values()), "of sets that were only foretold"
    for name in ("P1", "P45"):
        measured = hwcost.find(table, "array", name, 1)["logic_um2"]
        assert fit.area.of(pattern_set(name)) == pytest.approx(measured, rel=0.01)
    costs = fit.area.chunks
    assert costs[1,] < costs[2,] < costs[4,] < costs[4, 2] < costs[4, 2, 1] and costs[2, 1] < costs[4,]
    few = copy.deepcopy(table)
    few["points"] = [row for row in few["points"] if row["patterns"] in hwcost.SETS]
    with pytest.raises(SysmolError, match="too few arrays"):
        fitted(few)
