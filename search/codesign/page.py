"""The products of a co-design run: rounds.csv, front.svg and one self-contained page."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sysmol.files import atomic_write_text
from sysmol.pattern import pattern_name
from sysmol.train.frontend.user_files import label

if TYPE_CHECKING:
    from sysmol.analysis.page import Page, Table, Tile
    from sysmol.search.codesign.loop import Row
    from sysmol.search.codesign.settings import Settings

COLUMNS = (
    "name", "design", "limits", "validation", "accuracy (integers)", "bits/parameter", "file bytes", "cycles", "source",
    "kept", "improved", "front",
)  # fmt: skip
"""Those that every table has."""
SILICON = {"energy": "energy", "area, um2": "area"}
"""Columns behind ``source`` that older tables lack, and the field that each shows."""


def columns(frame: pd.DataFrame) -> list[str]:
    """Those that a table has."""
    place = COLUMNS.index("source") + 1
    return [*COLUMNS[:place], *(name for name, field in SILICON.items() if field in frame), *COLUMNS[place:]]


def table(rows: Sequence[Row], objectives: Sequence[str] | None = None) -> pd.DataFrame:
    """All fields of the rows, and whether each is on the Pareto front over the objectives (default: accuracy, size and
    cycles)."""
    from sysmol.analysis.front import FRONT, pareto

    found = pd.DataFrame([row.record() for row in rows])
    return found.assign(front=pareto(found, objectives or FRONT))


def _energy(row: Mapping[Any, Any]) -> str | None:
    """Energy with its interval, where the row has one."""
    from sysmol.analysis.page.values import microjoules

    if row.get("energy") is None or row["energy"] != row["energy"]:
        return None
    return microjoules(*(float(row[name]) for name in ("energy", "energy_low", "energy_high")))


def limit(row: Mapping[Any, Any]) -> str:
    """A row's limits, and what its figures say where they are over them."""
    missed = row.get("missed")
    return f"{row['limits']}; missed: {missed}" if isinstance(missed, str) and missed else str(row["limits"])


def _area(row: Mapping[Any, Any]) -> int | None:
    value = row.get("area")
    return None if value is None or value != value else round(value)


def shown(frame: pd.DataFrame) -> list[list[object]]:
    """The rows as people read them, in the order of :func:`columns`."""
    silicon = [form for name, form in (("energy", _energy), ("area", _area)) if name in frame]
    return [
        [
            row["name"], row["design"], limit(row), f"{row['validation']:.2%}",
            f"{row['accuracy_integer']:.2%}", round(row["bits_per_parameter"], 2), row["file_bytes"],
            round(row["cycles"]), row["source"], *(form(row) for form in silicon),
            *("yes" if row[key] else "no" for key in ("kept", "improved", "front")),
        ]
        for row in frame.to_dict("records")
    ]  # fmt: skip


def write(folder: Path, settings: Settings, rows: Sequence[Row], finished: bool) -> pd.DataFrame:
    """``rounds.csv`` after every round; with ``finished`` also ``front.svg`` and ``codesign.html``."""
    frame = table(rows, settings.front)
    atomic_write_text(folder / "rounds.csv", frame.to_csv(index=False))
    if finished:
        from sysmol.analysis.page import render

        images = _test_images(folder / f"{rows[0].name}.network.safetensors")
        page = page_of(frame, settings, images)
        atomic_write_text(folder / "front.svg", figures(frame, images, settings.objective)[0].svg)
        atomic_write_text(folder / "codesign.html", render(page))
    return frame


def _test_images(network: Path) -> int:
    """How many images the accuracies come from, which the network files say; 0 where there is none."""
    from sysmol.network import load

    return int(load(network).metrics.get("test_images", 0)) if network.is_file() else 0


def page_of(frame: pd.DataFrame, settings: Settings, images: int) -> Page:
    """The page of a run: the best network's figures, the designs over cycles and size, everything as tables.

    ``images``: how many test images the accuracies come from; 0 where that is unknown and there are no intervals.
    """
    from sysmol.analysis.page import Column, Details, Figures, Page, Section, Table, Text

    chosen = [
        (row["name"], " ".join(pattern_name(int(p)) for p in row["patterns"].split()))
        for row in frame.to_dict("records")
        if row["patterns"]
    ]
    intervals = "; bars: 95% intervals of the accuracies" if images else ""
    note = (
        f"Large points are on the Pareto front over {', '.join(settings.front)}{intervals}. “Within noise” is what no "
        "other design clearly beats: none costs less at no less accuracy, none has an accuracy whose interval lies "
        "above it."
    )
    how = (
        "Each round trains with the layer costs that the round before measured, chooses the hardware's patterns for "
        "the precisions that were learned, and trains under them and under a limit: a share of the "
        f"{settings.objective} that uniform 4-bit takes in the layers with learned precisions. A network is kept where "
        f"its accuracy on held-out training images stays within {settings.drop:g} points of full precision."
    )
    drawn = figures(frame, images, settings.objective)
    return Page(
        title=f"Co-design: {label(settings.model)} on {label(settings.dataset)}",
        subtitle=f"ISA {settings.isa}, machine {settings.machine}; cycles: {_sources(frame)}",
        tiles=tiles(frame, images),
        sections=[
            Section(f"Accuracy, {settings.objective} and size", [Figures(drawn), Text(note, note=True)]),
            Section("Networks", [networks_table(frame, images, settings.front[1:])]),
            Section(
                "Details",
                [
                    Text(how),
                    Details("Patterns: 4-, 2- and 1-bit chunks", [Table.of(["network", "patterns"], chosen)]),
                    Details("Settings", [Table.of(["setting", "value"], list(asdict(settings).items()))]),
                    Details(
                        "Rounds as they were run",
                        [Table.of([Column(name, minor=name in MINOR) for name in columns(frame)], shown(frame))],
                    ),
                ],
            ),
        ],
        foot=shlex.join(["sysmol", *sys.argv[1:]]),
    )


MINOR = ("design", "limits", "validation", "bits/parameter", "source", "energy", "area, um2", "improved")
"""Columns that narrow screens leave out."""


def tiles(frame: pd.DataFrame, images: int) -> list[Tile]:
    """The best network (the last that improved on all before), beside full precision, int8 and uniform 4-bit."""
    from sysmol.analysis.page import Tile
    from sysmol.analysis.page.values import percent, percent_range, size, thousands, times

    known = with_intervals(frame, images)
    improved = [row for row in known if row["improved"]]
    if not improved:
        return [Tile("Best network", "none", ["no network kept its accuracy"], bad=True)]
    best = improved[-1]
    beside = [row for name in ("fp32", "int8", "w4") for row in known if row["name"] == name and row is not best]
    between = percent_range(best["accuracy_low"], best["accuracy_high"])
    accuracy = [f"{between}: 95% interval, {images} test images"] if images else []
    about = "" if best["kind"] == "measured" else "≈ "
    sizes = [f"{size(row['file_bytes'])}, {times(row['file_bytes'] / best['file_bytes'])} as large" for row in beside]
    cycles = [f"{about}{thousands(row['cycles'])}, {times(row['cycles'] / best['cycles'])} as many" for row in beside]
    found = [
        (f"Accuracy, {best['name']}", percent(best["accuracy_integer"]), accuracy,
         [percent(row["accuracy_integer"]) for row in beside]),
        ("Size of the file", size(best["file_bytes"]), [f"{best['bits_per_parameter']:.2f} bits per weight"], sizes),
        ("Cycles per image", f"{about}{thousands(best['cycles'])}", [str(best["source"])], cycles),
    ]  # fmt: skip
    if energy := _energy(best):
        found.append(("Energy per image", energy, ["estimate, 90% interval"], [str(_energy(row)) for row in beside]))
    return [
        Tile(title, value, [*lines, *(f"{row['name']}: {one}" for row, one in zip(beside, others, strict=True))])
        for title, value, lines, others in found
    ]


def with_intervals(frame: pd.DataFrame, images: int) -> list[dict[Any, Any]]:
    """The rows with ``accuracy_low`` and ``accuracy_high`` of the integers, and ``kind``: how cycles are known."""
    from sysmol.analysis.costs.calculated import kind_of
    from sysmol.analysis.intervals import accuracy_interval

    rows = []
    for row in frame.to_dict("records"):
        accuracy = float(row["accuracy_integer"])
        low, high = accuracy_interval(accuracy, images) if images else (accuracy, accuracy)
        kind = kind_of(str(row["source"]))
        rows.append(row | {"accuracy_low": low, "accuracy_high": high, "kind": kind})
    return rows


def networks_table(frame: pd.DataFrame, images: int, costs: Sequence[str] = ("size", "cycles")) -> Table:
    """The designs, and which of them no other beats in these costs."""
    from sysmol.analysis.front import within_noise
    from sysmol.analysis.page import Column, Table
    from sysmol.analysis.page.values import percent, percent_range

    known = with_intervals(frame, images)
    unbeaten = within_noise(pd.DataFrame(known), costs)
    rows = [
        [
            row["name"], row["design"] if row["patterns"] else None, limit(row), percent(row["validation"]),
            percent(row["accuracy_integer"]),
            percent_range(row["accuracy_low"], row["accuracy_high"]) if images else None,
            f"{row['bits_per_parameter']:.2f}", row["file_bytes"], round(row["cycles"]), _energy(row), _area(row),
            row["kept"],
            "yes" if row["front"] else "within noise" if same else "no",
        ]
        for row, same in zip(known, unbeaten, strict=True)
    ]  # fmt: skip
    columns = [
        Column("network"), Column("patterns", minor=True), Column("limit", minor=True),
        Column("accuracy, held out", number=True, minor=True), Column("test accuracy", number=True),
        Column("95% interval", number=True, minor=True), Column("bits per weight", number=True, minor=True),
        Column("bytes", number=True), Column("cycles", number=True),
        Column("energy, estimate", number=True, minor=True), Column("area, um2", number=True, minor=True),
        Column("kept", minor=True), Column("front"),
    ]  # fmt: skip
    return Table.of(columns, rows)


def figures(frame: pd.DataFrame, images: int, cost: str = "cycles") -> list[Any]:
    """Accuracy over cycles, or energy where that is the objective, and over size; a colour per hardware, the baselines'
    as everywhere."""
    from sysmol.analysis.costs.objectives import objective
    from sysmol.analysis.costs.quantity import Kind
    from sysmol.analysis.figures import variant_colour
    from sysmol.analysis.front import trade_off_figure
    from sysmol.analysis.page import Figure

    groups = list(dict.fromkeys(frame["design"]))
    colours = {group: variant_colour(group, groups) for group in groups}
    known = pd.DataFrame(with_intervals(frame, images))
    same = {"group": known["design"], "accuracy": known["accuracy_integer"]}
    said = f"{Kind.ESTIMATE}" if cost == "energy" else _sources(frame)
    found = []
    for column, name, kinds in (
        (cost, f"{objective(cost).title} ({said})", Kind.ESTIMATE if cost == "energy" else known["kind"]),
        ("file_bytes", objective("size").title, Kind.MEASURED),
    ):
        ends = [known.get(f"{column}_{end}", known[column]).astype(float) for end in ("low", "high")]
        costs = {"cost": known[column].astype(float), "cost_low": ends[0], "cost_high": ends[1]}
        points = known.assign(**same, **costs, kind=kinds)
        found.append(Figure(trade_off_figure(points, name, colours), f"Test accuracy over {name}."))
    return found


def _sources(frame: pd.DataFrame) -> str:
    return ", ".join(dict.fromkeys(map(str, frame["source"])))
