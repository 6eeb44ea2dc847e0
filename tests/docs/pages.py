"""The project's pages, taken apart for the tests: links, inline code, blocks of code, headings, commands."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from sysmol.files import PACKAGE

CLONE = PACKAGE.parent
HISTORY = ("CHANGELOG.md",)
"""Pages that also name what is no longer there."""


def pages() -> list[Path]:
    """Every page that a reader of the repository meets; the history too."""
    return [*sorted(CLONE.glob("*.md")), *sorted((CLONE / "docs").glob("*.md"))]


@dataclass(frozen=True)
class Block:
    """A block of code: its language and title (empty where the page gives none), its text."""

    language: str
    title: str
    text: str


def _block(token: Token) -> Block:
    title = re.search(r'title="([^"]*)"', token.info)
    return Block((token.info.split() or [""])[0], title[1] if title else "", token.content)


@cache
def tokens(page: Path) -> tuple[Token, ...]:
    """All tokens of a page, nested ones too, in order."""
    found: list[Token] = []
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")):
        found += [token, *(token.children or [])]
    return tuple(found)


def links(page: Path) -> list[str]:
    """Targets of links and pictures."""
    wanted = {"link_open": "href", "image": "src"}
    return [str(token.attrs[wanted[token.type]]) for token in tokens(page) if token.type in wanted]


def inline_code(page: Path) -> list[str]:
    return [token.content for token in tokens(page) if token.type == "code_inline"]


def blocks(page: Path, language: str | None = None) -> list[Block]:
    """Blocks of code of a page, or those of one language."""
    found = [_block(token) for token in tokens(page) if token.type in ("fence", "code_block")]
    return [block for block in found if language is None or block.language == language]


def section(page: Path, heading: str) -> list[Block]:
    """Blocks of code below a heading, up to the next one of its level."""
    found: list[Block] = []
    level = ""
    following = iter(tokens(page))
    for token in following:
        if token.type == "heading_open":
            title = next(following).content
            if title == heading:
                level = token.tag
            elif level and token.tag <= level:
                break
        elif level and token.type in ("fence", "code_block"):
            found.append(_block(token))
    return found


def anchors(page: Path) -> set[str]:
    """What a link may name behind #: GitHub's short forms of the headings."""
    found: set[str] = set()
    opened = False
    for token in tokens(page):
        if opened and token.type == "inline":
            text = "".join(child.content for child in token.children or [])
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            number = 0
            while (name := f"{slug}-{number}" if number else slug) in found:
                number += 1
            found.add(name)
        opened = token.type == "heading_open"
    return found


def commands(page: Path) -> Iterator[list[str]]:
    """Command lines of a page as words: in blocks that are no program text, and inline code of several words."""
    texts = [block.text for block in blocks(page) if block.language in ("", "sh", "bash", "console")]
    texts += [code for code in inline_code(page) if " " in code]
    for text in texts:
        for line in text.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\|\||[;|]", line.partition(" #")[0].removeprefix("$ ")):
                try:
                    words = shlex.split(part)
                except ValueError:  # prose or a figure
                    continue
                while words and re.fullmatch(r"[A-Z_][A-Z0-9_]*=.*|export|do|sudo", words[0]):
                    words = words[1:]
                if words:
                    yield words
