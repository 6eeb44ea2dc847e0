"""Loop nests of convolutions: the base class walks tiles, a data flow says what stays in registers.

Words: a *block* is 8 output channels (:mod:`sysmol.kernels_c.plan.layout`), a *tile* is the blocks and output pixels
whose accumulators are in registers together, a *segment* is a run of blocks that one piece of code handles. Tiles at
the right and lower edge overlap their neighbours instead of being smaller: outputs are computed twice with the same
result, and there is one micro-kernel per segment.
"""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from sysmol.errors import SysmolError
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.pairs import Pairs
from sysmol.kernels_c.epilogue.requantise import Epilogue, Tile, plus, times
from sysmol.kernels_c.epilogue.wide import WideEpilogue
from sysmol.kernels_c.micro import STYLES, MicroKernel, micro_class, missing, suited
from sysmol.kernels_c.nest.kernel import Kernel, parameters
from sysmol.kernels_c.plan.constants import Held, activation_limits, array_text, held_registers, identifier
from sysmol.kernels_c.plan.layout import Block, Place, segments
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Array, Layer, Network
from sysmol.schedule import Schedule


def tile_origin(em: Emitter, variable: str, index: str, tile: int, size: int) -> None:
    """``variable`` = first row or column of tile ``index``; the last tile is moved back inside the output."""
    if size == tile:
        em.line(f"const int {variable} = 0;")
        return
    text = times(index, tile)
    em.line(f"const int {variable} = {text if size % tile == 0 else f'm_min({text}, {size - tile})'};", scalar=1)


class LoopNest(Kernel):
    """A convolution's loop nest: segments, their tiles of blocks, tiles of pixels, then :meth:`tile`."""

    anchor: str

    def __init__(self, net: Network, layer: Layer, places: dict[str, Place], target: Target, options: Options) -> None:
        self.net = net
        self.layer = layer
        self.options = options
        self.name = identifier(layer.name)
        self.source = places[layer.input]
        self.limits = activation_limits(net, layer.input)
        self.target = target
        outputs = [places[name] for name in layer.targets]
        smol = [place for place in outputs if place.tensor.format == "smol"]
        self.blocks = (smol or outputs)[0].blocks
        self.places = places
        self.epilogue = self.common_epilogue()
        self.height, self.width = outputs[0].tensor.height, outputs[0].tensor.width
        self.schedule: Schedule = options.schedules.get(layer.name) or self.plan()

    def style(self) -> str:
        """Multiply-accumulate of this layer: of its schedule, of its input's format, or the target's first."""
        chosen, form = self.options.schedules.get(self.layer.name), self.source.tensor.format
        wanted = chosen.style if chosen else self.options.styles.get(form, "")
        if wanted:
            self._check_style(wanted)
            return wanted
        known = suited(self.layer, self.source, self.target, self.options.has)
        if not known:
            raise SysmolError(f"layer {self.layer.name}: the hardware has no instruction that serves a {form} input")
        return known[0]

    def _check_style(self, style: str) -> None:
        """:class:`SysmolError` where the style needs an instruction that the hardware lacks."""
        kinds = [kind for kind in STYLES.get(style, ()) if kind.serves(self.layer, self.source, self.target)]
        lacking = [missing(kind, self.layer, self.source, self.options.has) for kind in kinds]
        if kinds and all(lacking):
            raise SysmolError(f"layer {self.layer.name}: style {style} needs {lacking[0]}, which the hardware lacks")

    def common_epilogue(self) -> Epilogue:
        """The epilogue of registers with four channels of a pixel, for what the style's sums hold."""
        return Epilogue(self.net, self.layer, self.places, self.blocks, pack=self.options.pack, held=self.held())

    def held(self) -> Held | None:
        """What the style's sums hold of codes; None where the input is none."""
        if self.source.tensor.format != "smol":
            return None
        held = held_registers(self.net, self.layer, self.source.pixel_bytes, self.slots_read())
        return Held(held.factor << self.unit_shift(), held.excess)

    def _kind(self) -> type[MicroKernel] | None:
        """The style's class, None for styles of data flows that have no register tile."""
        kinds = (kind for kind in STYLES.get(self.style(), ()) if kind.serves(self.layer, self.source, self.target))
        return next(kinds, None)

    def unit_shift(self) -> int:
        """How far the kernel's sums are from the file's unit."""
        kind = self._kind()
        return kind.unit_shift(self.layer, self.source) if kind else 0

    def slots_read(self) -> Array | None:
        """The slots of a SMOL pixel whose products are in the kernel's sums; None: all that its bytes hold."""
        kind = self._kind()
        return kind.slots_read(self.source) if kind else None

    def micro(self, blocks: Sequence[Block]) -> MicroKernel:
        """Micro-kernel for a tile of ``blocks``."""
        kind = micro_class(self.style(), self.layer, self.source, self.target)
        return kind(self.layer, self.source, blocks, self.schedule, self.limits)

    @property
    def finish(self) -> Epilogue | Pairs | WideEpilogue:
        """What makes outputs of a tile's sums."""
        return self.epilogue

    @abstractmethod
    def plan(self) -> Schedule:
        """Choose the register tile."""

    @abstractmethod
    def tile(self, em: Emitter, micro: MicroKernel, tile: Tile) -> None:
        """One register tile, from cleared accumulators to stored outputs."""

    def tiles(self) -> list[Tile]:
        """Tiles of blocks: per segment a loop over full tiles, and one smaller tile for what is left."""
        per = max(1, self.schedule.channels // 8)
        pixels = tuple((r, c) for r in range(self.schedule.rows) for c in range(self.schedule.columns))
        result = []
        same_lanes = micro_class(self.style(), self.layer, self.source, self.target).same_lanes
        for first, count in segments(self.blocks, same_lanes=same_lanes):
            full, rest = divmod(count, per)
            if full:
                result.append(Tile(first, per, "t", full, pixels))
            if rest:
                result.append(Tile(first + full * per, rest, "t", 1, pixels))
        return result

    @property
    def tile_rows(self) -> int:
        """Rows of tiles."""
        return -(-self.height // self.schedule.rows)

    def emit(self, em: Emitter) -> list[str]:
        """Write the layer's function; returns the text of its constant arrays."""
        assert self.layer.weight is not None
        packed: list[Array] = []
        ordered: list[Array] = []
        block = min(self.schedule.block or self.tile_rows, self.tile_rows)
        with em.block(f"SMOL_KERNEL {self.name}({parameters(self.layer)})"):
            em.line("v_begin();")
            self.finish.begin(em)
            with em.loop("block", -(-self.tile_rows // block)):
                if block < self.tile_rows:
                    tile_origin(em, "top", "block", block, self.tile_rows)
                start = order_start = 0
                for tile in self.tiles():
                    span = self.blocks[tile.first : tile.first + tile.count * tile.times]
                    micros = [self.micro(span[i : i + tile.count]) for i in range(0, len(span), tile.count)]
                    micro = micros[0]
                    micro.agree(micros)
                    parts = [np.ascontiguousarray(m.pack(self.layer.weight)).view(np.uint8).reshape(-1) for m in micros]
                    orders = [m.order().view(np.uint8) for m in micros]
                    size, order_size = parts[0].size, orders[0].size
                    channels = sum(4 * len(each.groups) for each in span)
                    em.comment(f"{channels} output channels, {4 * micro.groups} in a tile")
                    with em.loop(tile.variable, tile.times):
                        at = plus(f"{self.name}_w", start, times(tile.variable, size))
                        em.line(f"const uint8_t *weights = {at};", 2)
                        if order_size:
                            at = plus(f"{self.name}_order", order_start, times(tile.variable, order_size))
                            em.line(f"const uint8_t *order = {at};", 2)
                        self._pixels(em, micro, tile, block)
                    packed.extend(parts)
                    ordered.extend(orders)
                    start += size * tile.times
                    order_start += order_size * tile.times
        em.line()
        weights = array_text(
            f"{self.name}_w", np.concatenate(packed), f"weights of {self.layer.name}, in reading order"
        )
        arrays = [weights, *self.finish.arrays()]
        if order_start:
            order = np.concatenate(ordered)
            arrays.append(array_text(f"{self.name}_order", order, "offsets of activations, in reading order"))
        return arrays

    def _pixels(self, em: Emitter, micro: MicroKernel, tile: Tile, block: int) -> None:
        """The tiles of pixels in a block of rows."""
        rows, columns = self.schedule.rows, self.schedule.columns
        with em.loop("ty", block):
            tile_origin(em, "oy", "ty" if block == self.tile_rows else "(top + ty)", rows, self.height)
            with em.loop("tx", -(-self.width // columns)):
                tile_origin(em, "ox", "tx", columns, self.width)
                top, left = self.layer.padding[:2]
                sy, sx = self.layer.stride
                corner = plus(
                    self.source.start((top, left)),
                    times("oy", sy * self.source.row_bytes),
                    times("ox", sx * self.source.pixel_bytes),
                )
                em.line(f"const uint8_t *corner = in + {corner};", scalar=3)
                self.finish.tile_corner(em)
                self.tile(em, micro, tile)
