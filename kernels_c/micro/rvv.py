"""Baselines on RISC-V: float and int8 multiply-accumulates with a scalar activation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sysmol.errors import SysmolError
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import lanes, plus
from sysmol.kernels_c.micro.base import MicroKernel, row_matrix
from sysmol.kernels_c.plan.heuristic import CORE, Core
from sysmol.kernels_c.plan.layout import Block, Place
from sysmol.kernels_c.targets import Target
from sysmol.network import Array, Layer
from sysmol.pattern import REGISTER_BYTES
from sysmol.schedule import REGISTERS, Schedule


class RvvFloat(MicroKernel):
    """A scalar float activation meets registers of four output channels (RVV ``vfmacc.vf``)."""

    style = "fma"
    tap_by_tap = True
    UNROLL = 4

    @classmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        return source.tensor.format == "f32" and target.scalar_operand

    @property
    def length(self) -> int:
        """Floats in a kernel row."""
        return self.source.pixel_bytes // 4 * self.layer.kernel[1]

    @property
    def chain(self) -> int:
        return self.length

    def _elements(self, em: Emitter, count: int) -> None:
        for e in range(count):
            with em.block():
                for g in range(self.groups):
                    em.line(f"const vec w{g} = v_load(w + {16 * (e * self.groups + g)});")
                for p in range(len(self.pixels)):
                    em.line(f"const float x{p} = m_get_f32({plus('x', self.at[p])}, {e});")
                for p in range(len(self.pixels)):
                    for g in range(self.groups):
                        em.line(f"v_ffma_scalar(a{g}_{p}, w{g}, x{p});")
        self._advance(em, 4 * count, 16 * count * self.groups)

    def row(self, em: Emitter) -> None:
        full, rest = divmod(self.length, self.UNROLL)
        if full:
            with em.loop("i", full):
                self._elements(em, self.UNROLL)
        if rest:
            with em.block():
                self._elements(em, rest)

    def pack(self, weight: Array) -> Array:
        return lanes(self.blocks, np.moveaxis(row_matrix(self.layer, self.source), 0, -1))


class ByteSums(MicroKernel):
    """Kernels whose sums of bytes lie in pairs of registers: of eight channels of a pixel, ``d[block]_[pixel]``."""

    style = "mac"

    @classmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        return source.tensor.format == "s8" and target.scalar_operand

    @property
    def sums(self) -> list[tuple[int, int]]:
        """Block and pixel of every pair of registers."""
        return [(k, p) for k in range(len(self.blocks)) for p in range(len(self.pixels))]

    def end(self, em: Emitter) -> None:
        em.line("v_begin();")
        g = 0
        for k, block in enumerate(self.blocks):
            for half in range(len(block.groups)):
                for p in range(len(self.pixels)):
                    em.line(f"vec a{g}_{p} = {'v_high' if half else 'v_low'}(d{k}_{p});")
                g += 1


class RvvInt8(ByteSums):
    """A scalar int8 activation meets eight output channels (RVV).

    Products accumulate in 16-bit lanes (``vmul.vx``, ``vmacc.vx``) and are widened into 32-bit pairs of registers after
    a *window* of as many terms as the weights prove safe for every activation within the limits. The order of the
    whole reduction is free, so the terms of each window are chosen such that its sums stay low; a table gives the place
    of every run of ``run`` activations that lie side by side.
    """

    whole = True
    RUNS: tuple[int, ...] = (1, 2)
    """Lengths of runs to choose from."""
    LONGEST = 24
    """Most terms of a window."""
    UNROLLED = 64
    """Most terms of a reduction without loops and table, where one tile of channels is the code's only user."""

    def __init__(
        self, layer: Layer, source: Place, blocks: Sequence[Block], schedule: Schedule, limits: tuple[int, int]
    ) -> None:
        super().__init__(layer, source, blocks, schedule, limits)
        self.plan = Windows(0, 0, [])
        self.fixed = False
        self.runs = {run: self._runs(run) for run in self.RUNS}

    @classmethod
    def work(cls, blocks: int, pixels: int, core: Core = CORE) -> float:
        """Per term: multiply-accumulates with their share of the widening in two vector pipes, loads of weights and of
        scalar activations in two memory pipes, all instructions through four slots of the front end.

        Registers: three for a sum in 16 and in 32 bits, the weights of this term and of the next one, a zero. With
        more of them than there are, a compiler moves register pairs about: 1x1 of 512 channels on 7x14 pixels took
        1.9 times the cycles of a tile that fits (``os-32x1x2`` and ``os-16x1x4``, core ``o3-n1``).
        """
        sums = blocks * pixels
        if 3 * sums + 2 * blocks + 1 > REGISTERS:
            return float("inf")
        front = (1.2 * sums + pixels + 2 * blocks + 1) / 2
        return max(1.2 * sums, blocks + pixels + 1, front, core.chain / 4)

    def _runs(self, run: int) -> tuple[Array, Array]:
        """Runs of ``run`` activations side by side: byte offsets from the tile's corner ``[R]``, weights
        ``[R, run, channels]``. Runs that no channel weighs are left out."""
        matrix = row_matrix(self.layer, self.source)
        _, height, length = matrix.shape
        matrix = np.pad(matrix, ((0, 0), (0, 0), (0, -length % run)))
        places = np.arange(height)[:, None] * self.source.row_bytes + np.arange(0, length, run)
        own = lanes(self.blocks, np.moveaxis(matrix, 0, -1)).astype(np.int64).reshape(places.size, run, -1)
        used = matrix.reshape(len(matrix), places.size, run).any(axis=(0, 2))
        return places.reshape(-1)[used], own[used]

    def agree(self, others: Sequence["MicroKernel"]) -> None:
        """The windows with the least work that every tile which shares the code can have."""
        tiles = [other for other in others if isinstance(other, RvvInt8)]
        tiles.sort(key=lambda tile: -tile.heaviest)  # those that fail do so first
        sums = len(self.sums)
        candidates = []
        for run, (places, _) in self.runs.items():
            for length in range(1, max(1, min(self.LONGEST // run, len(places))) + 1):
                count = -(-len(places) // length)
                terms = run * length
                slots = sums * (terms + 2)
                front = (slots + terms * (len(self.pixels) + 2 * len(self.blocks)) + 2 * length + 4) / 2
                candidates.append((count * max(slots, front), run, length, count))
        for _, run, length, count in sorted(candidates):
            found = [tile.windows(run, length, count) for tile in tiles]
            if all(windows is not None for windows in found):
                for tile, windows in zip(tiles, found, strict=True):
                    tile.plan = Windows(run, length, windows or [])
                self.fixed = len(tiles) == 1 and run * length * count <= self.UNROLLED
                return

    @property
    def heaviest(self) -> int:
        """Largest sum of magnitudes of a channel's weights."""
        return int(np.abs(self.runs[self.RUNS[0]][1]).sum(axis=(0, 1)).max(initial=0))

    def windows(self, run: int, length: int, count: int) -> list[list[int]] | None:
        """Runs in ``count`` windows of at most ``length`` whose sums all fit 16 bits, or None where none is found."""
        sides = [self.runs[run][1] * limit for limit in self.limits]
        up, down = np.maximum(*sides).sum(axis=1), -np.minimum(*sides).sum(axis=1)
        return spread(np.concatenate([up, down], axis=1) / 32767, length, count)

    @property
    def chain(self) -> int:
        return len(self.plan.members) * (self.plan.terms + 2)

    def begin(self, em: Emitter) -> None:
        if not self.fixed:
            em.line("const uint8_t *o = order;")
        em.line("v_begin16();")
        for k, p in self.sums:
            em.line(f"vecpair d{k}_{p}{'' if self.plan.members else ' = v_zero_pair()'};")

    def _products(self, em: Emitter, number: int) -> None:
        """``t[block][pixel]`` = a window's sum of products in 16 bits.

        A term's weights come before the multiply-accumulates of the term before it: out-of-order cores take the oldest
        operation that is ready, so that what a younger one waits for would be late.
        """
        for k, p in self.sums:
            em.line(f"vec16 t{k}_{p};")
        places, order = self.runs[self.plan.run][0], self._order()
        self._weights(em, 0)
        for e in range(self.plan.terms):
            if e + 1 < self.plan.terms:
                self._weights(em, e + 1)
            r, i = divmod(e, self.plan.run)
            if self.fixed:
                run = order[number * self.plan.length + r]
                at = plus("x", int(places[run])) if run >= 0 else "x"
            else:
                at = f"at{r}"
                if not i:
                    em.line(f"const uint8_t *{at} = x + m_load16(o + {2 * r});", scalar=1)
            for p in range(len(self.pixels)):
                em.line(f"const int x{e}_{p} = m_get_s8({plus(at, self.at[p])}, {i});")
            for k, p in self.sums:
                em.line(f"{'v_mla16' if e else 'v_mul16'}(t{k}_{p}, w{e}_{k}, x{e}_{p});")
        if not self.fixed:
            em.line(f"o += {2 * self.plan.length};", scalar=1)
        em.line(f"w += {self.window_bytes};", scalar=1)

    def _weights(self, em: Emitter, e: int) -> None:
        """Declare ``w<term>_<block>``, the weights of term ``e`` of a window."""
        for k in range(len(self.blocks)):
            em.line(f"const vec16 w{e}_{k} = v_load16(w + {16 * (e * len(self.blocks) + k)});")

    @property
    def window_bytes(self) -> int:
        """Bytes of a window's weights."""
        return 16 * len(self.blocks) * self.plan.terms

    def row(self, em: Emitter) -> None:
        """The first window, then two by two: widened into a second set of registers, and back in reverse order.

        Every sum moves into the registers that the one before it has left, and back: one spare pair is enough.
        """
        if not self.plan.members:
            return
        pairs, single = divmod(len(self.plan.members) - 1, 2)
        with em.block():
            self._products(em, 0)
            for k, p in self.sums:
                em.line(f"v_widen(d{k}_{p}, t{k}_{p});")
        if self.fixed:
            for number in range(1, 2 * pairs, 2):
                with em.block():
                    self._two(em, number)
        elif pairs:
            with em.loop("i", pairs):
                self._two(em, 1)
        if single:
            with em.block():
                self._products(em, 2 * pairs + 1)
                for k, p in self.sums:
                    em.line(f"v_widen_add(d{k}_{p}, t{k}_{p});")

    def _two(self, em: Emitter, number: int) -> None:
        for k, p in self.sums:
            em.line(f"vecpair e{k}_{p};")
        with em.block():
            self._products(em, number)
            for k, p in self.sums:
                em.line(f"v_widen_into(e{k}_{p}, d{k}_{p}, t{k}_{p});")
        with em.block():
            self._products(em, number + 1)
            for k, p in reversed(self.sums):
                em.line(f"v_widen_into(d{k}_{p}, e{k}_{p}, t{k}_{p});")

    def _order(self) -> list[int]:
        """Run of every place in reading order, -1 where a window has room left."""
        return [(window + [-1] * self.plan.length)[r] for window in self.plan.members for r in range(self.plan.length)]

    def order(self) -> Array:
        """Byte offset, from the tile's corner, of every run of activations; empty where the code has them."""
        if self.fixed:
            return super().order()
        places = self.runs[self.plan.run][0]
        result = np.array([places[r] if r >= 0 else 0 for r in self._order()], dtype=np.int64)
        if result.max(initial=0) > 0xFFFF:
            raise SysmolError(f"layer {self.layer.name}: the input is too large for int8 kernels on RISC-V")
        return result.astype(np.uint16)

    def pack(self, weight: Array) -> Array:
        runs = np.array(self._order(), dtype=np.int64)
        weights = self.runs[self.plan.run][1]
        picked = np.where(runs[:, None, None] >= 0, weights[np.maximum(runs, 0)], 0).astype(np.int16)
        ends = np.cumsum([4 * len(block.groups) for block in self.blocks])[:-1]
        parts = np.split(picked, ends, axis=2)
        return np.stack([np.pad(part, ((0, 0), (0, 0), (0, 8 - part.shape[2]))) for part in parts], axis=2)


@dataclass
class Windows:
    """Windows of ``length`` runs of ``run`` terms; ``members`` are the runs of every window, perhaps fewer."""

    run: int
    length: int
    members: list[list[int]]

    @property
    def terms(self) -> int:
        """Terms of a window."""
        return self.run * self.length


STEEPNESS = 12.0
"""How much more an item weighs in a bin that is nearly full; tried from 6 to 30."""
SWAPS = 200
"""Most exchanges after the greedy distribution."""
HOPELESS = 0.97
"""Share of all bins' capacity, in the dimension that is fullest, from which on no arrangement is looked for."""


def spread(items: Array, length: int, count: int) -> list[list[int]] | None:
    """``items`` ``[N, D]``, not negative, in ``count`` bins of at most ``length`` such that no bin's sum exceeds 1 in
    any of the D dimensions; None where none is found.

    Greedy, largest first, into the bin whose sum of ``exp(STEEPNESS * load)`` grows least; then items of the fullest
    bin change places with others as long as that lowers its peak.
    """
    if not count:
        return []
    fullest = items.sum(axis=0).max(initial=0) / count
    if fullest > (HOPELESS if count > 8 else 1) or items.max(initial=0) > 1:
        return None
    load = np.zeros((count, items.shape[1]))
    weight = np.ones_like(load)
    growth = np.exp(STEEPNESS * items)
    room = np.full(count, length)
    where = np.zeros(len(items), dtype=np.int64)
    for item in np.argsort(-items.sum(axis=1), kind="stable"):
        rise = weight @ (growth[item] - 1)
        rise[room == 0] = np.inf
        best = int(rise.argmin())
        where[item] = best
        load[best] += items[item]
        weight[best] *= growth[item]
        room[best] -= 1
    for _ in range(SWAPS):
        peaks = load.max(axis=1)
        full = int(peaks.argmax())
        if peaks[full] <= 1:
            return [np.flatnonzero(where == b).tolist() for b in range(count)]
        mine, others = np.flatnonzero(where == full), np.flatnonzero(where != full)
        mine = mine[np.argsort(-items[mine, load[full].argmax()], kind="stable")[:4]]
        less = items[mine][:, None] - items[others]  # [own item, other item, D]
        after = np.maximum((load[full] - less).max(axis=2), (load[where[others]] + less).max(axis=2))
        own, other = np.unravel_index(after.argmin(), after.shape)
        if after[own, other] >= peaks[full]:
            return None
        a, b = mine[own], others[other]
        load[full] -= less[own, other]
        load[where[b]] += less[own, other]
        where[a], where[b] = where[b], full
    return None


class WideBytes(ByteSums):
    """A scalar byte of a query meets eight rows in 16 bits, sums of 32 bits in pairs of registers (RVV ``vwmacc.vx``):
    unlike a convolution's weights, rows are not known to keep sums of products in 16 bits."""

    UNROLL = 4

    @classmethod
    def work(cls, blocks: int, pixels: int, core: Core = CORE) -> float:
        if 2 * blocks * pixels + blocks > REGISTERS - 4:
            return float("inf")
        return max(2 * blocks * pixels, core.chain / 4) + core.load * (blocks + pixels)

    @property
    def chain(self) -> int:
        return self.source.tensor.channels

    def begin(self, em: Emitter) -> None:
        em.line("v_begin16();")
        for k, p in self.sums:
            em.line(f"vecpair d{k}_{p} = v_zero_pair();")

    def row(self, em: Emitter) -> None:
        full, rest = divmod(self.source.tensor.channels, self.UNROLL)
        if full:
            with em.loop("i", full):
                self._elements(em, self.UNROLL)
        if rest:
            with em.block():
                self._elements(em, rest)

    def _elements(self, em: Emitter, count: int) -> None:
        blocks = range(len(self.blocks))
        for e in range(count):
            with em.block():
                for k in blocks:
                    em.line(f"const vec16 w{k} = v_load16(w + {REGISTER_BYTES * (e * len(self.blocks) + k)});")
                for p in range(len(self.pixels)):
                    em.line(f"const int x{p} = m_get_s8({plus('x', self.at[p])}, {e});")
                for k, p in self.sums:
                    em.line(f"v_wide_mac(d{k}_{p}, w{k}, x{p});")
        self._advance(em, count, REGISTER_BYTES * count * len(self.blocks))

    def pack(self, weight: Array) -> Array:
        raise NotImplementedError("rows come from memory")
