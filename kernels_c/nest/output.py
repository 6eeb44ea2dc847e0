"""Register tiles: several output channels and pixels accumulate side by side."""

from collections.abc import Sequence
from dataclasses import replace

from sysmol.errors import SysmolError
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.halves import HalfEpilogue, halves
from sysmol.kernels_c.epilogue.pairs import HALF_BITS, PairEpilogue, can_pair
from sysmol.kernels_c.epilogue.requantise import Epilogue, Tile, plus, times
from sysmol.kernels_c.epilogue.wide import WideEpilogue, wide
from sysmol.kernels_c.micro import MicroKernel, SmolMatrix, SmolMatrixHalf, micro_class, missing
from sysmol.kernels_c.micro.matrix import PairedPixels, side_by_side
from sysmol.kernels_c.micro.nibbles import SmolNibbles
from sysmol.kernels_c.nest.base import LoopNest
from sysmol.kernels_c.plan.heuristic import choose, overlapped
from sysmol.kernels_c.plan.layout import PLANE_BYTES, Block, Place
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer, Network
from sysmol.schedule import Schedule

PAIRED = (SmolMatrix.style, SmolMatrixHalf.style, SmolNibbles.style)
"""Styles whose registers hold sums of two pixels."""
Shared = PairEpilogue | HalfEpilogue | WideEpilogue
"""Epilogues of such sums."""
MANY_WEIGHTS = 1 << 15
"""Bytes from which on weights leave no room in a first-level cache for those of the layers around them."""
LANES16 = (HalfEpilogue, WideEpilogue)
"""Those of sums of 16 bits."""


class OutputStationary(LoopNest):
    """The accumulators of a tile stay in registers over the whole reduction: kernel rows, taps, input channels."""

    anchor = "os"
    other_style = ""
    """Instead of the one that suits any epilogue."""

    def __init__(self, net: Network, layer: Layer, places: dict[str, Place], target: Target, options: Options) -> None:
        super().__init__(net, layer, places, target, options)
        self.in_planes = bool(places[layer.targets[0]].planes)
        self.shared = self._pairs()
        if self.layer.name not in options.schedules:
            if self.style() == SmolMatrix.style and "smol" not in options.styles:
                self._halve()
            if isinstance(self.shared, LANES16):
                self._enlarge()
        alike = options.has.has("vmm.w") and "v_narrow_halves" in target.costs
        for place in self.epilogue.targets:
            place.split = alike or isinstance(self.shared, WideEpilogue)

    def micro(self, blocks: Sequence[Block]) -> MicroKernel:
        made = super().micro(blocks)
        if self.in_planes and isinstance(made, PairedPixels):
            made.pair_at(HALF_BITS // 8 // PLANE_BYTES)
        return made

    def style(self) -> str:
        return self.other_style or super().style()

    def _halve(self) -> None:
        """Sums of 16 bits instead of 32, where they fit and are requantised as they are."""
        half = SmolMatrixHalf
        if not half.serves(self.layer, self.source, self.target) or half.unit_shift(self.layer, self.source):
            return
        if missing(half, self.layer, self.source, self.options.has):
            return
        first = self.schedule, self.shared, self.epilogue
        self.other_style = half.style
        self.schedule, self.epilogue = self.plan(), self.common_epilogue()
        self.shared = self._pairs()
        if not isinstance(self.shared, LANES16):
            self.other_style = ""
            self.schedule, self.shared, self.epilogue = first

    def _enlarge(self) -> None:
        """A larger tile, as sums of 16 bits take half of the registers; the first where it cannot store like that."""
        first = self.schedule, self.shared
        kind = micro_class(self.style(), self.layer, self.source, self.target)
        core = self.options.core
        chosen = choose(self.height, self.width, len(self.blocks), self.style(), kind.work, core, halves=True)
        self.schedule = self._ahead(kind, chosen)
        self.shared = self._pairs()
        if not isinstance(self.shared, LANES16):
            self.schedule, self.shared = first

    def _pairs(self) -> Shared | None:
        """The epilogue of sums that two pixels share; None where the layer has the common one."""
        if self.schedule.style not in PAIRED:
            return None
        micro = self.micro(self.blocks[:1])
        if isinstance(micro, SmolMatrix | SmolMatrixHalf) and side_by_side(micro.pairs, self.schedule.columns):
            return self._shared(micro)
        return None

    def _shared(self, micro: SmolMatrix | SmolMatrixHalf) -> Shared | None:
        """The epilogue of sums that two pixels share, where all tiles of the layer can use it."""
        first, second = micro.pairs[0]
        has = self.options.has
        if isinstance(micro, SmolMatrix):
            fits = can_pair(self.epilogue, self.tiles(), has)
            return PairEpilogue(self.epilogue, second - first) if fits else None
        if self.target.accesses:  # its stores of whole registers depend on the lanes' width
            return None
        how = halves(self.epilogue, self.tiles(), has, micro.range)
        if how is not None:
            return HalfEpilogue(self.epilogue, second - first, how)
        reach, rounds = int(micro.range.reach[0]), self.target.narrowing_rounds
        made = wide(self.net, self.epilogue, self.tiles(), reach, rounds)
        return WideEpilogue(self.epilogue, made) if made is not None else None

    @property
    def finish(self) -> Epilogue | Shared:
        return self.shared or self.epilogue

    def plan(self) -> Schedule:
        kind = micro_class(self.style(), self.layer, self.source, self.target)
        core = self.options.core
        schedule = choose(self.height, self.width, len(self.blocks), self.style(), kind.work, core)
        if kind.overlaps:
            micro = kind(self.layer, self.source, self.blocks[:1], schedule, self.limits)
            schedule = overlapped(schedule, micro.steps, self.layer.kernel[0], core)
        return self._ahead(kind, schedule)

    def _ahead(self, kind: type[MicroKernel], schedule: Schedule) -> Schedule:
        """With a prefetch, where the options want it and the layer's weights are many."""
        assert self.layer.weight is not None
        able = kind.prefetches and "m_prefetch" in self.target.costs
        many = self.layer.weight.nbytes >= MANY_WEIGHTS
        return replace(schedule, prefetch=self.options.prefetch) if able and many else schedule

    def describe(self) -> list[str]:
        s = self.schedule
        blocks = [f"block: {s.block} rows of tiles"] if s.block else []
        nest = [*blocks, f"t: {s.channels} output channels", f"ty, tx: {s.rows} x {s.columns} pixels"]
        return [
            f"loops: {' > '.join(nest)} > ky, i: kernel rows, taps and input registers",
            f"stationary: sums of {s.channels} channels x {s.pixels} pixels, from the first product to the epilogue",
        ]

    def tile(self, em: Emitter, micro: MicroKernel, tile: Tile) -> None:
        rows = 1 if micro.whole else self.layer.kernel[0]
        self._check(micro)
        em.line("const uint8_t *w = weights;")
        if isinstance(micro, PairedPixels):
            em.line("m_opaque(w);")  # or compilers keep the weights of a small layer in the stack
        self._begin(em, micro, tile)
        straight = rows > 1 and self.schedule.unroll >= rows * micro.steps
        for first in range(rows) if straight else (0,):
            with em.loop("ky", 1 if straight else rows):
                at = plus("corner", first * self.source.row_bytes, times("ky", self.source.row_bytes))
                em.line(f"const uint8_t *x = {at};", scalar=1)
                micro.row(em)
        self._end(em, micro, tile)
        self.chains = max(self.chains, micro.count)
        self.chain_length = micro.chain * rows

    def _begin(self, em: Emitter, micro: MicroKernel, tile: Tile) -> None:
        """The sums, cleared or with what the epilogue wants in them."""
        if isinstance(self.shared, LANES16):
            assert isinstance(micro, SmolMatrixHalf)
            micro.zip = "v_zip16_low"
        if isinstance(self.shared, HalfEpilogue):
            assert isinstance(micro, SmolMatrixHalf)
            self.shared.start(em, tile, micro.pairs, micro.sums())
        else:
            micro.begin(em)

    def _end(self, em: Emitter, micro: MicroKernel, tile: Tile) -> None:
        """From the sums to stored outputs."""
        if isinstance(self.shared, LANES16):
            assert isinstance(micro, SmolMatrixHalf)
            self.shared.emit(em, tile, micro.pairs, micro.sums())
        elif isinstance(self.shared, PairEpilogue):
            assert isinstance(micro, SmolMatrix)
            self.shared.emit(em, tile, micro.pairs, micro.sums())
        else:
            micro.end(em)
            self.epilogue.emit(em, tile, micro.accumulators())

    def _check(self, micro: MicroKernel) -> None:
        """Raise :class:`SysmolError` where the schedule asks for what the style cannot do here."""
        s, name = self.schedule, self.layer.name
        if s.unroll > micro.steps * self.layer.kernel[0]:
            most = micro.steps * self.layer.kernel[0]
            raise SysmolError(f"layer {name}: {s} unrolls {s.unroll} steps; {s.style} has at most {most} here")
        if s.prefetch and not (micro.prefetches and "m_prefetch" in self.target.costs):
            raise SysmolError(f"layer {name}: {s} prefetches, which {s.style} on {self.target.name} cannot")
        if s.block > self.tile_rows:
            raise SysmolError(f"layer {name}: {s} blocks {s.block} rows of tiles; there are {self.tile_rows}")
        if s.rows > self.height or s.columns > self.width:
            raise SysmolError(f"layer {name}: the tile of {s} is larger than the output, {self.height} x {self.width}")
