"""The Pareto front against its definition, and its figure."""

import random

import pandas as pd

from sysmol.analysis.front import front_figure, pareto


def test_the_front_is_what_nothing_dominates(seed: int) -> None:
    rng = random.Random(seed)
    rows = [
        {"accuracy_integer": rng.randrange(6), "file_bytes": rng.randrange(6), "cycles": rng.randrange(6)}
        for _ in range(60)
    ]
    found = pareto(pd.DataFrame(rows))

    def dominates(a: dict[str, int], b: dict[str, int]) -> bool:
        no_worse = (
            a["accuracy_integer"] >= b["accuracy_integer"]
            and a["file_bytes"] <= b["file_bytes"]
            and a["cycles"] <= b["cycles"]
        )
        return no_worse and a != b

    assert found == [not any(dominates(other, row) for other in rows) for row in rows]
    assert any(found) and not all(found)


def test_the_figure_names_every_row() -> None:
    rows = pd.DataFrame(
        {
            "name": ["w4", "round-1"],
            "design": ["P1", "P4"],
            "front": [False, True],
            "accuracy_integer": [0.97, 0.98],
            "file_bytes": [9000, 7000],
            "cycles": [40_000.0, 30_000.0],
        }
    )
    svg = front_figure(rows, "estimate")
    assert all(word in svg for word in ("w4", "round-1", "P4", "estimate", "bytes of the network file"))
