"""Wilson's interval against its formula."""

from math import comb, sqrt

import pytest

from sysmol.analysis.intervals import accuracy_interval, paired_p


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


@pytest.mark.parametrize("pair", [(0, 0), (3, 3), (1, 5), (9, 2), (0, 6)])
def test_mcnemar_by_counting_coins(pair: tuple[int, int]) -> None:
    """The share of all series of throws of a coin that are as uneven."""
    n = sum(pair)
    uneven = sum(comb(n, k) for k in range(n + 1) if abs(2 * k - n) >= abs(pair[0] - pair[1])) / 2**n
    assert paired_p(*pair) == pytest.approx(uneven) and paired_p(*pair) == pytest.approx(paired_p(*pair[::-1]))


def test_no_number_of_images_is_negative() -> None:
    with pytest.raises(ValueError, match="no numbers of images"):
        paired_p(-1, 3)
