"""Tables and figures in Markdown documents."""

from collections.abc import Sequence
from typing import Any

import pandas as pd


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table, without a line end behind it; whole numbers with thousands set apart."""
    cells = [[f"{value:,}" if isinstance(value, int) else str(value) for value in row] for row in rows]
    first, *others = ["| " + " | ".join(row) + " |" for row in [head, *cells]]
    return "\n".join([first, "|" + "---|" * len(head), *others])


def number(value: float | None, form: str = "{:,.0f}") -> str:
    """A figure in a format, by default whole with thousands set apart; a dash where there is none."""
    return "–" if value is None or pd.isna(value) else form.format(value)
