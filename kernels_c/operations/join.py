"""``join``: the channels of two pixels, element by element."""

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.nest.elements import Elements
from sysmol.kernels_c.nest.kernel import parameters
from sysmol.kernels_c.operations.base import Places, generates
from sysmol.kernels_c.operations.slice import PIXEL
from sysmol.kernels_c.plan.constants import Held
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer, Network


class Join(Elements):
    """Pixel by pixel, first the one input, then the other."""

    def __init__(self, net: Network, layer: Layer, places: Places, held: Held) -> None:
        super().__init__(net, layer, places, None if net.is_float else held)
        self.inputs = (("in", self.source), ("second", places[layer.second]))

    def emit(self, em: Emitter) -> list[str]:
        """Write the layer's function; returns the text of its constant arrays."""
        t = self.targets[0].tensor
        head = f"SMOL_KERNEL {self.name}({parameters(self.layer)})"
        with em.block(head), em.loop("y", t.height), em.loop("x", t.width):
            before = 0
            for number, (buffer, place) in enumerate(self.inputs):
                corner = PIXEL.format(row=place.row_bytes, pixel=place.pixel_bytes)
                with em.loop("c", place.tensor.channels):
                    em.line(f"const uint8_t *pixel = {buffer} + {place.start()} + {corner};", scalar=3)
                    em.line(f"const int at = {before} + c;", scalar=1)
                    self.declare(em, self.read(place, "pixel", "c", f"to{number}_in"))
                    self.write(em, PIXEL)
                before += place.tensor.channels
        em.line()
        return self.text


@generates("join")
def join(net: Network, layer: Layer, places: Places, target: Target, options: Options) -> Join:
    """The same for every format and target."""
    factors, tops = [], []
    for name in layer.inputs:
        t = net.tensors[name]
        codes = t.format == "smol"
        factors.append(np.full(t.channels, 2 if codes else 1))
        tops.append((1 << t.precisions) - 1 if codes else np.zeros(t.channels, dtype=np.int64))
    held = Held(np.concatenate(factors), np.concatenate(tops)[None, None])
    return Join(net, layer, places, held)
