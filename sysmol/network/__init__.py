"""The network file: what training exports and code generation reads (docs/network-format.md).

:mod:`~sysmol.network.model` holds the classes, :mod:`~sysmol.network.operations` what layers compute,
:mod:`~sysmol.network.checks` the proofs, :mod:`~sysmol.network.file` the bytes, :mod:`~sysmol.network.reference` the
plain evaluation, :mod:`~sysmol.network.builder` random networks.
"""

from sysmol.network.checks import validate
from sysmol.network.file import load, save
from sysmol.network.geometry import border_classes, layer_classes, output_size
from sysmol.network.model import (
    FORMATS,
    HIGH,
    HIGH_FACTOR,
    HIGH_SHIFT,
    INT32_MAX,
    INT32_MIN,
    LOW,
    RANGES,
    ZERO_POINT_SHIFT,
    Array,
    Layer,
    Network,
    Normalisation,
    Output,
    Samples,
    Tensor,
    need,
)
from sysmol.network.operations import OPERATIONS, Operation, operation
from sysmol.network.sums import (
    RESIDUAL_SHIFT,
    accumulator_bound,
    border_constants,
    border_sums,
    largest_sum,
    product_bound,
    requantised_bound,
    zero_point_taps,
)
from sysmol.network.values import alignment, dense_weight, group_parts, group_tensor, magnitude, upper_codes

__all__ = [
    "FORMATS",
    "HIGH",
    "HIGH_FACTOR",
    "HIGH_SHIFT",
    "INT32_MAX",
    "INT32_MIN",
    "LOW",
    "OPERATIONS",
    "RANGES",
    "RESIDUAL_SHIFT",
    "ZERO_POINT_SHIFT",
    "Array",
    "Layer",
    "Network",
    "Normalisation",
    "Operation",
    "Output",
    "Samples",
    "Tensor",
    "accumulator_bound",
    "alignment",
    "border_classes",
    "border_constants",
    "border_sums",
    "dense_weight",
    "group_parts",
    "group_tensor",
    "largest_sum",
    "layer_classes",
    "load",
    "magnitude",
    "need",
    "operation",
    "output_size",
    "product_bound",
    "requantised_bound",
    "save",
    "upper_codes",
    "validate",
    "zero_point_taps",
]
