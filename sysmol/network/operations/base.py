"""What an operation is, and the register of all of them.

To add one: a subclass of :class:`Operation` in a file of its own here, with :func:`register`; how it is computed
elsewhere is registered there under the same name (:mod:`sysmol.kernels_c.operations`,
:mod:`sysmol.train.quantise.integer`).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, TypeVar

import numpy as np

from sysmol.errors import SysmolError
from sysmol.network.geometry import output_size
from sysmol.network.model import Array, Layer, Network, Tensor, need
from sysmol.network.values import magnitude


class Operation(ABC):
    """What a layer of one ``op`` computes; no state. Unless a subclass says otherwise it takes one activation, keeps
    every channel by itself, has no weights and requantises what it accumulates."""

    name: ClassVar[str]
    inputs: ClassVar[int] = 1
    """Activations that it takes: :attr:`Layer.input`, and with two :attr:`Layer.second`."""
    has_weights: ClassVar[bool] = False
    mixes_channels: ClassVar[bool] = False
    """Whether an output channel depends on several input channels."""
    keeps_channels: ClassVar[bool] = True
    """Whether channels that are not mixed keep their order and number."""
    requantises: ClassVar[bool] = True
    """Whether results are sums that M, B, R and a shift bring into the outputs' formats; else they are elements of the
    input, stored as they are."""
    zeros_outside: ClassVar[bool] = True
    """Whether zeros around the image, as elements, give what taps that do not count give (as in sums)."""
    reads_image: ClassVar[bool] = False
    """Whether it may read the network's input, whose elements are bytes."""
    whole_vectors: ClassVar[bool] = False
    """Whether kernels read whole vectors of SMOL inputs, one after the other."""
    has_table: ClassVar[bool] = False
    """Whether :attr:`Layer.table` is its own."""
    has_begin: ClassVar[bool] = False
    """Whether :attr:`Layer.begin` is its own."""
    any_padding: ClassVar[bool] = False
    """Whether the padding may be larger than the kernel, or negative."""

    # --- shape and formats ---

    def check_channels(self, layer: Layer, x: Tensor, target: Tensor) -> None:
        """Refuse a number of output channels that the operation cannot make, with :class:`SysmolError`."""
        need(
            self.mixes_channels or not self.keeps_channels or target.channels == x.channels,
            f"layer {layer.name} cannot change the number of channels",
        )

    def check_formats(self, net: Network, layer: Layer, target: Tensor) -> None:
        """Refuse formats that cannot be computed from one another, with :class:`SysmolError`."""
        real = net.tensors[layer.input].format == "f32"
        need((target.format == "f32") == real, f"layer {layer.name} mixes float and integer tensors")

    def check_groups(self, net: Network, layer: Layer) -> None:
        """Refuse groups that do not fit, with :class:`SysmolError`."""
        need(layer.groups >= 1, f"layer {layer.name} has {layer.groups} groups")
        need(layer.groups == 1, f"layer {layer.name}: only convolutions have groups")

    def check(self, net: Network, layer: Layer) -> None:
        """Refuse what is wrong with a layer beyond its shapes, its weights above all, with :class:`SysmolError`."""
        need(layer.weight is None, f"layer {layer.name}: a {self.name} has no weights")

    def channels(self, net: Network, layer: Layer) -> int:
        """Channels of what the layer accumulates."""
        return net.tensors[layer.input].channels

    def size(self, layer: Layer, x: Tensor) -> tuple[int, int]:
        """Height and width of the outputs."""
        top, left, bottom, right = layer.padding
        return (
            output_size(x.height, layer.reach[0], layer.stride[0], top, bottom),
            output_size(x.width, layer.reach[1], layer.stride[1], left, right),
        )

    # --- arithmetic ---

    @abstractmethod
    def evaluate(self, net: Network, layer: Layer, x: Sequence[Array]) -> Array:
        """The reference: sums ``[OH, OW, K]`` (results, where it does not requantise) of the integer values ``[H, W,
        C]`` of its inputs, as plainly as possible. int64, float64 in ``f32`` networks."""

    def accumulator_bound(self, net: Network, layer: Layer) -> Array:
        """Bound on ``|acc|`` per output channel, int64 ``[K]``: over any inputs, every tap and every slot of the
        vectors.

        Unused slots and taps outside the image are included, so that code may pad with any code and move the known
        constant into B.
        """
        return magnitude(net.tensors[layer.input])

    def zero_point_taps(self, net: Network, layer: Layer) -> Array:
        """What each tap of a layer's weights adds to acc where the input holds real zeros, int64 ``[K, KH, KW]`` in
        units of ``2**-ZERO_POINT_SHIFT``: nothing without weights.

        Raises :class:`SysmolError` where weights and zero points are so large that a sum could leave 64 bits.
        """
        return np.zeros((self.channels(net, layer), *layer.kernel), dtype=np.int64)

    # --- cost ---

    def macs(self, net: Network, layer: Layer) -> int:
        """Multiply-accumulates of one image."""
        return 0

    def weights(self, net: Network, layer: Layer) -> int:
        """Number of weights, fillers apart."""
        return 0

    accumulates_with: ClassVar[str] = ""
    """SMOL instruction that accumulates in kernels without a schedule, which would name it."""

    def vector_multiplies(self, pattern: int) -> int:
        """SMOL multiply-accumulate instructions for one vector of this pattern, per tap and output (where channels are
        mixed: of one channel; else of all channels in the vector)."""
        return 0


OPERATIONS: dict[str, Operation] = {}
"""All operations by the name that layers and files give them."""

Kind = TypeVar("Kind", bound=type[Operation])


def register(kind: Kind) -> Kind:
    """Class decorator: the operation is known from now on."""
    OPERATIONS[kind.name] = kind()
    return kind


def operation(layer: Layer | str) -> Operation:
    """The operation of a layer, or of that name; :class:`SysmolError` where there is none."""
    name = layer if isinstance(layer, str) else layer.op
    if name not in OPERATIONS:
        raise SysmolError(f"there is no operation {name!r}: choose {', '.join(OPERATIONS)}")
    return OPERATIONS[name]
