"""Layers whose function calls others, their parts."""

from dataclasses import replace

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.nest.kernel import Kernel, parameters
from sysmol.kernels_c.plan.constants import identifier
from sysmol.network import Layer


class InParts(Kernel):
    """Functions of their own, ``parts``, and the layer's, which calls them."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.parts: list[Kernel] = []
        self.calls: list[str] = []

    def single(self, number: int) -> Layer:
        """The layer with its ``number``-th output alone."""
        return replace(self.layer, name=f"{self.layer.name}.to{number}", outputs=[self.layer.outputs[number]])

    def add(self, name: str, part: Kernel, *operands: str) -> None:
        """The part of that name works on these parameters of the layer's function."""
        self.parts.append(part)
        self.calls.append(f"{identifier(name)}({', '.join(operands)});")

    def describe(self) -> list[str]:
        return [f"in {len(self.parts)} parts"]

    def emit(self, em: Emitter) -> list[str]:
        arrays = [text for part in self.parts for text in part.emit(em)]
        extra = ", uint8_t *scratch" if self.scratch else ""
        with em.block(f"SMOL_KERNEL {identifier(self.layer.name)}({parameters(self.layer)}{extra})"):
            for call in self.calls:
                em.line(call)
        em.line()
        main = max(self.parts, key=lambda part: part.chains)
        self.chains, self.chain_length = main.chains, main.chain_length
        return arrays
