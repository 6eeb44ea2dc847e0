"""The page of a sweep: accuracy over cycles for every ISA, core model and machine, and all points as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sysmol.analysis.costs.objectives import objective
from sysmol.analysis.costs.quantity import Kind
from sysmol.analysis.figures import isa_name, variant_colour
from sysmol.analysis.front import trade_off_figure
from sysmol.analysis.intervals import accuracy_interval
from sysmol.analysis.page import Block, Column, Figure, Figures, Page, Section, Table, Text, Tile
from sysmol.analysis.page.values import microjoules, percent, percent_range, thousands, times

WHOLE, OK = "network", "ok"
"""Kind and status of a network that ran as a whole and ended well, as the ledger writes them."""
PANELS = 12
"""Figures at most; the table has all."""


def sweep_page(table: pd.DataFrame, title: str, foot: str = "") -> Page:
    """``table``: rows of a sweep's ledger (its columns) that are of whole networks, measured at once or by layers."""
    good = table[table["status"] == OK]
    tiles = [Tile("Points that ended well", f"{len(good)} of {len(table)}", bad=len(good) < len(table))]
    timed = good.dropna(subset=["cycles"])
    if len(timed):
        fastest = timed.sort_values("cycles", kind="stable").iloc[0].to_dict()
        tiles.append(Tile("Fewest cycles per image", thousands(float(fastest["cycles"])), _beside(fastest, timed)))
    known = timed.dropna(subset=["accuracy_integer"])
    if len(known):
        best = known.sort_values("accuracy_integer", ascending=False, kind="stable").iloc[0].to_dict()
        tiles.append(
            Tile("Best accuracy", percent(float(best["accuracy_integer"])), [str(best["variant"]), *_interval(best)])
        )
    sections = [
        Section("Accuracy over cycles", _figures(known, "cycles")),
        Section("Accuracy over energy", _figures(known, "energy")),
        Section("Points", [_table(table)]),
    ]
    return Page(title, tiles=tiles, sections=[each for each in sections if each.blocks], foot=foot)


def _beside(fastest: Mapping[Any, Any], timed: pd.DataFrame) -> list[str]:
    """What the point with the fewest cycles is, and the baselines on the same hardware."""
    where = f"{isa_name(str(fastest['isa']))}, machine {fastest['machine']}"
    lines = [f"{fastest['variant']}, {where}, patterns {fastest['patterns']}"]
    bits = fastest.get("bits_per_parameter")
    if isinstance(bits, int | float) and bits == bits:
        lines.append(f"{bits:.2f} bits per weight")
    if known_images(fastest):
        lines.append(f"accuracy {percent(float(fastest['accuracy_integer']))}; {_interval(fastest)[0]}")
    same = timed[
        (timed[["isa", "machine", "cpu"]] == [fastest[name] for name in ("isa", "machine", "cpu")]).all(axis=1)
    ]
    for name in ("fp32", "int8"):
        cycles = same[same["variant"] == name]["cycles"]
        if len(cycles) and name != fastest["variant"]:
            least = float(cycles.min())
            lines.append(f"{name}: {thousands(least)}, {times(least / float(fastest['cycles']))} as many")
    return lines


def _interval(row: Mapping[Any, Any]) -> list[str]:
    """An accuracy's interval in words, where its images are known."""
    images = known_images(row)
    return [f"{percent_range(*interval(row))}: 95% interval, {images:,} test images"] if images else []


def known_images(row: Mapping[Any, Any]) -> int:
    """How many test images a point's accuracy comes from; 0 where that is unknown."""
    images, accuracy = row.get("test_images"), row["accuracy_integer"]
    if not isinstance(images, int | float) or not isinstance(accuracy, int | float):
        return 0
    return int(images) if images >= 1 and 0 <= accuracy <= 1 else 0  # neither where one is NaN


def interval(row: Mapping[Any, Any]) -> tuple[float, float]:
    """The accuracy's ends; itself where the number of test images is unknown."""
    accuracy, images = float(row["accuracy_integer"]), known_images(row)
    return accuracy_interval(accuracy, images) if images else (accuracy, accuracy)


def _figures(known: pd.DataFrame, cost: str) -> list[Block]:
    """Of an objective, where points have it."""
    known = known.dropna(subset=[cost]) if cost in known else known.iloc[:0]
    variants = list(dict.fromkeys(map(str, known["variant"])))
    colours = {variant: variant_colour(variant, variants) for variant in variants}
    found = []
    groups = list(known.groupby(["isa", "cpu", "machine"], sort=False))
    for (isa, cpu, machine), rows in groups[:PANELS]:
        where = f"{isa_name(str(isa))}, {cpu}, machine {machine}"
        label = objective(cost).title
        found.append(Figure(trade_off_figure(_points(rows, cost), label, colours), f"{where}: accuracy over {label}."))
    if not found:
        return []
    note = {
        "cycles": "Bars: 95% intervals of the accuracies. Hollow points are sums over layers that ran alone.",
        "energy": "Energies are estimates from counted events; bars reach from the 5% to the 95% quantile.",
    }[cost]
    more = f" {len(groups) - PANELS} more are in the table alone." if len(groups) > PANELS else ""
    return [Figures(found), Text(note + more, note=True)]


def _points(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """As :func:`sysmol.analysis.front.trade_off_figure` takes them; names tell pattern sets apart where several are."""
    accuracy, cost = rows["accuracy_integer"].astype(float), rows[name].astype(float)
    low, high = (rows.get(f"{name}_{end}", rows[name]).astype(float) for end in ("low", "high"))
    low_high = list(zip(*map(interval, rows.to_dict("records")), strict=True))
    variant = rows["variant"].astype(str)
    several = rows.groupby("variant")["patterns"].transform("nunique") > 1
    return pd.DataFrame(
        {
            "name": variant.where(~several, variant + " " + rows["patterns"].astype(str)), "group": variant,
            "accuracy": accuracy, "accuracy_low": low_high[0], "accuracy_high": low_high[1],
            "cost": cost, "cost_low": low,
            "cost_high": high, "front": True,
            "kind": [
                Kind.MEASURED if kind == WHOLE and name == "cycles" else Kind.ESTIMATE for kind in rows["kind"]
            ],
        }
    )  # fmt: skip


def _energy(row: Mapping[Any, Any]) -> str | None:
    """Energy with its interval."""
    if row.get("energy") is None:
        return None
    return microjoules(row["energy"], row["energy_low"], row["energy_high"])


def _table(table: pd.DataFrame) -> Table:
    columns = [
        Column("network"), Column("ISA"), Column("machine", minor=True), Column("patterns", minor=True),
        Column("core model", minor=True), Column("images", number=True, minor=True), Column("ended"),
        Column("accuracy", number=True), Column("95% interval", number=True, minor=True),
        Column("cycles per image", number=True),
        Column("energy, estimate", number=True, minor=True), Column("area, um2", number=True, minor=True),
        Column("MACs per cycle", number=True, minor=True), Column("of", minor=True),
    ]  # fmt: skip
    rows = [
        [
            row["variant"], isa_name(row["isa"]), row["machine"], row["patterns"], row["cpu"], row["images"],
            row["status"] if row["status"] == OK else f"{row['status']}: {row['error']}",
            percent(row["accuracy_integer"]), percent_range(*interval(row)) if known_images(row) else None,
            row["cycles"], _energy(row), row.get("area"), row["macs_per_cycle"],
            row["kind"],
        ]
        for row in table.astype(object).where(table.notna(), None).to_dict("records")
    ]  # fmt: skip
    return Table.of(columns, rows)
