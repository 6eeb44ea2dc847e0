"""Where figures come from: a file beside a table of results says by which command, of which commit and when each row
was made, and everything that it depends on; :func:`changed` tells what of that is another today.

``NAME.source.json`` beside ``NAME.csv``: ``rows``, by the row's name ("": the whole file), each with ``command``,
``commit``, ``date`` and the name of its ``inputs``; and these, by kind and name as in :mod:`sysmol.workbench.key`,
without options and without files that other steps made.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sysmol import environment, typed
from sysmol.errors import SysmolError
from sysmol.files import PACKAGE, atomic_write_json, content_key, read_json
from sysmol.workbench import closure
from sysmol.workbench.key import Inputs, digest
from sysmol.workbench.store import commit, this_command

FORMAT, VERSION = "sysmol-sources", 1
KINDS = ("code", "files", "tools", "packages", "variables")
DIGITS = 16
"""Hexadecimal digits of hashes; enough to see that a file is another one."""
_FIELDS = typed.table(
    {
        "rows": typed.entries(typed.table({}, {"inputs": typed.text})),
        "inputs": typed.entries(typed.table({}, dict.fromkeys(KINDS, typed.entries(typed.or_null(typed.text))))),
    }
)


def path_of(table: Path) -> Path:
    """The file beside a table."""
    return table.with_suffix(".source.json")


def merged(inputs: Iterable[Inputs]) -> Inputs:
    """What several tasks depend on that lies outside of the store: files of the project, tools, packages, variables."""
    found: Inputs = {kind: {} for kind in KINDS}
    for each in inputs:
        for kind in KINDS:
            found[kind] |= {name: _short(kind, value) for name, value in each.get(kind, {}).items()}
    found["files"] = {name: value for name, value in found["files"].items() if "/" in name}
    return found


def _short(kind: str, value: str) -> str:
    return value if kind in ("packages", "variables") else value[:DIGITS]


def of_modules(*modules: str) -> Inputs:
    """The code of modules of this package, ``sysmol.benchmarks.levers``, and of all that they import."""
    files = closure.of_modules(*modules).files
    return {"code": {path.relative_to(PACKAGE).as_posix(): digest(path) for path in sorted(files)}}


def write(table: Path, inputs: Iterable[Inputs], rows: Mapping[str, Mapping[str, Any]] | None = None) -> Path:
    """Note the source of a table, or of these of its ``rows`` (facts by name; others keep their own)."""
    path = path_of(table)
    known = read(table) if rows is not None else {"inputs": {}, "rows": {}}
    whole = merged(inputs)
    name = content_key(whole)[:8]
    now = {"command": this_command(), "commit": commit(), "date": datetime.now(UTC).strftime("%Y-%m-%d")}
    new = {row: {**now, **facts, "inputs": name} for row, facts in (rows or {"": {}}).items()}
    kept = known["rows"] | new
    used = {facts["inputs"] for facts in kept.values()}
    sets = {key: value for key, value in (known["inputs"] | {name: whole}).items() if key in used}
    return atomic_write_json(path, {"format": FORMAT, "version": VERSION, "rows": kept, "inputs": sets})


def read(table: Path) -> dict[str, Any]:
    """``rows`` and ``inputs`` of a table; empty where nothing is noted."""
    path = path_of(table)
    return read_json(path, FORMAT, VERSION, _FIELDS) if path.is_file() else {"rows": {}, "inputs": {}}


def noted(found: Mapping[str, Any], row: str = "") -> tuple[Mapping[str, Any], str]:
    """What :func:`read` found for a row, or else for the file as a whole (nothing where nothing is noted), and the
    :func:`verdict` on its inputs."""
    facts = found["rows"].get(row) or found["rows"].get("") or {}
    return facts, verdict(found["inputs"][facts["inputs"]] if facts else None)


def changed(inputs: Inputs) -> list[str]:
    """Names of the inputs that are others today, as ``kind: name``; tools that are not here are not told."""
    return [
        f"{kind}: {name}"
        for kind in KINDS
        for name, value in inputs.get(kind, {}).items()
        if _now(kind, name) not in (value, None)
    ]


def _now(kind: str, name: str) -> str | None:
    """An input as it is today; None where this computer cannot say."""
    if kind in ("code", "files"):
        path = next((root / name for root in (PACKAGE, PACKAGE.parent) if (root / name).is_file()), None)
        return "absent" if path is None else digest(path)[:DIGITS]
    if kind == "variables":
        return environment.read(name) if name in environment.VARIABLES else "absent"
    if kind == "packages":
        return closure.version_of(name)
    if name == "gem5":
        from sysmol.configs_gem5.launch import find_gem5

        binary = find_gem5()
        return None if binary is None else digest(binary)[:DIGITS]
    return None


def verdict(inputs: Inputs | None) -> str:
    """In words: whether figures with these inputs would come out of today's files."""
    if inputs is None:
        return "unknown"
    different = changed(inputs)
    if not different:
        return "match"
    more = f" and {len(different) - 1} more" if different[1:] else ""
    return f"changed: {different[0].partition(': ')[2]}{more}"


def check(table: Path) -> None:
    """:class:`SysmolError` where the file beside a table is damaged."""
    found = read(table)
    for name, facts in found["rows"].items():
        if facts.get("inputs") not in found["inputs"]:
            raise SysmolError(f"{path_of(table)}: row {name!r} names inputs that are not there")
