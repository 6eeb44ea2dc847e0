"""Patches as data: reading them, and doing and undoing one edit of a text."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sysmol.errors import SysmolError
from sysmol.files import read_json
from sysmol.isa import BY_UNIT

PATCH_FORMAT = "sysmol-gem5-patch"
PATCH_VERSION = 1
DATA = Path(__file__).resolve().parent / "data"


@dataclass(frozen=True)
class Edit:
    """One place of one file. ``anchor`` stands once in the file, within a line.

    Either ``insert`` (whole lines, to follow the anchor's line) or ``replace`` (words that stand in for the anchor) is
    not empty.
    """

    anchor: str
    insert: str = ""
    replace: str = ""

    def done(self, text: str) -> bool:
        """Whether ``text`` carries this edit."""
        if self.replace:
            return self.anchor not in text and text.count(self.replace) == 1
        return text.count(self.anchor) == 1 and text.startswith(self.insert, self._line_end(text))

    def do(self, text: str) -> str:
        """``text`` with this edit; :class:`ValueError` where the anchor does not stand there exactly once."""
        if text.count(self.anchor) != 1:
            raise ValueError(f"{self.anchor!r} stands there {text.count(self.anchor)} times instead of once")
        if self.replace:
            return text.replace(self.anchor, self.replace)
        end = self._line_end(text)
        return text[:end] + self.insert + text[end:]

    def undo(self, text: str) -> str:
        """``text`` without this edit, which :meth:`done` found in it."""
        if self.replace:
            return text.replace(self.replace, self.anchor)
        end = self._line_end(text)
        return text[:end] + text[end + len(self.insert) :]

    def _line_end(self, text: str) -> int:
        """Index behind the anchor's line."""
        newline = text.find("\n", text.index(self.anchor))
        return len(text) if newline < 0 else newline + 1


@dataclass(frozen=True)
class FileEdits:
    """The edits of one file, whose content as gem5 ships it has this SHA-256."""

    sha256: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True)
class Patch:
    """``gem5``: per supported version the edits by file (paths relative to gem5's tree)."""

    name: str
    description: str
    recompiles: str
    gem5: dict[str, dict[str, FileEdits]]


def load_patches(folder: Path = DATA) -> dict[str, Patch]:
    """All patches of a folder by name, in the order of their file names; :class:`SysmolError` where one is broken."""
    patches: dict[str, Patch] = {}
    for path in sorted(folder.glob("*.json")):
        patch = parse_patch(read_json(path, PATCH_FORMAT, PATCH_VERSION), str(path))
        if patch.name in patches:
            raise SysmolError(f"{path}: there is another patch of the name {patch.name!r}: give it one of its own")
        patches[patch.name] = patch
    return patches


def for_each_instruction(line: str) -> str:
    """A line per instruction of the table, with its operation class and its cycles in place of {class} and {cycles}."""
    return "".join(
        line.replace("{class}", row.named_class).replace("{cycles}", str(row.timing.cycles)) + "\n" for row in BY_UNIT
    )


def parse_patch(data: dict[str, Any], where: str) -> Patch:
    """Check a patch strictly; ``where`` names it in errors."""

    def fields(value: Any, what: str, needed: set[str], optional: frozenset[str] = frozenset()) -> dict[str, Any]:
        if not isinstance(value, dict) or not needed <= value.keys() <= needed | optional:
            names = ", ".join(sorted(needed | optional))
            raise SysmolError(f"patch {where}: {what} must be an object with the fields {names}")
        return value

    def text(value: Any, what: str) -> str:
        if not isinstance(value, str) or not value.strip():
            raise SysmolError(f"patch {where}: {what} must be text, not {value!r}")
        return value

    def edit(value: Any, what: str) -> Edit:
        row = fields(value, what, {"anchor"}, frozenset({"insert", "insert_each", "replace"}))
        anchor = text(row["anchor"], f"{what}: anchor")
        if "\n" in anchor or len(row) != 2:
            raise SysmolError(
                f"patch {where}: {what} needs an anchor within one line, and one of insert, insert_each, replace"
            )
        if "replace" in row:
            made = Edit(anchor, replace=text(row["replace"], f"{what}: replace"))
        elif "insert_each" in row:
            made = Edit(anchor, insert=for_each_instruction(text(row["insert_each"], f"{what}: insert_each")))
        elif isinstance(row["insert"], list) and row["insert"]:
            made = Edit(anchor, insert="".join(text(line, f"{what}: insert") + "\n" for line in row["insert"]))
        else:
            raise SysmolError(f"patch {where}: {what}: insert must be a list of lines")
        if anchor in made.insert + made.replace:
            raise SysmolError(f"patch {where}: {what}: the new text holds the anchor, so it could not be found again")
        return made

    top = fields(data, "the patch", {"format", "version", "name", "description", "recompiles", "gem5"})
    versions: dict[str, dict[str, FileEdits]] = {}
    for version, files in top["gem5"].items():
        versions[version] = {}
        for name, entry in files.items():
            parts = PurePosixPath(name)
            if parts.is_absolute() or ".." in parts.parts:
                raise SysmolError(f"patch {where}: {name!r} is no path inside gem5's tree")
            entry = fields(entry, name, {"sha256", "edits"})
            if not re.fullmatch(r"[0-9a-f]{64}", str(entry["sha256"])):
                raise SysmolError(f"patch {where}: {name}: sha256 must be 64 hexadecimal digits")
            edits = tuple(edit(row, f"{name}, edit {i}") for i, row in enumerate(entry["edits"], 1))
            if not edits:
                raise SysmolError(f"patch {where}: {name} has no edit")
            versions[version][name] = FileEdits(entry["sha256"], edits)
    return Patch(
        text(top["name"], "name"),
        text(top["description"], "description"),
        text(top["recompiles"], "recompiles"),
        versions,
    )
