"""A page as HTML text."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from sysmol.analysis.page.blocks import Page

FOLDER = Path(__file__).parent


@cache
def _template() -> Template:
    loader = FileSystemLoader(FOLDER)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.jinja")


def render(page: Page) -> str:
    """The whole page, self-contained; equal pages give equal text."""
    return _template().render(page=page)
