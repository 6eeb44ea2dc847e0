"""``layernorm`` and ``rmsnorm``: two passes over all pixels. The first adds their channels and their squares up; what
both sums give, once a pixel, is plain C (smol_sequence.h), kept in the caller's memory: cores that reorder do it beside
the sums of the next pixels. The second subtracts, multiplies and requantises. Floats take a pass for the mean and one
for the squares of what differs from it.
"""

import numpy as np

from sysmol.errors import SysmolError
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import Epilogue, Tile, expand, plus, times
from sysmol.kernels_c.nest.kernel import Kernel, parameters
from sysmol.kernels_c.operations.base import Places, generates
from sysmol.kernels_c.plan.constants import array_text, identifier
from sysmol.kernels_c.plan.layout import ELEMENT_BYTES, Block, segments
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer, Network
from sysmol.network.operations import operation
from sysmol.network.operations.normalisation import (
    EPSILON,
    INPUT_BITS,
    RECIPROCAL_ROOTS,
    Normalise,
    fraction_bits,
    magnitude_bits,
)

MOST_SQUARES = (1 << 32 - 2 * (INPUT_BITS - 1)) - 1
"""Squares that a lane of 32 bits can add up."""


NORMAL_BYTES = 16
"""Of what a pixel's sums give: ``m_normal``."""
MOST_CHANNELS_OF_A_SUM = (1 << 32 - 2 * (INPUT_BITS - 1)) - 1
"""Channels whose squares' sum fits 32 bits."""


class Normalisation(Kernel):
    """Block by block. ``wide``: sums of 16-bit lanes in pairs of registers, where a change of the lanes' width costs
    nothing."""

    def __init__(self, net: Network, layer: Layer, places: Places, target: Target, options: Options) -> None:
        self.wide = not target.vector_type
        kind = operation(layer)
        assert isinstance(kind, Normalise)
        self.centred = kind.centred
        self.layer = layer
        self.name = identifier(layer.name)
        self.source = places[layer.input]
        self.blocks = self.source.blocks
        self.epilogue = Epilogue(net, layer, places, self.blocks, pack=options.pack)
        for first, count in segments(self.blocks) if self.source.tensor.format != "f32" else ():
            if count * len(self.blocks[first].groups) > MOST_SQUARES:
                raise SysmolError(f"layer {layer.name}: more than {MOST_SQUARES} registers of one form in a pixel")

    def emit(self, em: Emitter) -> list[str]:
        """Write the layer's function; returns the text of its constant arrays."""
        source, t = self.source, self.source.tensor
        corner = plus(source.start(), times("oy", source.row_bytes), times("ox", source.pixel_bytes))
        own = f"scratch + {NORMAL_BYTES} * (oy * {t.width} + ox), {NORMAL_BYTES}"
        with em.block(f"SMOL_KERNEL {self.name}({parameters(self.layer)}, uint8_t *restrict scratch)"):
            em.line("v_begin();")
            self.epilogue.begin(em)
            with em.loop("oy", t.height), em.loop("ox", t.width):
                em.line(f"const uint8_t *pixel = in + {corner};", scalar=3)
                em.line("int64_t sum = 0, squares = 0;" if self.centred else "int64_t squares = 0;")
                for first, count in segments(self.blocks):
                    with em.block():
                        self._sums(em, Tile(first, 1, "t", count, ((0, 0),)))
                n = t.channels
                sizes = f"{n}, {magnitude_bits(n)}, {fraction_bits(n)}"
                total = "sum" if self.centred else "0"
                em.line(f"const m_normal n = m_normalise({total}, squares, {sizes}, {self.name}_root);")
                em.line(f"memcpy({own.split(',')[0]}, &n, {NORMAL_BYTES});", scalar=4)
            with em.loop("oy", t.height), em.loop("ox", t.width):
                em.line(f"const uint8_t *pixel = in + {corner};", scalar=3)
                em.line("m_normal n;")
                em.line(f"memcpy(&n, {own});", scalar=4)
                self._constants(em)
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

    @property
    def scratch(self) -> int:
        t = self.source.tensor
        return NORMAL_BYTES * t.height * t.width

    @staticmethod
    def _constants(em: Emitter) -> None:
        """A pixel's constants in all lanes."""
        if "v_normal" in em.costs:
            em.line("const vec16 left = v_dup16(n.left), addend = v_dup16((int16_t)n.addend);")
            em.line("const vec16 right = v_dup16(-n.right), factor = v_dup16(n.factor);")
        else:
            em.line("const vec left = v_dup((uint32_t)n.left), addend = v_dup(n.addend);")
            em.line("const vec factor = v_dup((uint32_t)n.factor), half = v_dup(1 << 14);")

    def _wide_sums(self, em: Emitter, tile: Tile) -> None:
        """Of blocks with a channel in every lane."""
        pairs = 2 if tile.times % 2 == 0 else 1
        names = [*(f"q{u}" for u in range(pairs)), *(["s"] if self.centred else [])]
        em.line("v_begin16();")
        for name in names:
            em.line(f"vecpair {name} = v_zero_pair();")
        size = ELEMENT_BYTES["s16"] * self.source.block_elements(self.blocks[tile.first])
        with em.loop("t", tile.times // pairs):
            first = plus("pixel", self.source.block_base(tile.first), times("t", size * pairs))
            for u in range(pairs):
                em.line(f"const vec16 x{u} = v_load16({plus(first, size * u)});", scalar=1)
                em.line(f"v_wide_mla(q{u}, x{u}, x{u});")
                if self.centred:
                    em.line(f"v_wide_add(s, x{u});")
        em.line("v_begin();")
        if self.centred:
            em.line("sum += (int32_t)v_hsum(v_add(v_low(s), v_high(s)), zero);")
        halves = [f"v_{half}(q{u})" for u in range(pairs) for half in ("low", "high")]
        if 8 * tile.times <= MOST_CHANNELS_OF_A_SUM:
            text = halves[0]
            for half in halves[1:]:
                text = f"v_add({text}, {half})"
            em.line(f"squares += v_hsum({text}, zero);")
            return
        em.line(f"uint8_t lanes[{16 * len(halves)}];")
        for n, half in enumerate(halves):
            em.line(f"v_store(lanes + {16 * n}, {half});")
        with em.loop("lane", 4 * len(halves)):
            em.line("squares += (uint32_t)m_get_s32(lanes, lane);", scalar=1)

    def _sums(self, em: Emitter, tile: Tile) -> None:
        if self.wide and self._full(tile) and len(self.blocks[tile.first].groups) == 2:
            self._wide_sums(em, tile)
            return
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
        if "v_normal" in em.costs:
            em.line("const vec y = v_normal(v_load16(at), left, addend, right, factor);")
            for g in groups:
                half = f"v_half16_{('low', 'high')[g]}(y)" if self.source.split else f"v_sext16(y, {g})"
                em.line(f"vec a{g} = {half};")
            self.epilogue.emit(em, tile, [[[f"a{g}" for g in groups]]])
            return
        expand(em, self.source, ["at"], self.blocks[tile.first], ["e"])
        for g in groups:
            em.line(f"const vec c{g} = v_sra(v_add(v_sll(e{g}, left), addend), n.right);")
        for g in groups:
            em.line(f"vec a{g} = v_sra(v_madd(c{g}, factor, half), 15);")
        self.epilogue.emit(em, tile, [[[f"a{g}" for g in groups]]])


class FloatNormalisation(Normalisation):
    """The same of floats."""

    @property
    def scratch(self) -> int:
        return 0

    def emit(self, em: Emitter) -> list[str]:
        source, t = self.source, self.source.tensor
        with em.block(f"SMOL_KERNEL {self.name}({parameters(self.layer)})"):
            em.line("v_begin();")
            self.epilogue.begin(em)
            with em.loop("oy", t.height), em.loop("ox", t.width):
                corner = plus(source.start(), times("oy", source.row_bytes), times("ox", source.pixel_bytes))
                em.line(f"const uint8_t *pixel = in + {corner};", scalar=3)
                if self.centred:
                    em.line("float mean = 0.0f;")
                    self._add_up(em, "mean", "v_fadd({sum}, {x})")
                    em.line(f"const vec minus = v_dup(m_bits(mean * {-1 / t.channels!r}f));", scalar=1)
                em.line("float squares = 0.0f;")
                self._add_up(em, "squares", "v_fmla({sum}, {x}, {x})", self.centred)
                em.line(f"const float root = m_inverse_root(squares * {1 / t.channels!r}f + {EPSILON!r}f);", scalar=2)
                em.line("const vec factor = v_dup(m_bits(root));")
                self.epilogue.tile_corner(em)
                for first, count in segments(self.blocks):
                    with em.loop("t", count):
                        self._block(em, Tile(first, 1, "t", count, ((0, 0),)))
        em.line()
        return [*self._masks(), *self.epilogue.arrays()]

    def _add_up(self, em: Emitter, total: str, text: str, less_mean: bool = False) -> None:
        """``total`` = the sum over all channels, of which ``text`` adds ``x`` to a register ``sum``."""
        most = max(len(block.groups) for block in self.blocks)
        with em.block():
            for g in range(most):
                em.line(f"vec sum{g} = v_zero();")
            for first, count in segments(self.blocks):
                tile = Tile(first, 1, "t", count, ((0, 0),))
                with em.loop("t", count):
                    for g, x in enumerate(self._elements(em, tile, less_mean, masked=True)):
                        em.line(f"sum{g} = {text.format(sum=f'sum{g}', x=x)};")
            em.line(f"uint8_t lanes[{4 * 4 * most}];")
            for g in range(most):
                em.line(f"v_store(lanes + {16 * g}, sum{g});")
            with em.loop("lane", 4 * most):
                em.line(f"{total} += m_get_f32(lanes, lane);", scalar=1)

    def _elements(self, em: Emitter, tile: Tile, less_mean: bool, masked: bool) -> list[str]:
        """Declare a block's elements, perhaps less their mean, 0 in lanes without a channel where ``masked``."""
        block = self.blocks[tile.first]
        em.line(f"const uint8_t *at = {plus('pixel', self.epilogue.block_at(self.source, tile, 0))};", scalar=1)
        expand(em, self.source, ["at"], block, ["e"])
        names = [f"e{g}" for g in range(len(block.groups))]
        if less_mean:
            for g, name in enumerate(names):
                em.line(f"const vec d{g} = v_fadd({name}, minus);")
            names = [f"d{g}" for g in range(len(names))]
        if masked and not self._full(tile):
            for g, name in enumerate(names):
                place = plus(f"{self.name}_mask{tile.first}", times("t", 16 * len(names)), 16 * g)
                em.line(f"const vec x{g} = v_and({name}, v_load({place}));")
            names = [f"x{g}" for g in range(len(names))]
        return names

    def _block(self, em: Emitter, tile: Tile) -> None:
        names = self._elements(em, tile, self.centred, masked=False)
        for g, name in enumerate(names):
            em.line(f"vec a{g} = v_fmul({name}, factor);")
        self.epilogue.emit(em, tile, [[[f"a{g}" for g in range(len(names))]]])


@generates("rmsnorm")
@generates("layernorm")
def normalisation(net: Network, layer: Layer, places: Places, target: Target, options: Options) -> Normalisation:
    """Of integers or floats."""
    if net.is_float:
        return FloatNormalisation(net, layer, places, target, options)
    return Normalisation(net, layer, places, target, options)
