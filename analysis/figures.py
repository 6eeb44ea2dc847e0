"""Figures as SVG text, the same for the same content: how they look, and those of cycles, precisions and learning.

Colours are Okabe and Ito's (2008), which stay apart for colour-blind readers. A bar that was not measured is hatched, a
point that was not is hollow, and the words beside them say ``estimate``. A figure of a page is as wide as a phone.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sysmol.analysis.costs.quantity import Kind
from sysmol.analysis.page.values import thousands

VARIANT_COLOURS = {"fp32": "#999999", "int8": "#E69F00", "w4": "#56B4E9", "mixed": "#0072B2"}
OTHER_COLOURS = ("#009E73", "#CC79A7", "#D55E00", "#F0E442", "#000000", "#7F4F24", "#6A5ACD", "#66C2A5", "#B3B3B3")
"""Okabe and Ito's remaining ones, then others that are not as far apart."""
PRECISION_COLOURS = {8: "#E69F00", 4: "#0072B2", 2: "#56B4E9", 1: "#009E73"}
ISA_NAMES = {"arm": "AArch64", "riscv": "RISC-V", "host": "host"}
WIDTH = 4.3
"""Inches of a figure that a phone shows at its full width."""
LABEL = 22
"""Characters of a label at most."""
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "legend.fontsize": 8.5,
    "font.sans-serif": ["DejaVu Sans", "Arial"],
    "svg.fonttype": "none",
    "svg.hashsalt": "sysmol",
    "text.parse_math": False,
}
"""Names from files are shown as they are: a dollar sign begins no formula."""

styled = matplotlib.rc_context(STYLE)
"""For functions that draw: ``@styled``."""


def isa_name(isa: str) -> str:
    """An ISA as people write it."""
    return ISA_NAMES.get(isa, isa)


def variant_colour(variant: str, variants: Sequence[str]) -> str:
    """A fixed colour for the usual variants, the next free one for any other."""
    if variant in VARIANT_COLOURS:
        return VARIANT_COLOURS[variant]
    others = [name for name in variants if name not in VARIANT_COLOURS]
    return OTHER_COLOURS[others.index(variant) % len(OTHER_COLOURS)]


def svg_of(figure: Figure, title: str) -> str:
    """A figure as SVG text, the same for the same content."""
    stream = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": "sysmol", "Title": title})
    return stream.getvalue()


def short(name: str) -> str:
    """A name of any length as a label: its beginning and its end."""
    return name if len(name) <= LABEL else f"{name[: LABEL // 2]}…{name[-LABEL // 2 + 1 :]}"


def tidy(axes: Axes) -> None:
    """Two spines and a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="both", alpha=0.25, linewidth=0.5)
    axes.set_axisbelow(True)


def panel_title(rows: pd.DataFrame) -> str:
    """ISA, source and machine of rows that share them."""
    isa, source, machine = (str(rows[column].iloc[0]) for column in ("isa", "source", "machine"))
    return f"{isa_name(isa)}: {source}, machine {machine}"


def panels(layers: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of every ISA, source and machine that has cycles, in the table's order."""
    timed = layers.dropna(subset=["cycles"])
    return [rows for _, rows in timed.groupby(["isa", "source", "machine"], sort=False)]


# --- cycles ----------------------------------------------------------------------------------------------------------


def _hatch(rows: pd.DataFrame) -> str | None:
    return None if rows["kind"].iloc[0] == Kind.MEASURED else "///"


def _draw_totals(axes: Axes, rows: pd.DataFrame, variants: Sequence[str]) -> None:
    present = [name for name in variants if name in set(rows["variant"])]
    sums = [float(rows.loc[rows["variant"] == name, "cycles"].sum()) for name in present]
    colours = [variant_colour(name, variants) for name in present]
    axes.barh(range(len(present)), sums, color=colours, hatch=_hatch(rows), edgecolor="white", linewidth=0.5)
    for row, value in enumerate(sums):
        factor = "" if row == 0 else f"  ({sums[0] / value:.2f}x as fast as {present[0]})"
        axes.text(value, row, f" {thousands(value)}{factor}", va="center", fontsize=8)
    axes.set_yticks(range(len(present)), map(short, present))
    axes.invert_yaxis()
    axes.set_xlim(0, max(sums) * 1.5)
    axes.xaxis.set_major_formatter(lambda value, _: thousands(value))
    axes.set_xlabel("cycles per image")
    axes.set_title(panel_title(rows))
    tidy(axes)


def _layers_height(rows: pd.DataFrame) -> float:
    """Inches of :func:`_draw_layers`."""
    return 1.1 + rows["layer"].nunique() * (0.13 + 0.085 * rows["variant"].nunique())


def _draw_layers(axes: Axes, rows: pd.DataFrame, variants: Sequence[str]) -> None:
    """A group of bars per layer, the first layer on top, on a logarithmic scale."""
    present = [name for name in variants if name in set(rows["variant"])]
    order = rows.sort_values("index").drop_duplicates("layer")["layer"].tolist()
    width = 0.84 / len(present)
    for place, name in enumerate(present):
        cycles = rows[rows["variant"] == name].set_index("layer")["cycles"].reindex(order)
        positions = np.arange(len(order)) + (place - (len(present) - 1) / 2) * width
        axes.barh(
            positions, cycles.to_numpy(dtype=float), width, label=short(name), color=variant_colour(name, variants),
            hatch=_hatch(rows), edgecolor="white", linewidth=0.4,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: thousands(value))
    axes.set_yticks(range(len(order)), map(short, order), fontsize=8)
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.set_xlabel("cycles per image (logarithmic)")
    axes.legend(ncols=4, frameon=False, loc="lower center", bbox_to_anchor=(0.42, 1.0), columnspacing=1.0)
    tidy(axes)
    axes.grid(visible=False, axis="y")


@styled
def layers_figure(rows: pd.DataFrame, variants: Sequence[str]) -> str:
    """Cycles of every layer and variant of one ISA, source and machine (one of :func:`panels`)."""
    figure = Figure(figsize=(WIDTH, _layers_height(rows)), layout="constrained")
    _draw_layers(figure.subplots(), rows, variants)
    return svg_of(figure, f"cycles per layer, {panel_title(rows)}")


@styled
def cycles_figure(layers: pd.DataFrame, variants: Sequence[str]) -> str:
    """Totals (above) and layers (below) of every variant, a column of panels per ISA and source.

    ``layers``: rows of :func:`sysmol.analysis.runs.load_run` or :func:`sysmol.analysis.costs.estimate.estimate` with
    cycles.
    """
    groups = panels(layers)
    heights = [1.0 + 0.24 * len(variants), max(map(_layers_height, groups))]
    figure = Figure(figsize=(6.2 * len(groups), sum(heights)), layout="constrained")
    grid = figure.subplots(2, len(groups), squeeze=False, height_ratios=heights)
    for column, rows in enumerate(groups):
        _draw_totals(grid[0, column], rows, variants)
        _draw_layers(grid[1, column], rows, variants)
    return svg_of(figure, "cycles per layer")


# --- precisions and learning -----------------------------------------------------------------------------------------


@styled
def precision_figure(precisions: pd.DataFrame) -> str:
    """Input channels per precision and layer, stacked. ``precisions``: columns layer, bits, channels."""
    order = precisions["layer"].drop_duplicates().tolist()
    figure = Figure(figsize=(WIDTH, 0.95 + 0.26 * len(order)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(order))
    left = np.zeros(len(order))
    for bits in sorted(precisions["bits"].unique(), reverse=True):
        rows = precisions[precisions["bits"] == bits].set_index("layer")["channels"]
        counts = rows.reindex(order).fillna(0).to_numpy(dtype=float)
        colour = PRECISION_COLOURS.get(int(bits), "#999999")
        name = f"{bits} bit" if bits == 1 else f"{bits} bits"
        bars = axes.barh(places, counts, 0.8, left=left, color=colour, label=name, edgecolor="white")
        written = [f"{count:.0f}" if count >= 0.06 * _widest(precisions) else "" for count in counts]
        axes.bar_label(bars, written, label_type="center", fontsize=7.5, color="white" if bits in (4, 1) else "black")
        left += counts
    axes.set_yticks(places, map(short, order), fontsize=8)
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.set_xlabel("input channels")
    axes.legend(ncols=4, frameon=False, loc="lower center", bbox_to_anchor=(0.42, 1.0), columnspacing=1.0)
    tidy(axes)
    axes.grid(visible=False, axis="y")
    return svg_of(figure, "precision of the input channels")


def _widest(precisions: pd.DataFrame) -> float:
    return float(precisions.groupby("layer", sort=False)["channels"].sum().max())


@styled
def learning_figure(curves: Mapping[str, pd.DataFrame], column: str, label: str, scale: float = 1.0) -> str:
    """A line per variant over its epochs, phase behind phase. ``curves``: columns epoch, phase and ``column`` (NaN:
    nothing there); a vertical mark stands where a phase ends."""
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
    axes = figure.subplots()
    for variant, rows in curves.items():
        colour = variant_colour(variant, list(curves))
        axes.plot(rows["epoch"], scale * rows[column], color=colour, label=short(variant), marker="o", markersize=2.5)
        last = rows.groupby("phase", sort=False).tail(1)
        axes.plot(last["epoch"], scale * last[column], color=colour, marker="|", markersize=11, linestyle="none")
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    tidy(axes)
    return svg_of(figure, label)
