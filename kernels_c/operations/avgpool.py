"""``avgpool``: sums of elements over the window, in 32-bit lanes."""

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import expand, plus, times
from sysmol.kernels_c.nest.elementwise import Elementwise
from sysmol.kernels_c.operations.base import Places, generates
from sysmol.kernels_c.plan.layout import Block
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer, Network


class AveragePool(Elementwise):
    """Sums of elements; the division is part of M."""

    def gather(self, em: Emitter, block: Block) -> list[str]:
        groups = range(len(block.groups))
        for g in groups:
            em.line(f"vec a{g} = v_zero();")
        add = "v_fadd" if self.source.tensor.format == "f32" else "v_add"
        with em.loop("ky", self.layer.kernel[0]), em.loop("kx", self.layer.kernel[1]):
            step = plus(times("ky", self.source.row_bytes), times("kx", self.source.pixel_bytes))
            em.line(f"const uint8_t *at = corner + {step};", scalar=2)
            expand(em, self.source, ["at"], block, ["x"], self.natural)
            for g in groups:
                em.line(f"a{g} = {add}(a{g}, x{g});")
        return [f"a{g}" for g in groups]


@generates("avgpool")
def average_pool(net: Network, layer: Layer, places: Places, target: Target, options: Options) -> AveragePool:
    """The same for every format and target."""
    return AveragePool(net, layer, places, options)
