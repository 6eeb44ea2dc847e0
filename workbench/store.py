"""One store of results below a folder, content-addressed: a task that was computed once is not computed again.

==========================  ============================================================================================
``STEP/KEY/``               products of a task, and ``record.json``, written last: inputs one by one, products with
                            their hashes, seconds, host, pid, command, commit, date
``failed/KEY/``             what a task left that failed, with its record; the next try replaces it
``resume/KEY/``             what a killed task goes on from
``unfinished/HOST.PID.*/``  work under way; what killed processes of this host left is removed when a store is opened
``locks/``                  one file per task under way
==========================  ============================================================================================

An entry has its name from the moment it is whole. A folder that several hosts share needs a file system with locks
(``flock``), as NFS and cluster file systems have.
"""

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sysmol import __version__, environment
from sysmol.errors import CheckFailed, SysmolError
from sysmol.files import (
    HOST,
    PACKAGE,
    atomic_write_json,
    clean_once,
    make_folder,
    read_json,
    remove_left_over,
    scratch_prefix,
    sha256_file,
)
from sysmol.typed import anything, entries, number, or_null, passage, table, text
from sysmol.workbench.key import Task

FORMAT, VERSION = "sysmol-result", 1
RECORD = "record.json"
_FIELDS = table(
    {
        "seconds": number(0),
        "date": text,
        "products": entries(text),
        "inputs": entries(anything),
        "error": or_null(table({"kind": text, "text": passage})),
    },
    {"key": text, "step": text, "given": entries(anything)},
)


@dataclass(frozen=True)
class Entry:
    """A task's folder and record. ``known``: it stood before it was asked for."""

    folder: Path
    record: dict[str, Any]
    known: bool = False

    def path(self, name: str) -> Path:
        """One of the products."""
        return self.folder / name

    @property
    def how(self) -> str:
        """How it came about, for messages."""
        return "unchanged, skipped" if self.known else f"done in {self.record['seconds']:.1f} s"


class Store:
    """A folder of entries, for any number of processes and hosts at once."""

    def __init__(self, root: str | Path) -> None:
        self.root = make_folder(root).resolve()
        remove_left_over(self.root / "unfinished")

    def place(self, task: Task) -> Path:
        """The folder of a task's entry, whether it is there or not."""
        return self.root / task.step.name / task.key

    def find(self, task: Task) -> Entry | None:
        """The entry of a task where it is there and whole: every product has the hash that the record says."""
        folder = self.place(task)
        record = _read(folder)
        if record is None:
            return None
        for name, expected in record["products"].items():
            if not (folder / name).is_file() or sha256_file(folder / name) != expected:
                return None
        return Entry(folder, record, known=True)

    def failure(self, task: Task) -> Entry | None:
        """What the last try left, where it failed and no later one ended well."""
        folder = self.root / "failed" / task.key
        record = _read(folder)
        return None if record is None or self.place(task).is_dir() else Entry(folder, record, known=True)

    def make(self, task: Task, command: str = "") -> Entry:
        """The entry of a task, computed if it is not there. Who asks for a task that is under way elsewhere waits.

        What the step raises passes through; of some steps :class:`SysmolError` and :class:`CheckFailed` leave a record.
        """
        found = self.find(task)
        if found is not None:
            return found
        lock = self._lock_of(task)
        try:
            with lock:
                return self.find(task) or self._compute(task, command)
        except (SysmolError, CheckFailed):
            Path(lock.lock_file).unlink(missing_ok=True)  # what ends at once leaves no trace
            raise

    @contextlib.contextmanager
    def alone(self, folder: Path) -> Iterator[None]:
        """Nobody else puts products of this store into ``folder`` meanwhile; :class:`SysmolError` where somebody does.
        A killed process lets go."""
        lock = self.claim("folder")
        if lock is None:
            raise SysmolError(f"another sysmol is writing into {folder}: wait for it, or name another --out")
        try:
            yield
        except (SysmolError, CheckFailed):
            Path(lock.lock_file).unlink(missing_ok=True)
            raise
        finally:
            lock.release()

    def claim(self, name: str) -> FileLock | None:
        """A lock that nobody else has until it is released; None where somebody has it."""
        lock = FileLock(make_folder(self.root / "locks") / f"{name}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return None
        return lock

    def forget(self, task: Task) -> None:
        """Remove a task's entry."""
        shutil.rmtree(self.place(task), ignore_errors=True)

    def _lock_of(self, task: Task) -> FileLock:
        return FileLock(make_folder(self.root / "locks") / f"{task.resumes_at or task.key}.lock")

    def _compute(self, task: Task, command: str) -> Entry:
        make_folder(self.root / "unfinished")
        scratch = Path(tempfile.mkdtemp(prefix=f"{HOST}.{os.getpid()}.", dir=self.root / "unfinished"))
        start = time.monotonic()
        try:
            try:
                with environment.recording() as variables:
                    task.step.call(scratch, task.arguments() | self._resume(task))
                undeclared = variables - set(task.variables) - set(environment.PLACES)
                assert not undeclared, f"step {task.step.name} reads {undeclared} and does not name them"
            except (SysmolError, CheckFailed) as error:
                if task.step.keeps_failures:
                    self._keep(task, scratch, self.root / "failed" / task.key, start, command, error)
                raise
            entry = self._keep(task, scratch, self.place(task), start, command)
            shutil.rmtree(self.root / "failed" / task.key, ignore_errors=True)
            if task.step.resumes == ():
                shutil.rmtree(self.resume_folder(task), ignore_errors=True)
            return entry
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def resume_folder(self, task: Task) -> Path:
        """Where what a killed task goes on from is kept."""
        return self.root / "resume" / str(task.resumes_at)

    def _resume(self, task: Task) -> dict[str, Path]:
        """For a step that resumes: the folder of its unfinished work, as ``resume``."""
        return {} if task.resumes_at is None else {"resume": make_folder(self.resume_folder(task))}

    def _keep(
        self, task: Task, scratch: Path, folder: Path, start: float, command: str, error: Exception | None = None
    ) -> Entry:
        products = sorted(path for path in scratch.rglob("*") if path.is_file())
        record = {
            "format": FORMAT,
            "version": VERSION,
            "key": task.key,
            "step": task.step.name,
            "seconds": round(time.monotonic() - start, 3),
            "host": HOST,
            "pid": os.getpid(),
            "command": command or this_command(),
            "commit": commit(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "error": None if error is None else {"kind": type(error).__name__, "text": str(error)},
            "given": {name: value for name, value in task.given.items() if isinstance(value, int | float)},
            "products": {path.relative_to(scratch).as_posix(): sha256_file(path) for path in products},
            "inputs": task.inputs,
        }
        atomic_write_json(scratch / RECORD, record)
        make_folder(folder.parent)
        scratch.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)  # damaged, or an earlier failure
        os.rename(scratch, folder)
        return Entry(folder, record)


def _read(folder: Path) -> dict[str, Any] | None:
    """The record of an entry; None where there is none that this version understands."""
    if not (folder / RECORD).is_file():
        return None
    try:
        return read_json(folder / RECORD, FORMAT, VERSION, _FIELDS)
    except SysmolError:
        return None


def records(root: str | Path) -> Iterator[dict[str, Any]]:
    """The records of all entries of a store."""
    for path in sorted(Path(root).glob(f"*/*/{RECORD}")):
        record = _read(path.parent)
        if record is not None and record["error"] is None:
            yield record


def this_command() -> str:
    """The command line of this process, its program by name."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = Path(sys.argv[0]).name if spec is None else f"python -m {spec.name.removesuffix('.__main__')}"
    return " ".join([program, *sys.argv[1:]])


@functools.cache
def commit() -> str:
    """The clone's commit, with ``+`` where files differ from it; the version where there is no clone."""
    clone = PACKAGE.parent
    if not (clone / ".git").exists():
        return __version__
    try:
        head, changes = (
            subprocess.run(["git", "-C", str(clone), *words], capture_output=True, text=True, check=True).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):
        return __version__
    return head.strip() + ("+" if changes.strip() else "")


def show(folder: Path, names: dict[str, str], entry: Entry) -> None:
    """Put products of an entry where people look for them: ``names`` gives a path below ``folder`` by product.

    Hard links where the file system has them: whoever replaces a file there leaves the store as it is.
    """
    for product, name in names.items():
        source, target = entry.path(product), folder / name
        clean_once(make_folder(target.parent))
        if target.is_file() and (target.samefile(source) or sha256_file(target) == entry.record["products"][product]):
            continue
        scratch = target.with_name(f"{scratch_prefix(target.name)}link")
        scratch.unlink(missing_ok=True)
        try:
            os.link(source, scratch)
        except OSError:
            shutil.copy2(source, scratch)
        os.replace(scratch, target)


def load(path: Path) -> dict[str, Any]:
    """The JSON of a product."""
    return dict(json.loads(path.read_text(encoding="utf-8")))
