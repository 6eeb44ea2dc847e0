"""Designs in the plane of accuracy and a cost: the Pareto front over several objectives, and the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, NullFormatter

from sysmol.analysis.costs.objectives import objective
from sysmol.analysis.costs.quantity import Kind
from sysmol.analysis.figures import WIDTH, short, styled, svg_of, tidy
from sysmol.analysis.moved import moved_from
from sysmol.analysis.page.values import thousands

FRONT = ("accuracy", "size", "cycles")
"""Objectives of a front where none are named."""
SAME_COST = 0.02
"""Share by which costs of equal designs may differ."""
LABEL_OFFSET = (7.0, 5.0)
"""Dots from a point to its label's corner, where the label has room there."""
LABEL_STEPS = 300
"""How often labels are pushed apart: a number, not a time, so that equal figures come out equal."""


def pareto(table: pd.DataFrame, objectives: Sequence[str] = FRONT) -> list[bool]:
    """Whether a row is on the front: no other is as good in every objective (names of
    :data:`sysmol.analysis.costs.objectives.OBJECTIVES`) and better in one."""
    wanted = [objective(name) for name in objectives]
    values = np.array([[each.loss(row) for each in wanted] for row in table.to_dict("records")])
    return [not any((other <= row).all() and (other < row).any() for other in values) for row in values]


def within_noise(table: pd.DataFrame, costs: Sequence[str] = ("size", "cycles")) -> list[bool]:
    """Whether no other row clearly beats a row: costs no more (names of objectives), and either costs less by more than
    :data:`SAME_COST` at no less accuracy, or has an accuracy whose interval lies above the row's.

    ``table``: the columns of the objectives, ``accuracy_low`` and ``accuracy_high``. Of equal designs that training
    noise tells apart, all are within it.
    """
    rows = table.to_dict("records")
    wanted = [objective(name) for name in costs]

    def beats(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> bool:
        pairs = [(each.loss(one), each.loss(other)) for each in wanted]
        if any(mine > its for mine, its in pairs):
            return False
        less = any(mine < (1 - SAME_COST) * its for mine, its in pairs)
        accuracy = objective("accuracy").of
        return (less and accuracy(one) >= accuracy(other)) or one["accuracy_low"] > other["accuracy_high"]

    return [not any(beats(other, row) for other in rows) for row in rows]


@styled
def trade_off_figure(points: pd.DataFrame, label: str, colours: Mapping[str, str]) -> str:
    """Accuracy over a cost, a labelled point per design; SVG text.

    ``points``: columns name, group (key of ``colours``), accuracy, accuracy_low, accuracy_high (shares), cost,
    cost_low, cost_high, kind (:class:`Kind`), and front: where it is False a point is small. Costs are on a logarithmic
    scale where they span more than a factor of four. A cost that was not measured is a hollow point.
    """
    figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
    axes = figure.subplots()
    for row in points.to_dict("records"):
        _draw_point(axes, row, colours[row["group"]])
    _scale(axes, points)
    axes.set_xlabel(label)
    axes.set_ylabel("accuracy, %")
    if points["group"].nunique() > 1 and set(points["group"]) != set(points["name"]):
        for group in dict.fromkeys(points["group"]):
            axes.plot([], [], "o", color=colours[group], label=group)
        axes.legend(frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.45, 1.0), handletextpad=0.1)
    tidy(axes)
    place_labels(axes, points["cost"], 100 * points["accuracy"], points["name"])
    return svg_of(figure, f"accuracy over {label}")


def _draw_point(axes: Axes, row: Mapping[object, object], colour: str) -> None:
    x, low, high = (float(str(row[key])) for key in ("cost", "cost_low", "cost_high"))
    y, down, up = (100 * float(str(row[key])) for key in ("accuracy", "accuracy_low", "accuracy_high"))
    axes.errorbar(
        x, y, xerr=[[x - low], [high - x]], yerr=[[y - down], [up - y]], fmt="o", color=colour,
        markersize=6.5 if row["front"] else 4, markerfacecolor=colour if row["kind"] == Kind.MEASURED else "white",
        elinewidth=0.8, capsize=2, alpha=0.95,
    )  # fmt: skip


def _scale(axes: Axes, points: pd.DataFrame) -> None:
    """Room for labels at both sides of the outermost costs."""
    low, high = float(points["cost_low"].min()), float(points["cost_high"].max())
    if low > 0 and high > 4 * low:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(low / 1.4, high * 1.4)
    else:
        room = 0.15 * (high - low) or 0.1 * high
        axes.set_xlim(max(low - room, 0), high + room)
    axes.xaxis.set_major_formatter(lambda value, _: thousands(value) if value else "0")


def place_labels(axes: Axes, x: pd.Series, y: pd.Series, names: pd.Series) -> list[Text]:
    """Names beside their points, pushed apart until none lies on another; lines lead to those that moved far. The
    texts."""
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()  # labels are placed in the final axes
    halo: Any = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.6}
    places = axes.transData.transform(np.column_stack([x.to_numpy(float), y.to_numpy(float)])) + LABEL_OFFSET
    texts = [
        axes.text(at, height, short(str(name)), fontsize=8, bbox=halo)
        for (at, height), name in zip(axes.transData.inverted().transform(places), names, strict=True)
    ]
    adjust_text(
        texts, x=x.to_numpy(float), y=y.to_numpy(float), ax=axes, iter_lim=LABEL_STEPS, expand=(1.2, 1.5),
        force_text=(0.3, 0.5), max_move=None, arrowprops={"arrowstyle": "-", "color": "#5a6675", "lw": 0.5},
    )  # fmt: skip
    return texts


if not TYPE_CHECKING:  # type checkers would take every name for defined
    __getattr__ = moved_from(__name__)
