"""Accuracy of trained networks over size and over cycles: both fronts of several networks in one figure.

A point is a seed, a line joins the means of a family (uniform codes, or one set of patterns), its colour the same
everywhere. Full precision is a dashed line, dotted where it was trained on as long as the others; the band is what its
test images leave open (95%).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from sysmol.analysis.accuracy import FULL, TITLES, family
from sysmol.analysis.figures import OTHER_COLOURS, VARIANT_COLOURS, styled, svg_of, tidy
from sysmol.analysis.intervals import accuracy_interval
from sysmol.analysis.page.values import thousands
from sysmol.errors import SysmolError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = {"file_bytes": "bytes of the file"} | {
    f"cycles_{isa}": f"cycles per image in gem5, {title}" for isa, title in TITLES.items()
}
NUMBERS = ("accuracy_integer", "test_images", *PANELS)
UNIFORM = "uniform"
COLOURS = {UNIFORM: VARIANT_COLOURS["w4"], "P4": VARIANT_COLOURS["mixed"]}
FRONT = (UNIFORM, "P4", "P8", "P45")
"""Families in the figure: what hardware computes, without what is there for comparison; ``-longer`` counts as one."""


def points(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of training that a front shows, ``family`` among their columns: exported networks of :data:`FRONT` and full
    precision, :class:`SysmolError` where there are none."""
    table = pd.DataFrame(list(rows))
    if table.empty:
        raise SysmolError("there are no rows yet: run the experiments first")
    for name in NUMBERS:
        table[name] = pd.to_numeric(table[name])
    table["family"] = [family_of(name) for name in table["variant"]]
    shown = table["family"].isin([*FRONT, *FULL]) & table["accuracy_integer"].notna()
    if not shown.any():
        raise SysmolError("no row is of a network that a front shows")
    return table[shown].reset_index(drop=True)


def family_of(variant: str) -> str:
    """What a variant is drawn as: one of :data:`FRONT`, its own name for full precision, anything else otherwise."""
    base = variant.split("-longer")[0]
    if base == "fp32":
        return "fp32" if variant == base else "fp32-longer"
    return "-".join(part for part in family(base).split("-") if not part.startswith("c") or not part[1:].isdigit())


@styled
def draw(rows: Iterable[Mapping[str, Any]]) -> str:
    """A row of panels for every network, as SVG text."""
    from matplotlib.figure import Figure

    table = points(rows)
    networks = list(dict.fromkeys(zip(table["network"], table["dataset"], strict=True)))
    figure = Figure(figsize=(3.6 * len(PANELS), 2.9 * len(networks)), layout="constrained")
    grid = figure.subplots(len(networks), len(PANELS), squeeze=False, sharey="row")
    for (network, dataset), row in zip(networks, grid, strict=True):
        own = table[(table["network"] == network) & (table["dataset"] == dataset)]
        for axes, (column, label) in zip(row, PANELS.items(), strict=True):
            _panel(axes, own, column)
            axes.set_xlabel(label)
        row[0].set_ylabel(f"{network}, {dataset}: % right")
    handles = {label: line for axes in grid.flat for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles))
    return svg_of(figure, "Accuracy over size and over cycles")


def _panel(axes: Axes, table: pd.DataFrame, column: str) -> None:
    known = table[table[column].notna() & ~table["family"].isin(FULL)]
    for number, name in enumerate(FRONT):
        own = known[known["family"] == name]
        if own.empty:
            continue
        colour = COLOURS.get(name, OTHER_COLOURS[number - len(COLOURS)])
        means = own.groupby("variant")[[column, "accuracy_integer"]].mean().sort_values(column)
        axes.plot(means[column], 100 * means["accuracy_integer"], color=colour, linewidth=1)
        marker = "o" if name == UNIFORM else "s"
        axes.plot(own[column], 100 * own["accuracy_integer"], marker, color=colour, label=name, markersize=4, alpha=0.8)
    for name, style in FULL.items():
        own = table[table["family"] == name]
        if own.empty:
            continue
        mean, images = float(own["accuracy_integer"].mean()), own["test_images"].min()
        axes.axhline(100 * mean, linestyle=style, color=VARIANT_COLOURS["fp32"], label=name)
        if name == "fp32" and pd.notna(images):
            low, high = accuracy_interval(mean, int(images))
            axes.axhspan(100 * low, 100 * high, color=VARIANT_COLOURS["fp32"], alpha=0.15, linewidth=0)
    axes.xaxis.set_major_formatter(lambda value, _: thousands(value))
    axes.tick_params(axis="x", labelrotation=20)
    tidy(axes)
