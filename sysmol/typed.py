"""Checks of what a JSON file holds, put together from small ones, before anything reads it.

A check is called with a value and the name of its place and raises :class:`Wrong` where the value is not what the place
takes. Standard library only.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any, str], None]

LARGEST = 2**62
"""Whole numbers beyond it are no count of anything."""
LONGEST = 4096
"""Characters of a text."""


class Wrong(ValueError):
    """A value that a place does not take; the message names the place and what belongs there."""


def flag(value: Any, where: str) -> None:
    """true or false."""
    if not isinstance(value, bool):
        raise Wrong(f"{where} is {shown(value)}, neither true nor false")


def text(value: Any, where: str) -> None:
    """A text of one line."""
    if not isinstance(value, str):
        raise Wrong(f"{where} is {shown(value)}, no text")
    if len(value) > LONGEST or not value.replace("\t", " ").isprintable():
        raise Wrong(f"{where} is {shown(value)}, no text of one line and at most {LONGEST} characters")


def file_name(value: Any, where: str) -> None:
    """A text that files are named by, which leads to no other folder."""
    text(value, where)
    if not value or len(value) > 200 or "/" in value or value.startswith("."):
        raise Wrong(f"{where} is {shown(value)}, no part of a file's name")


def passage(value: Any, where: str) -> None:
    """A text of any number of lines."""
    if not isinstance(value, str) or len(value.encode(errors="replace")) > 1 << 20:
        raise Wrong(f"{where} is {shown(value)}, no text of at most 1 MiB")


def anything(value: Any, where: str) -> None:
    """Whatever stands there."""


def one_of(*known: Any) -> Check:
    """One of these values."""

    def check(value: Any, where: str) -> None:
        if isinstance(value, bool) or not isinstance(value, str | int | None) or value not in known:
            raise Wrong(f"{where} is {shown(value)}, none of {', '.join(map(str, known))}")

    return check


def whole(least: int = 0, most: int = LARGEST) -> Check:
    """A whole number in this range."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise Wrong(f"{where} is {shown(value)}, no whole number from {least} to {most}")

    return check


def number(least: float = -math.inf, most: float = math.inf) -> Check:
    """A finite number in this range."""

    def check(value: Any, where: str) -> None:
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        if not plain or abs(value) > LARGEST or not least <= value <= most:  # NaN is in no range
            raise Wrong(f"{where} is {shown(value)}, no number that can stand there")

    return check


def either(*checks: Check) -> Check:
    """What one of ``checks`` takes."""

    def check(value: Any, where: str) -> None:
        for each in checks[:-1]:
            try:
                return each(value, where)
            except Wrong:
                continue
        checks[-1](value, where)

    return check


def or_null(check: Check) -> Check:
    """What ``check`` takes, or null."""

    def unless_null(value: Any, where: str) -> None:
        if value is not None:
            check(value, where)

    return unless_null


def many(check: Check, least: int = 0, most: int = 1_000_000) -> Check:
    """A list of so many values that ``check`` takes."""

    def each(value: Any, where: str) -> None:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise Wrong(f"{where} is {shown(value)}, no list of {least} to {most} entries")
        for index, entry in enumerate(value):
            check(entry, f"{where}[{index}]")

    return each


def table(needed: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object with these fields; fields of other names are let pass."""
    optional = optional or {}

    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise Wrong(f"{where or 'the whole'} is {shown(value)}, no table of fields")
        for name, inner in (*needed.items(), *optional.items()):
            place = f"{where}.{name}" if where else name
            if name in value:
                inner(value[name], place)
            elif name in needed:
                raise Wrong(f"{place} is missing")

    return check


def entries(check: Check) -> Check:
    """An object with any names, whose values ``check`` takes."""

    def each(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise Wrong(f"{where} is {shown(value)}, no table")
        for name, entry in value.items():
            text(name, f"a name in {where}")
            check(entry, f"{where}.{name}")

    return each


def shown(value: Any) -> str:
    """A value in a message: its beginning, escaped."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a table"
    if isinstance(value, int) and abs(value) > LARGEST:
        return "a number of many digits"
    brief = ascii(value[:60] if isinstance(value, str) else value)
    return brief if len(brief) <= 60 else f"{brief[:57]}..."
