"""``upsample``: every pixel is read once for each place that it is stored to."""

from collections.abc import Iterator
from contextlib import contextmanager

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import expand, plus, times
from sysmol.kernels_c.nest.moved import Moved
from sysmol.kernels_c.operations.base import Places, generates
from sysmol.kernels_c.plan.layout import Block
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer, Network


class Upsample(Moved):
    """Loops over the input's pixels ``y``, ``x`` and, inside, over the rows and columns that each becomes."""

    @contextmanager
    def pixels(self, em: Emitter) -> Iterator[None]:
        (rows, columns), t = self.layer.kernel, self.source.tensor
        with em.loop("y", t.height), em.loop("ky", rows), em.loop("x", t.width), em.loop("kx", columns):
            em.line(f"const int oy = {plus(times('y', rows), 'ky')}, ox = {plus(times('x', columns), 'kx')};", scalar=2)
            yield

    def choose(self, em: Emitter, block: Block) -> None:
        em.line(f"const uint8_t *from = {self.address('y', 'x')};", scalar=3)
        expand(em, self.source, ["from"], block, ["e"])
        for g in range(len(block.groups)):
            em.line(f"vec a{g} = e{g};")


@generates("upsample")
def upsample(net: Network, layer: Layer, places: Places, target: Target, options: Options) -> Upsample:
    """The same for every format and target."""
    return Upsample(net, layer, places)
