"""Strict reading of machine files."""

import dataclasses
from typing import Any, get_type_hints

from sysmol.errors import SysmolError
from sysmol.typed import shown

LARGEST = 2**31 - 1
"""Of every count; gem5 takes no more."""


class Reader:
    """Typed access to JSON with errors that name the file and the place."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.sources: dict[str, str] = {}

    def error(self, text: str) -> SysmolError:
        return SysmolError(f"machine {self.where}: {text}")

    def fields(self, data: Any, what: str, needed: set[str], optional: set[str]) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise self.error(f"{what} is no JSON object")
        if missing := needed - data.keys():
            raise self.error(f"{what}: {sorted(missing)[0]!r} is missing")
        if unknown := data.keys() - needed - optional:
            raise self.error(f"{what}: unknown field {sorted(unknown)[0]!r}")
        return data

    def typed(self, value: Any, kind: type, what: str) -> Any:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.error(f"{what}: {shown(value)} is no {kind.__name__}")
        return value

    def positive(self, value: Any, what: str) -> int:
        if self.typed(value, int, what) < 1:
            raise self.error(f"{what}: {shown(value)} is not positive")
        if value > LARGEST:
            raise self.error(f"{what}: {shown(value)} is more than {LARGEST}")
        return int(value)

    def cite(self, source: Any, what: str) -> None:
        """A source is a key of the machine's ``sources``, with a place after a colon where that helps."""
        if not isinstance(source, str) or source.split(":")[0] not in self.sources:
            raise self.error(f"{what}: source {source!r} is none of the machine's sources {sorted(self.sources)}")

    def record(self, kind: type, data: Any, what: str) -> Any:
        """A dataclass from an object with exactly its fields; integers must be positive."""
        hints = get_type_hints(kind)
        needed = {f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING}
        values = dict(self.fields(data, what, needed, set(hints) - needed))
        for name, value in values.items():
            if hints[name] is int:
                self.positive(value, f"{what}: {name}")
            elif hints[name] is str:
                self.typed(value, str, f"{what}: {name}")
            else:
                values[name] = tuple(self.typed(value, list, f"{what}: {name}"))
        return kind(**values)
