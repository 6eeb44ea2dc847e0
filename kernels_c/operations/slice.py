"""``slice``: some of a pixel's channels, element by element."""

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.nest.elements import Elements
from sysmol.kernels_c.nest.kernel import parameters
from sysmol.kernels_c.operations.base import Places, generates
from sysmol.kernels_c.plan.constants import Held, held_codes
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer, Network

PIXEL = "y * {row} + x * {pixel}"
"""Bytes from a tensor's first pixel to the one of the loops."""


class Slice(Elements):
    """Pixel by pixel."""

    def emit(self, em: Emitter) -> list[str]:
        """Write the layer's function; returns the text of its constant arrays."""
        t, source = self.targets[0].tensor, self.source
        head = f"SMOL_KERNEL {self.name}({parameters(self.layer)})"
        with em.block(head), em.loop("y", t.height), em.loop("x", t.width):
            corner = PIXEL.format(row=source.row_bytes, pixel=source.pixel_bytes)
            em.line(f"const uint8_t *pixel = in + {source.start()} + {corner};", scalar=3)
            with em.loop("at", t.channels):
                self.declare(em, self.read(source, "pixel", "at", "in", self.layer.begin, t.channels))
                self.write(em, PIXEL)
        em.line()
        return self.text


@generates("slice")
def slice_channels(net: Network, layer: Layer, places: Places, target: Target, options: Options) -> Slice:
    """The same for every format and target."""
    held = None
    if net.tensors[layer.input].format == "smol":
        codes = held_codes(net, layer)
        own = np.arange(layer.begin, layer.begin + net.tensors[layer.targets[0]].channels)
        held = Held(codes.factor[own], codes.excess[..., own])
    return Slice(net, layer, places, held)
