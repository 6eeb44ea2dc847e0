"""Constants of 16 bits give the codes of those of 32 bits for every sum that there can be."""

import numpy as np
import pytest

from sysmol.kernels_c.plan.lanes16 import LANE_MOST, PRODUCT_SHIFT, Sums, lane_constants


@pytest.mark.parametrize("top", (1, 3))
def test_every_sum_has_its_code(top: int, seed: int) -> None:
    rng = np.random.default_rng([seed, top])
    found = 0
    for _ in range(20):
        channels, classes = int(rng.integers(1, 5)), int(rng.integers(1, 4))
        grid = 2 ** rng.integers(4, 6, channels)
        sums = Sums(rng.integers(500, 16_000, channels), grid, rng.integers(0, 1000, channels) % grid)
        shift = int(rng.integers(20, 26))
        M = (2.0**shift / (sums.reach * rng.uniform(0.05, 0.3, channels))).astype(np.int64)
        M *= rng.choice([-1, 1], channels)
        B = (rng.uniform(-0.5, 0.5, (classes, channels)) * sums.reach * np.abs(M)).astype(np.int64)
        made = lane_constants(M, B, shift, top, sums)
        if made is None:
            continue
        found += 1
        for c in range(channels):
            x = np.arange(-sums.reach[c], sums.reach[c] + 1)
            x = x[(x - sums.first[c]) % grid[c] == 0]
            for each in range(classes):
                lane = x + made.b[each, c]
                assert np.abs(lane).max(initial=0) <= LANE_MOST
                codes = np.clip((lane * made.m[c] >> PRODUCT_SHIFT) >> made.shift, 0, top)
                assert np.array_equal(codes, np.clip(x * M[c] + B[each, c] >> shift, 0, top))
    assert found  # most have such constants


def test_what_has_none() -> None:
    """Sums that leave no room for a start; a factor of zero."""
    full = Sums(*(np.array([value]) for value in (LANE_MOST, 2, 1)))
    assert lane_constants(np.array([1000]), np.array([[1 << 24]]), 20, 3, full) is None
    assert lane_constants(np.array([0]), np.array([[1 << 24]]), 20, 3, full) is None
