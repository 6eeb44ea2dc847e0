"""The Pareto front over accuracy, size and cycles, and its figure."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sysmol.analysis.costs.objectives import objective
from sysmol.analysis.figures import OTHER_COLOURS, svg_of, thousands, tidy

FRONT = ("accuracy", "size", "cycles")
"""Objectives of a front where none are named."""


def pareto(table: pd.DataFrame, objectives: Sequence[str] = FRONT) -> list[bool]:
    """Whether a row is on the front: no other is as good in every objective (names of
    :data:`sysmol.analysis.costs.objectives.OBJECTIVES`) and better in one."""
    wanted = [objective(name) for name in objectives]
    values = np.array([[each.loss(row) for each in wanted] for row in table.to_dict("records")])
    return [not any((other <= row).all() and (other < row).any() for other in values) for row in values]


def front_figure(table: pd.DataFrame, sources: str) -> str:
    """Accuracy over cycles and over the file's bytes, a colour per design, the front's rows filled; SVG text.

    ``table``: columns name, design, front and the columns of its objectives.
    """
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _panel(left, table, "cycles", f"cycles per image ({sources})")
    _panel(right, table, "file_bytes", "bytes of the network file")
    left.set_ylabel("accuracy of the integers, %")
    right.legend(fontsize=8, frameon=False, loc="lower right", title="patterns")
    return svg_of(figure, "accuracy over cycles and size")


def _panel(axes: Axes, table: pd.DataFrame, column: str, label_of_axis: str) -> None:
    designs = list(dict.fromkeys(table["design"]))
    named: set[str] = set()
    for row in table.sort_values("front", ascending=False).to_dict("records"):
        design, x, y = row["design"], float(row[column]), 100 * float(row["accuracy_integer"])
        colour = OTHER_COLOURS[designs.index(design) % len(OTHER_COLOURS)]
        label = None if design in named else design
        named.add(design)
        axes.scatter(x, y, s=34, label=label, facecolors=colour if row["front"] else "none", edgecolors=colour)
        axes.annotate(row["name"], (x, y), xytext=(4, 4), textcoords="offset points", fontsize=7)
    axes.set_xlabel(label_of_axis)
    axes.set_xlim(left=0, right=1.12 * float(table[column].max()))
    axes.xaxis.set_major_formatter(lambda value, _: thousands(value) if value else "0")
    tidy(axes)
