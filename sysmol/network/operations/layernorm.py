"""LayerNorm: every pixel's channels less their mean, over their standard deviation."""

from sysmol.network.operations.base import register
from sysmol.network.operations.normalisation import Normalise


@register
class LayerNorm(Normalise):
    """``acc = (x - mean) / sqrt(variance + 1 / n)`` in steps of ``2**-f`` (:func:`normalised`)."""

    name = "layernorm"
    centred = True
