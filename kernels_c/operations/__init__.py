"""The operations' back ends in C: one file each, registered under the operation's name."""

from sysmol.kernels_c.operations import avgpool, conv2d, depthwise, flatten, maxpool, rescale, upsample
from sysmol.kernels_c.operations.base import MAKERS, Places, generates, kernel

__all__ = [
    "MAKERS",
    "Places",
    "avgpool",
    "conv2d",
    "depthwise",
    "flatten",
    "generates",
    "kernel",
    "maxpool",
    "rescale",
    "upsample",
]
