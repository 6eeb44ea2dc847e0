"""Normalisation over the channels of every pixel, in whole numbers: what LayerNorm and RMSNorm share.

``x`` are n channels of at most 13 bits. With L = ceil(log2 n) and f = floor(13.5 - L / 2) the results are in units of
``2**-f``; they are proportional to ``x``, less the mean of LayerNorm, over the root of the mean square.
"""

from abc import abstractmethod
from collections.abc import Sequence
from math import isqrt

import numpy as np

from sysmol.network.model import Array, Layer, Network, need
from sysmol.network.operations.base import Operation
from sysmol.network.operations.layer_checks import check_formats, check_plain_window
from sysmol.network.ranges import limits

INPUT_BITS = 13
"""Bits of the numbers that are normalised, sign included."""
MOST_CHANNELS = 1023
"""Channels, so that a quarter of their squares' sum fits 32 bits."""
RECIPROCAL_ROOTS = np.round(2.0**22 / np.sqrt(256.0 * np.arange(192) + 16_512)).astype(np.int64)
"""``2**22 / sqrt(m)`` in the middle of every step of 256 of m from ``2**14`` to ``2**16``."""


def magnitude_bits(channels: int) -> int:
    """L: bits that the number of channels takes, ``ceil(log2 n)``."""
    return (channels - 1).bit_length()


def fraction_bits(channels: int) -> int:
    """f: fraction bits of the results."""
    return (27 - magnitude_bits(channels)) // 2


def reciprocal_root(V: Array) -> tuple[Array, Array]:
    """r and e with ``r ~ 2**22 / sqrt(V * 4**-e)``, ``r`` in ``[2**14, 2**15]``, of integers ``V >= 1``.

    A table of 192 entries and one step of Newton's method: r errs by at most 6e-5 of itself.
    """
    exponent = np.frexp(V.astype(np.float64))[1] - 1  # exact: V is below 2**53
    e = (exponent - 14) >> 1
    m = np.where(e >= 0, V >> np.maximum(2 * e, 0), V << np.maximum(-2 * e, 0))
    r0 = RECIPROCAL_ROOTS[(m >> 8) - 64]
    return (r0 * ((3 << 16) - ((r0 * r0 >> 14) * m >> 14))) >> 17, e


def normalised(x: Array, centred: bool) -> Array:
    """The results of integers ``x [..., n]``; ``centred``: less their mean."""
    x = x.astype(np.int64)
    n = x.shape[-1]
    L, f = magnitude_bits(n), fraction_bits(n)
    S = x.sum(axis=-1, keepdims=True) if centred else np.zeros_like(x[..., :1])
    V = n * (x * x).sum(axis=-1, keepdims=True) - S * S + n
    r, e = reciprocal_root(V)
    rho = np.minimum((n * r + (1 << L >> 1)) >> L, 32_767)
    mean = (2 * S + n) // (2 * n)
    up = L - 7 - e + f
    h = (((S - mean * n) << np.maximum(up, 0)) + n // 2) // n
    left, right = np.maximum(up, 0), np.maximum(-up, 0)
    c = (((x - mean) << left) + (1 << right >> 1)) >> right
    return np.asarray(((c - h) * rho + (1 << 14)) >> 15)


class Normalise(Operation):
    """``acc = `` :func:`normalised` of every pixel's channels; gamma and beta are in M and B."""

    def check(self, net: Network, layer: Layer) -> None:
        super().check(net, layer)
        check_plain_window(layer)
        check_formats(net, layer, ("s16", "f32"))
        where, x = f"layer {layer.name}", net.tensors[layer.input]
        need(x.channels <= MOST_CHANNELS, f"{where} normalises more than {MOST_CHANNELS} channels")
        if x.format == "f32":
            return
        low, high = limits(net, layer.input)
        most = 1 << INPUT_BITS - 1
        need(-most <= low and high < most, f"{where} reads {x.name}, whose numbers exceed {INPUT_BITS} bits")

    @property
    @abstractmethod
    def centred(self) -> bool:
        """Whether the mean is taken off."""

    def evaluate(self, net: Network, layer: Layer, x: Sequence[Array]) -> Array:
        if net.is_float:
            return self._real(x[0])
        return normalised(x[0], self.centred)

    def _real(self, x: Array) -> Array:
        x = x.astype(np.float64)
        centre = x - x.mean(axis=-1, keepdims=True) if self.centred else x
        return np.asarray(centre / np.sqrt((centre**2).mean(axis=-1, keepdims=True) + EPSILON))

    def accumulator_bound(self, net: Network, layer: Layer) -> Array:
        """``sqrt(n)`` in steps of ``2**-f``, a thousandth and two steps more for what rounding adds."""
        n = net.tensors[layer.input].channels
        root = isqrt(n << 2 * fraction_bits(n)) + 1
        return np.full(n, root + root // 1000 + 2, dtype=np.int64)


EPSILON = 1e-5
"""Added to the mean square in full-precision networks."""
