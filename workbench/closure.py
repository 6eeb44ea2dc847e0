"""Which files and packages Python code depends on, by the imports that it names, also those inside functions.

Files are parsed, never run. ``if TYPE_CHECKING:`` blocks do not count. One implementation serves this package and
users' own files.
"""

import ast
import functools
import importlib.metadata
import platform
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sysmol.files import PACKAGE

ROOT = PACKAGE.parent
NAME = PACKAGE.name


@dataclass(frozen=True)
class Closure:
    """``files``: source files below the root. ``packages``: top-level names that lie elsewhere, without the standard
    library's."""

    files: frozenset[Path]
    packages: frozenset[str]


def of_modules(*modules: str) -> Closure:
    """What modules of this package depend on, themselves included: ``sysmol.kernels_c.build``."""
    return _closure(ROOT, tuple(sorted(modules)))


def of_file(path: Path) -> Closure:
    """What a user's file depends on: itself and the files beside it that it imports."""
    whole = path.resolve()
    return _walk(whole.parent, [(whole, "")])


@functools.cache
def _closure(root: Path, modules: tuple[str, ...]) -> Closure:
    starts = []
    for module in modules:
        file = _file(root, module)
        if file is None:
            raise ModuleNotFoundError(f"there is no module {module}")
        starts.append((file, module))
    return _walk(root, starts)


def _walk(root: Path, starts: Iterable[tuple[Path, str]]) -> Closure:
    """Everything that is reached from files with their module names."""
    files: set[Path] = set()
    packages: set[str] = set()
    left = list(starts)
    while left:
        path, module = left.pop()
        if path in files:
            continue
        files.add(path)
        wanted = {name for whole in _imports(path, module) for name in _with_parents(whole)}
        if module:
            wanted |= set(_with_parents(module))
        for name in wanted:
            found = _file(root, name)
            if found is not None:
                left.append((found, name))
            elif "." not in name and name not in sys.stdlib_module_names and not (root / name).is_dir():
                packages.add(name)
    return Closure(frozenset(files), frozenset(packages))


def _with_parents(name: str) -> list[str]:
    """An import of a.b.c runs a and a.b too."""
    parts = name.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


def _file(root: Path, module: str) -> Path | None:
    """The file of a module below ``root``; None where there is none. The package's own modules are its alone."""
    place = root.joinpath(*module.split("."))
    if root == ROOT and module.split(".")[0] != NAME:
        return None
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None


@functools.lru_cache(maxsize=1024)
def _parsed(path: Path, _modified: int) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


def _imports(path: Path, module: str) -> Iterator[str]:
    """Every name that a file imports; of ``from a import b`` both a and a.b, since b may be a module."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    try:
        tree = _parsed(path, path.stat().st_mtime_ns)
    except SyntaxError:  # who imports it will say so
        return
    left: list[ast.AST] = [tree]
    while left:
        node = left.pop()
        if isinstance(node, ast.If) and _for_checkers(node.test):
            left.extend(node.orelse)
            continue
        left.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1] if package else []
                base = ".".join([*above, *([base] if base else [])])
            if base:
                yield base
            yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names if alias.name != "*")


def _for_checkers(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


# --- versions --------------------------------------------------------------------------------------------------------


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return {name: sorted(set(found)) for name, found in importlib.metadata.packages_distributions().items()}


@functools.cache
def _versions_of(name: str) -> tuple[tuple[str, str], ...]:
    """Distributions that provide a top-level name, with their versions."""
    try:
        return ((name, importlib.metadata.version(name)),)
    except importlib.metadata.PackageNotFoundError:  # of another name than what it provides, or not installed
        found = _distributions().get(name, [])
        return tuple((distribution, importlib.metadata.version(distribution)) for distribution in found)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Version by distribution of everything that provides these top-level names, and Python's own. Names that nothing
    installed provides are left out: an import of them would fail."""
    found = {"python": platform.python_version()}
    for name in sorted(packages):
        found.update(_versions_of(name))
    found.pop(NAME, None)
    return found


def version_of(distribution: str) -> str | None:
    """Version of an installed distribution, or of Python; None where there is none of this name."""
    if distribution == "python":
        return platform.python_version()
    try:
        return importlib.metadata.version(distribution)
    except (importlib.metadata.PackageNotFoundError, ValueError):  # the latter for an empty name
        return None
