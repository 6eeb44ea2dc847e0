"""``maxpool``: elements are compared in 32-bit lanes and stored as they are."""

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import expand, plus, store, times
from sysmol.kernels_c.nest.kernel import Kernel, parameters
from sysmol.kernels_c.operations.base import Places, generates
from sysmol.kernels_c.plan.constants import array_text, identifier
from sysmol.kernels_c.plan.layout import Block, segments
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer, Network


class MaxPool(Kernel):
    """Elementwise maximum. Codes compare as their values do; taps outside the image repeat a tap inside it."""

    def __init__(self, net: Network, layer: Layer, places: Places) -> None:
        self.layer = layer
        self.name = identifier(layer.name)
        self.source, self.target = places[layer.input], places[layer.output]
        self.blocks = self.source.blocks
        self.height, self.width = self.target.tensor.height, self.target.tensor.width

    def emit(self, em: Emitter) -> list[str]:
        place = self.target
        layer, source = self.layer, self.source
        text = []
        offsets = ", ".join(str(b.offset) for b in self.blocks)
        text.append(f"static const uint16_t {self.name}_at[] = {{{offsets}}};\n")
        real = source.tensor.format == "f32"
        with em.block(f"SMOL_KERNEL {self.name}({parameters(layer)})"):
            em.line("v_begin();")
            em.line("const vec zero = v_zero();")
            em.line("(void)zero;")
            for first, count in segments(self.blocks):
                block = self.blocks[first]
                groups = range(len(block.groups))
                if self.source.tensor.format == "smol":
                    name = f"{self.name}_shift{first}"
                    shifts = np.array(block.shifts, dtype=np.int32)
                    text.append(array_text(name, shifts, "left shift of every lane's code in its memory word"))
                    for g in groups:
                        em.line(f"const vec shift{first}_{g} = v_load({name} + {16 * g});")
                with em.loop("t", count), em.loop("oy", self.height), em.loop("ox", self.width):
                    if self.source.tensor.format == "smol":
                        for g in groups:
                            em.line(f"const vec s{g} = shift{first}_{g};")
                        em.line(f"const int at = {self.name}_at[{plus('t', first)}];", scalar=1)
                    else:
                        step = source.block_base(first + 1) - source.block_base(first) if count > 1 else 0
                        em.line(f"const int at = {plus(source.block_base(first), times('t', step))};", scalar=1)
                    self._window(em, real, block, groups)
                    target = plus(place.start(), times("oy", place.row_bytes), times("ox", place.pixel_bytes), "at")
                    store(em, place, [f"out0 + {target}"], block, [[f"a{g}" for g in groups]])
        em.line()
        return text

    def _window(self, em: Emitter, real: bool, block: Block, groups: range) -> None:
        sy, sx = self.layer.stride
        top, left = self.layer.padding[:2]
        t, source = self.source.tensor, self.source
        highest = {"rows": t.height - 1, "columns": t.width - 1}
        start = plus(source.start(), "at")
        em.line(f"const int fy = m_max(oy * {sy} - {top}, 0), fx = m_max(ox * {sx} - {left}, 0);", scalar=2)
        corner = plus(start, times("fy", source.row_bytes), times("fx", source.pixel_bytes))
        em.line(f"const uint8_t *first = in + {corner};", scalar=4)
        expand(em, source, ["first"], block, ["f"])
        for g in groups:
            em.line(f"vec a{g} = {'v_fmax' if real else 'v_max'}(f{g}, f{g});")
        with em.loop("ky", self.layer.kernel[0]), em.loop("kx", self.layer.kernel[1]):
            em.line(f"const int y = m_min(m_max(oy * {sy} - {top} + ky, 0), {highest['rows']});", scalar=3)
            em.line(f"const int x = m_min(m_max(ox * {sx} - {left} + kx, 0), {highest['columns']});", scalar=3)
            where = plus(start, times("y", source.row_bytes), times("x", source.pixel_bytes))
            em.line(f"const uint8_t *tap = in + {where};", scalar=4)
            expand(em, source, ["tap"], block, ["e"])
            for g in groups:
                em.line(f"a{g} = {'v_fmax' if real else 'v_max'}(a{g}, e{g});")


@generates("maxpool")
def max_pool(net: Network, layer: Layer, places: Places, target: Target, options: Options) -> MaxPool:
    """The same for every format and target."""
    return MaxPool(net, layer, places)
