"""What makes the C function of one layer."""

from abc import ABC, abstractmethod

from sysmol.kernels_c.emitter import Emitter
from sysmol.network import Layer
from sysmol.schedule import Schedule


class Kernel(ABC):
    """The generator of one layer. ``schedule`` where it has one; ``chains`` and ``chain_length``: independent
    accumulators of a tile and dependent operations of each, 0 where no accumulation dominates (for estimates).
    """

    schedule: Schedule | None = None
    chains = 0
    chain_length = 0

    @abstractmethod
    def emit(self, em: Emitter) -> list[str]:
        """Write the layer's function; returns the text of its constant arrays."""

    def describe(self) -> list[str]:
        """Lines for the reader of the C: the loop nest from outside to inside, and what the registers hold."""
        return []

    @property
    def scratch(self) -> int:
        """Bytes of the caller's memory for sums, handed over as a last parameter; none where 0."""
        return 0

    @property
    def written(self) -> list[str]:
        """Tensors whose pixels are written whole, unused elements as code 0."""
        return []


def parameters(layer: Layer) -> str:
    """Parameters of a layer's C function: its inputs, residual and outputs as padded buffers."""
    second = ", const uint8_t *second" if layer.second else ""
    residual = ", const uint8_t *residual" if layer.residual else ""
    outputs = "".join(f", uint8_t *restrict out{i}" for i in range(len(layer.targets)))
    return f"const uint8_t *in{second}{residual}{outputs}"
