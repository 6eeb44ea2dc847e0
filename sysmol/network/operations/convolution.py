"""What convolutions have in common: weights, and products with them."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from sysmol.errors import SysmolError
from sysmol.grid import PRECISIONS, PRODUCT_SHIFT, integer
from sysmol.network.model import Array, Layer, Network, Tensor, need
from sysmol.network.operations.base import Operation, operation
from sysmol.network.values import alignment, dense_weight
from sysmol.packing import slot_precisions, unpack
from sysmol.pattern import REGISTER_BYTES

WEIGHT_TYPES = {"smol": np.uint8, "s8": np.int8, "f32": np.float32}
"""Type of the weight array by format of the input; other formats are not convolved."""


class Convolution(Operation):
    """An operation with weights over the taps of a kernel.

    The weight array is ``[*outer, V / G, 16]`` uint8 (packed codes) for a SMOL input of V vectors, else ``[*outer, C /
    G]`` int8 or float32; G are the layer's groups.
    """

    has_weights = True
    weight_axes: ClassVar[tuple[int, ...]]
    """Axes of the weight array along which one output channel's weights lie."""

    @abstractmethod
    def outer_shape(self, layer: Layer, channels: int) -> tuple[int, ...]:
        """The weight array's shape but for the input channels, with so many output channels."""

    @abstractmethod
    def weight_parts(self, net: Network, layer: Layer) -> list[tuple[tuple[int, ...], Tensor, slice]]:
        """Per group of a layer over a SMOL tensor: outer shape of its weights, its input as a tensor of its own, and
        where its weights lie in the array."""

    def weight_shape(self, layer: Layer, x: Tensor, channels: int) -> tuple[int, ...]:
        """Shape of the whole weight array."""
        smol = x.format == "smol"
        inner = (len(x.patterns) // layer.groups, REGISTER_BYTES) if smol else (x.channels // layer.groups,)
        return *self.outer_shape(layer, channels), *inner

    def check(self, net: Network, layer: Layer) -> None:
        where, x = f"layer {layer.name}", net.tensors[layer.input]
        need(x.format in WEIGHT_TYPES, f"{where} cannot convolve format {x.format}")
        need(layer.weight is not None, f"{where} has no weights")
        assert layer.weight is not None
        shape, kind = self.weight_shape(layer, x, net.tensors[layer.targets[0]].channels), WEIGHT_TYPES[x.format]
        need(layer.weight.shape == shape, f"{where}: weights are {layer.weight.shape}, expected {shape}")
        need(layer.weight.dtype == kind, f"{where}: weights are {layer.weight.dtype}, expected {np.dtype(kind)}")
        need(
            kind is not np.float32 or bool(np.isfinite(layer.weight).all()), f"{where} has weights that are no numbers"
        )

    def macs(self, net: Network, layer: Layer) -> int:
        out = net.tensors[layer.targets[0]]
        return out.height * out.width * self.weights(net, layer)

    @abstractmethod
    def zero_points_by_tap(self, layer: Layer, weight: Array, each: Array) -> Array:
        """:meth:`zero_point_taps` of :func:`dense_weight` and the zero point ``each`` input channel's products have."""

    def zero_point_taps(self, net: Network, layer: Layer) -> Array:
        x = net.tensors[layer.input]
        if not any(x.zero_point) or layer.weight is None:
            return np.zeros((self.channels(net, layer), *layer.kernel), dtype=np.int64)
        by_bits = dict(zip(PRECISIONS, x.zero_point, strict=True)) if x.format == "smol" else {}
        bits = x.precisions if x.format == "smol" else np.zeros(x.channels, dtype=np.int64)
        each = np.array([by_bits.get(int(p), x.zero_point[0]) for p in bits], dtype=np.int64) << alignment(x)
        weight = dense_weight(net, layer)
        products = weight.size / (len(weight) if self.mixes_channels else x.channels)
        largest = float(np.abs(each).max()) * float(np.abs(weight).max()) * products
        need(largest < 2**62, f"layer {layer.name}: the zero point {x.zero_point} of {x.name} is too large")
        return self.zero_points_by_tap(layer, weight, each)


def weighted(layer: Layer) -> Convolution:
    """The operation of a layer that has weights; :class:`SysmolError` where its operation has none."""
    kind = operation(layer)
    if not isinstance(kind, Convolution):
        raise SysmolError(f"network: layer {layer.name}: a {kind.name} has no weights")
    return kind


def largest_products(weight: Array, patterns: Sequence[int]) -> Array:
    """Largest absolute aligned product of every slot's weight, int64 ``[..., slots]``, of packed ``weight``."""
    precisions = slot_precisions(patterns)
    unit = ((1 << precisions) - 1) << np.array([PRODUCT_SHIFT[int(p)] for p in precisions], dtype=np.int64)
    return np.asarray(np.abs(integer(unpack(weight, patterns), precisions)) * unit)
