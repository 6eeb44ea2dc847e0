"""The products of a co-design run: rounds.csv, front.svg and one self-contained page."""

from __future__ import annotations

import html
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from sysmol.files import atomic_write_text
from sysmol.pattern import pattern_name
from sysmol.train.frontend.user_files import label

if TYPE_CHECKING:
    from sysmol.search.codesign.loop import Row
    from sysmol.search.codesign.settings import Settings

COLUMNS = (
    "name", "design", "limits", "validation", "accuracy (integers)", "bits/parameter", "file bytes", "cycles", "source",
    "kept", "improved", "front",
)  # fmt: skip


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """All fields of the rows, and whether each is on the Pareto front over accuracy, size and cycles."""
    from sysmol.analysis.front import pareto

    found = pd.DataFrame([row.record() for row in rows])
    return found.assign(front=pareto(found))


def shown(frame: pd.DataFrame) -> list[list[object]]:
    """The rows as people read them, in the order of :data:`COLUMNS`."""
    return [
        [
            row["name"], row["design"], row["limits"], f"{row['validation']:.2%}",
            f"{row['accuracy_integer']:.2%}", round(row["bits_per_parameter"], 2), row["file_bytes"],
            round(row["cycles"]), row["source"],
            *("yes" if row[key] else "no" for key in ("kept", "improved", "front")),
        ]
        for row in frame.to_dict("records")
    ]  # fmt: skip


def write(folder: Path, settings: Settings, rows: Sequence[Row], finished: bool) -> pd.DataFrame:
    """``rounds.csv`` after every round; with ``finished`` also ``front.svg`` and ``codesign.html``."""
    frame = table(rows)
    atomic_write_text(folder / "rounds.csv", frame.to_csv(index=False))
    if finished:
        from sysmol.analysis.front import front_figure
        from sysmol.analysis.report import image, page
        from sysmol.analysis.report import table as html_table

        sources = ", ".join(dict.fromkeys(frame["source"]))
        figure = front_figure(frame, sources)
        atomic_write_text(folder / "front.svg", figure)
        title = f"Co-design: {label(settings.model)} on {label(settings.dataset)}, {settings.isa}, {settings.machine}"
        chosen = [(row.name, " ".join(pattern_name(p) for p in row.patterns)) for row in rows]
        parts = [
            f"<h1>{html.escape(title)}</h1>",
            "<p>Each round trains with the layer costs that the round before measured, chooses the hardware's patterns "
            "for the precisions that were learned, and trains under them and under a limit: a share of the cycles that "
            "uniform 4-bit takes in the layers with learned precisions. A network is kept where its accuracy on "
            f"held-out training images stays within {settings.drop:g} points of full precision.</p>",
            image(figure, f"Test accuracy over cycles and size; filled: on the Pareto front. Cycles: {sources}."),
            "<h2>Networks</h2>" + html_table(COLUMNS, shown(frame)),
            "<h2>Patterns (4-, 2-, 1-bit chunks)</h2>" + html_table(("network", "patterns"), chosen),
            "<h2>Settings</h2>" + html_table(("setting", "value"), list(asdict(settings).items())),
            f"<p class='note'>{html.escape(shlex.join(['sysmol', *sys.argv[1:]]))}</p>",
        ]
        atomic_write_text(folder / "codesign.html", page(title, parts))
    return frame
