"""The geometry of parts of registers, against the instructions' own meaning."""

import pytest

from sysmol.isa import PACK_FORMS, part
from sysmol.pattern import PATTERNS, chunk_precisions, pattern_id
from sysmol.register_parts import EIGHT_CODES, FOUR_CODES, LANES, MOST_PRODUCTS, part_count, used_parts, words


@pytest.mark.parametrize("pattern", range(len(PATTERNS)))
def test_used_parts_cover_every_chunk_once(pattern: int) -> None:
    covered = [chunk for used in used_parts(pattern) for chunk in used.chunks]
    assert sorted(covered) == list(range(8))
    for used in used_parts(pattern):
        assert part(used.selector) == used.part
        assert {chunk_precisions(pattern)[chunk] for chunk in used.chunks} == {used.part.precision}


@pytest.mark.parametrize("pattern", range(len(PATTERNS)))
def test_words_cover_every_chunk_once(pattern: int) -> None:
    precisions = chunk_precisions(pattern)
    chunks = [chunk for first, count in words(pattern) for chunk in range(first, first + count)]
    assert chunks == list(range(8))
    assert all(precisions[first : first + count] == (4, 4) for first, count in words(pattern) if count > 1)
    assert words(pattern, pairs=False) == [(chunk, 1) for chunk in range(8)]


def test_counts_by_hand() -> None:
    assert part_count(pattern_id(8, 0, 0)) == part_count(pattern_id(0, 8, 0)) == 4
    assert part_count(pattern_id(0, 0, 8)) == 8
    # Chunks 0 to 2 have 4 bits, 3 to 5 have 2: the pair (2, 3) is multiplied twice.
    assert part_count(pattern_id(3, 3, 2)) == 2 + 2 + 2


def test_lanes_hold_the_largest_products() -> None:
    assert LANES == {4: 8, 2: 16, 1: 16} and MOST_PRODUCTS == {4: 145, 2: 14, 1: 127}


def test_forms_of_pieces() -> None:
    assert [PACK_FORMS[EIGHT_CODES[p]] for p in (4, 2, 1)] == [(4, 8), (2, 8), (1, 8)]
    assert PACK_FORMS[FOUR_CODES] == (4, 4)
