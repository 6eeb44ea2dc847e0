"""Constants of a requantisation give the code of every sum."""

import numpy as np
import pytest

from sysmol.errors import SysmolError
from sysmol.interchange.thresholds import Found, Steps, requantisation, steps_of
from sysmol.network import HIGH, LOW

CHANNELS = 40


def codes_of(found: Found, acc: np.ndarray, place: int, top: int) -> np.ndarray:
    """What a network file's output makes of accumulators ``[K, n]``."""
    M = found.M[:, None]
    product = acc * M if found.multiply == LOW else ((acc << found.pre) * M) >> 31
    return np.clip((product + found.B[place][:, None]) >> found.shift, 0, top)


def steps(codes: np.ndarray, least: int, top: int) -> list[Steps]:
    """Of codes ``[K, n]`` of the sums from ``least`` on."""
    channels, count = codes.shape
    ends = np.full(channels, least), np.full(channels, least + count - 1)
    return steps_of(lambda sums: np.take_along_axis(codes.T, sums - least, 0), *ends, top)


@pytest.mark.parametrize(("reach", "multiply"), [(100, LOW), (20_000, HIGH)])
def test_every_sum_has_its_code(reach, multiply, seed):
    """Rising and falling, of channels with other steps, with constants that two border classes lack."""
    rng = np.random.default_rng(seed)
    sums = np.arange(-reach, reach + 1)
    slopes = rng.choice([-1, 1], (CHANNELS, 1)) * rng.uniform(3, 30, (CHANNELS, 1)) / reach
    codes = np.clip(np.floor(sums * slopes + rng.normal(7, 4, (CHANNELS, 1))), 0, 15).astype(np.int64)
    moved = rng.integers(-reach, reach, (2, CHANNELS))
    bound = np.full(CHANNELS, 5 * reach)
    found = requantisation(steps(codes, -reach, 15), moved, bound, even=True)
    assert found.multiply == multiply
    for place in (0, 1):
        assert np.array_equal(codes_of(found, sums - moved[place][:, None], place, 15), codes)


def test_constant_codes(seed):
    rng = np.random.default_rng(seed)
    sums = np.arange(-50, 51)
    codes = np.repeat(rng.integers(0, 4, (CHANNELS, 1)), len(sums), 1)
    found = requantisation(steps(codes, -50, 3), np.zeros((1, CHANNELS), int), np.full(CHANNELS, 50), False)
    assert np.array_equal(codes_of(found, np.tile(sums, (CHANNELS, 1)), 0, 3), codes)


def test_first_code_at_the_last_sums(seed):
    """Channels that hardly reach their first code, beside others that need high products."""
    rng = np.random.default_rng(seed)
    reach = 20_000
    sums = np.arange(-reach, reach + 1)
    codes = np.clip(np.floor(sums * rng.uniform(3, 30, (CHANNELS, 1)) / reach + 7), 0, 15).astype(np.int64)
    codes[::2] = sums >= reach - rng.integers(0, 1000, (CHANNELS // 2, 1))
    found = requantisation(steps(codes, -reach, 15), np.zeros((1, CHANNELS), int), np.full(CHANNELS, 5 * reach), True)
    assert found.multiply == HIGH
    assert np.array_equal(codes_of(found, np.tile(sums, (CHANNELS, 1)), 0, 15), codes)


def test_what_has_no_integers_is_refused():
    sums = np.arange(100)
    with pytest.raises(SysmolError, match="not monotone"):
        steps((sums % 8 // 7)[None], 0, 1)
    uneven = np.searchsorted([10, 11, 90], sums, side="right")
    with pytest.raises(SysmolError, match="steps differ too much"):
        requantisation(steps(uneven[None], 0, 3), np.zeros((1, 1), int), np.array([100]), False)
