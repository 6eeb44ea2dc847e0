"""Files that are whole or absent: a product is written beside its place and then renamed onto it.

Standard library only.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sysmol.errors import SysmolError

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


@contextlib.contextmanager
def making(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """A scratch folder beside ``folder`` that takes its name when the block ends well, else goes.

    A folder that stands there by then stays, unless ``replace``: another process was faster with the same content.
    """
    make_folder(folder.parent)
    scratch = Path(tempfile.mkdtemp(prefix=f".{os.getpid()}.", dir=folder.parent))
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
    make_folder(target.parent)
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
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


def read_json(path: str | os.PathLike[str], form: str, version: int) -> dict[str, Any]:
    """Read a versioned JSON file: ``{"format": form, "version": <= version, ...}``.

    Raises :class:`SysmolError` where the file is absent, truncated, of another format, or newer than ``version``.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SysmolError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise SysmolError(f"{path} is no JSON, or was cut short: make it again") from None
    if not isinstance(data, dict) or data.get("format") != form:
        raise SysmolError(f'{path} is no {form} file (its "format" field says otherwise)')
    check_version(path, form, data.get("version"), version)
    return data


def check_version(path: str | os.PathLike[str], form: str, found: Any, known: int) -> None:
    """Refuse a file whose version this program does not understand."""
    if not isinstance(found, int) or found < 1:
        raise SysmolError(f"{path}: {form} file without a valid version")
    if found > known:
        raise SysmolError(
            f"{path} has {form} version {found}, newer than version {known} that this sysmol reads: update sysmol"
        )


def sha256_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, 64 hexadecimal digits."""
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise SysmolError(f"cannot read {path}: {error.strerror}") from None
