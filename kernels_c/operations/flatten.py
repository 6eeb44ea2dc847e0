"""``flatten``: elements of an image into the channels of one pixel, one after the other.

The elements that a layer writes lie in the order of the layer that reads them, not in the image's, so they are moved
one by one.
"""

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import plus, times
from sysmol.kernels_c.nest.elements import Elements
from sysmol.kernels_c.nest.kernel import parameters
from sysmol.kernels_c.operations.base import Places, generates
from sysmol.kernels_c.plan.constants import held_codes
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer, Network


class Flatten(Elements):
    """Element by element: ``at`` counts channels of the output, ``c`` those of a pixel of the input."""

    def __init__(self, net: Network, layer: Layer, places: Places) -> None:
        held, x = None, net.tensors[layer.input]
        if x.format == "smol":
            codes, pixels = held_codes(net, layer), x.height * x.width
            tops = (1 << x.precisions) - 1
            held = codes._replace(factor=np.tile(codes.factor, pixels), excess=np.tile(tops, pixels)[None, None])
        super().__init__(net, layer, places, held)

    def emit(self, em: Emitter) -> list[str]:
        """Write the layer's function; returns the text of its constant arrays."""
        t, source = self.source.tensor, self.source
        with em.block(f"SMOL_KERNEL {self.name}({parameters(self.layer)})"):
            em.line("int at = 0;")
            with em.loop("y", t.height), em.loop("x", t.width):
                corner = plus(source.start(), times("y", source.row_bytes), times("x", source.pixel_bytes))
                em.line(f"const uint8_t *pixel = in + {corner};", scalar=3)
                with em.loop("c", t.channels):
                    self.declare(em, self.read(source, "pixel", "c", "in"))
                    self.write(em)
                    em.line("at++;", scalar=1)
        em.line()
        return self.text


@generates("flatten")
def flatten(net: Network, layer: Layer, places: Places, target: Target, options: Options) -> Flatten:
    """The same for every format and target."""
    return Flatten(net, layer, places)
