"""Attention with codes: what training computes, and layouts of tensors whose heads have one precision each.

Queries and keys of a head share the precisions and places of their channels, values and weights of a head one
precision. Weights are codes u from 0 to ``top = 2**p - 1``, in proportion to the exponentials of the scores, whose
largest is ``top`` (:mod:`sysmol.network.operations.softmax`); they are divided by their sum behind the product with the
values, so they have no scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from sysmol.errors import SysmolError
from sysmol.network.operations.softmax import STEPS
from sysmol.packing import slot_precisions
from sysmol.pattern import UNIFORM
from sysmol.patterns.slots import Cover, cover

Array = npt.NDArray[np.int64]


def split(x: torch.Tensor, heads: int) -> torch.Tensor:
    """``x [n, heads * d, H, W]`` as ``[n, heads, tokens, d]``."""
    return x.flatten(2).unflatten(1, (heads, -1)).transpose(2, 3)


def joined(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Inverse of :func:`split`, of images of that height and width."""
    return x.transpose(2, 3).flatten(1, 2).unflatten(2, size)


def rounded_weights(scores: torch.Tensor, precisions: torch.Tensor) -> torch.Tensor:
    """Weights of real ``scores [n, heads, queries, keys]`` in codes of every head's precision, over their sum.

    Scores are rounded to 1/16 octave first, as the network file has them. Gradients are those of the softmax.
    """
    soft = scores.softmax(-1)
    with torch.no_grad():
        octaves = torch.floor(scores * (STEPS / math.log(2)) + 0.5) / STEPS
        below = octaves - octaves.amax(-1, keepdim=True)
        bits = precisions.to(scores.dtype).view(1, -1, 1, 1)
        # A half goes up, but down with 1 bit, as in the network file.
        half = torch.where(bits == 1, 0.5 - 1e-6, 0.5)
        codes = torch.floor(torch.exp2(below) * (torch.exp2(bits) - 1) + half)
        error = codes / codes.sum(-1, keepdim=True) - soft
    return soft + error


def noisy_weights(scores: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """Weights of phase 1, with ``s [heads]`` of every head's precision p: ``sigmoid(s) = 2**(1 - p)``.

    Rounding moves an exponential by up to half a step of ``1 / (2**p - 1)``, and one below that by itself, to 0 [own].
    """
    exponentials = (scores - scores.detach().amax(-1, keepdim=True)).exp()
    sigma = torch.sigmoid(s).view(1, -1, 1, 1)
    size = torch.minimum(exponentials, sigma / (2 * (2 - sigma)))
    noisy = exponentials + size * torch.empty_like(scores).uniform_(-1, 1)
    return noisy / noisy.sum(-1, keepdim=True)


def heads_cover(requested: Array, patterns: Sequence[int], groups: int, own: int) -> Cover:
    """Layout of channels ``requested [heads, d]`` bits, one precision per head: the least that no channel exceeds and
    for which there is a uniform pattern.

    Heads of one precision share vectors, unless tensors must have vectors for each of ``own`` groups (1: none); then
    ``groups`` of channels, a multiple of heads, get vectors of their own.
    """
    bits = [_uniform(int(each), patterns) for each in requested.max(1)]
    each = np.repeat(np.array(bits, dtype=np.int64), requested.shape[1])
    if own > 1:
        return cover(each, [UNIFORM[p] for p in sorted(set(bits))], None, False, groups)
    slots = np.empty(len(each), dtype=np.int64)
    layout: list[int] = []
    for p in sorted(set(bits), reverse=True):
        channels = np.flatnonzero(each == p)
        slots[channels] = len(slot_precisions(tuple(layout))) + np.arange(len(channels))
        layout += [UNIFORM[p]] * -(-len(channels) * p // 128)
    return Cover(tuple(layout), slots, each)


def weights_cover(bits: Array, tokens: int) -> Cover:
    """Layout of a softmax's weights over so many tokens, with vectors of their own for every head."""
    return cover(np.repeat(bits, tokens), [UNIFORM[int(p)] for p in sorted(set(bits))], None, False, len(bits))


def _uniform(bits: int, patterns: Sequence[int]) -> int:
    """The least precision of at least so many bits whose uniform pattern is among ``patterns``."""
    found = [p for p in sorted(UNIFORM) if p >= bits and UNIFORM[p] in patterns]
    if not found:
        raise SysmolError(
            f"attention's values of {bits} bits need a pattern of one precision, of at least as many: the set has none"
        )
    return found[0]
