"""Precision patterns: how a 128-bit register is shared by elements of 4, 2 and 1 bits.

A register is 8 chunks of 16 bits. A pattern ``(n4, n2, n1)``, ``n4 + n2 + n1 = 8``, gives the number of chunks of each
precision, 4-bit chunks lowest. A chunk holds ``16 / p`` elements; element ``e`` has bits ``[p*e, p*e + p)``.

A *slot* is the index of an element over the concatenated vectors of a tensor: vectors in order, chunks ascending,
elements ascending. Standard library only (array work is in :mod:`sysmol.packing`).
"""

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
