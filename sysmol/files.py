"""Files that are whole or absent: a product is written beside its place and then renamed onto it.

What a killed process left beside a product goes when the next process writes its first product into that folder
(:func:`remove_left_over`). Standard library only.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sysmol.errors import SysmolError
from sysmol.typed import Check, Wrong, shown

MOST_TEXT = 8 << 20
"""Largest JSON or TOML file that is read, in bytes: what it becomes in memory is some 25 times as large."""

HOST = socket.gethostname().replace("/", "-")

PACKAGE = Path(__file__).resolve().parent
"""The package's folder. Every room lies below it: in a clone by relative links, in a wheel as a folder."""


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Create ``path`` and its parents; :class:`SysmolError` where that is not allowed or a file stands there."""
    folder = Path(path)
    whole = folder.absolute()
    new = [each for each in (whole, *whole.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SysmolError(f"cannot create the folder {folder}: {error.strerror}; name another one") from None
    _made.extend(reversed(new))
    return folder


_made: list[Path] = []
"""Folders that this process made, parents first."""


def remove_empty_folders() -> None:
    """Remove the folders that :func:`make_folder` made in this process and that hold nothing: the trace of a command
    that ended before its first product.
    """
    while _made:
        with contextlib.suppress(OSError):  # it holds something, or is gone
            _made.pop().rmdir()


_SCRATCH = re.compile(rf"(?:\..*\.)?{re.escape(HOST)}\.(\d+)\.[^.]*")
_cleaned: set[Path] = set()


def scratch_prefix(name: str) -> str:
    """What the name of an unfinished file or folder begins with: hidden, and of this process."""
    return f".{name}.{HOST}.{os.getpid()}."


def clean_once(folder: Path) -> None:
    """:func:`remove_left_over`, by a process's first writing into a folder."""
    if folder not in _cleaned:
        _cleaned.add(folder)
        remove_left_over(folder)


def remove_left_over(folder: Path) -> None:
    """Remove the unfinished work of processes of this host that are no more; other hosts' is theirs."""
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        found = _SCRATCH.fullmatch(name)
        if found is None or _alive(int(found[1])):
            continue
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):  # another user's, or somebody else removes it
                path.unlink()


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for as long as the block lasts, where the system keeps such; killed processes' go at the next use."""
    base = Path(tempfile.gettempdir())
    clean_once(base)
    with tempfile.TemporaryDirectory(prefix=scratch_prefix("sysmol"), dir=base) as folder:
        yield Path(folder)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def making(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """A scratch folder beside ``folder`` that takes its name when the block ends well, else goes.

    A folder that stands there by then stays, unless ``replace``: another process was faster with the same content.
    """
    clean_once(make_folder(folder.parent))
    scratch = Path(tempfile.mkdtemp(prefix=scratch_prefix(folder.name), dir=folder.parent))
    try:
        yield scratch
        scratch.chmod(0o755)
        if replace:
            shutil.rmtree(folder, ignore_errors=True)
        try:
            os.rename(scratch, folder)
        except OSError as error:
            if not folder.is_dir():
                raise SysmolError(f"cannot create the folder {folder}: {error.strerror}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def content_key(content: Any) -> str:
    """SHA-256, in hexadecimal, of anything that JSON can hold; other things by their ``repr``."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=repr).encode()).hexdigest()


def atomic_write_bytes(path: str | os.PathLike[str], data: bytes, *, executable: bool = False) -> Path:
    """Write ``data`` to ``path`` so that a reader, or a kill at any time, sees the old file or the new one."""
    target = Path(path)
    clean_once(make_folder(target.parent))
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=scratch_prefix(target.name), dir=target.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, (0o777 if executable else 0o666) & ~umask)
        os.replace(temporary, target)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise SysmolError(f"cannot write {target}: {error.strerror}; free space or name another place") from None
    return target


def atomic_write_text(path: str | os.PathLike[str], text: str) -> Path:
    """:func:`atomic_write_bytes` for UTF-8 text."""
    return atomic_write_bytes(path, text.encode())


def atomic_write_json(path: str | os.PathLike[str], data: Any) -> Path:
    """:func:`atomic_write_bytes` for JSON with a stable layout."""
    return atomic_write_text(path, json.dumps(data, indent=1) + "\n")


def read_json(path: str | os.PathLike[str], form: str, version: int, fields: Check | None = None) -> dict[str, Any]:
    """Read a versioned JSON file: ``{"format": form, "version": <= version, ...}``; ``fields`` checks what it holds.

    Raises :class:`SysmolError` where the file is absent, truncated, of another format, or newer than ``version``, and
    where a name stands twice in one table.
    """
    try:
        data = json.loads(read_text(path), object_pairs_hook=_once)
    except Wrong as error:
        raise SysmolError(f"{path}: {error}") from None
    except (ValueError, RecursionError):
        raise SysmolError(f"{path} is no JSON, or was cut short: make it again") from None
    if not isinstance(data, dict) or data.get("format") != form:
        raise SysmolError(f'{path} is no {form} file (its "format" field says otherwise)')
    check_version(path, form, data.get("version"), version)
    if fields is not None:
        check_fields(path, form, data, fields)
    return data


def check_fields(path: str | os.PathLike[str], form: str, data: Any, fields: Check) -> None:
    """Refuse what a file holds where ``fields`` does not take it."""
    try:
        fields(data, "")
    except Wrong as error:
        raise SysmolError(f"{path} is no whole {form} file ({error}): make it again") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise Wrong(f"{name[:60]!a} stands twice in one table")
        found[name] = value
    return found


def read_text(path: str | os.PathLike[str]) -> str:
    """A text file in UTF-8; :class:`SysmolError` where it cannot be read, is no file or larger than
    :data:`MOST_TEXT`, ValueError where it is no UTF-8.
    """
    check_file(path)
    try:
        with open(path, "rb") as stream:
            content = stream.read(MOST_TEXT + 1)
    except OSError as error:
        raise SysmolError(f"cannot read {path}: {error.strerror}") from None
    if len(content) > MOST_TEXT:
        raise SysmolError(f"{path} has more than {MOST_TEXT >> 20} MiB: no file of this kind is as large")
    return content.decode()


def check_file(path: str | os.PathLike[str]) -> None:
    """:class:`SysmolError` where there is no file at ``path``; a pipe or a device, which may never end, is none."""
    try:
        kind = os.stat(path).st_mode
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise SysmolError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(kind):
        raise SysmolError(f"cannot read {path}: {'Is a directory' if stat.S_ISDIR(kind) else 'it is no file'}")


def check_version(path: str | os.PathLike[str], form: str, found: Any, known: int) -> None:
    """Refuse a file whose version this program does not understand."""
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise SysmolError(f"{path}: {form} file without a valid version")
    if found > known:
        raise SysmolError(
            f"{path} has {form} version {shown(found)}, newer than version {known} that this sysmol reads: update it"
        )


def sha256_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, 64 hexadecimal digits."""
    check_file(path)
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise SysmolError(f"cannot read {path}: {error.strerror}") from None
