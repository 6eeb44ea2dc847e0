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
