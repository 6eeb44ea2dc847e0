"""The Pareto front against its definition, equal designs, and the figures."""

import random

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from sysmol.analysis.costs.objectives import OBJECTIVES
from sysmol.analysis.costs.quantity import Kind
from sysmol.analysis.figures import styled
from sysmol.analysis.front import pareto, place_labels, trade_off_figure, within_noise
from sysmol.errors import SysmolError


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


def test_objectives_are_named() -> None:
    rows = pd.DataFrame([{"name": "a", "accuracy_integer": 0.9, "energy": 3.0}, {"name": "b", "accuracy_integer": 0.8}])
    assert pareto(rows, ["accuracy"]) == [True, False]
    with pytest.raises(SysmolError, match="b has no energy"):
        pareto(rows, ["accuracy", "energy"])
    with pytest.raises(SysmolError, match="no objective 'speed'"):
        pareto(rows, ["speed"])
    assert {"accuracy", "size", "cycles", "energy", "area"} <= set(OBJECTIVES)


def test_noise_does_not_tell_equal_designs_apart() -> None:
    """Three trainings of one design: one is on the front, none is worse; a fourth network is, and so is a fifth."""
    rows = pd.DataFrame(
        {
            "accuracy_integer": [0.972, 0.967, 0.969, 0.960, 0.900],
            "file_bytes": [16_000, 15_990, 16_010, 32_000, 16_000],
            "cycles": [14_469.0] * 5,
        }
    )
    rows = rows.assign(accuracy_low=rows["accuracy_integer"] - 0.02, accuracy_high=rows["accuracy_integer"] + 0.015)
    assert within_noise(rows) == [True, True, True, False, False]
    assert sum(pareto(rows)) == 2


def points(names: list[str], accuracies: list[float], costs: list[float], kind: Kind) -> pd.DataFrame:
    """Designs with an interval of accuracy."""
    accuracy = pd.Series(accuracies)
    return pd.DataFrame(
        {
            "name": names, "group": names, "accuracy": accuracy, "accuracy_low": accuracy - 0.01,
            "accuracy_high": (accuracy + 0.01).clip(upper=1), "cost": costs, "cost_low": costs, "cost_high": costs,
            "kind": kind, "front": True,
        }
    )  # fmt: skip


def test_the_figure_names_every_design_and_is_the_same_again() -> None:
    table = points(["w4", "round-1"], [0.97, 0.98], [40_000, 30_000], Kind.ESTIMATE)
    colours = {"w4": "#000000", "round-1": "#009E73"}
    svg = trade_off_figure(table, "cycles per image (estimate)", colours)
    assert all(word in svg for word in ("w4", "round-1", "cycles per image (estimate)"))
    assert svg == trade_off_figure(table, "cycles per image (estimate)", colours)
    measured = trade_off_figure(table.assign(kind=Kind.MEASURED), "cycles per image (estimate)", colours)
    assert svg != measured, "points that were not measured are hollow"


def test_labels_do_not_overprint(seed: int) -> None:
    """Crowded designs, some in one place, as rounds of a search leave them."""
    rng = random.Random(seed)
    names = [f"round-{n}" for n in range(10)]
    x = pd.Series([14_000.0 + (rng.random() * 3000 if n > 4 else 0) for n in range(10)])
    y = pd.Series([96.0 + 2 * rng.random() for _ in range(10)])

    @styled
    def boxes() -> tuple[list[Bbox], Bbox]:
        axes = (figure := Figure(figsize=(4.3, 3.1), layout="constrained")).subplots()
        axes.plot(x, y, "o")
        texts = place_labels(axes, x, y, pd.Series(names))
        figure.draw_without_rendering()
        return [text.get_window_extent() for text in texts], axes.get_window_extent()

    found, frame = boxes()
    pairs = [(one, other) for place, one in enumerate(found) for other in found[:place]]
    shared = [
        max(0.0, min(a.x1, b.x1) - max(a.x0, b.x0)) * max(0.0, min(a.y1, b.y1) - max(a.y0, b.y0)) for a, b in pairs
    ]
    smallest = min(box.width * box.height for box in found)
    assert max(shared) < 0.15 * smallest
    assert all(frame.x0 - 1 <= box.x0 and box.x1 <= frame.x1 + 1 for box in found)
