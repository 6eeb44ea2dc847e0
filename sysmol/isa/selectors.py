"""What ``field6``, the six bits of a word beside registers and function, can select: a pattern, a part, a way to pack.

A selector is data: which values are legal, how they are called in mnemonics and statistics, and how many elements of
each precision they select. Instructions name theirs in :mod:`sysmol.isa.table`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sysmol.errors import SysmolError
from sysmol.pattern import CHUNK_BITS, PATTERNS, chunk_precisions

VALUES = range(64)
"""All values of field6."""
PRECISIONS = (4, 2, 1)


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
class Selector:
    """A meaning of field6.

    ``choice`` names one value for people, ``legal`` are the values that exist, ``optional`` says that hardware may lack
    some of them. ``label(value)`` is the value's place in a mnemonic; ``counted`` says how statistics are kept.
    ``elements(value)``: elements of 4, 2 and 1 bits that it selects in a register.
    """

    name: str
    choice: str
    legal: tuple[int, ...]
    optional: bool
    counted: str
    label: Callable[[int], str]
    elements: Callable[[int], tuple[int, ...]]


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
    )
}
