"""``softmax``: the largest score of a query and head, then the weight of every distance to it, from a table.

Scores and weights normally lie in the same blocks: a block's weights are put together in a register and stored as one
memory word. Elsewhere they are moved one by one. Of floats the exponentials are computed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import plus
from sysmol.kernels_c.nest.kernel import Kernel, parameters
from sysmol.kernels_c.operations.base import Places, generates
from sysmol.kernels_c.operations.bytes import BLOCK, STORES, TABLE, element_bits, has_tables, in_registers, pairs
from sysmol.kernels_c.operations.floats import Floats
from sysmol.kernels_c.plan.constants import array_text, identifier
from sysmol.kernels_c.plan.layout import Block, runs
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer, Network
from sysmol.network.operations.softmax import weight_bits, weight_table
from sysmol.pattern import REGISTER_BYTES


class Softmax(Kernel):
    """Pixel by pixel, head by head."""

    def __init__(self, net: Network, layer: Layer, places: Places) -> None:
        self.layer = layer
        self.name = identifier(layer.name)
        self.source, self.target = places[layer.input], places[layer.output]
        self.bits = [int(p) for p in weight_bits(layer, net.tensors[layer.output])]
        self.count = self.source.tensor.channels // len(self.bits)
        alike = self.source.blocks == self.target.blocks and self.target.tensor.format == "smol"
        self.blocks = self.target.blocks if alike else ()

    def emit(self, em: Emitter) -> list[str]:
        """Write the layer's function; returns the text of its constant arrays."""
        source, target, name = self.source, self.target, self.name
        self.tables = has_tables(em.costs)
        head = f"SMOL_KERNEL {name}({parameters(self.layer)})"
        with (
            em.block(head),
            self._in_registers(em),
            em.loop("y", source.tensor.height),
            em.loop("x", source.tensor.width),
        ):
            for buffer, place, kind, to in (("in", source, "const ", "scores"), ("out0", target, "", "weights")):
                corner = f"{place.start()} + y * {place.row_bytes} + x * {place.pixel_bytes}"
                em.line(f"{kind}uint8_t *{to} = {buffer} + {corner};", scalar=3)
            for number, p in enumerate(self.bits):
                with em.block():
                    if count := self._whole(number):
                        self._sixteens(em, number, p, count)
                    elif self.blocks:
                        self._blocks(em, number, p)
                    else:
                        self._elements(em, number, p)
        em.line()
        return self._arrays()

    def _arrays(self) -> list[str]:
        text = []
        for p in sorted(set(self.bits)):
            table = weight_table(p)
            table = in_registers(table) if self.tables else table.astype(np.uint8)
            text.append(array_text(f"{self.name}_w{p}", table, f"weights of {p} bits by distance to the largest score"))
        places: dict[str, list[int]]
        if self.blocks:
            every = range(len(self.blocks))
            places = {"at0": [self.source.block_base(i) for i in every], "at1": [b.offset for b in self.blocks]}
        else:
            places = {"at0": self.source.positions(), "at1": self.target.positions()}
        for key, what in (("at0", "scores"), ("at1", "weights")):
            text.append(
                array_text(f"{self.name}_{key}", np.array(places[key], dtype=np.int32), f"places of the {what}")
            )
        return text

    # --- sixteen by sixteen ---

    def _whole(self, head: int) -> int:
        """Pairs of blocks that make up a head, 0 where they do not, or where the target has no tables."""
        blocks, rest = divmod(self.count, BLOCK)
        if not self.tables or rest or blocks % 2:
            return 0
        own = [i for i, block in enumerate(self.source.blocks) if self._head_of(block) == head]
        if own != list(range(own[0], own[0] + blocks)):
            return 0
        return pairs(self.source, self.target, own[0], blocks)

    @contextmanager
    def _in_registers(self, em: Emitter) -> Iterator[None]:
        """Around the kernel: tables of the heads that use them."""
        for p in sorted({p for head, p in enumerate(self.bits) if self._whole(head)}):
            for part in range(self._parts(p)):
                em.line(f"const vectable table{p}_{part} = v_load_table({self.name}_w{p} + {TABLE * part});")
        yield

    def _parts(self, p: int) -> int:
        return -(-(len(weight_table(p)) - 1) // TABLE)  # the last entry is 0, as is what no table has

    def _sixteens(self, em: Emitter, head: int, p: int, count: int) -> None:
        first = next(i for i, block in enumerate(self.source.blocks) if self._head_of(block) == head)
        scores = plus("scores", self.source.block_base(first))
        em.line("vec16 most = v_dup16(-32768);")
        with em.loop("i", 2 * count):
            em.line(f"most = v_max16(most, v_load16({scores} + {REGISTER_BYTES} * i));")
        em.line("const vec16 top = v_dup16(v_hmax16(most));")
        size = element_bits(self.target, first)
        with em.loop("i", count):
            blocks = [f"v_load16({scores} + {REGISTER_BYTES} * (2 * i + {n}))" for n in (0, 1)]
            em.line(f"const vec below = v_below(top, {', '.join(blocks)});")
            em.line(f"vec weight = v_lookup(table{p}_0, below);")
            if self._parts(p) > 1:
                em.line(f"weight = v_lookup_next(weight, table{p}_1, below);")
            to = plus("weights", self.target.block_base(first))
            em.line(f"{STORES[size]}({to} + {2 * size} * i, weight);")

    # --- block by block ---

    def _runs(self, head: int) -> Iterator[tuple[int, int]]:
        """Runs of a head's blocks with the same lanes: first, count."""
        for number, first, count in runs(self.blocks, self._head_of):
            if number == head:
                yield first, count

    def _head_of(self, block: Block) -> int:
        return next(c for group in block.groups for c in group if c >= 0) // self.count

    def _blocks(self, em: Emitter, head: int, p: int) -> None:
        last = len(weight_table(p)) - 1
        em.line("int top = -32768;")
        for first, count in self._runs(head):
            with em.loop("t", count):
                em.line(f"const uint8_t *at = scores + m_get_s32({self.name}_at0, {first} + t);", scalar=1)
                for _, score in self._lanes(self.blocks[first]):
                    em.line(f"top = m_max(top, {score});")
        for first, count in self._runs(head):
            block = self.blocks[first]
            with em.loop("t", count):
                em.line(f"const uint8_t *at = scores + m_get_s32({self.name}_at0, {first} + t);", scalar=1)
                em.line("uint32_t word = 0;")
                for shift, score in self._lanes(block):
                    weight = f"m_load8({self.name}_w{p} + m_min(top - {score}, {last}))"
                    em.line(f"word |= {weight} << {shift};", scalar=3)
                em.line(f"m_store{block.bits}(weights + m_get_s32({self.name}_at1, {first} + t), word);", scalar=1)

    @staticmethod
    def _lanes(block: Block) -> list[tuple[int, str]]:
        """Shift of every lane's code in the memory word, and C expression of its score at ``at``."""
        return [
            (block.shifts[g][lane], f"m_get_s16(at, {2 * lane + g})")
            for g, group in enumerate(block.groups)
            for lane, channel in enumerate(group)
            if channel >= 0
        ]

    # --- element by element ---

    def _elements(self, em: Emitter, head: int, p: int) -> None:
        first, last = head * self.count, len(weight_table(p)) - 1
        em.line("int top = -32768;")
        with em.loop("j", self.count):
            em.line(f"top = m_max(top, m_get_s16(scores, m_get_s32({self.name}_at0, {first} + j)));", scalar=2)
        with em.loop("j", self.count):
            em.line(f"const int below = top - m_get_s16(scores, m_get_s32({self.name}_at0, {first} + j));", scalar=3)
            em.line(f"const int weight = (int)m_load8({self.name}_w{p} + m_min(below, {last}));", scalar=1)
            at = f"m_get_s32({self.name}_at1, {first} + j)"
            code = self.target.tensor.format == "smol"
            em.line(
                f"m_put_code(weights, {at}, {p}, weight);" if code else f"m_put_s8(weights, {at}, weight);", scalar=1
            )


WIDE = 4
"""Registers of floats side by side."""


class FloatSoftmax(Kernel):
    """The largest score of a query and head; the exponentials and their sum; every weight over the sum."""

    def __init__(self, layer: Layer, places: Places) -> None:
        self.layer = layer
        self.name = identifier(layer.name)
        self.source, self.target = places[layer.input], places[layer.output]
        self.count = self.source.tensor.channels // layer.groups
        self.floats = Floats(f"{self.name}_numbers")

    def emit(self, em: Emitter) -> list[str]:
        """Write the layer's function; returns the text of its constant arrays."""
        t = self.source.tensor
        with em.block(f"SMOL_KERNEL {self.name}({parameters(self.layer)})"):
            em.line("v_begin();")
            self.floats.exponentials(Emitter(em.costs), ["x"], negative=True)
            self.floats.declare(em)
            with em.loop("y", t.height), em.loop("x", t.width), em.loop("head", self.layer.groups):
                for buffer, place, kind, to in (
                    ("in", self.source, "const ", "scores"),
                    ("out0", self.target, "", "weights"),
                ):
                    corner = f"{place.start()} + y * {place.row_bytes} + x * {place.pixel_bytes}"
                    em.line(f"{kind}uint8_t *{to} = {buffer} + {corner} + head * {4 * self.count};", scalar=3)
                self._head(em)
        em.line()
        return [self.floats.array()]

    def _runs(self, em: Emitter) -> Iterator[tuple[str, int]]:
        """Loops over a head's registers: the C offset of the first, and how many side by side."""
        full = self.count // 4
        many, few = divmod(full, WIDE)
        if many:
            with em.loop("i", many):
                yield f"i * {16 * WIDE}", WIDE
        if few:
            with em.block():
                yield str(16 * WIDE * many), few

    def _rest(self, em: Emitter) -> None:
        """The scores behind the last whole register as ``last``, nothing in the other lanes."""
        rest = self.count % 4
        em.line("uint8_t last[16];")
        with em.loop("lane", 4):
            em.line("m_put_f32(last, lane, -__builtin_inff());")
        em.line(f"memcpy(last, scores + {4 * (self.count - rest)}, {4 * rest});", scalar=rest)

    def _head(self, em: Emitter) -> None:
        rest, wide = self.count % 4, range(min(WIDE, max(1, self.count // 4)))
        if rest:
            self._rest(em)
        for n in wide:
            em.line(f"vec top{n} = v_load({'last' if rest and self.count < 4 else 'scores'});")
        for at, count in self._runs(em):
            for n in range(count):
                em.line(f"top{n} = v_fmax(top{n}, v_load(scores + {at} + {16 * n}));")
        if rest:
            em.line("top0 = v_fmax(top0, v_load(last));")
        self._lanes(em, "top", [f"top{n}" for n in wide], "top = value > top ? value : top;", "-__builtin_inff()")
        em.line("const vec minus = v_dup(m_bits(-top));")
        for n in wide:
            em.line(f"vec sum{n} = v_zero();")
        for at, count in self._runs(em):
            self._exponentials(em, [f"scores + {at} + {16 * n}" for n in range(count)], "weights + {at} + {n}", at)
        if rest:
            with em.block():
                self._exponentials(em, ["last"], "last", "0")
        self._lanes(em, "total", [f"sum{n}" for n in wide], "total += value;", "0.0f")
        em.line("const vec share = v_dup(m_bits(1.0f / total));", scalar=1)
        for at, count in self._runs(em):
            for n in range(count):
                place = f"weights + {at} + {16 * n}"
                em.line(f"v_store({place}, v_fmul(v_load({place}), share));")
        if rest:
            em.line("v_store(last, v_fmul(v_load(last), share));")
            em.line(f"memcpy(weights + {4 * (self.count - rest)}, last, {4 * rest});", scalar=rest)

    def _exponentials(self, em: Emitter, sources: list[str], target: str, at: str) -> None:
        for n, source in enumerate(sources):
            em.line(f"const vec d{n} = v_fadd(v_load({source}), minus);")
        made = self.floats.exponentials(em, [f"d{n}" for n in range(len(sources))], negative=True)
        for n, name in enumerate(made):
            em.line(f"sum{n} = v_fadd(sum{n}, {name});")
            em.line(f"v_store({target.format(at=at, n=16 * n)}, {name});")

    @staticmethod
    def _lanes(em: Emitter, result: str, registers: list[str], step: str, start: str) -> None:
        """A C variable ``result`` made step by step of the ``value`` of every lane."""
        em.line(f"float {result} = {start};")
        with em.block():
            em.line(f"uint8_t lanes[{16 * len(registers)}];")
            for n, name in enumerate(registers):
                em.line(f"v_store(lanes + {16 * n}, {name});")
            with em.loop("lane", 4 * len(registers)):
                em.line("const float value = m_get_f32(lanes, lane);")
                em.line(step, scalar=1)


@generates("softmax")
def softmax(net: Network, layer: Layer, places: Places, target: Target, options: Options) -> Kernel:
    """The same for every target."""
    if net.is_float:
        return FloatSoftmax(layer, places)
    return Softmax(net, layer, places)
