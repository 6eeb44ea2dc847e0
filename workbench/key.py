"""Steps, tasks, and the key of a task: everything that its result depends on, under one SHA-256.

A *step* is a function that fills a folder; a *task* is one call of it. The call's inputs are named one by one:

=============  ========================================================================================================
``step``       name and version of the step
``code``       the project's Python files that it runs, by import closure (:mod:`sysmol.workbench.closure`)
``files``      files that it is given or reads: headers, assembly, linker scripts, machines, networks, data, users' code
``tools``      programs that it starts, by the hash of their file: gem5, compilers
``packages``   versions of the packages that the code imports, and of Python
``variables``  values of the environment variables that it reads by value (:mod:`sysmol.environment`)
``options``    everything else, the seed among it
=============  ========================================================================================================

The same inputs give the same key on every computer: paths and dates are no part of it.
"""

import functools
import hashlib
import importlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from sysmol import environment
from sysmol.files import PACKAGE, sha256_file
from sysmol.workbench import closure

Inputs = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Step:
    """``function``: ``module:name``, called with the folder to fill and what the task gives by name. ``scripts``:
    modules that another interpreter runs for it (gem5's). ``keeps_failures``: what it left and said when it failed is
    kept. ``resumes``: None, or the options that do not count for the
    folder where unfinished work is kept, which tasks that differ in nothing else share.
    """

    name: str
    version: int
    function: str
    scripts: tuple[str, ...] = ()
    resumes: tuple[str, ...] | None = None
    keeps_failures: bool = False

    @property
    def module(self) -> str:
        """Where the function is."""
        return self.function.partition(":")[0]

    def call(self, folder: Path, arguments: Mapping[str, Any]) -> None:
        """Run the function."""
        module, _, name = self.function.partition(":")
        getattr(importlib.import_module(module), name)(folder, **arguments)


@dataclass(frozen=True)
class Task:
    """One call of a step.

    ``options`` count and are given to the function; ``given`` is given and does not count: where things lie, time
    limits. ``files`` are given and count by content. What the function finds by itself counts alone: ``tools``,
    programs; ``reads``, files; ``code``, a user's Python with what it imports; ``variables``; ``packages`` that no
    import names.
    """

    step: Step
    options: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    tools: Mapping[str, Path] = field(default_factory=dict)
    reads: tuple[Path, ...] = ()
    variables: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    code: tuple[Path, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """Without inputs and key: another process computes its own."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def arguments(self) -> dict[str, Any]:
        """What the function is given by name."""
        return {**self.options, **self.files, **self.given}

    @functools.cached_property
    def inputs(self) -> Inputs:
        """Everything that the result depends on, one by one."""
        own = closure.of_modules(self.step.module, *self.step.scripts)
        packages = set(own.packages) | set(self.packages)
        files = {name: digest(path) for name, path in sorted(self.files.items())}
        for path in self.code:
            users = closure.of_file(path)
            packages |= users.packages
            files |= {each.relative_to(path.resolve().parent).as_posix(): digest(each) for each in sorted(users.files)}
        return {
            "step": {"name": self.step.name, "version": self.step.version},
            "code": {_short(path): digest(path) for path in sorted(own.files)},
            "files": files | {_short(path): digest(path) for path in self.reads},
            "tools": {name: digest(path) for name, path in sorted(self.tools.items())},
            "packages": closure.versions(packages),
            "variables": {name: environment.read(name) for name in sorted(self.variables)},
            "options": json.loads(canonical(dict(self.options))),
        }

    @functools.cached_property
    def key(self) -> str:
        """64 hexadecimal digits."""
        return key_of(self.inputs)

    @property
    def resumes_at(self) -> str | None:
        """Key of the folder where unfinished work is kept; None where none is."""
        if self.step.resumes is None:
            return None
        options = {name: value for name, value in self.inputs["options"].items() if name not in self.step.resumes}
        return key_of({**self.inputs, "options": options})

    @property
    def title(self) -> str:
        """For messages: the step and its options in short."""
        words = [str(value) for value in self.options.values() if isinstance(value, str | int) and value != ""]
        return " ".join([self.step.name, *words])


def _short(path: Path) -> str:
    """A file of the package by its place there, others by their name."""
    for root in (PACKAGE, PACKAGE.parent):
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return path.name


def canonical(content: Any) -> str:
    """JSON that is equal for equal content: fields sorted, dataclasses as their fields, other things by ``str``."""
    return json.dumps(content, sort_keys=True, default=lambda x: asdict(x) if _plain(x) else str(x))


def _plain(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, type)


def key_of(inputs: Inputs) -> str:
    """SHA-256 over inputs."""
    return hashlib.sha256(canonical(inputs).encode()).hexdigest()


def digest(path: Path) -> str:
    """SHA-256 of a file; read again only where its size or one of its dates changed."""
    facts = path.stat()
    return _digest(str(path), facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


@functools.lru_cache(maxsize=65536)
def _digest(path: str, *_: int) -> str:
    return sha256_file(path)


def differences(one: Inputs, other: Inputs) -> list[str]:
    """Names of the inputs that differ, as ``kind: name``."""
    return [
        f"{kind}: {name}"
        for kind in one.keys() | other.keys()
        for name in _names(one.get(kind, {}), other.get(kind, {}))
        if one.get(kind, {}).get(name) != other.get(kind, {}).get(name)
    ]


def _names(*tables: Mapping[str, Any]) -> Iterable[str]:
    return sorted({name for table in tables for name in table})
