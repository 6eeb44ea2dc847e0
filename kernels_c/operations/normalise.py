"""``layernorm`` and ``rmsnorm``: two passes over a pixel's channels. The first adds them and their squares up; what
both sums give, once a pixel, is plain C (smol_sequence.h); the second subtracts, multiplies and requantises.
"""

import numpy as np

from sysmol.errors import SysmolError
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import Epilogue, Tile, expand, plus, times
from sysmol.kernels_c.nest.kernel import Kernel, parameters
from sysmol.kernels_c.operations.base import Places, generates
from sysmol.kernels_c.plan.constants import array_text, identifier
from sysmol.kernels_c.plan.layout import Block, segments
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer, Network
from sysmol.network.operations import operation
from sysmol.network.operations.normalisation import (
    INPUT_BITS,
    RECIPROCAL_ROOTS,
    Normalise,
    fraction_bits,
    magnitude_bits,
)

MOST_SQUARES = (1 << 32 - 2 * (INPUT_BITS - 1)) - 1
"""Squares that a lane of 32 bits can add up."""


class Normalisation(Kernel):
    """Pixel by pixel, all blocks of a pixel twice."""

    def __init__(self, net: Network, layer: Layer, places: Places, options: Options) -> None:
        kind = operation(layer)
        assert isinstance(kind, Normalise)
        self.centred = kind.centred
        self.layer = layer
        self.name = identifier(layer.name)
        self.source = places[layer.input]
        self.blocks = self.source.blocks
        self.epilogue = Epilogue(net, layer, places, self.blocks, pack=options.pack)
        for first, count in segments(self.blocks):
            if count * len(self.blocks[first].groups) > MOST_SQUARES:
                raise SysmolError(f"layer {layer.name}: more than {MOST_SQUARES} registers of one form in a pixel")

    def emit(self, em: Emitter) -> list[str]:
        """Write the layer's function; returns the text of its constant arrays."""
        source, t = self.source, self.source.tensor
        with em.block(f"SMOL_KERNEL {self.name}({parameters(self.layer)})"):
            em.line("v_begin();")
            self.epilogue.begin(em)
            with em.loop("oy", t.height), em.loop("ox", t.width):
                corner = plus(source.start(), times("oy", source.row_bytes), times("ox", source.pixel_bytes))
                em.line(f"const uint8_t *pixel = in + {corner};", scalar=3)
                em.line("int64_t sum = 0, squares = 0;" if self.centred else "int64_t squares = 0;")
                for first, count in segments(self.blocks):
                    with em.block():
                        self._sums(em, Tile(first, 1, "t", count, ((0, 0),)))
                n = t.channels
                sizes = f"{n}, {magnitude_bits(n)}, {fraction_bits(n)}"
                total = "sum" if self.centred else "0"
                em.line(f"const m_normal n = m_normalise({total}, squares, {sizes}, {self.name}_root);")
                em.line("const vec left = v_dup((uint32_t)n.left), addend = v_dup(n.addend);")
                em.line("const vec factor = v_dup((uint32_t)n.factor), half = v_dup(1 << 14);")
                self.epilogue.tile_corner(em)
                for first, count in segments(self.blocks):
                    with em.loop("t", count):
                        self._block(em, Tile(first, 1, "t", count, ((0, 0),)))
        em.line()
        roots = array_text(f"{self.name}_root", RECIPROCAL_ROOTS.astype(np.int32), "2**22 / sqrt")
        return [roots, *self._masks(), *self.epilogue.arrays()]

    def _full(self, tile: Tile) -> bool:
        return all(all(lane) for block in self._own(tile) for lane in block.lanes)

    def _own(self, tile: Tile) -> tuple[Block, ...]:
        return self.blocks[tile.first : tile.first + tile.times]

    def _masks(self) -> list[str]:
        """Ones in the lanes that have channels, of segments with others."""
        text = []
        for first, count in segments(self.blocks):
            tile = Tile(first, 1, "t", count, ((0, 0),))
            if not self._full(tile):
                rows = np.array([lanes for block in self._own(tile) for lanes in block.lanes])
                name = f"{self.name}_mask{first}"
                text.append(array_text(name, np.where(rows, -1, 0).astype(np.int32), "lanes with channels"))
        return text

    def _sums(self, em: Emitter, tile: Tile) -> None:
        per = len(self.blocks[tile.first].groups)
        sums = [("sum", "s", "(int32_t)"), ("squares", "q", "(uint32_t)")][0 if self.centred else 1 :]
        for _, name, _ in sums:
            em.line(f"vec {name} = v_zero();")
        with em.loop("t", tile.times):
            at = plus("pixel", self.epilogue.block_at(self.source, tile, 0))
            em.line(f"const uint8_t *at = {at};", scalar=1)
            expand(em, self.source, ["at"], self.blocks[tile.first], ["e"])
            for g in range(per):
                x = f"e{g}"
                if not self._full(tile):
                    place = plus(f"{self.name}_mask{tile.first}", times("t", 16 * per), 16 * g)
                    em.line(f"const vec x{g} = v_and({x}, v_load({place}));")
                    x = f"x{g}"
                if self.centred:
                    em.line(f"s = v_add(s, {x});")
                em.line(f"q = v_mla(q, {x}, {x});")
        em.line("uint8_t lanes[16];")
        for total, name, kind in sums:
            em.line(f"v_store(lanes, {name});")
            with em.loop("lane", 4):
                em.line(f"{total} += {kind}m_get_s32(lanes, lane);", scalar=1)

    def _block(self, em: Emitter, tile: Tile) -> None:
        groups = range(len(self.blocks[tile.first].groups))
        em.line(f"const uint8_t *at = {plus('pixel', self.epilogue.block_at(self.source, tile, 0))};", scalar=1)
        expand(em, self.source, ["at"], self.blocks[tile.first], ["e"])
        for g in groups:
            em.line(f"const vec c{g} = v_sra(v_add(v_sll(e{g}, left), addend), n.right);")
        for g in groups:
            em.line(f"vec a{g} = v_sra(v_madd(c{g}, factor, half), 15);")
        self.epilogue.emit(em, tile, [[[f"a{g}" for g in groups]]])


@generates("rmsnorm")
@generates("layernorm")
def normalisation(net: Network, layer: Layer, places: Places, target: Target, options: Options) -> Normalisation:
    """Of integer tensors."""
    if net.is_float:
        raise SysmolError(f"layer {layer.name}: code of {layer.op} is generated for integers, not for f32")
    return Normalisation(net, layer, places, options)
