"""Descriptors: what a tile is told, 64 bytes each, and the faults that end a list of them (docs/tile.md).

This table is the only one: ``smol_tile_format.h`` is generated from it (:mod:`sysmol.cim.header`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import reduce
from operator import or_

BYTES = 64
CONSTANT_BYTES = 24
"""A channel's constants: add, M, B, R (int32), place, residual place (uint32)."""
PLACE_BITS = 28
"""Low bits of a place are a bit offset in a pixel; above them stands log2 of the element's bits."""
MOST_DESCRIPTORS = 65535


class Kind(IntEnum):
    """What a descriptor asks for."""

    FETCH = 1
    WEIGHTS = 2
    COMPUTE = 3
    STORE = 4


class Flag(IntEnum):
    """Bits of the byte ``flags``, of which different kinds share some: :data:`FLAG_NAMES` has those of each kind."""

    FENCE = 1
    CLEAR = 2
    DEPTHWISE = 4
    HIGH = 2
    RESIDUAL = 4
    RESIDUAL_HIGH = 8


FLAG_NAMES: Mapping[Kind, tuple[str, ...]] = {
    Kind.FETCH: ("FENCE",),
    Kind.WEIGHTS: ("FENCE",),
    Kind.COMPUTE: ("FENCE", "CLEAR", "DEPTHWISE"),
    Kind.STORE: ("FENCE", "HIGH", "RESIDUAL", "RESIDUAL_HIGH"),
}
FLAGS: Mapping[Kind, int] = {kind: reduce(or_, (Flag[name] for name in names)) for kind, names in FLAG_NAMES.items()}
"""All flags that a kind takes."""

LAYOUT: Mapping[Kind, Mapping[str, tuple[int, int]]] = {
    Kind.FETCH: {
        "rows": (2, 2),
        "row_bytes": (4, 4),
        "memory": (8, 8),
        "memory_stride": (16, 4),
        "scratch": (20, 4),
        "scratch_stride": (24, 4),
    },
    Kind.WEIGHTS: {"rows": (2, 2), "row_bytes": (4, 4), "memory": (8, 8), "array": (16, 2), "context": (18, 2)},
    Kind.COMPUTE: {
        "bits": (2, 1),
        "taps_wide": (3, 1),
        "elements": (4, 2),
        "outputs": (6, 2),
        "tap_first": (8, 2),
        "taps": (10, 2),
        "array": (12, 2),
        "context": (14, 2),
        "height": (16, 2),
        "width": (18, 2),
        "stride_y": (20, 1),
        "stride_x": (21, 1),
        "pixel_stride": (22, 2),
        "row_stride": (24, 4),
        "scratch": (28, 4),
        "accumulator": (32, 4),
        "channel_stride": (36, 4),
        "bit": (40, 1),
    },
    Kind.STORE: {
        "shift": (2, 1),
        "pre": (3, 1),
        "residual_left": (4, 1),
        "channels": (6, 2),
        "height": (8, 2),
        "width": (10, 2),
        "accumulator": (12, 4),
        "channel_stride": (16, 4),
        "row_stride": (20, 2),
        "pixel_bytes": (22, 2),
        "constants": (24, 4),
        "residual": (28, 4),
        "residual_row": (32, 4),
        "residual_pixel": (36, 2),
        "memory_stride": (40, 4),
        "lo": (44, 4),
        "hi": (48, 4),
        "memory": (56, 8),
    },
}
"""Offset and bytes of every field behind kind and flags, little-endian. Bytes of no field are 0."""
SIGNED = frozenset({"lo", "hi"})


class Fault(IntEnum):
    """Why a list ended. What comes first in the order of the checks is reported."""

    NONE = 0
    KIND = 1
    FLAGS = 2
    RESERVED = 3
    ZERO = 4
    BITS = 5
    ARRAY = 6
    CONTEXT = 7
    ROWS = 8
    COLUMNS = 9
    OUTPUTS = 10
    NOT_LOADED = 11
    SCRATCH = 12
    ACCUMULATORS = 13
    MEMORY = 14
    SHIFT = 15
    COUNT = 16
    RING = 17


MEANINGS: Mapping[Fault, str] = {
    Fault.NONE: "no fault",
    Fault.KIND: "an unknown kind of descriptor",
    Fault.FLAGS: "a flag that this kind does not have",
    Fault.RESERVED: "bytes of no field are not 0",
    Fault.ZERO: "a size is 0",
    Fault.BITS: "elements have 1, 2, 4 or 8 bits, and begin in the first byte at a multiple of that",
    Fault.ARRAY: "there is no array of that number",
    Fault.CONTEXT: "there is no context of that number",
    Fault.ROWS: "more rows than an array has",
    Fault.COLUMNS: "more columns than an array has",
    Fault.OUTPUTS: "a depthwise computation has as many outputs as elements",
    Fault.NOT_LOADED: "the context holds no weights of that size",
    Fault.SCRATCH: "outside the scratchpad, or rows that overlap",
    Fault.ACCUMULATORS: "outside the accumulators, or channels that overlap",
    Fault.MEMORY: "outside the memory, or rows that overlap",
    Fault.SHIFT: "a shift of more than 31 bits",
    Fault.COUNT: "a list has between 1 and 65,535 descriptors",
    Fault.RING: "the list is not at a multiple of 64 bytes, or outside the memory",
}

REGISTERS: Mapping[str, tuple[int, int]] = {
    "ID": (0x00, 4),
    "STATUS": (0x04, 4),
    "RING": (0x08, 8),
    "DOORBELL": (0x10, 4),
    "FAULT": (0x14, 4),
    "DONE": (0x18, 4),
    "REFUSED": (0x1C, 4),
    "ARRAYS": (0x20, 4),
    "ROWS": (0x24, 4),
    "COLUMNS": (0x28, 4),
    "CONTEXTS": (0x2C, 4),
    "SCRATCH": (0x30, 4),
    "ACCUMULATORS": (0x34, 4),
}
"""Offset and bytes of the device's registers. RING and DOORBELL are written, all are read."""
REGISTER_BYTES = 0x40
ID = 0x544C4F01
"""What the register ID holds: this format's version is its lowest byte."""
RUNNING, FINISHED, FAULTED = 1, 2, 4
"""Bits of STATUS. A doorbell while RUNNING starts nothing and counts in REFUSED."""


@dataclass(frozen=True)
class Descriptor:
    """``kind`` and ``flags`` as numbers, perhaps wrong ones; ``values`` of the fields of the kind; ``clean``: whether
    the bytes of no field are 0. ``symbol``: what ``memory`` counts from until :meth:`at` has placed it."""

    kind: int
    values: Mapping[str, int]
    flags: int = 0
    clean: bool = True
    symbol: str = field(default="", compare=False)

    def __getitem__(self, name: str) -> int:
        return self.values[name]

    def has(self, flag: int) -> bool:
        """Whether a flag is set."""
        return bool(self.flags & flag)

    def at(self, base: int) -> Descriptor:
        """With ``memory`` counted from ``base``."""
        return Descriptor(self.kind, {**self.values, "memory": self.values["memory"] + base}, self.flags, self.clean)

    def pack(self) -> bytes:
        """The 64 bytes of a descriptor of a known kind."""
        data = bytearray(BYTES)
        data[0], data[1] = self.kind, self.flags
        for name, (offset, size) in LAYOUT[Kind(self.kind)].items():
            value = self.values.get(name, 0)
            data[offset : offset + size] = value.to_bytes(size, "little", signed=name in SIGNED)
        return bytes(data)


def unpack(data: bytes) -> Descriptor:
    """The descriptor that 64 bytes hold; of an unknown kind, without values."""
    kind, flags = data[0], data[1]
    if kind not in Kind._value2member_map_:
        return Descriptor(kind, {}, flags)
    layout = LAYOUT[Kind(kind)]
    values = {
        name: int.from_bytes(data[at : at + size], "little", signed=name in SIGNED)
        for name, (at, size) in layout.items()
    }
    used = {0, 1, *(at + i for at, size in layout.values() for i in range(size))}
    clean = not any(byte for at, byte in enumerate(data) if at not in used)
    return Descriptor(kind, values, flags, clean)


def make(kind: Kind, flags: int = 0, symbol: str = "", **values: int) -> Descriptor:
    """A descriptor of these values; fields that are not named are 0. KeyError for a field that the kind lacks."""
    for name in values:
        LAYOUT[kind][name]
    whole = {name: int(values.get(name, 0)) for name in LAYOUT[kind]}
    return Descriptor(kind, whole, flags, symbol=symbol)
