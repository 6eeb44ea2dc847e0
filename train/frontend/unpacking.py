"""Files of which no more is read, and of which no more is unpacked, than they can rightly hold."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from pathlib import Path
from typing import Any

from sysmol.errors import SysmolError
from sysmol.files import check_file

PACKED = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
"""How files are opened by their suffix; others are read as they are."""


def read_bytes(path: Path, most: int) -> bytes:
    """All bytes of a file, unpacked where its suffix says so; :class:`SysmolError` where it is no whole file, or has
    more than ``most``."""
    check_file(path)
    kind = path.suffix.removeprefix(".")
    try:
        unpack: Any = PACKED.get(path.suffix, open)
        with unpack(path, "rb") as stream:
            data: bytes = stream.read(most + 1)
    except (EOFError, OSError, ValueError, lzma.LZMAError, zlib.error) as error:
        if path.suffix not in PACKED:
            raise SysmolError(f"cannot read {path}: {error}") from None
        raise SysmolError(f"{path} is not a whole {'gzip' if kind == 'gz' else kind} file: fetch it again") from error
    if len(data) > most:
        raise SysmolError(f"{path} holds more than the {most:,} bytes that such a file has: fetch it again")
    return data
