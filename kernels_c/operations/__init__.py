"""The operations' back ends in C: one file each, registered under the operation's name."""

from sysmol.kernels_c.operations import (
    attend,
    avgpool,
    conv2d,
    depthwise,
    flatten,
    gate,
    join,
    lookup,
    maxpool,
    normalise,
    pad,
    rescale,
    scores,
    slice,
    softmax,
    upsample,
)
from sysmol.kernels_c.operations.base import MAKERS, Places, generates, kernel

__all__ = [
    "MAKERS",
    "Places",
    "attend",
    "avgpool",
    "conv2d",
    "depthwise",
    "flatten",
    "gate",
    "generates",
    "join",
    "kernel",
    "lookup",
    "maxpool",
    "normalise",
    "pad",
    "rescale",
    "scores",
    "slice",
    "softmax",
    "upsample",
]
