"""A gem5 tree: which patches it carries, and moving it from one state to another, whole or not at all.

A change is prepared beside the files (``.sysmol-patch.*``), then a journal is written that names every prepared file
with the hashes before and after, then each file is renamed into place, then the journal goes. Killed before the
journal stands, nothing has changed; killed later, the next command finds the journal and finishes the change.
"""

import contextlib
import difflib
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sysmol.errors import SysmolError
from sysmol.isa_patches.patches import Patch

JOURNAL = ".sysmol-patch.journal"
PREPARED = ".sysmol-patch."
VERSION_FILE = "src/base/version.cc"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Tree:
    """A gem5 source tree and the patches that its version knows.

    Raises :class:`SysmolError`: no gem5 tree, a version that no patch supports, and from every method where a file
    that a patch touches is neither as gem5 ships it nor as the patches leave it.
    """

    def __init__(self, root: str | os.PathLike[str], patches: Mapping[str, Patch]) -> None:
        self.root = Path(root)
        self.version = self._version()
        known = sorted({version for patch in patches.values() for version in patch.gem5})
        self.patches = {name: patch for name, patch in patches.items() if self.version in patch.gem5}
        if not self.patches:
            raise SysmolError(
                f"{self.root} is gem5 {self.version}, and the patches are for {', '.join(known)}: use that"
            )
        self.interrupted = (self.root / JOURNAL).exists()

    def _version(self) -> str:
        path = self.root / VERSION_FILE
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            raise SysmolError(f"{self.root} is no gem5 tree: it has no {VERSION_FILE}") from None
        found = re.search(r'gem5Version\s*=\s*"([^"]+)"', text)
        if found is None:
            raise SysmolError(f"{path} names no version: is this gem5's own file?")
        return found.group(1)

    def select(self, names: list[str]) -> list[Patch]:
        """Patches by name; all of them for an empty list."""
        for name in names:
            if name not in self.patches:
                raise SysmolError(
                    f"there is no patch {name!r} for gem5 {self.version}: choose from {', '.join(self.patches)}"
                )
        return [patch for name, patch in self.patches.items() if not names or name in names]

    # --- looking -----------------------------------------------------------------------------------------------------

    def read(self, name: str) -> bytes:
        try:
            return (self.root / name).read_bytes()
        except OSError as error:
            raise SysmolError(f"cannot read {self.root / name}: {error.strerror}; is the gem5 tree whole?") from None

    def shipped(self, name: str) -> tuple[str, dict[str, bool]]:
        """A file as gem5 ships it, and by patch whether the file carries it now."""
        try:
            text = self.read(name).decode()
        except UnicodeDecodeError:
            raise self._touched(name) from None
        carried: dict[str, bool] = {}
        expected = ""
        for patch in self.patches.values():
            entry = patch.gem5[self.version].get(name)
            if entry is None:
                continue
            expected = entry.sha256
            found = [edit.done(text) for edit in entry.edits]
            if any(found) and not all(found):
                raise self._touched(name)
            carried[patch.name] = all(found)
            if all(found):
                for edit in reversed(entry.edits):
                    text = edit.undo(text)
        if digest(text.encode()) != expected:
            raise self._touched(name)
        return text, carried

    def _touched(self, name: str) -> SysmolError:
        return SysmolError(
            f"{self.root / name} is not gem5 {self.version}'s file, with or without these patches: restore it "
            f"(git checkout {name}) or make the edit by hand (docs/patches.md)"
        )

    def applied(self, patch: Patch) -> bool:
        """Whether the tree carries the patch; raises where only some of its files do."""
        if self.interrupted:
            raise SysmolError(
                f"{self.root}: an earlier change was interrupted: run 'sysmol patch apply' or 'revert', which finish it"
            )
        states = {name: self.shipped(name)[1][patch.name] for name in patch.gem5[self.version]}
        if len(set(states.values())) > 1:
            missing = next(name for name, done in states.items() if not done)
            raise SysmolError(
                f"{self.root} carries patch {patch.name} in part ({missing} lacks it): apply or revert it"
            )
        return all(states.values())

    def content(self, name: str, carried: Mapping[str, bool]) -> str:
        """A file with exactly the patches that ``carried`` says."""
        text, _ = self.shipped(name)
        for patch in self.patches.values():
            entry = patch.gem5[self.version].get(name)
            if entry is None or not carried.get(patch.name, False):
                continue
            for edit in entry.edits:
                try:
                    text = edit.do(text)
                except ValueError as error:
                    raise SysmolError(f"patch {patch.name}, {name}: {error}") from None
        if name.endswith(".py"):
            try:
                compile(text, name, "exec")
            except SyntaxError as error:
                raise SysmolError(
                    f"{name} would be no Python any more (line {error.lineno}): nothing was changed"
                ) from None
        return text

    def diff(self, chosen: list[Patch]) -> str:
        """What the chosen patches change, against the files as gem5 ships them; ``patch -p1`` reads it."""
        lines: list[str] = []
        for name in self._files(chosen):
            before = self.shipped(name)[0]
            after = self.content(name, {patch.name: True for patch in chosen})
            lines += difflib.unified_diff(
                before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}", n=0
            )
        return "".join(lines)

    def _files(self, chosen: list[Patch]) -> list[str]:
        return sorted({name for patch in chosen for name in patch.gem5[self.version]})

    # --- changing ----------------------------------------------------------------------------------------------------

    def change(self, chosen: list[Patch], wanted: bool) -> list[str]:
        """Apply (``wanted``) or revert patches; the files that changed, empty where there was nothing to do."""
        with self._lock():
            self._finish()
            after: dict[str, bytes] = {}
            for name in self._files(chosen):
                _, carried = self.shipped(name)
                for patch in chosen:
                    if name in patch.gem5[self.version]:
                        carried[patch.name] = wanted
                data = self.content(name, carried).encode()
                if data != self.read(name):
                    after[name] = data
            self._replace(after)
            return sorted(after)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One change at a time; the lock goes with the process."""
        try:
            handle = os.open(self.root / "src", os.O_RDONLY)
        except OSError as error:
            raise SysmolError(f"cannot open {self.root / 'src'}: {error.strerror}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise SysmolError(f"another sysmol patch works on {self.root}: wait for it") from None
        finally:
            os.close(handle)

    def _replace(self, after: Mapping[str, bytes]) -> None:
        if not after:
            return
        rows = []
        try:
            for name, data in after.items():
                target = self.root / name
                prepared = target.with_name(PREPARED + target.name)
                rows.append({"file": name, "before": digest(self.read(name)), "after": digest(data)})
                write_through(prepared, data)
                shutil.copymode(target, prepared)
            journal = json.dumps({"gem5": self.version, "files": rows}, indent=1).encode()
            write_through(self.root / (JOURNAL + ".new"), journal)
            os.rename(self.root / (JOURNAL + ".new"), self.root / JOURNAL)
        except OSError as error:
            self._clean()
            raise SysmolError(f"cannot write in {self.root}: {error.strerror}; nothing was changed") from None
        self._finish()

    def _finish(self) -> None:
        """Bring a change that has a journal to its end, and remove what one without a journal left."""
        path = self.root / JOURNAL
        try:
            rows: list[dict[str, Any]] = json.loads(path.read_bytes())["files"]
        except FileNotFoundError:
            self._clean()
            return
        except (OSError, ValueError, KeyError, TypeError):
            raise SysmolError(
                f"{path} cannot be read: compare the tree with 'git diff', then remove that file"
            ) from None
        # Everything is looked at before anything moves.
        moves = []
        for row in rows:
            target = self.root / row["file"]
            prepared = target.with_name(PREPARED + target.name)
            now = digest(self.read(row["file"]))
            if now == row["after"]:
                continue
            if now != row["before"] or not prepared.is_file() or digest(prepared.read_bytes()) != row["after"]:
                raise SysmolError(
                    f"{target} changed while a patch was under way: restore it with git checkout, then remove {path}"
                )
            moves.append((prepared, target))
        try:
            for prepared, target in moves:
                os.replace(prepared, target)
            path.unlink()
        except OSError as error:
            raise SysmolError(
                f"cannot finish the change in {self.root}: {error.strerror}; run the command again"
            ) from None
        self.interrupted = False
        self._clean()

    def _clean(self) -> None:
        """Remove prepared files that no journal names."""
        (self.root / (JOURNAL + ".new")).unlink(missing_ok=True)
        for name in self._files(list(self.patches.values())):
            target = self.root / name
            target.with_name(PREPARED + target.name).unlink(missing_ok=True)


def write_through(path: Path, data: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with open(path, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
