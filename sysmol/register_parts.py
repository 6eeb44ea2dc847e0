"""What SMOL instructions take of a register at a time: geometry for layouts, kernels, peaks and costs.

A *part* is what ``vmul`` and ``vmla`` multiply: a pair of chunks of 4 or 2 bits, or one chunk of 1 bit, whose products
have a lane each (:class:`Part`). A *piece* is what ``vqpk`` packs: 8 codes of one precision, or 4 of 4 bits. Standard
library only.
"""

from typing import NamedTuple

from sysmol.isa import PACK_FORMS, Part, part
from sysmol.pattern import REGISTER_BYTES, chunk_precisions

PRECISIONS = (4, 2, 1)
_SELECTORS = tuple(selector for selector in range(64) if part(selector) is not None)


class UsedPart(NamedTuple):
    """A part that a pattern's register has elements in: selector of the instruction, geometry, and of its chunks those
    with elements of its precision."""

    selector: int
    part: Part
    chunks: tuple[int, ...]


def used_parts(pattern: int) -> list[UsedPart]:
    """Parts that a register of this pattern takes, those of 4, 2 and 1 bits in this order."""
    precisions = chunk_precisions(pattern)
    found = []
    for selector in _SELECTORS:
        geometry = part(selector)
        assert geometry is not None
        chunks = tuple(chunk for chunk in geometry.chunks if precisions[chunk] == geometry.precision)
        if chunks:
            found.append(UsedPart(selector, geometry, chunks))
    return found


def part_count(pattern: int) -> int:
    """Multiply-accumulates that a register of this pattern takes where lanes are channels: a pair of chunks that two
    precisions share counts once for each."""
    return len(used_parts(pattern))


def _first(precision: int) -> Part:
    return next(geometry for s in _SELECTORS if (geometry := part(s)) is not None and geometry.precision == precision)


LANE_BITS = {p: _first(p).lane_bits for p in PRECISIONS}
"""Width of a product's lane, by precision."""
LANES = {p: 8 * REGISTER_BYTES // bits for p, bits in LANE_BITS.items()}
"""Products of one part, by precision."""
MOST_PRODUCTS = {p: ((1 << bits - 1) - 1) // ((1 << p) - 1) ** 2 for p, bits in LANE_BITS.items()}
"""Products of a precision that a lane can add up, whatever their values."""

PIECE_CODES = 8
EIGHT_CODES = {p: PACK_FORMS.index((p, PIECE_CODES)) for p in PRECISIONS}
"""Form of ``vqpk`` for 8 codes, by precision."""
FOUR_CODES = PACK_FORMS.index((4, 4))
"""Its form for the 4 codes of a single chunk of 4 bits."""


def words(pattern: int, pairs: bool = True) -> list[tuple[int, int]]:
    """Chunks of a register that are written together, ``(first, count)``: pairs of neighbours with 4 bits, which are
    one piece; single chunks of 4 bits, one piece of 4 codes; of 2 bits, one piece; of 1 bit, two pieces. ``pairs``:
    else every chunk by itself."""
    precisions = chunk_precisions(pattern)
    result: list[tuple[int, int]] = []
    chunk = 0
    while chunk < len(precisions):
        two = pairs and precisions[chunk : chunk + 2] == (4, 4)
        result.append((chunk, 2 if two else 1))
        chunk += result[-1][1]
    return result
