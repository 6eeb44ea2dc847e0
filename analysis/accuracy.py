"""Accuracy against size and cycles from rows of training (``results/training.csv``): what simulations add to a row,
means over seeds as a table, and a figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sysmol.analysis.figures import ISA_NAMES, OTHER_COLOURS, VARIANT_COLOURS, styled, svg_of
from sysmol.analysis.intervals import accuracy_interval
from sysmol.analysis.markdown import number
from sysmol.analysis.markdown import table as markdown_table
from sysmol.analysis.page.values import thousands
from sysmol.analysis.summary import read_summary
from sysmol.errors import SysmolError
from sysmol.isas import ISAS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES = {isa: ISA_NAMES[isa] for isa in ISAS}
FIGURES = ("accuracy_fp32", "accuracy_float", "accuracy_integer", "test_images", "against_fp32", "bits_per_parameter",
           "mean_smol_bits", "file_bytes", "compression", "seconds", *(f"cycles_{isa}" for isa in ISAS))  # fmt: skip
FULL = {"fp32": "--", "fp32-longer": ":"}
"""Variants in full precision, and how figures draw their lines."""
BASELINES = ("fp32", "int8")
"""Variants that cycles are compared with."""
UNIFORM = ("w4", "w2", "w1")
MARKERS = "sD^vPX"


def measured(row: Mapping[str, Any], summary: Path) -> dict[str, Any]:
    """What a ``summary.json`` knows of a row's network: ``cycles_arm`` and ``cycles_riscv`` per image on gem5's O3
    core, ``simulator``, and in ``logits_verified_by`` who computed the same logits of how many images. Empty without a
    summary, or where the network has been exported anew since; :class:`SysmolError` where logits differ."""
    if not summary.is_file():
        return {}
    found = read_summary(summary)
    if found["networks"].get(row["variant"], {}).get("sha256") != row["network_sha256"]:
        return {}
    return simulated(found, row["variant"], summary)


def simulated(found: Mapping[str, Any], variant: str, summary: Path) -> dict[str, Any]:
    """What :func:`measured` gives, from the content of the summary."""
    checks = [each for each in found["agreement"] if each["variant"] == variant and each["isa"] != "none"]
    wrong = [f"{each['what']}, {each['isa']}" for each in checks if each["mismatches"]]
    if wrong:
        raise SysmolError(f"{summary}: logits of {variant} differ from the network file's in {'; '.join(wrong)}")
    images: dict[str, int] = {}
    for each in checks:
        place = each["isa"] if each["isa"] == "host" else f"{each['isa']} {each['what'].split()[-1]}"
        images[place] = max(images.get(place, 0), each["images"])
    verified = ", ".join(f"{place}: {count}" for place, count in sorted(images.items()))
    facts: dict[str, Any] = {"logits_verified_by": verified}
    for run in found["cycles"]:
        if run["variant"] == variant and run["cpu"] == "o3":
            facts |= {f"cycles_{run['isa']}": run["cycles"], "simulator": f"{run['source']}, {run['machine']}"}
    return facts


def by_variant(rows: pd.DataFrame | Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A row per network, data set and variant, in the order of their first appearance: ``seeds`` (how many), and
    ``NAME`` and ``NAME_std`` (sample standard deviation, NaN for one seed) of all :data:`FIGURES`.

    ``against_fp32`` is what a variant has more than full precision of the same seed (a share of the test images), in
    integers, which are what is deployed; in floating point where no seed of it was exported.
    """
    table = rows.copy() if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    if table.empty:
        raise SysmolError("there are no rows yet: run the experiments first")
    for name in FIGURES:
        if name not in table:  # rows that no simulation has been joined to
            table[name] = None
        table[name] = pd.to_numeric(table[name])
    keys = ["network", "dataset", "variant"]
    exported = table.groupby(keys)["accuracy_integer"].transform("count") > 0
    deployed = table["accuracy_integer"].where(exported, table["accuracy_float"])
    table["against_fp32"] = deployed - table["accuracy_fp32"]
    groups = table.groupby(keys, sort=False)
    means, spreads = groups[list(FIGURES)].mean(), groups[list(FIGURES)].std().add_suffix("_std")
    return pd.concat([groups.size().rename("seeds"), means, spreads], axis=1).reset_index()


def markdown(table: pd.DataFrame) -> str:
    """The table of :func:`by_variant` in Markdown; accuracies in percent, mean and standard deviation over the seeds.
    The 95% interval says what the test images leave open of the integers' mean. Cycles, and those of full precision and
    of int8 over them, stand where there are some."""
    head = ["variant", "seeds", "accuracy, float", "accuracy, integers", "95% interval", "against fp32",
            "bits per parameter", "bytes of the file", "compression"]  # fmt: skip
    bases = {name: table[table["variant"] == name] for name in BASELINES}
    bases = {name: rows for name, rows in bases.items() if len(rows)}
    timed = _timed(table)
    for title in timed.values():
        head += [f"{title} cycles", *(f"{name} / it" for name in bases)]
    lines = []
    for row in table.to_dict("records"):
        cells = [
            row["variant"],
            str(row["seeds"]),
            _spread(100 * row["accuracy_float"], 100 * row["accuracy_float_std"]),
            _spread(100 * row["accuracy_integer"], 100 * row["accuracy_integer_std"]),
            _open(row["accuracy_integer"], row["test_images"]),
            f"{100 * row['against_fp32']:+.2f}",
            f"{row['bits_per_parameter']:.2f}",
            number(row["file_bytes"]),
            number(row["compression"], "{:.1f}x"),
        ]
        for isa in timed:
            cycles = row[f"cycles_{isa}"]
            ratios = (rows[f"cycles_{isa}"].iloc[0] / cycles for rows in bases.values())
            cells += [number(cycles), *(number(ratio, "{:.1f}x") for ratio in ratios)]
        lines.append(cells)
    return markdown_table(head, lines)


def _timed(table: pd.DataFrame) -> dict[str, str]:
    """The ISAs, with their names, that some row has cycles of."""
    return {isa: title for isa, title in TITLES.items() if table[f"cycles_{isa}"].notna().any()}


def _spread(mean: float, spread: float) -> str:
    return number(mean, "{:.2f}") if pd.isna(spread) else f"{mean:.2f} ± {spread:.2f}"


def _open(accuracy: float, images: float) -> str:
    """The interval of an accuracy, where it and the number of test images are known."""
    if pd.isna(accuracy) or pd.isna(images):
        return "–"
    low, high = accuracy_interval(accuracy, int(images))
    return f"{100 * low:.1f} to {100 * high:.1f}"


def family(name: str) -> str:
    """What a variant is drawn as: its pattern set and what distinguishes it, without bits per parameter; w4, w2 and w1
    are one line."""
    if name in UNIFORM:
        return "uniform"
    return "-".join(part for part in name.split("-") if not part.replace(".", "").isdigit())


@styled
def draw(table: pd.DataFrame) -> str:
    """Accuracy against full precision of the same seed, over bits per parameter and, where some are known, over cycles,
    a line per family of variants, as SVG text; bars are standard deviations.

    Full precision is the dashed line, dotted where it was trained on as long as the others. ``table`` is that of
    :func:`by_variant`, of one network and data set.
    """
    from matplotlib.figure import Figure

    if len(table.groupby(["network", "dataset"])) != 1:
        raise SysmolError("a figure shows one network on one data set")
    panels = {"bits_per_parameter": "bits per parameter in the file"}
    panels |= {f"cycles_{isa}": f"cycles per image, {title}" for isa, title in _timed(table).items()}
    figure = Figure(figsize=(3 + 4 * len(panels), 4.2), layout="constrained")
    row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (column, label) in zip(row, panels.items(), strict=True):
        _panel(axes, table, column)
        axes.set_xlabel(label)
    row[0].set_ylabel("points against full precision of the same seed")
    row[0].legend(fontsize=8, ncols=2)
    first = table.iloc[0]
    title = f"{first['network']} on {first['dataset']}, up to {table['seeds'].max()} seeds"
    figure.suptitle(title, fontsize=10)
    return svg_of(figure, title)


def _panel(axes: Axes, table: pd.DataFrame, column: str) -> None:
    """Quantised variants as points over a column, full precision as horizontal lines."""
    shown = table[~table["variant"].isin(FULL)].dropna(subset=[column])
    names = list(dict.fromkeys(family(name) for name in table["variant"] if name not in FULL))
    colours = VARIANT_COLOURS | {"uniform": VARIANT_COLOURS["w4"]}
    others = [name for name in names if name not in colours]
    for name in names:
        rows = shown[shown["variant"].map(family) == name].sort_values(column)
        colour, marker = colours.get(name), "o"
        if colour is None:
            place = others.index(name)
            colour, marker = OTHER_COLOURS[place % len(OTHER_COLOURS)], MARKERS[place % len(MARKERS)]
        axes.errorbar(
            rows[column], 100 * rows["against_fp32"], 100 * rows["against_fp32_std"].fillna(0),
            fmt=f"{marker}-", label=name, color=colour, capsize=3, markersize=5,
        )  # fmt: skip
    for name, style in FULL.items():
        found = table.loc[table["variant"] == name, "against_fp32"]
        if len(found):
            axes.axhline(100 * float(found.iloc[0]), linestyle=style, color=VARIANT_COLOURS["fp32"], label=name)
    axes.xaxis.set_major_formatter(lambda value, _: thousands(value))
    axes.grid(alpha=0.3)
