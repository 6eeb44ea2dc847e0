"""The cover of channels by supported patterns: valid, no demotion, as few vectors as exhaustive search finds."""

import itertools

import numpy as np
import pytest

from sysmol.errors import SysmolError
from sysmol.machine import pattern_set
from sysmol.packing import slot_precisions
from sysmol.pattern import PATTERNS, UNIFORM, pattern_id
from sysmol.patterns.slots import cover, holds


def fewest(counts: tuple[int, int, int], ids: tuple[int, ...]) -> int:
    """Exhaustive: the smallest V with a multiset of V patterns that holds the channels."""
    for size in itertools.count(1):
        for chosen in itertools.combinations_with_replacement(ids, size):
            n4, n2, n1 = (sum(PATTERNS[i][k] for i in chosen) for k in range(3))
            if holds((n4, n2, n1), counts):
                return size
    raise AssertionError


@pytest.mark.parametrize("name", ["P4", "P8", "P45"])
def test_cover_is_valid_and_smallest(name: str, seed: int) -> None:
    ids = pattern_set(name)
    rng = np.random.default_rng(seed)
    for channels in (1, 7, 33, 64, 72, 96, 113):
        requested = rng.choice([4, 2, 1], size=channels, p=rng.dirichlet([1, 1, 1]))
        rank = requested + rng.uniform(-0.3, 0.3, channels)
        found = cover(requested, ids, rank)
        assert set(found.patterns) <= set(ids)
        assert (found.precisions >= requested).all()
        assert len(set(found.slots.tolist())) == channels
        assert np.array_equal(slot_precisions(found.patterns)[found.slots], found.precisions)
        counts = tuple(int((requested == p).sum()) for p in (4, 2, 1))
        if name != "P45" or channels <= 72:
            assert len(found.patterns) == fewest(counts, ids)  # type: ignore[arg-type]
        # Promotion goes to the channels that ask for more.
        for p in (4, 2):
            inside, outside = requested[found.precisions >= p], requested[found.precisions < p]
            assert not len(inside) or not len(outside) or inside.min() >= outside.max()


def test_slack_becomes_precision() -> None:
    found = cover(np.ones(65, dtype=int), pattern_set("P4"))
    assert [PATTERNS[i] for i in found.patterns] == [(2, 4, 2)]
    assert np.bincount(found.precisions).tolist() == [0, 25, 32, 0, 8]
    found = cover(np.array([4] * 8 + [2] * 20 + [1] * 36), pattern_set("P4"))
    assert [PATTERNS[i] for i in found.patterns] == [(2, 4, 2)]


@pytest.mark.parametrize("promote", [True, False])
@pytest.mark.parametrize(
    ("requested", "precision", "filled"),
    [([4] + [1] * 15, 4, 1 / 2), ([2] * 16, 2, 1 / 4), ([1] * 16, 1, 1 / 8), ([2] + [1] * 31, 2, 1 / 2),
     ([1] * 64, 1, 1 / 2)],
)  # fmt: skip
def test_pixels_of_half_a_register_have_one_precision(
    requested: list[int], precision: int, filled: float, promote: bool
) -> None:
    found = cover(np.array(requested), pattern_set("P4"), promote=promote)
    assert found.patterns == (UNIFORM[precision],) and (found.precisions == precision).all()
    assert found.registers == filled and found.slots.tolist() == list(range(len(requested)))
    # Without the uniform pattern, or in groups, there is no such pixel.
    assert cover(np.array(requested), [pattern_id(4, 4, 0)], promote=promote).registers >= 1
    assert cover(np.array(requested), pattern_set("P4"), promote=promote, groups=2).registers == 2


def test_promotion_within_the_bytes_of_a_narrow_pixel() -> None:
    """Three channels of 2 bits take 2 bytes, and so they do with 4."""
    assert cover(np.array([2, 2, 1]), pattern_set("P4")).precisions.tolist() == [4, 4, 4]
    assert cover(np.array([2, 2, 1]), pattern_set("P4"), promote=False).precisions.tolist() == [2, 2, 2]


@pytest.mark.parametrize("name", ["P4", "P45"])
def test_without_promotion_the_vectors_are_the_same_and_the_bits_fewer(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for channels in (1, 20, 48, 64, 100):
        requested = rng.choice([4, 2, 1], size=channels, p=rng.dirichlet([1, 1, 1]))
        rank = requested + rng.uniform(-0.3, 0.3, channels)
        most, least = (cover(requested, pattern_set(name), rank, promote) for promote in (True, False))
        assert len(least.patterns) == len(most.patterns)
        assert requested.sum() <= least.precisions.sum() <= most.precisions.sum()
        assert (least.precisions >= requested).all() and len(set(least.slots.tolist())) == channels
        assert np.array_equal(slot_precisions(least.patterns)[least.slots], least.precisions)
    alone = cover(np.ones(65, dtype=int), pattern_set(name), promote=False)
    assert len(alone.patterns) == 1 and (alone.precisions == 1).all()


def test_a_pattern_set_without_wide_chunks() -> None:
    with pytest.raises(SysmolError, match="no 4-bit chunk"):
        cover(np.array([4, 1]), [36, 44])
    with pytest.raises(SysmolError, match="needs 2"):
        cover(np.array([2, 1]), [44])
    assert cover(np.ones(200, dtype=int), [44]).patterns == (44, 44)
    with pytest.raises(SysmolError, match="1, 2 or 4"):
        cover(np.array([3]), [0])
