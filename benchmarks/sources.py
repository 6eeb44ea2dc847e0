"""Every source of figures in the documents and every picture of them, by which command it was made, and whether its
inputs still match.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sysmol.benchmarks.figures import DRAWN, FIGURES
from sysmol.benchmarks.tables import DOCUMENTS, RESULTS, TABLES
from sysmol.files import sha256_file
from sysmol.workbench import provenance
from sysmol.workbench.experiments.run import row_name
from sysmol.workbench.experiments.table import IDENTITY, NETWORKS

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Source:
    """Rows of one origin in a file of results. ``shown_in``: documents with tables of the file."""

    file: str
    rows: int
    command: str
    commit: str
    date: str
    inputs: str
    shown_in: str


def sources(results: Path = RESULTS) -> Iterator[Source]:
    """All files of results, rows of one command and day together."""
    shown = _shown()
    for path in sorted(results.glob("*.csv")):
        table = pd.read_csv(path)
        found = provenance.read(path)
        groups: dict[tuple[str, str, str, str], int] = {}
        for record in table.to_dict("records"):
            row = {str(column): value for column, value in record.items()}
            said, inputs = provenance.noted(found, _name(row))
            command = str(said.get("command") or row.get("command") or UNKNOWN)
            date = str(said.get("date") or row.get("date") or row.get("created") or UNKNOWN)[:10]
            group = (command, str(said.get("commit", UNKNOWN))[:12], date, inputs)
            groups[group] = groups.get(group, 0) + 1
        for (command, commit, date, inputs), count in groups.items():
            yield Source(path.name, count, command, commit, date, inputs, shown.get(path.stem, "no table"))
    if results == RESULTS:
        yield from (_picture(name) for name in DRAWN)


def _name(row: Mapping[str, Any]) -> str:
    """What a row's source is noted under, where rows of a file have several; of measurements the title of their job."""
    if set(IDENTITY) <= set(row):
        return row_name(row)
    return " ".join(str(row.get(column, "")) for column in ("network", "variant", "isa", "machine"))


def _picture(name: str) -> Source:
    """What is noted beside a figure of the documents."""
    said, inputs = provenance.noted(provenance.read(FIGURES / f"{name}.svg"))
    facts = [str(said.get(fact, UNKNOWN)) for fact in ("command", "commit", "date")]
    return Source(f"{name}.svg", 1, facts[0], facts[1][:12], facts[2], inputs, DRAWN[name].shows)


def _shown() -> dict[str, str]:
    """Documents by the file whose tables they have."""
    found: dict[str, dict[str, None]] = {}
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8") if document.is_file() else ""
        for name in re.findall(r"<!-- table: (\S+) -->", text):
            if name in TABLES:  # others show what code holds
                found.setdefault(TABLES[name][0], {})[document.name] = None
    return {file: ", ".join(names) for file, names in found.items()}


def damaged(results: Path = RESULTS) -> list[str]:
    """What is wrong with the files beside tables: networks that are absent or not those of their rows."""
    wrong = []
    for path in sorted(results.glob("*.csv")):
        provenance.check(path)
        for name, facts in provenance.read(path)["rows"].items():
            network = results / NETWORKS / facts["network"] if "network" in facts else None
            if network is not None and not network.is_file():
                wrong.append(f"{name}: {network.name} is not in {NETWORKS}/")
            elif network is not None and sha256_file(network) != facts["network_sha256"]:
                wrong.append(f"{name}: {network.name} is another network")
    return wrong
