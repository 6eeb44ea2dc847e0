"""Figures from the tables of :mod:`sysmol.analysis.runs` and :mod:`sysmol.analysis.costs.estimate`, as SVG text.

Colours are Okabe and Ito's (2008), which stay apart for colour-blind readers. A bar that gem5 did not measure is
hatched, and its panel's title says ``estimate``.
"""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure

VARIANT_COLOURS = {"fp32": "#999999", "int8": "#E69F00", "w4": "#56B4E9", "mixed": "#0072B2"}
OTHER_COLOURS = ("#009E73", "#CC79A7", "#D55E00", "#F0E442", "#000000", "#7F4F24", "#6A5ACD", "#66C2A5", "#B3B3B3")
"""Okabe and Ito's remaining ones, then others that are not as far apart."""
PRECISION_COLOURS = {8: "#E69F00", 4: "#0072B2", 2: "#56B4E9", 1: "#009E73"}
ISA_NAMES = {"arm": "AArch64", "riscv": "RISC-V", "host": "host"}
ESTIMATE = "estimate"
LEGEND_COLUMNS = 4
LAYERS_HEIGHT = 4.4
"""Inches, with the names of the layers."""


def variant_colour(variant: str, variants: Sequence[str]) -> str:
    """A fixed colour for the usual variants, the next free one for any other."""
    if variant in VARIANT_COLOURS:
        return VARIANT_COLOURS[variant]
    others = [name for name in variants if name not in VARIANT_COLOURS]
    return OTHER_COLOURS[others.index(variant) % len(OTHER_COLOURS)]


def thousands(value: float) -> str:
    """``1234567`` -> ``1.23 M``, ``45600`` -> ``45.6 k``: three digits."""
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}" if abs(value) < 1000 * limit else f"{value / limit:.0f}{unit}"
    return f"{value:.3g}"


def _panel_title(rows: pd.DataFrame) -> str:
    isa, source, machine = (str(rows[column].iloc[0]) for column in ("isa", "source", "machine"))
    return f"{ISA_NAMES.get(isa, isa)}: {source}, machine {machine}"


def _totals_panel(axes: Axes, rows: pd.DataFrame, variants: Sequence[str]) -> None:
    present = [name for name in variants if name in set(rows["variant"])]
    sums = [float(rows.loc[rows["variant"] == name, "cycles"].sum()) for name in present]
    colours = [variant_colour(name, variants) for name in present]
    hatch = "//" if rows["source"].iloc[0] == ESTIMATE else None
    axes.barh(range(len(present)), sums, color=colours, hatch=hatch, edgecolor="white", linewidth=0.5)
    slowest = sums[0]
    for row, value in enumerate(sums):
        factor = "" if row == 0 else f"  ({slowest / value:.2f}x as fast as {present[0]})"
        axes.text(value, row, f" {thousands(value)}{factor}", va="center", fontsize=8)
    axes.set_yticks(range(len(present)), present)
    axes.invert_yaxis()
    axes.set_xlim(0, max(sums) * 1.5)
    axes.xaxis.set_major_formatter(lambda value, _: thousands(value))
    axes.set_xlabel("cycles per image")
    axes.set_title(_panel_title(rows), fontsize=10)


def _layers_panel(axes: Axes, rows: pd.DataFrame, variants: Sequence[str]) -> None:
    present = [name for name in variants if name in set(rows["variant"])]
    order = rows.sort_values("index").drop_duplicates("layer")["layer"].tolist()
    width = 0.8 / len(present)
    hatch = "//" if rows["source"].iloc[0] == ESTIMATE else None
    for place, name in enumerate(present):
        cycles = rows[rows["variant"] == name].set_index("layer")["cycles"].reindex(order)
        axes.bar(
            np.arange(len(order)) + (place - (len(present) - 1) / 2) * width,
            cycles.to_numpy(dtype=float),
            width,
            label=name,
            color=variant_colour(name, variants),
            hatch=hatch,
            edgecolor="white",
            linewidth=0.5,
        )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: thousands(value))
    axes.set_xticks(range(len(order)), order, rotation=40, ha="right", fontsize=8)
    axes.set_ylabel("cycles per image (log)")
    axes.legend(fontsize=8, ncols=LEGEND_COLUMNS, frameon=False, loc="upper right")
    axes.set_ylim(top=axes.get_ylim()[1] * 3 ** -(-len(present) // LEGEND_COLUMNS))


def svg_of(figure: Figure, title: str) -> str:
    """A figure as SVG text, the same for the same content."""
    stream = io.StringIO()
    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "sysmol",
        "font.sans-serif": ["DejaVu Sans", "Arial"],
    }
    with matplotlib.rc_context(style):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": "sysmol", "Title": title})
    return stream.getvalue()


def tidy(axes: Axes) -> None:
    """Two spines and a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="both", alpha=0.25, linewidth=0.5)
    axes.set_axisbelow(True)


def cycles_figure(layers: pd.DataFrame, variants: Sequence[str]) -> str:
    """Totals (above) and layers (below) of every variant, a column of panels per ISA and source, as SVG.

    ``layers``: rows of :func:`sysmol.analysis.runs.load_run` or :func:`sysmol.analysis.costs.estimate.estimate` with
    cycles.
    """
    groups = [rows for _, rows in layers.dropna(subset=["cycles"]).groupby(["isa", "source", "machine"], sort=False)]
    totals = 1.0 + 0.24 * len(variants)
    figure = Figure(figsize=(6.2 * len(groups), totals + LAYERS_HEIGHT), layout="constrained")
    grid = figure.subplots(2, len(groups), squeeze=False, height_ratios=[totals, LAYERS_HEIGHT])
    for column, rows in enumerate(groups):
        _totals_panel(grid[0, column], rows, variants)
        _layers_panel(grid[1, column], rows, variants)
        tidy(grid[0, column])
        tidy(grid[1, column])
    return svg_of(figure, "cycles per layer")


def precision_figure(precisions: pd.DataFrame) -> str:
    """Input channels per precision and layer, stacked, as SVG. ``precisions``: columns layer, bits, channels."""
    order = precisions["layer"].drop_duplicates().tolist()
    figure = Figure(figsize=(6.2, 0.7 + 0.33 * len(order)), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(order))
    for bits in sorted(precisions["bits"].unique(), reverse=True):
        counts = (
            precisions[precisions["bits"] == bits]
            .set_index("layer")["channels"]
            .reindex(order)
            .fillna(0)
            .to_numpy(dtype=float)
        )
        axes.barh(
            order,
            counts,
            left=left,
            color=PRECISION_COLOURS.get(int(bits), "#999999"),
            label=f"{bits} bit",
            edgecolor="white",
        )
        left += counts
    axes.invert_yaxis()
    axes.set_xlabel("input channels")
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    tidy(axes)
    return svg_of(figure, "precision of the input channels")
