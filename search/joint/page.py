"""A comparison of searches as tables, a figure, and one self-contained page."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sysmol.files import atomic_write_text, make_folder
from sysmol.search.joint.comparison import SEQUENTIAL, Comparison, Spread, verdict
from sysmol.search.joint.results import BASELINES

if TYPE_CHECKING:
    from sysmol.analysis.page import Page, Section, Table

PAGE, FIGURE = "comparison.html", "comparison.svg"
APART = 0.18
"""Rows between the dots of two seeds, so that equal ones are seen."""
MODE_COLUMNS = (
    "mode", "seeds", "found", "accuracy", "KiB", "cycles", "least us", "us", "most us",
    *(f"x over {name}" for name in BASELINES),
)  # fmt: skip
"""Of :func:`mode_rows`: medians over the seeds, and the least and the longest time."""
NETWORK_COLUMNS = ("network", "hardware", "accuracy", "KiB", "cycles", "us", "x over default")


def mode_rows(comparison: Comparison) -> list[list[Any]]:
    """A row per mode: of its fastest points that are as accurate as the goal asks, one of a seed."""
    rows: list[list[Any]] = []
    for line in comparison.lines:
        times = line.spread("microseconds")
        ends = (None, None, None) if times is None else (times.least, times.median, times.most)
        others = [_median(line.spread(column)) for column in ("accuracy", "kibibytes", "cycles")]
        gains = [_median(line.gain(name)) for name in BASELINES]
        rows.append([line.mode, line.seeds, len(line.points), *others, *ends, *gains])
    return rows


def network_rows(comparison: Comparison) -> list[list[Any]]:
    """The largest network on the hardware of the baselines, and with uniform bits."""
    base = comparison.baselines["default"]["microseconds"]

    def row(name: str, hardware: str, point: Any) -> list[Any]:
        time = point["microseconds"]
        gain = base / time if base and time else None
        return [name, hardware, *(point[key] for key in ("accuracy", "kibibytes", "cycles")), time, gain]

    largest = [row("largest", name, point) for name, point in comparison.baselines.items()]
    uniform = [
        row(f"all of {each['bits']} bit{'s' if each['bits'] > 1 else ''}", each["hardware"], each)
        for each in comparison.uniform
    ]
    return largest + uniform


def _median(spread: Spread | None) -> float | None:
    return None if spread is None else spread.median


def write_comparison(folder: Path, comparisons: Sequence[Comparison]) -> Path:
    """The page and the figure of the first workload (others are on the page); the page's path."""
    from sysmol.analysis.page import render

    make_folder(folder)
    atomic_write_text(folder / FIGURE, figure(comparisons[0]))
    return atomic_write_text(folder / PAGE, render(page_of(comparisons)))


def page_of(comparisons: Sequence[Comparison]) -> Page:
    """The claim first, then times by mode, then all figures as tables."""
    from sysmol.analysis.page import Page, Text, Tile
    from sysmol.analysis.page.blocks import Section

    first = comparisons[0]
    several = len(comparisons) > 1
    tiles = [Tile(*tile) for each in comparisons for tile in _headlines(each, several)]
    sections = [section for each in comparisons for section in _sections(each, several)]
    how = (
        "A mode's point of a seed is the fastest of all that the seed measured whose accuracy is within "
        f"{first.spec['drop']:g} percentage points of the largest network's. Medians, least and most are over seeds. "
        "Time is cycles over the clock, which follows the array; hardware has the same compute, memory and wires. "
        "The three baselines are the largest network on the best tile for it, on the default and on the median one: "
        "speed-ups depend on which is taken, so all are shown."
    )
    sections.append(Section("How to read this", [Text(how)]))
    names = "; ".join(dict.fromkeys(each.title for each in comparisons))
    return Page(
        title=f"Networks and hardware searched together: {names}",
        subtitle=f"times: {first.sources[1]}; accuracies: {first.sources[0]} ({first.images:,})",
        tiles=tiles,
        sections=sections,
        foot=shlex.join(["sysmol", *sys.argv[1:]]),
    )


def _headlines(comparison: Comparison, named: bool) -> list[tuple[str, str, list[str]]]:
    """Joint search over the better sequential order, and over the largest network on three tiles."""
    of = f": {comparison.title}" if named else ""
    label, claim = f"Joint search over the better sequential order{of}", comparison.claim()
    if claim is None:
        return [(label, "not known", [verdict(comparison)])]
    order, ratio = claim
    lines = [f"{ratio.least:.2f} to {ratio.most:.2f} over the seeds; the better order: {order}"]
    if ratio.least <= 1 <= ratio.most:
        lines.append("the seeds overlap: no difference is shown")
    joint = next(line for line in comparison.lines if line.mode == "joint")
    gains = {name: gain for name in BASELINES if (gain := joint.gain(name))}
    others = [f"{name} tile: {_spread(gain, 'x')}" for name, gain in gains.items() if name != "default"]
    found = [(label, f"{ratio.median:.2f}x", lines)]
    if "default" in gains:
        found.append(
            (
                f"Joint search over the largest network, default tile{of}",
                f"{gains['default'].median:.2f}x",
                [f"{gains['default'].least:.3g} to {gains['default'].most:.3g} over the seeds", *others],
            )
        )
    return found


def _sections(comparison: Comparison, named: bool) -> list[Section]:
    from sysmol.analysis.page import Column, Figure, Figures, Table, Text
    from sysmol.analysis.page.blocks import Section

    goal = f"{comparison.goal:.2%} on {comparison.images:,} validation images"
    caption = f"Fastest point of every seed that reaches {goal}; dashed: the largest network on three tiles."
    counts = comparison.measurements
    even = f"{counts[0]} measurements of every mode and seed" if len(counts) == 1 else "numbers of measurements differ"
    networks = [
        Column(name, number=name not in ("network", "hardware"), minor=name in ("KiB", "cycles"))
        for name in NETWORK_COLUMNS
    ]
    title = f": {comparison.title}" if named else ""
    rows = [[*row[:2], _percent(row[2]), row[3], _whole(row[4]), *row[5:]] for row in network_rows(comparison)]
    return [
        Section(
            f"Time at equal accuracy{title}",
            [
                Figures([Figure(figure(comparison), caption)]),
                _modes_table(comparison),
                Text(f"{verdict(comparison)}. Goal: {goal}; {even}.", note=True),
            ],
        ),
        Section(f"Without a search{title}", [Table.of(networks, rows)]),
    ]


def _modes_table(comparison: Comparison) -> Table:
    """As :func:`mode_rows`, the spread of the seeds behind each median."""
    from sysmol.analysis.page import Column, Table

    columns = [
        Column("mode"), Column("seeds that found one", number=True, minor=True), Column("accuracy", number=True),
        Column("KiB", number=True, minor=True), Column("cycles", number=True, minor=True), Column("us", number=True),
        *(Column(f"x over {name}", number=True, minor=name != "default") for name in BASELINES),
    ]  # fmt: skip
    rows: list[list[Any]] = []
    for line, row in zip(comparison.lines, mode_rows(comparison), strict=True):
        spreads = [line.spread("microseconds"), *(line.gain(name) for name in BASELINES)]
        rows.append(
            [line.mode, f"{row[2]} of {row[1]}", _percent(row[3]), row[4], _whole(row[5]), *map(_spread, spreads)]
        )
    return Table.of(columns, rows)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.2%}"


def _spread(spread: Spread | None, unit: str = "") -> str | None:
    """``12.3 (11.8 to 13)``: median, least and most."""
    return None if spread is None else f"{spread.median:.3g}{unit} ({spread.least:.3g} to {spread.most:.3g})"


def figure(comparison: Comparison) -> str:
    """Times of the seeds by mode, a dot each, one above the other, a line at the median; the baselines as dashed lines.
    SVG text."""
    from matplotlib.figure import Figure as Drawing

    from sysmol.analysis.figures import OTHER_COLOURS, VARIANT_COLOURS, WIDTH, styled, svg_of, tidy
    from sysmol.analysis.page.values import thousands

    @styled
    def draw() -> str:
        lines = comparison.lines
        drawing = Drawing(figsize=(WIDTH, 1.2 + 0.32 * len(lines)), layout="constrained")
        axes = drawing.subplots()
        for place, line in enumerate(lines):
            special = line.mode == "joint", line.mode in SEQUENTIAL
            colour = VARIANT_COLOURS["mixed"] if special[0] else OTHER_COLOURS[2 if special[1] else 0]
            times = [float(point["microseconds"]) for point in line.points]
            rows = [place + APART * (number - (len(times) - 1) / 2) for number in range(len(times))]
            axes.plot(times, rows, "o", color=colour, markerfacecolor="white", markersize=4)
            if spread := line.spread("microseconds"):
                axes.plot([spread.median] * 2, [place - 0.3, place + 0.3], color=colour, linewidth=1.6)
        known = {
            name: float(point["microseconds"])
            for name, point in comparison.baselines.items()
            if point["microseconds"] is not None
        }
        for number, (name, time) in enumerate(known.items()):
            style = ("--", "-.", ":")[number]
            axes.axvline(time, linestyle=style, color=VARIANT_COLOURS["fp32"], linewidth=1, label=f"largest, {name}")
        axes.set_yticks(range(len(lines)), [line.mode for line in lines])
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.set_xlim(0, 1.05 * axes.get_xlim()[1])
        axes.set_xlabel("us per image (estimate)")
        axes.xaxis.set_major_formatter(lambda value, _: thousands(value) if value else "0")
        tidy(axes)
        drawing.legend(loc="outside upper center", ncols=3, frameon=False, handlelength=2)
        return svg_of(drawing, f"times by mode: {comparison.title}")

    return draw()
