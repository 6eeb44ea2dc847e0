"""The number grid and the precision patterns against isa.md's definitions, exhaustively."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sysmol import grid, packing, pattern
from sysmol.errors import SysmolError


def test_values_of_the_grid():
    assert list(grid.value(np.arange(2), 1)) == [-1, 1]
    assert list(grid.value(np.arange(4), 2)) == [-1.5, -0.5, 0.5, 1.5]
    assert list(grid.value(np.arange(16), 4)) == [g / 8 for g in range(-15, 16, 2)]


@pytest.mark.parametrize("p", grid.PRECISIONS)
def test_every_code_is_its_own_nearest(p):
    u = np.arange(1 << p)
    assert (grid.encode(grid.value(u, p), p) == u).all()
    assert (grid.integer(u, p) == 2 * u - (2**p - 1)).all()


@given(st.floats(-4, 4), st.sampled_from(grid.PRECISIONS))
def test_rounding_is_to_a_nearest_point(v, p):
    distance = np.abs(grid.value(np.arange(1 << p), p) - v)
    assert distance[int(grid.encode(v, p))] == pytest.approx(distance.min())


def test_patterns_count_up_as_specified():
    assert len(pattern.PATTERNS) == 45
    assert pattern.PATTERNS[:3] == ((8, 0, 0), (7, 1, 0), (7, 0, 1))
    assert pattern.PATTERNS[36] == (0, 8, 0)
    assert pattern.PATTERNS[44] == (0, 0, 8)
    assert [pattern.capacity(i) for i in (0, 1, 2, 36, 44)] == [32, 36, 44, 64, 128]
    for number, chunks in enumerate(pattern.PATTERNS):
        assert pattern.pattern_id(*chunks) == number
        assert pattern.parse_pattern(pattern.pattern_name(number)) == number


@pytest.mark.parametrize("text", ["(4,4,4)", "(9,-1,0)", "x", "45", "-1", "1,2", ""])
def test_bad_patterns_are_refused(text):
    with pytest.raises(SysmolError):
        pattern.parse_pattern(text)


@pytest.mark.parametrize("number", range(45))
def test_pack_places_elements_by_definition(number):
    rng = np.random.default_rng(number)
    precisions = packing.slot_precisions([number])
    codes = rng.integers(0, 1 << precisions)
    packed = packing.pack(codes, [number])
    word = int.from_bytes(packed.tobytes(), "little")
    position = 0
    for chunk, p in enumerate(pattern.chunk_precisions(number)):
        for element in range(16 // p):
            assert word >> (16 * chunk + p * element) & ((1 << p) - 1) == codes[position]
            position += 1
    assert (packing.unpack(packed, [number]) == codes).all()


def test_pack_refuses_what_does_not_fit():
    with pytest.raises(SysmolError, match="fit"):
        packing.pack(np.full(128, 2), [44])
    with pytest.raises(SysmolError, match="slots"):
        packing.pack(np.zeros(31, dtype=int), [0])


@pytest.mark.parametrize("channels", [1, 7, 33, 64, 127])
def test_free_cover_holds_every_channel(channels):
    precisions = np.random.default_rng(channels).choice([4, 2, 1], size=channels)
    ids = packing.free_cover(precisions)
    slots = packing.assign_slots(precisions, ids)
    assert len(set(slots)) == channels
    assert (packing.slot_precisions(ids)[slots] == precisions).all()
