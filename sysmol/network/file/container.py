"""The container of a network file: a safetensors file with a description and arrays, format and checksum checked."""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from sysmol.errors import SysmolError
from sysmol.files import check_file, check_version
from sysmol.network.model import Array

FORMAT = "sysmol-network"
VERSION = 3
MOST_DESCRIPTION = 4 << 20
"""Largest description, unpacked, in bytes."""
MOST_HEADER = 4 << 20
"""Largest header of the safetensors file, in bytes; version 1, whose header holds the description, may have as much."""

PARTS = {
    "weights": "weights",
    "constants": "scales and biases",
    "slots": "permutations",
    "patterns": "pattern ids",
    "description": "description",
}
"""Byte arrays of a file, and what people call them."""

Description = dict[str, Any]
Arrays = dict[str, Array]


def wrap(description: Description, arrays: Arrays) -> bytes:
    """The file of a description and its arrays."""
    text = json.dumps(description, separators=(",", ":")).encode()
    arrays = {"description": np.frombuffer(zlib.compress(text, 9), dtype=np.uint8)} | arrays
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    head = {"format": FORMAT, "version": VERSION, "crc32": checksum(arrays)}
    return safetensors.numpy.save(arrays, {"sysmol": json.dumps(head, separators=(",", ":"))})


def read(path: str | Path) -> tuple[Description, Arrays]:
    """Description and arrays of a file, its format, version and (from version 2 on) checksum checked.

    Raises :class:`SysmolError` where the file is absent, cut short, damaged, something else, or too new.
    """
    try:
        _check_header(Path(path))
        with safetensors.safe_open(str(path), framework="numpy") as stream:
            text = (stream.metadata() or {}).get("sysmol")
            arrays = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise SysmolError(f"there is no network file {path}") from None
    except OSError as error:
        raise SysmolError(f"cannot read {path}: {error.strerror or error}") from None
    except (safetensors.SafetensorError, AttributeError, KeyError, TypeError, ValueError):
        raise SysmolError(f"{path} is no network file, or was cut short: export it again") from None
    head = _json(text or "")
    if head.get("format") != FORMAT:
        raise SysmolError(f"{path} is a safetensors file, but no sysmol network")
    check_version(path, FORMAT, head.get("version"), VERSION)
    if head["version"] == 1:
        return head, arrays
    if head.get("crc32") != checksum(arrays) or "description" not in arrays:
        raise SysmolError(f"{path} is damaged (its checksum differs): export it again")
    return _json(_unpacked(path, arrays.pop("description"))) | head, arrays


def _check_header(path: Path) -> None:
    """Raise ValueError where a header is larger than the file, or than headers are; :class:`SysmolError` where there is
    something else than a file."""
    held = path.stat().st_size
    check_file(path)
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
    if size > min(held - 8, MOST_HEADER):
        raise ValueError


def _unpacked(path: str | Path, packed: Array) -> bytes:
    """The text of a description, of which no more is unpacked than a description may have."""
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(packed.tobytes(), MOST_DESCRIPTION)
    except zlib.error:
        raise SysmolError(f"{path}: its description cannot be unpacked: export it again") from None
    if stream.unconsumed_tail or not stream.eof or stream.unused_data:
        raise SysmolError(f"{path}: its description is cut short, or larger than {MOST_DESCRIPTION} bytes")
    return text


def checksum(arrays: Arrays) -> int:
    """CRC-32 over names and bytes of arrays, in the order of their names."""
    crc = 0
    for name in sorted(arrays):
        crc = zlib.crc32(arrays[name].tobytes(), zlib.crc32(name.encode(), crc))
    return crc


def _json(text: str | bytes) -> Description:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}
