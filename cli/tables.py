"""Tables on the terminal."""

from typing import Any


def show_value(value: Any) -> str:
    """A table cell: thousands are set apart, small fractions keep four digits, absent values are a dash."""
    if value is None or value != value:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def show_table(columns: list[str], rows: list[list[Any]], title: str = "") -> None:
    """A table on the terminal; numbers to the right."""
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
