"""What a page consists of. All strings are plain text; the template escapes them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sysmol.analysis.page.values import text


@dataclass(frozen=True)
class Tile:
    """A headline figure: ``label`` above ``value``, ``lines`` below. ``bad`` draws attention to it."""

    label: str
    value: str
    lines: Sequence[str] = ()
    bad: bool = False


@dataclass(frozen=True)
class Text:
    """A paragraph; a ``note`` is smaller."""

    text: str
    note: bool = False
    block: ClassVar[str] = "text"


@dataclass(frozen=True)
class Figure:
    """SVG text and its caption, which is also what readers hear who do not see it."""

    svg: str
    caption: str

    @property
    def source(self) -> str:
        """The figure as an image's address."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.svg.encode()).decode()}"


@dataclass(frozen=True)
class Figures:
    """Figures beside one another as far as the page is wide, else below one another."""

    figures: Sequence[Figure]
    block: ClassVar[str] = "figures"


@dataclass(frozen=True)
class Column:
    """A column's title; numbers stand to the right. A ``minor`` one is left out on narrow screens."""

    title: str
    number: bool = False
    minor: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of texts; :meth:`of` sets raw values as :func:`sysmol.analysis.page.values.text` does."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    block: ClassVar[str] = "table"

    @classmethod
    def of(cls, columns: Sequence[Column | str], rows: Iterable[Sequence[Any]]) -> Table:
        """A table of raw values; a title alone is a column of text."""
        heads = [Column(column) if isinstance(column, str) else column for column in columns]
        return cls(heads, [[text(value) for value in row] for row in rows])


@dataclass(frozen=True)
class Details:
    """Blocks that are folded away under a line."""

    summary: str
    blocks: Sequence[Block]
    block: ClassVar[str] = "details"


Block = Text | Figures | Table | Details


@dataclass(frozen=True)
class Section:
    """Blocks under a heading."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A page: title, a line below it, tiles, sections, and a line at the end."""

    title: str
    subtitle: str = ""
    tiles: Sequence[Tile] = ()
    sections: Sequence[Section] = field(default_factory=list)
    foot: str = ""
