"""``attend``: values are packed channel by channel, tokens along the slots that the weights have; then queries run over
them.

A weight's code u stands for ``2u - top`` in the instruction. Sums begin with ``top`` times the sum of a channel's
values, so that they end as ``2 * sum of u * g``; unused slots, whose u is 0, thereby cancel whatever values hold there.
"""

from collections.abc import Sequence

import numpy as np

from sysmol.grid import PRODUCT_SHIFT
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.nest.heads import LANES, HeadsKernel, as_offsets, pixel_offsets, squares
from sysmol.kernels_c.nest.kernel import Kernel
from sysmol.kernels_c.nest.plain_heads import PlainAttend
from sysmol.kernels_c.operations.base import Places, generates
from sysmol.kernels_c.plan.constants import array_text
from sysmol.kernels_c.plan.layout import Group
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Array, Layer, Network
from sysmol.network.operations.attend import MEAN_BITS, dividend
from sysmol.network.operations.heads import head_precisions, tokens
from sysmol.packing import pack
from sysmol.pattern import REGISTER_BYTES

WORD_BITS = 32


class Attend(HeadsKernel):
    """A row is a channel of the values, its tokens in the slots of the weights. In the caller's memory: the rows of one
    run of blocks, what their sums begin with, and the reciprocal sum of the weights of every query and head."""

    def __init__(self, net: Network, layer: Layer, places: Places, options: Options) -> None:
        super().__init__(net, layer, places, options, None)
        self.bits = [int(p) for p in head_precisions(layer, net.tensors[layer.input])]
        self.tokens = tokens(net.tensors[layer.second])
        self.packed: set[int] = set()

    def _foreign(self, head: int) -> int:
        """What slots of other precisions than the head's, which hold code 0 on both sides, add to a product."""
        precisions = self.heads[head].precisions
        return squares(precisions[precisions != self.bits[head]])

    def _ones(self, head: int) -> Array:
        """Vectors of g = 1 in every slot of the head's precision, code 0 in the others."""
        own = self.heads[head]
        codes = np.where(own.precisions == self.bits[head], 1 << self.bits[head] - 1, 0)
        return pack(codes, own.patterns)

    # --- sums of the weights ---

    def begin(self, em: Emitter, text: list[str]) -> None:
        """``floor(R / sum of the weights)`` of every query and head, behind the rows."""
        self.packed = set()
        source = self.source
        em.line(f"uint8_t *rows = scratch, *firsts = scratch + {self._rows_bytes};", scalar=1)
        em.line(f"uint8_t *shares = scratch + {self._rows_bytes + self._firsts_bytes};", scalar=1)
        for head, p in enumerate(self.bits):
            own = self.heads[head]
            text.append(array_text(f"{self.name}_ones{head}", self._ones(head), f"g = 1, for sums of head {head}"))
            count, known, top = int((own.precisions == p).sum()), self._foreign(head), (1 << p) - 1
            with em.loop("y", self.height), em.loop("x", self.width):
                corner = f"{source.start()} + y * {source.row_bytes} + x * {source.pixel_bytes}"
                em.line(f"const uint8_t *weights = in + {corner} + {own.first_byte};", scalar=3)
                em.line("vec sum = v_zero();")
                for vector, pattern in enumerate(own.patterns):
                    with em.block():
                        em.line(f"const vec u = v_load(weights + {REGISTER_BYTES * vector});")
                        em.line(f"const vec one = v_load({self.name}_ones{head} + {REGISTER_BYTES * vector});")
                        em.line(f"v_mac({pattern}, sum, one, u);")
                em.line("const int32_t all = (int32_t)v_hsum(sum, zero);")
                total = f"(((all - {known}) / {1 << PRODUCT_SHIFT[p]} + {top * count}) / 2)"
                at = f"(y * {self.width} + x) * {len(self.bits)} + {head}"
                em.line(f"m_put_s32(shares, {at}, {dividend(p)} / {total});", scalar=24)

    # --- rows ---

    def pack(self, em: Emitter, number: int, head: int, first: int, count: int) -> Sequence[str]:
        text = self._token_arrays(head)
        found = self._memory_words(first, count)
        if found is None:
            text += self._pack_lanes(em, number, head, self.lane_channels(first, count))
        else:
            text += self._pack_groups(em, number, head, *found)
        self._first_sums(em, head, len(self.groups(first, count)))
        return text

    def row(self, number: int, head: int, per: int, group: int, lane: int) -> str:
        return f"rows + (t * {LANES * per} + {LANES * group + lane}) * {self.heads[head].bytes}"

    def _token_arrays(self, head: int) -> list[str]:
        """For every place of a code of the head's precision in its vectors, the pixel of its token, of any where it has
        none; and, where there are slots of other precisions, ones in the bits of the head's own."""
        if head in self.packed:
            return []
        self.packed.add(head)
        pixels, own, p = pixel_offsets(self.second), self.heads[head], self.bits[head]
        bit = np.concatenate([[0], np.cumsum(own.precisions)])
        table = np.full(8 * own.bytes // p, pixels[0], dtype=np.int32)
        for token, slot in enumerate(own.slots):
            table[bit[slot] // p] = pixels[token]
        text = [array_text(f"{self.name}_token{head}", table, f"pixels of the tokens in the slots of head {head}")]
        if self._foreign(head):
            bits = np.repeat(own.precisions == p, own.precisions)
            words = np.packbits(bits, bitorder="little").view(np.int32)
            text.append(array_text(f"{self.name}_own{head}", words, f"bits of slots of head {head}'s precision"))
        return text

    def _memory_words(self, first: int, count: int) -> tuple[int, list[tuple[int, Group]]] | None:
        """Where the values hold the channels of every group of some blocks in one memory word, in the same lanes: the
        word's bits, and per group its first byte in a pixel and the shift of every lane; None where they do not."""
        held = {
            group: (block.bits, block.offset, shifts)
            for block in self.second.blocks
            for group, shifts in zip(block.groups, block.shifts, strict=True)
        }
        groups = self.groups(first, count)
        if not all(group in held for group in groups) or len({held[group][0] for group in groups}) > 1:
            return None
        return held[groups[0]][0], [held[group][1:] for group in groups]

    def _pack_groups(
        self, em: Emitter, number: int, head: int, bits: int, places: list[tuple[int, Group]]
    ) -> Sequence[str]:
        """The rows of four channels at a time, word by word."""
        p, at, shift, size = (
            self.bits[head],
            f"{self.name}_at{number}",
            f"{self.name}_from{number}",
            self.heads[head].bytes,
        )
        per = WORD_BITS // p
        with em.loop("g", len(places)):
            em.line(f"const uint8_t *values = second + m_get_s32({at}, g);", scalar=1)
            em.line(f"const vec from = v_load({shift} + {REGISTER_BYTES} * g);")
            with em.loop("i", 8 * size // WORD_BITS):
                em.line("vec word = v_zero();")
                for k in range(per):
                    em.line(f"const int token{k} = m_get_s32({self.name}_token{head}, {per} * i + {k});")
                    em.line(f"const vec codes{k} = v_dup(m_load{bits}(values + token{k}));", scalar=1)
                    em.line(f"word = v_put_field(word, codes{k}, from, {p * k}, {(1 << p) - 1}u);")
                if self._foreign(head):
                    em.line(f"word = v_and(word, v_dup((uint32_t)m_get_s32({self.name}_own{head}, i)));")
                em.line(f"v_store_strided(rows + g * {LANES * size} + 4 * i, {size}, word);", scalar=2)
        offsets, shifts = zip(*places, strict=True)
        return [
            array_text(at, as_offsets(offsets), f"first byte of the groups of head {head} in a pixel of values"),
            array_text(shift, np.array(shifts, dtype=np.int32), "their lanes' codes in that word"),
        ]

    def _pack_lanes(self, em: Emitter, number: int, head: int, channels: Sequence[int]) -> Sequence[str]:
        """The rows one by one, wherever a channel lies in a pixel of the values."""
        p, name, size = self.bits[head], f"{self.name}_at{number}", self.heads[head].bytes
        per, places = WORD_BITS // p, self.second.positions()
        with em.loop("n", len(channels)), em.loop("i", 8 * size // WORD_BITS):
            em.line("uint32_t word = 0;")
            with em.loop("k", per):
                em.line(f"const int token = m_get_s32({self.name}_token{head}, {per} * i + k);", scalar=2)
                code = f"m_get_code(second + token, m_get_s32({name}, n), {p})"
                em.line(f"word |= (uint32_t){code} << ({p} * k);", scalar=3)
            if self._foreign(head):
                em.line(f"word &= (uint32_t)m_get_s32({self.name}_own{head}, i);", scalar=1)
            em.line(f"m_store32(rows + n * {size} + 4 * i, word);", scalar=2)
        return [
            array_text(name, as_offsets([places[c] for c in channels]), f"bits of head {head}'s channels in a pixel")
        ]

    def _first_sums(self, em: Emitter, head: int, groups: int) -> None:
        """``top * (sum of a channel's values)`` of every row, into ``firsts``."""
        own, known, top = self.heads[head], self._foreign(head), (1 << self.bits[head]) - 1
        with em.loop("g", groups):
            em.line("vec sum = v_zero();")
            for vector, pattern in enumerate(own.patterns):
                with em.block():
                    em.line(f"const vec one = v_load({self.name}_ones{head} + {REGISTER_BYTES * vector});")
                    for lane in range(LANES):
                        at = f"rows + (g * {LANES} + {lane}) * {own.bytes} + {REGISTER_BYTES * vector}"
                        em.line(f"const vec row{lane} = v_load({at});", scalar=1)
                    for lane in range(LANES):
                        em.line(f"v_dot({lane}, {pattern}, sum, row{lane}, one);")
            constant = f"(uint32_t){-known * (top + 1)}"
            em.line(f"v_store(firsts + {REGISTER_BYTES} * g, v_madd(sum, v_dup({top}), v_dup({constant})));")

    def first_sum(self, group: int, per: int) -> str:
        return f"v_fresh(firsts + {REGISTER_BYTES} * (t * {per} + {group}))"

    def finish(self, em: Emitter, head: int, pixel: int, names: Sequence[str]) -> None:
        at = f"(oy * {self.width} + ox + {pixel}) * {len(self.bits)} + {head}"
        with em.block():
            em.line(f"const vec share = v_dup((uint32_t)m_get_s32(shares, {at}));", scalar=3)
            for name in names:
                em.line(f"{name} = v_sra(v_mul({name}, share), {MEAN_BITS});")

    # --- memory ---

    @property
    def _rows_bytes(self) -> int:
        return max(
            LANES * len(self.groups(first, count)) * self.heads[head].bytes for head, first, count in self.runs()
        )

    @property
    def _firsts_bytes(self) -> int:
        return REGISTER_BYTES * max(len(self.groups(first, count)) for _, first, count in self.runs())

    @property
    def scratch(self) -> int:
        return self._rows_bytes + self._firsts_bytes + 4 * self.height * self.width * len(self.bits)


@generates("attend")
def attend(net: Network, layer: Layer, places: Places, target: Target, options: Options) -> Kernel:
    """Of SMOL tensors; of bytes and floats."""
    if net.tensors[layer.input].format != "smol":
        return PlainAttend(net, layer, places, target, options)
    return Attend(net, layer, places, options)
