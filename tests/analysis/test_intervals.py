"""Wilson's interval against its formula."""

from math import sqrt

import pytest

from sysmol.analysis.intervals import accuracy_interval


def test_wilson_by_hand() -> None:
    """E. B. Wilson (1927): (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)."""
    p, n, z = 350 / 360, 360, 1.959963984540054
    middle, half = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    expected = [(middle + sign * half) / (1 + z * z / n) for sign in (-1, 1)]
    assert accuracy_interval(p, n) == pytest.approx(expected)


def test_the_ends_stay_shares() -> None:
    assert accuracy_interval(1.0, 10)[1] == 1.0 and accuracy_interval(1.0, 10)[0] < 0.8
    assert accuracy_interval(0.0, 10)[0] == 0.0
    narrow, wide = accuracy_interval(0.9, 10_000), accuracy_interval(0.9, 100)
    assert wide[0] < narrow[0] < 0.9 < narrow[1] < wide[1]


@pytest.mark.parametrize(("accuracy", "images"), [(0.5, 0), (1.2, 10), (-0.1, 10)])
def test_what_is_no_accuracy_is_refused(accuracy: float, images: int) -> None:
    with pytest.raises(ValueError, match="is none"):
        accuracy_interval(accuracy, images)
