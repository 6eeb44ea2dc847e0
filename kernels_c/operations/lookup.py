"""``lookup``: bytes are looked up one by one.

Where the output are codes whose constants are the same in all lanes of a block, the table holds the codes themselves: a
block's codes are put together in a register and stored as one memory word. Elsewhere the entries pass the common
epilogue.
"""

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import plus
from sysmol.kernels_c.nest.elementwise import Elementwise
from sysmol.kernels_c.nest.kernel import parameters
from sysmol.kernels_c.operations.base import Places, generates
from sysmol.kernels_c.plan.constants import array_text
from sysmol.kernels_c.plan.layout import Block, runs
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import LOW, Layer, Network
from sysmol.network.operations.lookup import ENTRIES

Codes = tuple[int, ...]
"""The code of every index."""


class Lookup(Elementwise):
    """Lanes without a channel may hold any byte: they are not read, or only what an index can be is used of them."""

    def runs(self) -> list[tuple[Codes, int, int]] | None:
        """The runs of the only output's blocks with the same codes for every index, None where its codes are no
        function of the index alone."""
        (out, *others), target = self.layer.outputs, self.epilogue.targets[0]
        simple = out.multiply == LOW and not self.layer.residual and not others
        if not (simple and target.tensor.format == "smol" and self.epilogue.fast[0]):
            return None
        found = runs(self.blocks, self._codes)
        if any(len(tables) > 1 for tables, *_ in found):
            return None
        return [(codes, first, count) for (codes,), first, count in found]

    def _codes(self, block: Block) -> list[Codes]:
        """The different tables of codes of a block's channels."""
        out, table = self.layer.outputs[0], np.array(self.layer.table, dtype=np.int64)
        assert out.M is not None
        high = min(int(out.hi), (1 << block.precision) - 1)
        constants = {(int(out.M[c]), int(out.B[0, 0, c])) for group in block.groups for c in group if c >= 0}
        return [tuple(np.clip((table * m + b) >> out.shift, int(out.lo), high).tolist()) for m, b in constants]

    def emit(self, em: Emitter) -> list[str]:
        """Write the layer's function; returns the text of its constant arrays."""
        found = self.runs()
        if found is not None:
            return self._emit_codes(em, found)
        table = np.array(self.layer.table, dtype=np.int16)
        return [array_text(f"{self.name}_table", table, "the function's values"), *super().emit(em)]

    def _emit_codes(self, em: Emitter, found: list[tuple[Codes, int, int]]) -> list[str]:
        tables = sorted({codes for codes, *_ in found})
        target = self.epilogue.targets[0]
        with em.block(f"SMOL_KERNEL {self.name}({parameters(self.layer)})"):
            for codes, first, count in found:
                block = self.blocks[first]
                with em.loop("t", count):
                    em.line(f"const int from = m_get_s32({self.name}_at0, {plus('t', first)});", scalar=1)
                    em.line(f"const int to = m_get_s32({self.name}_at1, {plus('t', first)});", scalar=1)
                    with em.loop("oy", self.height), em.loop("ox", self.width):
                        corner = [f"oy * {p.row_bytes} + ox * {p.pixel_bytes}" for p in (self.source, target)]
                        em.line(f"const uint8_t *x = in + {self.source.start()} + {corner[0]} + from;", scalar=2)
                        em.line("uint32_t word = 0;")
                        for g, group in enumerate(block.groups):
                            for lane, channel in enumerate(group):
                                if channel >= 0:
                                    code = f"m_load8({self.name}_w{tables.index(codes)} + x[{4 * g + lane}])"
                                    em.line(f"word |= {code} << {block.shifts[g][lane]};", scalar=2)
                        em.line(f"m_store{block.bits}(out0 + {target.start()} + {corner[1]} + to, word);", scalar=2)
        em.line()
        every = range(len(self.blocks))
        places = (("at0", [self.source.block_base(i) for i in every]), ("at1", [b.offset for b in self.blocks]))
        return [
            *(array_text(f"{self.name}_w{n}", np.array(t, dtype=np.uint8), "codes") for n, t in enumerate(tables)),
            *(array_text(f"{self.name}_{key}", np.array(at, dtype=np.int32), "places of blocks") for key, at in places),
        ]

    def gather(self, em: Emitter, block: Block) -> list[str]:
        index = f"m_get_s8(corner, lane) & {ENTRIES - 1}"
        self.lane_by_lane(em, block, "a", f"m_get_s16({self.name}_table, {index})", scalar=3)
        return [f"a{g}" for g in range(len(block.groups))]


@generates("lookup")
def lookup(net: Network, layer: Layer, places: Places, target: Target, options: Options) -> Lookup:
    """The same for every target."""
    return Lookup(net, layer, places, options)
