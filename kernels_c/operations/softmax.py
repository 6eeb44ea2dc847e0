"""``softmax``: the largest score of a query and head, then the weight of every distance to it, from a table.

Scores and weights normally lie in the same blocks: a block's weights are put together in a register and stored as one
memory word. Elsewhere they are moved one by one.
"""

from collections.abc import Iterator

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.nest.kernel import Kernel, parameters
from sysmol.kernels_c.operations.base import Places, generates
from sysmol.kernels_c.plan.constants import array_text, identifier
from sysmol.kernels_c.plan.layout import Block, runs
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer, Network
from sysmol.network.operations.heads import head_precisions
from sysmol.network.operations.softmax import weight_table


class Softmax(Kernel):
    """Pixel by pixel, head by head."""

    def __init__(self, net: Network, layer: Layer, places: Places) -> None:
        self.layer = layer
        self.name = identifier(layer.name)
        self.source, self.target = places[layer.input], places[layer.output]
        self.bits = [int(p) for p in head_precisions(layer, net.tensors[layer.output])]
        self.count = self.source.tensor.channels // len(self.bits)
        self.blocks = self.target.blocks if self.source.blocks == self.target.blocks else ()

    def emit(self, em: Emitter) -> list[str]:
        """Write the layer's function; returns the text of its constant arrays."""
        source, target, name = self.source, self.target, self.name
        head = f"SMOL_KERNEL {name}({parameters(self.layer)})"
        with em.block(head), em.loop("y", source.tensor.height), em.loop("x", source.tensor.width):
            for buffer, place, kind, to in (("in", source, "const ", "scores"), ("out0", target, "", "weights")):
                corner = f"{place.start()} + y * {place.row_bytes} + x * {place.pixel_bytes}"
                em.line(f"{kind}uint8_t *{to} = {buffer} + {corner};", scalar=3)
            for number, p in enumerate(self.bits):
                with em.block():
                    if self.blocks:
                        self._blocks(em, number, p)
                    else:
                        self._elements(em, number, p)
        em.line()
        return self._arrays()

    def _arrays(self) -> list[str]:
        text = []
        for p in sorted(set(self.bits)):
            table = weight_table(p).astype(np.uint8)
            text.append(array_text(f"{self.name}_w{p}", table, f"weights of {p} bits by distance to the largest score"))
        places: dict[str, list[int]]
        if self.blocks:
            every = range(len(self.blocks))
            places = {"at0": [self.source.block_base(i) for i in every], "at1": [b.offset for b in self.blocks]}
        else:
            places = {"at0": self.source.positions(), "at1": self.target.positions()}
        for key, what in (("at0", "scores"), ("at1", "weights")):
            text.append(
                array_text(f"{self.name}_{key}", np.array(places[key], dtype=np.int32), f"places of the {what}")
            )
        return text

    # --- block by block ---

    def _runs(self, head: int) -> Iterator[tuple[int, int]]:
        """Runs of a head's blocks with the same lanes: first, count."""
        for number, first, count in runs(self.blocks, self._head_of):
            if number == head:
                yield first, count

    def _head_of(self, block: Block) -> int:
        return next(c for group in block.groups for c in group if c >= 0) // self.count

    def _blocks(self, em: Emitter, head: int, p: int) -> None:
        last = len(weight_table(p)) - 1
        em.line("int top = -32768;")
        for first, count in self._runs(head):
            with em.loop("t", count):
                em.line(f"const uint8_t *at = scores + m_get_s32({self.name}_at0, {first} + t);", scalar=1)
                for _, score in self._lanes(self.blocks[first]):
                    em.line(f"top = m_max(top, {score});")
        for first, count in self._runs(head):
            block = self.blocks[first]
            with em.loop("t", count):
                em.line(f"const uint8_t *at = scores + m_get_s32({self.name}_at0, {first} + t);", scalar=1)
                em.line("uint32_t word = 0;")
                for shift, score in self._lanes(block):
                    weight = f"m_load8({self.name}_w{p} + m_min(top - {score}, {last}))"
                    em.line(f"word |= {weight} << {shift};", scalar=3)
                em.line(f"m_store{block.bits}(weights + m_get_s32({self.name}_at1, {first} + t), word);", scalar=1)

    @staticmethod
    def _lanes(block: Block) -> list[tuple[int, str]]:
        """Shift of every lane's code in the memory word, and C expression of its score at ``at``."""
        return [
            (block.shifts[g][lane], f"m_get_s16(at, {2 * lane + g})")
            for g, group in enumerate(block.groups)
            for lane, channel in enumerate(group)
            if channel >= 0
        ]

    # --- element by element ---

    def _elements(self, em: Emitter, head: int, p: int) -> None:
        first, last = head * self.count, len(weight_table(p)) - 1
        em.line("int top = -32768;")
        with em.loop("j", self.count):
            em.line(f"top = m_max(top, m_get_s16(scores, m_get_s32({self.name}_at0, {first} + j)));", scalar=2)
        with em.loop("j", self.count):
            em.line(f"const int below = top - m_get_s16(scores, m_get_s32({self.name}_at0, {first} + j));", scalar=3)
            em.line(f"const int weight = (int)m_load8({self.name}_w{p} + m_min(below, {last}));", scalar=1)
            em.line(f"m_put_code(weights, m_get_s32({self.name}_at1, {first} + j), {p}, weight);", scalar=1)


@generates("softmax")
def softmax(net: Network, layer: Layer, places: Places, target: Target, options: Options) -> Softmax:
    """The same for every target."""
    return Softmax(net, layer, places)
