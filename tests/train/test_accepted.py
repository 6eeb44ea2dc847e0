"""The one table of what a module may hold: every row has its handler, and the pages show it as it is."""

import re

import pytest

from sysmol.files import PACKAGE
from sysmol.train.frontend.accepted import TABLE, markdown
from sysmol.train.frontend.trace import Builder


@pytest.mark.parametrize("page", ["README.md", "docs/training.md"])
def test_pages_show_the_table(page: str) -> None:
    text = (PACKAGE.parent / page).read_text(encoding="utf-8")
    found = re.findall(r"<!-- table: layers -->\n(.*?)\n<!-- end -->", text, re.DOTALL)
    assert found == [markdown()], "python docs/support_tables.py"


def test_rows_have_handlers_and_words() -> None:
    for row in TABLE:
        assert callable(getattr(Builder, row.handler)) and (row.modules or row.functions)
        assert bool(row.layers) == bool(row.note) and "|" not in row.layers + row.note
