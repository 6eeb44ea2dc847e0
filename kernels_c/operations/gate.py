"""``gate``: products of two elements in 32-bit lanes."""

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import Tile, expand, lanes, plus
from sysmol.kernels_c.nest.elementwise import Elementwise
from sysmol.kernels_c.operations.base import Places, generates
from sysmol.kernels_c.plan.constants import Held, array_text
from sysmol.kernels_c.plan.layout import Block, Place
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer, Network


class Gate(Elementwise):
    """A second input of one pixel is the same for all; one whose channels lie in another order is read lane by lane."""

    def held(self) -> Held | None:
        """Of codes u the lanes make ``g = 2u - top`` themselves."""
        return None

    @property
    def ragged(self) -> bool:
        """Whether the second input's channels lie in another order."""
        assert self.second is not None
        return self.second.blocks != self.blocks

    def emit(self, em: Emitter) -> list[str]:
        text = super().emit(em)
        if self.ragged:
            assert self.second is not None
            at = lanes(self.blocks, np.array(self.second.positions(), dtype=np.int32))
            text.append(array_text(f"{self.name}_in_at", at, "places of the lanes' channels in the second input"))
        return text

    def _corner(self, em: Emitter, tile: Tile, name: str, buffer: str, place: Place) -> None:
        t = place.tensor
        if place is not self.second or not (self.ragged or t.height == t.width == 1):
            super()._corner(em, tile, name, buffer, place)
            return
        y, x = ("", "") if t.height == t.width == 1 else (f"oy * {place.row_bytes}", f"ox * {place.pixel_bytes}")
        block = "" if self.ragged else self.epilogue.block_at(place, tile, 0)
        em.line(f"const uint8_t *{name} = {buffer} + {plus(place.start(), y, x, block)};", scalar=3)
        if self.ragged:
            groups = sum(len(b.groups) for b in self.blocks[: tile.first])
            per = len(self.blocks[tile.first].groups)
            em.line(f"const int own = {plus(4 * groups, tile.step(4 * per))};", scalar=1)

    def gather(self, em: Emitter, block: Block) -> list[str]:
        groups, second = range(len(block.groups)), self.second
        assert second is not None
        expand(em, self.source, ["corner"], block, ["e"], self.natural)
        if self.ragged:
            at = f"m_get_s32({self.name}_in_at, own + lane)"
            self.lane_by_lane(em, block, "f", f"m_get_{second.tensor.format}(second_corner, {at})", scalar=2)
        else:
            expand(em, second, ["second_corner"], block, ["f"])
        names = []
        for name, place in (("e", self.source), ("f", second)):
            names.append([f"{name}{g}" for g in groups])
            if place.tensor.format == "smol":
                top = (1 << block.precision) - 1
                for g in groups:
                    em.line(f"const vec {name}g{g} = v_add(v_add({name}{g}, {name}{g}), v_dup((uint32_t){-top}));")
                names[-1] = [f"{name}g{g}" for g in groups]
        multiply = "v_fmul" if self.source.tensor.format == "f32" else "v_mul"
        for g, (a, b) in enumerate(zip(*names, strict=True)):
            em.line(f"const vec a{g} = {multiply}({a}, {b});")
        return [f"a{g}" for g in groups]


@generates("gate")
def gate(net: Network, layer: Layer, places: Places, target: Target, options: Options) -> Gate:
    """The same for every format and target."""
    return Gate(net, layer, places, options)
