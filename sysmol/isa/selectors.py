"""What ``field6``, the six bits of a word beside registers and function, can select: a pattern, a part, a way to pack,
and on the second page a pattern over fewer chunks, a form, codes to unpack, a row of taps.

A selector is data: which values are legal, how they are called in mnemonics and statistics, and how many elements of
each precision they select. Instructions name theirs in :mod:`sysmol.isa.table`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sysmol.errors import SysmolError
from sysmol.pattern import CHUNK_BITS, PATTERNS, chunk_precisions

VALUES = range(64)
"""All values of field6."""
PRECISIONS = (4, 2, 1)
TAP_PRODUCTS = 24
"""Of one ``vdw``: 3 taps of 8 channels."""
T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """What ``vmul`` and ``vmla`` do with one part of a register: its precision, chunks and result lanes."""

    precision: int
    chunks: tuple[int, ...]
    lane_bits: int


def part(field6: int) -> Part | None:
    """Part selector: bits [5:4] precision (0: 4, 1: 2, 2: 1 bit), bits [3:0] index k. ``None``: illegal."""
    selector, k = field6 >> 4, field6 & 15
    if selector == 0 and k < 4:
        return Part(4, (2 * k, 2 * k + 1), 16)
    if selector == 1 and k < 4:
        return Part(2, (2 * k, 2 * k + 1), 8)
    if selector == 2 and k < 8:
        return Part(1, (k,), 8)
    return None


def legal_part(field6: int) -> Part:
    """The part that a legal selector names; :class:`SysmolError` for others."""
    chosen = part(field6)
    if chosen is None:
        raise SysmolError(f"{field6:#x} is no part selector of vmul and vmla")
    return chosen


@dataclass(frozen=True)
class Pack:
    """What ``vqpk`` does: bits and number of its codes (of four, vm is not used), and the shift before the clamp."""

    precision: int
    codes: int
    shift: int

    @property
    def bits(self) -> int:
        """Width of the piece that one instruction shifts in."""
        return self.precision * self.codes


PACK_FORMS = ((4, 8), (2, 8), (1, 8), (4, 4))
"""Precision and number of codes of every form of ``vqpk``."""


def pack(field6: int) -> Pack:
    """Pack selector: bits [5:4] form (:data:`PACK_FORMS`), bits [3:0] half the shift. All 64 are legal."""
    return Pack(*PACK_FORMS[field6 >> 4], 2 * (field6 & 15))


@dataclass(frozen=True)
class Piece:
    """Half a register as ``vmm.w`` reads it: the precision of each of its chunks that contributes, lowest first; the
    chunks above are empty. ``shift``: of all products, beside their alignment."""

    chunks: tuple[int, ...]
    shift: int


def _chunks(n4: int, n2: int, n1: int) -> tuple[int, ...]:
    return (4,) * n4 + (2,) * n2 + (1,) * n1


def _mixtures(count: int) -> list[tuple[int, ...]]:
    """Every way to give ``count`` chunks 4, 2 or 1 bits, in the order of the pattern ids."""
    return [_chunks(n4, n2, count - n4 - n2) for n4 in range(count, -1, -1) for n2 in range(count - n4, -1, -1)]


NIBBLE_SHIFT = 4
"""A number of 8 bits is 16 times its upper code of 4 bits plus its lower one, on the odd grid as in binary."""
PIECES = (
    *(Piece(chunks, 0) for count in (4, 3, 2, 1) for chunks in _mixtures(count)),
    *(Piece(_chunks(count, 0, 0), NIBBLE_SHIFT) for count in (4, 3, 2, 1)),
)
"""What the values of field6 of ``vmm.w`` say of half a register. The first 15 fill it; a tensor's pieces have those."""


@dataclass(frozen=True)
class Form:
    """A quarter of a register as ``vmm.h`` reads it: precisions of its chunks that contribute, lowest first, and the
    precision whose products have the sums' unit: products of p bits move left by ``ALIGN[p] - ALIGN[unit]``."""

    chunks: tuple[int, ...]
    unit: int


FORMS = tuple(
    Form(chunks, unit) for count in (2, 1) for chunks in _mixtures(count) for unit in PRECISIONS if unit >= max(chunks)
)
"""The forms of ``vmm.h``."""


def form(field6: int) -> tuple[Form, int] | None:
    """Form selector: bits [3:0] the form, bit 4 which words of the pixels it takes. ``None``: illegal."""
    return (FORMS[field6 & 15], field6 >> 4) if field6 < 2 * len(FORMS) else None


@dataclass(frozen=True)
class HalfPack:
    """What ``vqpk.h`` and ``vqpk.s`` do: bits of a code; ``codes`` in all, those of vn's lanes first; the shift before
    the clamp; ``joint``: one piece enters the whole register, else one enters each half."""

    precision: int
    codes: int
    shift: int
    joint: bool


def pack16(field6: int) -> HalfPack:
    """Pack selector of 16-bit lanes: bits [5:4] precision (4, 2, 1, 8), bit 3 joint, bits [2:0] half the shift. 8 bits
    cannot be joint: that value takes four codes of 4 bits a half, of vn alone."""
    p, joint, shift = (4, 2, 1, 8)[field6 >> 4], bool(field6 >> 3 & 1), 2 * (field6 & 7)
    return HalfPack(4, 8, shift, False) if p == 8 and joint else HalfPack(p, 16, shift, joint)


def pack32(field6: int) -> HalfPack | None:
    """Pack selector of 32-bit lanes: bits [5:4] precision (4, 2, 1), bits [3:0] half the shift. ``None``: illegal."""
    return HalfPack(PRECISIONS[field6 >> 4], 8, 2 * (field6 & 15), False) if field6 >> 4 < len(PRECISIONS) else None


def group(field6: int) -> tuple[int, int] | None:
    """Group selector of ``vunp.h``: bits [5:4] precision p (4, 2, 1), bits [3:0] the group of four codes in half a
    register. Precision and group; ``None``: illegal."""
    if field6 >> 4 >= len(PRECISIONS):
        return None
    p, number = PRECISIONS[field6 >> 4], field6 & 15
    return (p, number) if 4 * (number + 1) * p <= 4 * CHUNK_BITS else None


@dataclass(frozen=True)
class Taps:
    """What ``vdw`` does: bits of a code, the codes ``8 part`` to ``8 part + 7`` of its words, and the word of the
    pixels that meets the first word of the weights."""

    precision: int
    part: int
    first: int


def taps(field6: int) -> Taps | None:
    """Tap selector: bits [5:4] precision (4, 2, 1), bits [3:2] part, bits [1:0] the first word. ``None``: illegal."""
    if field6 >> 4 >= len(PRECISIONS):
        return None
    p, part_number, first = PRECISIONS[field6 >> 4], field6 >> 2 & 3, field6 & 3
    return Taps(p, part_number, first) if part_number < 4 // p and first < 2 else None


def legal(chosen: Callable[[int], object | None]) -> tuple[int, ...]:
    """Values of field6 for which a selector's function has something."""
    return tuple(value for value in VALUES if chosen(value) is not None)


@dataclass(frozen=True)
class Selector:
    """A meaning of field6.

    ``choice`` names one value for people, ``legal`` are the values that exist, ``optional`` says that hardware may lack
    some of them; ``plural`` is then what machine files and gem5's decoders call those that it has. ``label(value)`` is
    the value's place in a mnemonic; ``counted`` says how statistics are kept. ``elements(value)``: elements of 4, 2 and
    1 bits that it selects in a register; of a piece or a form, those of one factor of a product.
    """

    name: str
    choice: str
    legal: tuple[int, ...]
    optional: bool
    counted: str
    label: Callable[[int], str]
    elements: Callable[[int], tuple[int, ...]]
    plural: str = ""


def _in_chunks(precisions: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(precisions.count(p) * (CHUNK_BITS // p) for p in PRECISIONS)


def _part_label(field6: int) -> str:
    return f"b{legal_part(field6).precision}.k{field6 & 15}"


def _part_elements(field6: int) -> tuple[int, ...]:
    chosen = legal_part(field6)
    return _in_chunks((chosen.precision,) * len(chosen.chunks))


def _pack_label(field6: int) -> str:
    chosen = pack(field6)
    return f"b{chosen.precision}x{chosen.codes}.s{chosen.shift}"


def known(chosen: T | None) -> T:
    """What a legal selector chooses; :class:`SysmolError` for others."""
    if chosen is None:
        raise SysmolError("the selector is illegal")
    return chosen


def counts(chunks: tuple[int, ...]) -> str:
    """``(n4,n2,n1)`` of the chunks that are not empty."""
    return f"({','.join(str(chunks.count(p)) for p in PRECISIONS)})"


def _piece_label(number: int) -> str:
    piece = PIECES[number]
    return counts(piece.chunks) + (f".x{1 << piece.shift}" if piece.shift else "")


def _form_label(number: int) -> str:
    chosen, words = known(form(number))
    return f"{counts(chosen.chunks)}.u{chosen.unit}.h{words}"


def _half_pack_label(chosen: HalfPack) -> str:
    return f"b{chosen.precision}x{chosen.codes}{'.joint' if chosen.joint else ''}.s{chosen.shift}"


def _taps_label(number: int) -> str:
    chosen = known(taps(number))
    return f"b{chosen.precision}.k{chosen.part}.t{chosen.first}"


SELECTORS = {
    selector.name: selector
    for selector in (
        Selector(
            name="pattern",
            choice="pattern id",
            legal=tuple(range(len(PATTERNS))),
            optional=True,
            counted="by pattern",
            label=lambda number: f"P{number}",
            elements=lambda number: _in_chunks(chunk_precisions(number)),
            plural="patterns",
        ),
        Selector(
            name="part",
            choice="part selector",
            legal=tuple(value for value in VALUES if part(value) is not None),
            optional=False,
            counted="by part",
            label=_part_label,
            elements=_part_elements,
        ),
        Selector(
            name="pack",
            choice="pack selector",
            legal=tuple(VALUES),
            optional=False,
            counted="by format and shift",
            label=_pack_label,
            elements=lambda _: (0, 0, 0),
        ),
        Selector(
            name="piece",
            choice="piece pattern",
            legal=tuple(range(len(PIECES))),
            optional=True,
            counted="by piece pattern",
            label=_piece_label,
            elements=lambda number: _in_chunks(PIECES[number].chunks),
            plural="pieces",
        ),
        Selector(
            name="form",
            choice="form selector",
            legal=legal(form),
            optional=True,
            counted="by form",
            label=_form_label,
            elements=lambda number: _in_chunks(known(form(number))[0].chunks),
            plural="forms",
        ),
        Selector(
            name="pack16",
            choice="pack selector of 16-bit lanes",
            legal=tuple(VALUES),
            optional=False,
            counted="by format and shift",
            label=lambda number: _half_pack_label(pack16(number)),
            elements=lambda _: (0, 0, 0),
        ),
        Selector(
            name="pack32",
            choice="pack selector of 32-bit lanes",
            legal=legal(pack32),
            optional=False,
            counted="by format and shift",
            label=lambda number: _half_pack_label(known(pack32(number))),
            elements=lambda _: (0, 0, 0),
        ),
        Selector(
            name="group",
            choice="group of codes",
            legal=legal(group),
            optional=False,
            counted="by precision and group",
            label=lambda number: "b{}.g{}".format(*known(group(number))),
            elements=lambda _: (0, 0, 0),
        ),
        Selector(
            name="taps",
            choice="tap selector",
            legal=legal(taps),
            optional=False,
            counted="by precision, part and word",
            label=_taps_label,
            elements=lambda number: tuple(TAP_PRODUCTS * (known(taps(number)).precision == p) for p in PRECISIONS),
        ),
    )
}
