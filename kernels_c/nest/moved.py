"""Layers that move stored numbers: every output element is chosen among elements of the input, and stored as it is."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import plus, store, times
from sysmol.kernels_c.nest.kernel import Kernel, parameters
from sysmol.kernels_c.plan.constants import array_text, identifier
from sysmol.kernels_c.plan.layout import Block, Place, segments
from sysmol.network import Layer, Network


class Moved(Kernel):
    """Block by block and pixel by pixel, in 32-bit lanes; input and output have the same blocks."""

    def __init__(self, net: Network, layer: Layer, places: dict[str, Place]) -> None:
        self.layer = layer
        self.name = identifier(layer.name)
        self.source, self.target = places[layer.input], places[layer.output]
        self.blocks = self.source.blocks
        self.height, self.width = self.target.tensor.height, self.target.tensor.width

    @property
    def real(self) -> bool:
        """Whether the elements are floats."""
        return self.source.tensor.format == "f32"

    def emit(self, em: Emitter) -> list[str]:
        place, source = self.target, self.source
        text = []
        offsets = ", ".join(str(b.offset) for b in self.blocks)
        text.append(f"static const uint16_t {self.name}_at[] = {{{offsets}}};\n")
        with em.block(f"SMOL_KERNEL {self.name}({parameters(self.layer)})"):
            em.line("v_begin();")
            em.line("const vec zero = v_zero();")
            em.line("(void)zero;")
            for first, count in segments(self.blocks):
                block = self.blocks[first]
                groups = range(len(block.groups))
                if self.source.tensor.format == "smol":
                    name = f"{self.name}_shift{first}"
                    shifts = np.array(block.shifts, dtype=np.int32)
                    text.append(array_text(name, shifts, "left shift of every lane's code in its memory word"))
                    for g in groups:
                        em.line(f"const vec shift{first}_{g} = v_load({name} + {16 * g});")
                with em.loop("t", count), self.pixels(em):
                    if self.source.tensor.format == "smol":
                        for g in groups:
                            em.line(f"const vec s{g} = shift{first}_{g};")
                        em.line(f"const int at = {self.name}_at[{plus('t', first)}];", scalar=1)
                    else:
                        step = source.block_base(first + 1) - source.block_base(first) if count > 1 else 0
                        em.line(f"const int at = {plus(source.block_base(first), times('t', step))};", scalar=1)
                    self.choose(em, block)
                    target = plus(place.start(), times("oy", place.row_bytes), times("ox", place.pixel_bytes), "at")
                    store(em, place, [f"out0 + {target}"], block, [[f"a{g}" for g in groups]])
        em.line()
        return text

    @contextmanager
    def pixels(self, em: Emitter) -> Iterator[None]:
        """Loops over the output's pixels ``oy``, ``ox``."""
        with em.loop("oy", self.height), em.loop("ox", self.width):
            yield

    def address(self, y: str, x: str) -> str:
        """C expression: the block's first byte in a pixel of the input."""
        source = self.source
        return f"in + {plus(source.start(), 'at', times(y, source.row_bytes), times(x, source.pixel_bytes))}"

    @abstractmethod
    def choose(self, em: Emitter, block: Block) -> None:
        """Declare ``a<group>``, the elements of a block for the output pixel. ``at`` is the block's first byte within a
        pixel; shift vectors ``s0``, ``s1`` of SMOL blocks are in scope."""
