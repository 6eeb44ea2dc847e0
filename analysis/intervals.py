"""Confidence intervals of accuracies: a test set is a sample, and a few hundred images leave points open."""

from __future__ import annotations

from scipy.stats import binomtest

LEVEL = 0.95


def accuracy_interval(accuracy: float, images: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share of right answers, ``(low, high)`` as shares.

    ``accuracy`` of ``images`` independent test images. ValueError for no images or a share outside 0 to 1.
    """
    if images < 1 or not 0 <= accuracy <= 1:
        raise ValueError(f"an accuracy of {accuracy} over {images} images is none")
    found = binomtest(round(accuracy * images), images).proportion_ci(confidence_level=level, method="wilson")
    return float(found.low), float(found.high)


def paired_p(only_one: int, only_other: int) -> float:
    """McNemar's exact test (1947) of two networks on the same images: the probability of so uneven a split, or a more
    uneven one, of the images that one network alone gets right, if both were equally accurate. 1 where none differ.
    """
    if min(only_one, only_other) < 0:
        raise ValueError(f"{only_one} and {only_other} are no numbers of images")
    differ = only_one + only_other
    return float(binomtest(only_one, differ).pvalue) if differ else 1.0
