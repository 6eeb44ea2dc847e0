"""``maxpool``: elements are compared in 32-bit lanes and stored as they are."""

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import expand
from sysmol.kernels_c.nest.moved import Moved
from sysmol.kernels_c.operations.base import Places, generates
from sysmol.kernels_c.plan.layout import Block
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer, Network


class MaxPool(Moved):
    """Elementwise maximum. Codes compare as their values do; taps outside the image repeat a tap inside it."""

    def choose(self, em: Emitter, block: Block) -> None:
        sy, sx = self.layer.stride
        top, left = self.layer.padding[:2]
        t, source, groups = self.source.tensor, self.source, range(len(block.groups))
        largest = "v_fmax" if self.real else "v_max"
        em.line(f"const int fy = m_max(oy * {sy} - {top}, 0), fx = m_max(ox * {sx} - {left}, 0);", scalar=2)
        em.line(f"const uint8_t *first = {self.address('fy', 'fx')};", scalar=4)
        expand(em, source, ["first"], block, ["f"])
        for g in groups:
            em.line(f"vec a{g} = {largest}(f{g}, f{g});")
        with em.loop("ky", self.layer.kernel[0]), em.loop("kx", self.layer.kernel[1]):
            em.line(f"const int y = m_min(m_max(oy * {sy} - {top} + ky, 0), {t.height - 1});", scalar=3)
            em.line(f"const int x = m_min(m_max(ox * {sx} - {left} + kx, 0), {t.width - 1});", scalar=3)
            em.line(f"const uint8_t *tap = {self.address('y', 'x')};", scalar=4)
            expand(em, source, ["tap"], block, ["e"])
            for g in groups:
                em.line(f"a{g} = {largest}(a{g}, e{g});")


@generates("maxpool")
def max_pool(net: Network, layer: Layer, places: Places, target: Target, options: Options) -> MaxPool:
    """The same for every format and target."""
    return MaxPool(net, layer, places)
