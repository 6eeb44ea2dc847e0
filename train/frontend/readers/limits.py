"""Files that nobody here wrote: sizes are checked before anything is allocated for them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from sysmol.errors import SysmolError

FILE_BYTES = 1 << 30
"""Largest file that is read."""
ELEMENTS = 1 << 26
"""Largest tensor, in elements."""
WORK = 1 << 38
"""Most multiply-accumulates and elements of one image, all layers together."""
GROWTH = 16
"""How many bytes of weights in memory one byte of a file may become: small integers become float32."""


def read_bytes(path: str | Path) -> bytes:
    """A file's bytes; :class:`SysmolError` where it cannot be read or is larger than :data:`FILE_BYTES`."""
    try:
        with open(path, "rb") as stream:
            # As much as there is: read(most) takes memory for all that it may read.
            size = os.fstat(stream.fileno()).st_size
            data = stream.read(min(size, FILE_BYTES) + 1)
    except OSError as error:
        raise SysmolError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > FILE_BYTES:
        raise SysmolError(f"{path} is larger than {FILE_BYTES >> 20} MiB, the most that is read")
    return data


def printable(text: str | bytes, length: int = 60) -> str:
    """Text of a file for messages and tables: one line, no control characters, not too long. Bytes are what parsers
    give for text that is no UTF-8."""
    text = text.decode(errors="replace") if isinstance(text, bytes) else text
    clean = re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in text)).strip()
    return clean if len(clean) <= length else "…" + clean[1 - length :]


@contextlib.contextmanager
def one_line(where: str) -> Iterator[None]:
    """Turns whatever a damaged file makes parsers raise into one :class:`SysmolError` that begins with ``where``."""
    try:
        yield
    except SysmolError:
        raise
    except (MemoryError, RecursionError, KeyboardInterrupt):
        raise
    except Exception as error:  # struct, numpy, protobuf and torch raise many kinds
        what = printable(str(error), 120) or type(error).__name__
        raise SysmolError(f"{where}: {what}") from None
