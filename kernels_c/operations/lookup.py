"""``lookup``: bytes are looked up one by one, functions of floats computed.

Where the output are codes whose constants are the same in all lanes of a block, the table holds the codes themselves: a
block's codes are put together in a register and stored as one memory word. Elsewhere the entries pass the common
epilogue.
"""

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import expand, plus
from sysmol.kernels_c.nest.elementwise import Elementwise
from sysmol.kernels_c.nest.kernel import parameters
from sysmol.kernels_c.operations.base import Places, generates
from sysmol.kernels_c.operations.bytes import STORES, element_bits, has_tables, in_registers, pairs
from sysmol.kernels_c.operations.floats import Floats
from sysmol.kernels_c.plan.constants import array_text
from sysmol.kernels_c.plan.layout import Block, runs
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import LOW, Layer, Network
from sysmol.network.operations.lookup import ENTRIES
from sysmol.pattern import REGISTER_BYTES

Codes = tuple[int, ...]
"""The code of every index."""


class Lookup(Elementwise):
    """Lanes without a channel may hold any byte: they are not read, or only what an index can be is used of them."""

    def runs(self) -> list[tuple[Codes, int, int]] | None:
        """The runs of the only output's blocks with the same codes, or bytes, for every index, None where they are no
        function of the index alone."""
        (out, *others), target = self.layer.outputs, self.epilogue.targets[0]
        simple = out.multiply == LOW and not self.layer.residual and not others
        if not (simple and target.tensor.format in ("smol", "s8") and self.epilogue.fast[0]):
            return None
        found = runs(self.blocks, self._codes)
        if any(len(tables) > 1 for tables, *_ in found):
            return None
        return [(codes, first, count) for (codes,), first, count in found]

    def _codes(self, block: Block) -> list[Codes]:
        """The different tables of codes of a block's channels."""
        out, table = self.layer.outputs[0], np.array(self.layer.table, dtype=np.int64)
        assert out.M is not None
        codes = self.epilogue.targets[0].tensor.format == "smol"
        high = min(int(out.hi), (1 << block.precision) - 1) if codes else int(out.hi)
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
        whole = {first: pairs(self.source, target, first, n) for _, first, n in found} if has_tables(em.costs) else {}
        with em.block(f"SMOL_KERNEL {self.name}({parameters(self.layer)})"):
            for codes, first, count in found:
                block, table = self.blocks[first], f"{self.name}_w{tables.index(codes)}"
                if sixteens := whole.get(first, 0):
                    self._sixteens(em, table, first, sixteens)
                    first, count = first + 2 * sixteens, count - 2 * sixteens
                if not count:
                    continue
                with em.loop("t", count):
                    em.line(f"const int from = m_get_s32({self.name}_at0, {plus('t', first)});", scalar=1)
                    em.line(f"const int to = m_get_s32({self.name}_at1, {plus('t', first)});", scalar=1)
                    with em.loop("oy", self.height), em.loop("ox", self.width):
                        corner = [f"oy * {p.row_bytes} + ox * {p.pixel_bytes}" for p in (self.source, target)]
                        em.line(f"const uint8_t *x = in + {self.source.start()} + {corner[0]} + from;", scalar=2)
                        em.line(f"uint8_t *y = out0 + {target.start()} + {corner[1]} + to;", scalar=2)
                        self._block_of_codes(em, table, block)
        em.line()
        every = range(len(self.blocks))
        places = [(f"at{n}", [place.block_base(i) for i in every]) for n, place in enumerate((self.source, target))]
        return [
            *(array_text(f"{self.name}_w{n}", in_registers(np.array(t)), "codes") for n, t in enumerate(tables)),
            *(array_text(f"{self.name}_{key}", np.array(at, dtype=np.int32), "places of blocks") for key, at in places),
        ]

    def _block_of_codes(self, em: Emitter, table: str, block: Block) -> None:
        """A block of codes at ``y`` from the indices at ``x``: put together, or byte by byte."""
        used = [(g, lane) for g, group in enumerate(block.groups) for lane, c in enumerate(group) if c >= 0]
        if self.epilogue.targets[0].tensor.format != "smol":
            for g, lane in used:
                em.line(f"m_store8(y + {4 * g + lane}, m_load8({table} + x[{4 * g + lane}]));", scalar=1)
            return
        em.line("uint32_t word = 0;")
        for g, lane in used:
            em.line(f"word |= m_load8({table} + x[{4 * g + lane}]) << {block.shifts[g][lane]};", scalar=2)
        em.line(f"m_store{block.bits}(y, word);")

    def _sixteens(self, em: Emitter, table: str, first: int, count: int) -> None:
        """``count`` pairs of blocks from ``first`` on, of every pixel."""
        target = self.epilogue.targets[0]
        size = element_bits(target, first)
        with em.block():
            em.line(f"const vectable table = v_load_table({table});")
            with em.loop("oy", self.height), em.loop("ox", self.width):
                for name, kind, buffer, place in (
                    ("x", "const uint8_t", "in", self.source),
                    ("y", "uint8_t", "out0", target),
                ):
                    corner = f"oy * {place.row_bytes} + ox * {place.pixel_bytes}"
                    em.line(
                        f"{kind} *{name} = {buffer} + {corner} + {place.start() + place.block_base(first)};", scalar=2
                    )
                with em.loop("i", count):
                    em.line(f"{STORES[size]}(y + {2 * size} * i, v_lookup(table, v_load(x + {REGISTER_BYTES} * i)));")

    def gather(self, em: Emitter, block: Block) -> list[str]:
        index = f"m_get_s8(corner, lane) & {ENTRIES - 1}"
        self.lane_by_lane(em, block, "a", f"m_get_s16({self.name}_table, {index})", scalar=3)
        return [f"a{g}" for g in range(len(block.groups))]


class Function(Elementwise):
    """A function of floats."""

    def __init__(self, net: Network, layer: Layer, places: Places, options: Options) -> None:
        super().__init__(net, layer, places, options)
        self.floats = Floats(f"{self.name}_numbers")

    def emit(self, em: Emitter) -> list[str]:
        return [*super().emit(em), self.floats.array()]

    def begin(self, em: Emitter) -> None:
        self._of(Emitter(em.costs), ["x"])
        self.floats.declare(em)

    def _of(self, em: Emitter, x: list[str]) -> list[str]:
        made: list[str] = getattr(self.floats, self.layer.function)(em, x)
        return made

    def gather(self, em: Emitter, block: Block) -> list[str]:
        expand(em, self.source, ["corner"], block, ["x"])
        return self._of(em, [f"x{g}" for g in range(len(block.groups))])


@generates("lookup")
def lookup(net: Network, layer: Layer, places: Places, target: Target, options: Options) -> Elementwise:
    """The same for every target."""
    if layer.function:
        return Function(net, layer, places, options)
    return Lookup(net, layer, places, options)
