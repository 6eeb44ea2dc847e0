"""Register tiles: several output channels and pixels accumulate side by side."""

from kernels_c.codegen.choose import choose
from kernels_c.codegen.emitter import Emitter
from kernels_c.codegen.epilogue import Tile, times
from kernels_c.codegen.micro import MicroKernel, micro_class
from kernels_c.codegen.nest.base import LoopNest
from kernels_c.codegen.schedule import Schedule


class OutputStationary(LoopNest):
    """The accumulators of a tile stay in registers over the whole reduction: kernel rows, taps, input channels."""

    anchor = "os"

    def plan(self) -> Schedule:
        kind = micro_class(self.style(), self.layer, self.source, self.target)
        return choose(self.height, self.width, len(self.blocks), self.style(), kind.work)

    def tile(self, em: Emitter, micro: MicroKernel, tile: Tile) -> None:
        em.line("const uint8_t *w = weights;")
        micro.begin(em)
        rows = 1 if micro.whole else self.layer.kernel[0]
        with em.loop("ky", rows):
            em.line(f"const uint8_t *x = corner + {times('ky', self.source.row_bytes)};", scalar=1)
            micro.row(em)
        micro.end(em)
        self.epilogue.emit(em, tile, micro.accumulators())
        self.chains = max(self.chains, micro.count)
        self.chain_length = micro.chain * rows
