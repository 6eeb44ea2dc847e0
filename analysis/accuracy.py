"""Accuracy against size from rows of training (``results/training.csv``): means over seeds as a table, and a figure."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from analysis.figures import OTHER_COLOURS, VARIANT_COLOURS
from sysmol.errors import SysmolError

FIGURES = ("accuracy_fp32", "accuracy_float", "accuracy_integer", "bits_per_parameter", "mean_smol_bits", "file_bytes",
           "compression", "seconds")  # fmt: skip
FULL = {"fp32": "--", "fp32-longer": ":"}
"""Variants in full precision, and how figures draw their lines."""


def by_variant(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A row per network, data set and variant, in the order of their first appearance: ``seeds`` (how many), and
    ``NAME`` and ``NAME_std`` (sample standard deviation, NaN for one seed) of all :data:`FIGURES`.
    """
    table = pd.DataFrame(list(rows))
    if table.empty:
        raise SysmolError("there are no rows yet: run the experiments first")
    for name in FIGURES:
        table[name] = pd.to_numeric(table[name])
    groups = table.groupby(["network", "dataset", "variant"], sort=False)
    means, spreads = groups[list(FIGURES)].mean(), groups[list(FIGURES)].std().add_suffix("_std")
    return pd.concat([groups.size().rename("seeds"), means, spreads], axis=1).reset_index()


def markdown(table: pd.DataFrame) -> str:
    """The table of :func:`by_variant` in Markdown; accuracies in percent, mean and standard deviation."""
    head = ["variant", "seeds", "accuracy, float", "accuracy, integers", "against fp32", "bits per parameter",
            "bytes of the file", "compression"]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in table.to_dict("records"):
        loss = 100 * (row["accuracy_float"] - row["accuracy_fp32"])
        cells = [
            row["variant"],
            str(row["seeds"]),
            _spread(100 * row["accuracy_float"], 100 * row["accuracy_float_std"]),
            _spread(100 * row["accuracy_integer"], 100 * row["accuracy_integer_std"]),
            f"{loss:+.2f}",
            f"{row['bits_per_parameter']:.2f}",
            "–" if pd.isna(row["file_bytes"]) else f"{row['file_bytes']:,.0f}",
            "–" if pd.isna(row["compression"]) else f"{row['compression']:.1f}x",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _spread(mean: float, spread: float) -> str:
    if pd.isna(mean):
        return "–"
    return f"{mean:.2f}" if pd.isna(spread) else f"{mean:.2f} ± {spread:.2f}"


def family(name: str) -> str:
    """What a variant is drawn as: its pattern set and what distinguishes it, without bits per parameter."""
    return "-".join(part for part in name.split("-") if not part.replace(".", "").isdigit())


def draw(table: pd.DataFrame) -> str:
    """Accuracy over bits per parameter, a line per family of variants, as SVG text; bars are standard deviations.

    Full precision is the dashed line, dotted where it was trained on as long as the others. ``table`` is that of
    :func:`by_variant`, of one network and data set.
    """
    from matplotlib.figure import Figure

    if len(table.groupby(["network", "dataset"])) != 1:
        raise SysmolError("a figure shows one network on one data set")
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    shown = table[~table["variant"].isin(FULL)]
    names = list(dict.fromkeys(family(name) for name in shown["variant"]))
    others = [name for name in names if name not in VARIANT_COLOURS]
    for name in names:
        rows = shown[shown["variant"].map(family) == name].sort_values("bits_per_parameter")
        colour = VARIANT_COLOURS.get(name) or OTHER_COLOURS[others.index(name) % len(OTHER_COLOURS)]
        style = "o-" if len(rows) > 1 else "s"
        axes.errorbar(
            rows["bits_per_parameter"], 100 * rows["accuracy_float"], 100 * rows["accuracy_float_std"].fillna(0),
            fmt=style, label=name, color=colour, capsize=3, markersize=5,
        )  # fmt: skip
    for name, style in FULL.items():
        found = table["accuracy_fp32"] if name == "fp32" else table.loc[table["variant"] == name, "accuracy_float"]
        if len(found):
            axes.axhline(100 * float(found.mean()), linestyle=style, color=VARIANT_COLOURS["fp32"], label=name)
    axes.set_xlabel("bits per parameter")
    axes.set_ylabel("test images classified right, %")
    first = table.iloc[0]
    axes.set_title(f"{first['network']} on {first['dataset']}, up to {table['seeds'].max()} seeds", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncols=2)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
