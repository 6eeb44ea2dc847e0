"""Tables: on the terminal, or with ``--json`` as one JSON object on the standard output stream.

That object is ``{"format": "sysmol-tables", "version": 1, "tables": [{"title", "columns", "rows"}]}``, a row being a
list of its cells in the order of the columns: numbers are whole, shares lie between 0 and 1, what is absent is null.
"""

import json
import sys
from typing import Annotated, Any

import typer

FORMAT = {"format": "sysmol-tables", "version": 1}
_asked: list[dict[str, Any]] | None = None
"""Tables of this command where ``--json`` was given."""


class Share(float):
    """A share of a whole, 0 to 1; people read it as a percentage."""


def share(value: Any) -> Share | None:
    """A share, or None where it is not known."""
    return None if value is None or value != value else Share(value)


def _ask(asked: bool) -> bool:
    if asked:
        ask_json()
    return asked


AsJson = Annotated[
    bool,
    typer.Option("--json", callback=_ask, help="Tables as JSON; other lines go to the standard error stream."),
]
"""Every command that prints tables has it; the callback does what it says."""


def ask_json() -> None:
    """From here on, tables are collected for :func:`finish`."""
    global _asked
    _asked = []


def say(line: str) -> None:
    """One line of progress, whole where several threads speak; with ``--json`` on the standard error stream."""
    stream = sys.stdout if _asked is None else sys.stderr
    stream.write(line + "\n")
    stream.flush()


def finish() -> None:
    """At the end of a command: write the tables that ``--json`` asks for."""
    global _asked
    if _asked is not None:
        print(json.dumps(FORMAT | {"tables": _asked}, indent=1))
        _asked = None


def forget() -> None:
    """A command failed: its tables are not shown."""
    global _asked
    _asked = None


def plain(value: Any) -> Any:
    """A table's cell for JSON."""
    if value is None or value != value:
        return None
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        whole = isinstance(value, int) or (not isinstance(value, Share) and value == int(value))
        return int(value) if whole else float(value)
    return plain(value.item()) if hasattr(value, "item") else str(value)


def show_value(value: Any) -> str:
    """A table cell: thousands are set apart, shares are percentages, small fractions keep four digits, absent values
    are a dash."""
    if value is None or value != value:
        return "–"
    if isinstance(value, Share):
        return f"{value:.2%}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def show_table(columns: list[str], rows: list[list[Any]], title: str = "") -> None:
    """A table on the terminal, numbers to the right, or one for ``--json``."""
    if _asked is not None:
        cells = [[plain(value) for value in row] for row in rows]
        _asked.append({"title": title, "columns": list(columns), "rows": cells})
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", header_style="bold")
    for index, name in enumerate(columns):
        numeric = all(isinstance(row[index], int | float) for row in rows if row[index] is not None)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(show_value(value)) for value in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=180)
    console.print(table)


def show_layers(layers: Any) -> None:
    """The main columns of a layer table."""
    columns = ["layer", "op", "cycles", "macs", "macs_per_cycle", "insts", "ipc"]
    columns += ["smol", "simd", "load", "store", "source"]
    show_table(columns, layers[columns].astype(object).to_numpy().tolist())
