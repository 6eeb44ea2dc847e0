"""Arrays of a ``.npz`` file from anywhere: what a header claims is checked before any memory is taken for it."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from sysmol.errors import SysmolError
from sysmol.files import check_file

MOST_TIMES = 20
"""Unpacked arrays are at most so many times as large as their file, where they are larger than :data:`FREE` bytes."""
FREE = 64 << 20
PIECE = 1 << 20
"""Bytes that are unpacked at a time."""
KINDS = "biufSU"
"""Kinds of arrays that are read: numbers and texts, no objects."""


def read_arrays(path: str | Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The arrays of these names that a file has; nothing else in it is unpacked, nothing in it is executed.

    Raises :class:`SysmolError` where the file is damaged, an array holds objects or has another size than its header
    claims, or the arrays unpack to more than :data:`FREE` bytes and :data:`MOST_TIMES` times the file.
    """
    check_file(path)
    allowed = max(FREE, MOST_TIMES * Path(path).stat().st_size)
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name: f"{name}.npy" for name in names if f"{name}.npy" in archive.namelist()}
            whole = sum(archive.getinfo(member).file_size for member in members.values())
            if whole > allowed:
                raise ValueError(f"its arrays unpack to {whole} bytes, more than {MOST_TIMES} times the file")
            for name, member in members.items():
                found[name] = _read(archive, member)
    except (
        ValueError, EOFError, OSError, TypeError, AttributeError, KeyError, IndexError, RuntimeError, SyntaxError,
        MemoryError, OverflowError, zipfile.BadZipFile, zlib.error, tokenize.TokenError,
    ) as error:  # fmt: skip
        why = str(error).splitlines() or [type(error).__name__]
        raise SysmolError(f"{path} is no whole .npz file of plain arrays: {ascii(why[0][:200])[1:-1]}") from None
    return found


def _read(archive: zipfile.ZipFile, member: str) -> np.ndarray:
    """One array, whose bytes are as many as its header claims."""
    info = archive.getinfo(member)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member} is packed by another method than deflate")
    with archive.open(member) as stream:
        version = npy.read_magic(stream)
        headers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        if version not in headers:
            raise ValueError(f"{member} has a header of version {version}")
        shape, fortran, dtype = headers[version](stream)
        if dtype.kind not in KINDS or dtype.hasobject or not dtype.itemsize:
            raise ValueError(f"{member} holds {dtype}, no plain numbers or texts")
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or size != info.file_size - stream.tell():
            raise ValueError(f"{member} does not hold the {size} bytes that its header claims")
        content = np.empty(size, np.uint8)
        done = 0
        while part := stream.read(min(PIECE, size - done)):
            content[done : done + len(part)] = np.frombuffer(part, np.uint8)
            done += len(part)
        if done < size or stream.read(1):  # at its end, the checksum is compared
            raise ValueError(f"{member} is cut short")
    return content.view(dtype).reshape(shape, order="F" if fortran else "C")
