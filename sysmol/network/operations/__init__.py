"""The operations that layers can have: one class each, in a file of its own (:class:`Operation` says what it holds)."""

from sysmol.network.operations.attend import Attend
from sysmol.network.operations.avgpool import AveragePool
from sysmol.network.operations.base import OPERATIONS, Operation, operation, register
from sysmol.network.operations.conv2d import Conv2d, aligned_weight
from sysmol.network.operations.convolution import Convolution, weighted
from sysmol.network.operations.depthwise import Depthwise
from sysmol.network.operations.flatten import Flatten
from sysmol.network.operations.gate import Gate
from sysmol.network.operations.join import Join
from sysmol.network.operations.layernorm import LayerNorm
from sysmol.network.operations.lookup import Lookup
from sysmol.network.operations.maxpool import MaxPool
from sysmol.network.operations.pad import Pad
from sysmol.network.operations.rescale import Rescale
from sysmol.network.operations.rmsnorm import RMSNorm
from sysmol.network.operations.scores import Scores
from sysmol.network.operations.slice import Slice
from sysmol.network.operations.softmax import Softmax
from sysmol.network.operations.upsample import Upsample

__all__ = [
    "OPERATIONS",
    "Attend",
    "AveragePool",
    "Conv2d",
    "Convolution",
    "Depthwise",
    "Flatten",
    "Gate",
    "Join",
    "LayerNorm",
    "Lookup",
    "MaxPool",
    "Operation",
    "Pad",
    "RMSNorm",
    "Rescale",
    "Scores",
    "Slice",
    "Softmax",
    "Upsample",
    "aligned_weight",
    "operation",
    "register",
    "weighted",
]
