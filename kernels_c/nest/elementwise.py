"""Layers without weights, channel by channel: a block's elements are read into 32-bit lanes, combined there by what an
operation adds to :class:`Elementwise`, and handed to the common epilogue.
"""

from abc import abstractmethod

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import Epilogue, Tile, plus, times
from sysmol.kernels_c.nest.kernel import Kernel, parameters
from sysmol.kernels_c.plan.constants import Held, activation_limits, held_codes, identifier
from sysmol.kernels_c.plan.layout import Block, Place, segments
from sysmol.kernels_c.plan.options import Options
from sysmol.network import Layer, Network


class Elementwise(Kernel):
    """Layers over tensors in blocks; the lanes hold elements, of SMOL tensors their codes."""

    def __init__(self, net: Network, layer: Layer, places: dict[str, Place], options: Options) -> None:
        self.net = net
        self.layer = layer
        self.name = identifier(layer.name)
        self.source = places[layer.input]
        self.second = places[layer.second] if layer.second else None
        self.blocks = self.source.blocks
        output = net.tensors[layer.targets[0]]
        self.height, self.width = output.height, output.width
        self.natural = activation_limits(net, layer.input)[0] >= 0
        self.epilogue = Epilogue(net, layer, places, self.blocks, pack=options.pack, held=self.held())

    def held(self) -> Held | None:
        """What the lanes hold in the end, where that differs from what the file's layer accumulates."""
        return held_codes(self.net, self.layer) if self.source.tensor.format == "smol" else None

    def emit(self, em: Emitter) -> list[str]:
        """Write the layer's function; returns the text of its constant arrays."""
        with em.block(f"SMOL_KERNEL {self.name}({parameters(self.layer)})"):
            em.line("v_begin();")
            self.epilogue.begin(em)
            self.begin(em)
            for first, count in segments(self.blocks):
                tile = Tile(first, 1, "t", count, ((0, 0),))
                with em.loop("t", count), em.loop("oy", self.height), em.loop("ox", self.width):
                    self.epilogue.tile_corner(em)
                    accumulators = self._gather(em, tile)
                    self.epilogue.emit(em, tile, [[accumulators]])
        em.line()
        return self.epilogue.arrays()

    def begin(self, em: Emitter) -> None:
        """At the start of the kernel, before all loops."""

    def _gather(self, em: Emitter, tile: Tile) -> list[str]:
        block = self.blocks[tile.first]
        self._corner(em, tile, "corner", "in", self.source)
        if self.second is not None:
            self._corner(em, tile, "second_corner", "second", self.second)
        if self.source.tensor.format == "smol":
            for g in range(len(block.groups)):
                em.line(f"const vec s{g} = v_load({self.epilogue.shift_name(tile.first)} + {16 * g});")
        return self.gather(em, block)

    def _corner(self, em: Emitter, tile: Tile, name: str, buffer: str, place: Place) -> None:
        """Declare the address of the block in the first pixel of the window."""
        sy, sx = self.layer.stride
        corner = plus(
            place.start(self.layer.padding[:2]),
            times("oy", sy * place.row_bytes),
            times("ox", sx * place.pixel_bytes),
            self.epilogue.block_at(place, tile, 0),
        )
        em.line(f"const uint8_t *{name} = {buffer} + {corner};", scalar=4)

    @staticmethod
    def lane_by_lane(em: Emitter, block: Block, name: str, element: str, scalar: int) -> None:
        """Declare ``<name><group>`` by a C expression of one element, in which ``lane`` counts the block's lanes."""
        groups = range(len(block.groups))
        em.line(f"uint8_t found[{16 * len(groups)}];")
        with em.loop("lane", 4 * len(groups)):
            em.line(f"m_put_s32(found, lane, {element});", scalar=scalar)
        for g in groups:
            em.line(f"const vec {name}{g} = v_load(found + {16 * g});")

    @abstractmethod
    def gather(self, em: Emitter, block: Block) -> list[str]:
        """Declare the accumulators of a block's groups for the output pixel whose window begins at ``corner`` (of a
        second input: ``second_corner``); returns their C expressions. Shift vectors ``s0``, ``s1`` of SMOL blocks are
        in scope; ``y<n>``, ``q<n>``, ``c`` and ``rp`` are the epilogue's names."""
