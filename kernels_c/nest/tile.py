"""A layer on the compute-in-memory tile: its descriptors and weights as constants, and a call of the driver.

The list is copied into the caller's memory and placed there, since it holds addresses; the tile then reads the padded
buffers of the arena as they lie, and writes whole pixels.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sysmol.cim.descriptor import BYTES
from sysmol.cim.layout import Layout
from sysmol.cim.mapping import BLOB, map_layer
from sysmol.cim.tile import ADDRESS, Tile
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.nest.kernel import Kernel, parameters
from sysmol.kernels_c.plan.constants import array_text, identifier
from sysmol.kernels_c.plan.layout import ELEMENT_BYTES, Place
from sysmol.network import Layer, Network


class TileKernel(Kernel):
    """The function of a layer that the tile computes. :class:`~sysmol.cim.mapping.Unmappable` where it cannot."""

    def __init__(self, net: Network, layer: Layer, places: Mapping[str, Place], tile: Tile) -> None:
        self.layer, self.name = layer, identifier(layer.name)
        layouts = {name: seen_by_tile(places[name]) for name in (*layer.reads, *layer.targets)}
        self.program = map_layer(net, layer, tile, layouts)

    def emit(self, em: Emitter) -> list[str]:
        layer, count = self.layer, len(self.program.descriptors)
        bases = {BLOB: f"{self.name}_blob", layer.input: "in", layer.residual: "residual"}
        bases |= {name: f"out{number}" for number, name in enumerate(layer.targets)}
        bases = {name: text for name, text in bases.items() if name}
        numbers = {name: index + 1 for index, name in enumerate(bases)}
        with em.block(f"SMOL_KERNEL {self.name}({parameters(layer)}, uint8_t *restrict list)"):
            em.line("const uint64_t bases[] = {")
            em.line(f"    0, {', '.join(f'(uintptr_t){text}' for text in bases.values())}")
            em.line("};")
            em.line(f"memcpy(list, {self.name}_list, {BYTES * count});", scalar=8 * count)
            with em.loop("i", count):
                em.line(f"smol_tile_move(list + {BYTES} * i, bases[{self.name}_symbols[i]]);", scalar=8)
            em.line(f"const uint32_t fault = smol_tile_run(UINT64_C({ADDRESS}), list, {count});", scalar=8)
            em.line("if (fault)")
            em.line(f'    smol_tile_failed("{self.name}", fault);', scalar=1)
        em.line()
        words = b"".join(d.pack() for d in self.program.descriptors)
        symbols = bytes(numbers.get(d.symbol, 0) for d in self.program.descriptors)
        return [
            array_text(f"{self.name}_{key}", np.frombuffer(data, dtype=np.uint8), f"{layer.name} on the tile: {what}")
            for key, data, what in (
                ("blob", self.program.blob, "weights and constants"),
                ("list", words, "descriptors"),
                ("symbols", symbols, "what their addresses count from"),
            )
        ]

    def describe(self) -> list[str]:
        p = self.program
        return [f"on the tile: {p.strips} strips, {p.pieces} sets of weights, {len(p.descriptors)} descriptors"]

    @property
    def scratch(self) -> int:
        return BYTES * len(self.program.descriptors)

    @property
    def written(self) -> list[str]:
        return self.layer.targets


def seen_by_tile(place: Place) -> Layout:
    """A tensor's memory as the tile's compiler describes it."""
    t, positions = place.tensor, place.positions()
    if t.format == "smol":
        widths = tuple(int(p) for p in t.precisions)
    else:
        bits = 8 * ELEMENT_BYTES[t.format]
        positions, widths = [bits * at for at in positions], (bits,) * t.channels
    top, left, bottom, right = place.pads
    return Layout(t.height, t.width, (top, left, bottom, right), place.pixel_bytes, tuple(positions), widths)
