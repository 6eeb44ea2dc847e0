"""What a report says first: the networks with their accuracy and its interval, their size, and their cycles."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sysmol.analysis.costs.energy.model import Energies, Interval, ratio
from sysmol.analysis.costs.energy.networks import KEYS, written
from sysmol.analysis.costs.layers import network_cost
from sysmol.analysis.costs.quantity import Absent, Kind, Quantity
from sysmol.analysis.figures import isa_name, panels
from sysmol.analysis.intervals import accuracy_interval
from sysmol.analysis.page import Tile
from sysmol.analysis.page.values import percent, percent_range, size, text, thousands, times
from sysmol.analysis.products import Results

BASELINES = ("fp32", "int8")


@dataclass(frozen=True)
class Design:
    """A network of the report. Accuracies are shares of ``images`` test images (None: their number is unknown, and low
    and high are the accuracy itself); ``file_bytes`` and ``bits`` per weight are None where the file does not say."""

    name: str
    accuracy: float
    low: float
    high: float
    images: int | None
    file_bytes: float | None
    bits: float | None


def designs(results: Results) -> dict[str, Design]:
    """The networks that know their accuracy, by name: of the integers where there is one."""
    found = {}
    for name, metrics in results.metrics.items():
        accuracy = metrics.get("accuracy_integer", metrics.get("accuracy_float"))
        if accuracy is None:
            continue
        images = metrics.get("test_images")
        low, high = accuracy_interval(accuracy, images) if images else (accuracy, accuracy)
        size, bits = metrics.get("file_bytes"), metrics.get("bits_per_parameter")
        found[name] = Design(name, accuracy, low, high, images, size, bits)
    return found


def totals(rows: pd.DataFrame) -> dict[str, Quantity]:
    """Cycles per image of every variant in a panel (:func:`sysmol.analysis.figures.panels`)."""
    found = {str(variant): network_cost(own).cycles for variant, own in rows.groupby("variant", sort=False)}
    return {variant: cycles for variant, cycles in found.items() if not isinstance(cycles, Absent)}


def tiles(results: Results, facts: Mapping[str, Any]) -> list[Tile]:
    """Accuracy, size and cycles of the report's network, with full precision and int8 beside each; the check."""
    known, found = designs(results), []
    main = known.get(str(facts["network"]))
    if main:
        others = [known[name] for name in BASELINES if name in known and name != main.name]
        found.append(_accuracy(main, others))
        if main.file_bytes:
            found.append(_size(main, main.file_bytes, others))
    for rows in panels(results.cycles()):
        cycles = totals(rows)
        if facts["network"] in cycles:
            found.append(_cycles(results, rows, cycles, facts["network"]))
            found += _energy(results, rows, facts["network"])
    checks = facts["agreement"]
    if checks:
        wrong = sum(1 for row in checks if row["mismatches"])
        lines = [f"of {len(checks)} programs and simulations, against the network file"]
        found.append(Tile("Logits", f"{wrong} DIFFER" if wrong else "all equal", lines, bad=bool(wrong)))
    return found


def _accuracy(main: Design, others: Sequence[Design]) -> Tile:
    lines = []
    if main.images:
        lines.append(f"{percent_range(main.low, main.high)}: 95% interval, {text(main.images)} test images")
    lines += [f"{other.name}: {percent(other.accuracy)}" for other in others]
    return Tile(f"Accuracy, {main.name}", percent(main.accuracy), lines)


def _size(main: Design, own: float, others: Sequence[Design]) -> Tile:
    lines = [f"{main.bits:.2f} bits per weight"] if main.bits else []
    for other in others:
        if other.file_bytes:
            lines.append(f"{other.name}: {size(other.file_bytes)}, {times(other.file_bytes / own)} as large")
    return Tile("Size of the file", size(own), [_together(line) for line in lines])


def _cycles(results: Results, rows: pd.DataFrame, cycles: Mapping[str, Quantity], main: str) -> Tile:
    own, machine = cycles[main], rows["machine"].iloc[0]
    about = "" if own.kind is Kind.MEASURED else "≈ "
    lines = [f"{own.source}, machine {machine}"]
    if own.kind is not Kind.MEASURED:
        between = "" if own.is_exact else f": {thousands(own.low)} to {thousands(own.high)}"
        lines = [f"{own.kind}, not simulated{between}; machine {machine}"]
    for name in BASELINES:
        if name in cycles and name != main:
            more = f"{times(cycles[name].value / own.value)} as many"
            if not results.ratios_to(name, rows["isa"].iloc[0]):
                more = "no measure: its compiler set vtype in the kernels"
            lines.append(f"{name}: {about}{thousands(cycles[name].value)}, {more}")
    title = f"Cycles per image, {isa_name(rows['isa'].iloc[0])}"
    return Tile(title, _together(f"{about}{thousands(own.value)}"), [_together(line) for line in lines])


def _energy(results: Results, rows: pd.DataFrame, main: str) -> list[Tile]:
    """Energy of the network on an ISA and how many times it that of full precision and int8 is; none where there are no
    constants for the core."""
    energies = results.energies()
    first = {key: str(rows[key].iloc[0]) for key in KEYS}

    def of(variant: str) -> Energies | None:
        found = energies.get(tuple((first | {"variant": variant}).values()))
        return None if isinstance(found, Absent) else found

    own = of(main)
    if own is None:
        return []
    lines = [f"estimate, {own.core.name}"]
    for name in BASELINES:
        base = of(name)
        if base and name != main:
            gain = ratio(base, own)
            lines.append(f"{name}: {gain.value:.2f}x as much ({gain.low:.2f} to {gain.high:.2f})")
    title = f"Energy per image, {isa_name(first['isa'])}"
    return [Tile(title, _together(written(Interval.of(own.total))), [_together(line) for line in lines])]


def _together(line: str) -> str:
    """A line that does not break between a number and its unit."""
    return re.sub(r"(?<=\d) (?=[kMG])|(?<=≈) ", "\N{NO-BREAK SPACE}", line)


def points(known: Mapping[str, Design], costs: Mapping[str, Quantity]) -> pd.DataFrame:
    """The designs whose cost is known, as :func:`sysmol.analysis.front.trade_off_figure` takes them."""
    rows = []
    for name, cost in costs.items():
        if name in known:
            design = known[name]
            accuracy = {"accuracy": design.accuracy, "accuracy_low": design.low, "accuracy_high": design.high}
            facts = {"cost": cost.value, "cost_low": cost.low, "cost_high": cost.high, "kind": cost.kind}
            rows.append({"name": name, "group": name, "front": True} | accuracy | facts)
    return pd.DataFrame(rows)
