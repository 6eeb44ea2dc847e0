"""RMSNorm: every pixel's channels over the root of their mean square."""

from sysmol.network.operations.base import register
from sysmol.network.operations.normalisation import Normalise


@register
class RMSNorm(Normalise):
    """``acc = x / sqrt(mean square + 1 / n)`` in steps of ``2**-f`` (:func:`normalised`)."""

    name = "rmsnorm"
    centred = False
