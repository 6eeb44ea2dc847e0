"""Numbers end to end in the byte arrays of version 2, each in the smallest form that gives it back exactly."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sysmol.errors import SysmolError
from sysmol.grid import PRECISIONS
from sysmol.network.model import Array, Tensor


class Writer:
    """Arrays end to end, little-endian, each in a type that its place in the description names."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def put(self, array: Array, kind: str) -> str:
        """Append an array as this NumPy type; returns the type."""
        self.parts.append(array.astype(f"<{kind}").tobytes())
        return kind

    def bytes(self) -> Array:
        """Everything so far, uint8 ``[bytes]``."""
        return np.frombuffer(b"".join(self.parts), dtype=np.uint8)


class Reader:
    """The arrays of a :class:`Writer`, in the same order."""

    def __init__(self, name: str, data: Array) -> None:
        self.name = name
        self.data = data.tobytes()
        self.position = 0

    def take(self, shape: Sequence[int], kind: str) -> Array:
        """The next array; :class:`SysmolError` where fewer bytes are left."""
        dtype = np.dtype(f"<{kind}")
        start, size = self.position, int(np.prod(shape, dtype=object)) * dtype.itemsize
        self.position += size
        if size < 0 or self.position > len(self.data):
            raise SysmolError(f"its {self.name} hold fewer bytes than its layers ask for")
        found = np.frombuffer(self.data[start : self.position], dtype=dtype).reshape(shape)
        return found.astype(dtype.newbyteorder("="))

    def finish(self) -> None:
        """:class:`SysmolError` where bytes are left over."""
        if self.position != len(self.data):
            raise SysmolError(f"its {self.name} hold {len(self.data)} bytes, its layers use {self.position}")


def smallest_type(values: Array, kinds: Sequence[str]) -> str | None:
    """The first of these integer types that holds all values."""
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    limits = ((kind, np.iinfo(np.dtype(kind))) for kind in kinds)
    return next((kind for kind, limit in limits if limit.min <= low and high <= limit.max), None)


def put_constant(writer: Writer, values: Array, tensor: Tensor) -> Any:
    """Store one of M, B, R; returns its place in the description.

    A list has the values of channels of 4, 2 and 1 bits (of all channels where the tensor is no SMOL tensor);
    ``[type, shift]`` names integers that are to be shifted left; ``["f4", 0]`` floats.
    """
    if values.dtype.kind == "f":
        return [writer.put(values, "f4"), 0]
    values = values.astype(np.int64)
    if values.ndim == 1:
        groups = [values[tensor.precisions == p] for p in PRECISIONS] if tensor.format == "smol" else [values]
        if all((group == group[:1]).all() for group in groups):
            return {"each": [int(group[0]) if len(group) else 0 for group in groups]}
    common = int(np.bitwise_or.reduce(values, axis=None))
    zeros = max((common & -common).bit_length() - 1, 0)
    kind = smallest_type(values >> zeros, ("i1", "i2", "i4")) or "i8"
    shift = 0 if smallest_type(values, ("i1", "i2", "i4")) == kind else zeros
    return [writer.put(values >> shift, kind), shift]


def take_constant(reader: Reader, place: Any, tensor: Tensor, shape: Sequence[int]) -> Array:
    """Inverse of :func:`put_constant`: int64 or float32."""
    if isinstance(place, dict):
        each = [int(value) for value in place["each"]]
        by_bits = dict(zip(PRECISIONS, each, strict=True)) if tensor.format == "smol" else {}
        rows = tensor.precisions if tensor.format == "smol" else np.zeros(tensor.channels, dtype=np.int64)
        return np.array([by_bits.get(int(p), each[0]) for p in rows], dtype=np.int64).reshape(shape)
    kind, shift = place
    values = reader.take(shape, kind)
    return values if kind == "f4" else values.astype(np.int64) << int(shift)


def as_int32(values: Array) -> Array:
    """Integers as int32, floats as they are; :class:`SysmolError` where one does not fit."""
    if values.dtype.kind != "f" and smallest_type(values, ["i4"]) is None:
        raise SysmolError("a constant does not fit 32 bits")
    return values if values.dtype.kind == "f" else values.astype(np.int32)
