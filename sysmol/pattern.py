"""Precision patterns: how a 128-bit register is shared by elements of 4, 2 and 1 bits.

A register is 8 chunks of 16 bits. A pattern ``(n4, n2, n1)``, ``n4 + n2 + n1 = 8``, gives the number of chunks of each
precision, 4-bit chunks lowest. A chunk holds ``16 / p`` elements; element ``e`` has bits ``[p*e, p*e + p)``.

A *slot* is the index of an element over the concatenated vectors of a tensor: vectors in order, chunks ascending,
elements ascending. Standard library only (array work is in :mod:`sysmol.packing`).
"""

from collections.abc import Sequence

from sysmol.errors import SysmolError

CHUNKS = 8
CHUNK_BITS = 16
REGISTER_BYTES = 16

Pattern = tuple[int, int, int]

PATTERNS: tuple[Pattern, ...] = tuple(
    (n4, n2, CHUNKS - n4 - n2) for n4 in range(CHUNKS, -1, -1) for n2 in range(CHUNKS - n4, -1, -1)
)
"""All 45 patterns; the index is the pattern's id in instructions and files."""

_IDS = {pattern: number for number, pattern in enumerate(PATTERNS)}


def pattern_id(n4: int, n2: int, n1: int) -> int:
    """Id of the pattern with these chunk counts; :class:`SysmolError` where they are no pattern."""
    try:
        return _IDS[(n4, n2, n1)]
    except KeyError:
        raise SysmolError(f"({n4},{n2},{n1}) is no precision pattern: three counts >= 0 that add up to 8") from None


def pattern_name(number: int) -> str:
    """String form ``(n4,n2,n1)`` of a pattern id."""
    n4, n2, n1 = PATTERNS[check_id(number)]
    return f"({n4},{n2},{n1})"


def parse_pattern(text: str) -> int:
    """Pattern id from ``"(4,2,2)"``, ``"4,2,2"``, ``"4-2-2"`` or an id like ``"12"``."""
    fields = text.strip().strip("()").replace("-", ",").split(",")
    try:
        numbers = [int(field) for field in fields]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        return check_id(numbers[0])
    if len(numbers) == 3:
        return pattern_id(*numbers)
    raise SysmolError(f"{text!r} is no precision pattern: write it as (n4,n2,n1) or as an id from 0 to 44")


def check_id(number: int) -> int:
    """``number`` itself where it is a pattern id, else :class:`SysmolError`."""
    if not 0 <= number < len(PATTERNS):
        raise SysmolError(f"{number} is no pattern id: ids run from 0 to {len(PATTERNS) - 1}")
    return number


def chunk_precisions(number: int) -> tuple[int, ...]:
    """Precision in bits of each of the 8 chunks of a pattern."""
    n4, n2, n1 = PATTERNS[check_id(number)]
    return (4,) * n4 + (2,) * n2 + (1,) * n1


def capacity(number: int) -> int:
    """Number of elements (slots) in one register of this pattern."""
    return sum(CHUNK_BITS // p for p in chunk_precisions(number))


UNIFORM = {4: pattern_id(CHUNKS, 0, 0), 2: pattern_id(0, CHUNKS, 0), 1: pattern_id(0, 0, CHUNKS)}
"""Pattern of registers of one precision."""
NARROW_BYTES = (2, 4, 8)
"""Bytes that a pixel may have instead of whole registers."""


def narrow_bytes(patterns: Sequence[int], slots: int) -> int:
    """Bytes of a pixel that uses the first ``slots`` slots of registers with these patterns, where it can be stored
    narrow, else 0.

    It needs one register, the uniform pattern of its only precision (an instruction with another one may be illegal on
    the machine), and all channels in the lower half.
    """
    if len(patterns) != 1:
        return 0
    precision = next((p for p, pattern in UNIFORM.items() if pattern == patterns[0]), None)
    if precision is None:
        return 0
    return next((size for size in NARROW_BYTES if slots * precision <= 8 * size), 0)


def registers(patterns: Sequence[int], slots: int) -> float:
    """Registers that a pixel fills: as many as it has patterns, or the part of one that a narrow pixel is."""
    return narrow_bytes(patterns, slots) / REGISTER_BYTES or float(len(patterns))
