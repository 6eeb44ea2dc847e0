"""Formats of the 32-bit words: which bits hold which field, on each ISA; read and checked strictly.

An encoding is a text, highest bit first: ``31=0 30:25=field6 ... 6:0=0b0001011``. A field may be spread over several
places: ``31:25=imm[11:5] 11:7=imm[4:0]``.
"""

import re
from dataclasses import dataclass, field

from sysmol.errors import SysmolError

FIELDS = {"fn": 3, "field6": 6, "vd": 5, "vn": 5, "vm": 5}
"""Fields of a word that works on registers, and their widths in bits."""
LOAD_FIELDS = {"vd": 5, "base": 5, "imm": 12}
"""Fields of a load: the register that it writes, the scalar register with the address, a signed offset in bytes."""
STORE_FIELDS = {"vm": 5, "base": 5, "imm": 12}
"""Fields of a store: the register that it reads, and the address as of a load."""


@dataclass(frozen=True)
class BitField:
    """``width`` bits from bit ``low``: those of a named field from its bit ``start`` on, or a constant."""

    low: int
    width: int
    name: str | None
    constant: int = 0
    start: int = 0

    @property
    def mask(self) -> int:
        """The bits of the word that it covers."""
        return ((1 << self.width) - 1) << self.low


def parse_encoding(text: str, fields: dict[str, int] = FIELDS) -> tuple[BitField, ...]:
    """Read an encoding; :class:`SysmolError` on overlaps, uncovered bits, unknown fields and values that do not fit."""
    parsed = parse_bits(text, fields)
    covered = sum(f.mask for f in parsed)
    if covered != 0xFFFFFFFF:
        raise SysmolError(f"encoding: bits {0xFFFFFFFF & ~covered:#010x} are not covered")
    places = {name: sorted(bit for f in parsed if f.name == name for bit in _bits_of(f)) for name in fields}
    for name, width in fields.items():
        if places[name] and places[name] != list(range(width)):
            raise SysmolError(f"encoding: {name!r} must stand once, {width} bits wide")
    if missing := [name for name in fields if not places[name]]:
        raise SysmolError(f"encoding: no place for {sorted(missing)}")
    return tuple(parsed)


def _bits_of(field: BitField) -> range:
    return range(field.start, field.start + field.width)


def parse_bits(text: str, fields: dict[str, int]) -> list[BitField]:
    """Items of an encoding or of a part of one, none over another."""
    parsed: list[BitField] = []
    covered = 0
    for item in text.split():
        bits, _, what = item.partition("=")
        high, low = (int(b) for b in (bits.split(":") if ":" in bits else (bits, bits)))
        width = high - low + 1
        if width <= 0 or high > 31:
            raise SysmolError(f"encoding: {item!r} is no range of bits")
        found = _read_item(item, what, low, width, fields)
        if covered & found.mask:
            raise SysmolError(f"encoding: {item!r} overlaps another field")
        covered |= found.mask
        parsed.append(found)
    return parsed


def _read_item(item: str, what: str, low: int, width: int, fields: dict[str, int]) -> BitField:
    if what in fields:
        if fields[what] != width:
            raise SysmolError(f"encoding: {item!r} must stand once, {fields[what]} bits wide")
        return BitField(low, width, what)
    if (piece := re.fullmatch(r"(\w+)\[(\d+)(?::(\d+))?\]", what)) and piece[1] in fields:
        top, start = int(piece[2]), int(piece[3] or piece[2])
        if top - start + 1 != width:
            raise SysmolError(f"encoding: {item!r}: {width} bits of the word for {top - start + 1} of the field")
        return BitField(low, width, piece[1], start=start)
    try:
        constant = int(what, 0)
    except ValueError:
        raise SysmolError(f"encoding: {what!r} is neither a field nor a number") from None
    if constant >> width:
        raise SysmolError(f"encoding: {item!r} does not fit {width} bits")
    return BitField(low, width, None, constant)


@dataclass(frozen=True)
class Encoding:
    """A format on one ISA: the word's ``bits``, and which words this package ``claims``, legal or not.

    ``title`` and ``space`` say for people what the place is called and what is claimed.
    """

    bits: str
    claims: str
    title: str
    space: str

    def parsed(self, fields: dict[str, int] = FIELDS) -> tuple[BitField, ...]:
        return parse_encoding(self.bits, fields)

    def claimed(self) -> tuple[int, int]:
        """``(mask, match)`` of the words that are claimed."""
        fixed = parse_bits(self.claims, {})
        return sum(f.mask for f in fixed), sum(f.constant << f.low for f in fixed)


@dataclass(frozen=True)
class Format:
    """Words of one shape. ``functions`` are the numbers of its function codes: the field fn holds a number less the
    first, so that a number names format and code; a format without that field has one. ``fields``: what its words
    hold. ``on``: the ISAs that have it."""

    functions: range
    on: dict[str, Encoding]
    fields: dict[str, int] = field(default_factory=lambda: FIELDS)

    def parsed(self, isa: str) -> tuple[BitField, ...]:
        """Fields and constants of its words on an ISA."""
        return self.on[isa].parsed(self.fields)


FORMATS = {
    "registers": Format(
        functions=range(8),
        on={
            "riscv": Encoding(
                bits="31=0 30:25=field6 24:20=vm 19:15=vn 14:12=fn 11:7=vd 6:0=0b0001011",
                claims="6:0=0b0001011",
                title="RISC-V, custom-0",
                space="all of RISC-V's custom-0",
            ),
            "arm": Encoding(
                bits="31:29=fn 28:25=0b0001 24:21=0b0000 20:16=vm 15:10=field6 9:5=vn 4:0=vd",
                claims="28:21=0b00010000",
                title="AArch64, unallocated 28:25 = 0001",
                space="AArch64's words with bits 28:21 = 00010000",
            ),
        },
    ),
    "second": Format(
        functions=range(8, 16),
        on={
            "riscv": Encoding(
                bits="31=1 30:25=field6 24:20=vm 19:15=vn 14:12=fn 11:7=vd 6:0=0b0001011",
                claims="6:0=0b0001011",
                title="RISC-V, custom-0, second page",
                space="all of RISC-V's custom-0",
            ),
            "arm": Encoding(
                bits="31:29=fn 28:25=0b0001 24:21=0b0001 20:16=vm 15:10=field6 9:5=vn 4:0=vd",
                claims="28:21=0b00010001",
                title="AArch64, unallocated 28:25 = 0001, second page",
                space="AArch64's words with bits 28:21 = 00010001",
            ),
        },
    ),
    "load": Format(
        functions=range(16, 17),
        on={
            "riscv": Encoding(
                bits="31:20=imm 19:15=base 14:12=0b000 11:7=vd 6:0=0b0101011",
                claims="6:0=0b0101011",
                title="RISC-V, custom-1, load",
                space="all of RISC-V's custom-1",
            ),
        },
        fields=LOAD_FIELDS,
    ),
    "store": Format(
        functions=range(17, 18),
        on={
            "riscv": Encoding(
                bits="31:25=imm[11:5] 24:20=vm 19:15=base 14:12=0b001 11:7=imm[4:0] 6:0=0b0101011",
                claims="6:0=0b0101011",
                title="RISC-V, custom-1, store",
                space="all of RISC-V's custom-1",
            ),
        },
        fields=STORE_FIELDS,
    ),
}
"""By name: the formats that instructions may have."""
