"""The operations that layers can have: one class each, in a file of its own (:class:`Operation` says what it holds)."""

from sysmol.network.operations.avgpool import AveragePool
from sysmol.network.operations.base import OPERATIONS, Operation, operation, register
from sysmol.network.operations.conv2d import Conv2d, aligned_weight
from sysmol.network.operations.convolution import Convolution, weighted
from sysmol.network.operations.depthwise import Depthwise
from sysmol.network.operations.flatten import Flatten
from sysmol.network.operations.maxpool import MaxPool
from sysmol.network.operations.rescale import Rescale
from sysmol.network.operations.upsample import Upsample

__all__ = [
    "OPERATIONS",
    "AveragePool",
    "Conv2d",
    "Convolution",
    "Depthwise",
    "Flatten",
    "MaxPool",
    "Operation",
    "Rescale",
    "Upsample",
    "aligned_weight",
    "operation",
    "register",
    "weighted",
]
