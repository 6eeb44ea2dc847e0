"""Convolutions with groups, or with a dilation: tap by tap. A tile is 8 output channels, which see the input channels
of their group alone.

The channels of a group lie side by side in every pixel, so a tap is a run of bytes: the micro-kernels of dense layers
do one tap at a time, of a layer that has the group's channels only. Where the 8 channels of a tile belong to several
groups, one pass for each leaves out the lanes of the others.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sysmol.errors import SysmolError
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.epilogue.requantise import Tile, plus, times
from sysmol.kernels_c.micro import MicroKernel, micro_class
from sysmol.kernels_c.nest.output import OutputStationary
from sysmol.kernels_c.plan.heuristic import choose
from sysmol.kernels_c.plan.layout import ELEMENT_BYTES, Block, Group, Place, is_tap_by_tap, segments
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import Target
from sysmol.network import Array, Layer, Network, group_tensor
from sysmol.pattern import REGISTER_BYTES
from sysmol.schedule import Schedule


def group_of(layer: Layer, channel: int) -> int:
    """Group of an output channel."""
    assert layer.weight is not None
    return channel // (len(layer.weight) // layer.groups)


def _only(block: Block, layer: Layer, number: int) -> Block:
    """The block without the channels of other groups."""
    groups: list[Group] = []
    for group in block.groups:
        a, b, c, d = (channel if channel >= 0 and group_of(layer, channel) == number else -1 for channel in group)
        groups.append((a, b, c, d))
    return replace(block, groups=tuple(groups))


def _numbers(blocks: Sequence[Block], layer: Layer) -> list[int]:
    """Groups that the blocks' channels belong to."""
    return sorted({group_of(layer, c) for block in blocks for lanes in block.groups for c in lanes if c >= 0})


def view(layer: Layer, source: Place, number: int) -> tuple[Layer, Place, int] | None:
    """A group as a layer of one tap per kernel row, its input as a tensor, and the first byte of that in a pixel.

    None where the group's channels are not side by side.
    """
    assert layer.weight is not None
    tensor = group_tensor(source.tensor, layer.groups, number)
    k, height, width = layer.weight.shape[:3]
    weight = layer.weight.reshape(k, height * width, 1, *layer.weight.shape[3:])
    if tensor.format == "smol":
        start = number * len(tensor.patterns) * REGISTER_BYTES
        place = Place(tensor, ())
    else:
        own = source.positions()[number * tensor.channels : (number + 1) * tensor.channels]
        if sorted(own) != list(range(min(own), max(own) + 1)):
            return None
        start = min(own) * ELEMENT_BYTES[tensor.format]
        place = Place(tensor, (), flat=True)
        weight = weight[..., np.argsort(own)]
    return replace(layer, kernel=(height * width, 1), groups=1, weight=weight, dilation=(1, 1)), place, start


class GroupedMicro(MicroKernel):
    """Micro-kernels of the groups of a tile, one after the other, over the same accumulators."""

    whole = True

    def __init__(
        self,
        layer: Layer,
        source: Place,
        blocks: Sequence[Block],
        schedule: Schedule,
        limits: tuple[int, int],
        kind: type[MicroKernel],
    ) -> None:
        super().__init__(layer, source, blocks, schedule, limits)
        self.parts: list[MicroKernel] = []
        self.starts: list[int] = []
        for number in _numbers(blocks, layer):
            found = view(layer, source, number)
            assert found is not None
            part_layer, place, start = found
            part = kind(part_layer, place, [_only(b, layer, number) for b in blocks], schedule, limits)
            part.at = self.at
            self.parts.append(part)
            self.starts.append(start)

    @classmethod
    def serves(cls, layer: Layer, source: Place, target: Target) -> bool:
        return is_tap_by_tap(layer)

    @property
    def chain(self) -> int:
        return self.layer.kernel[0] * self.layer.kernel[1] * max(part.chain for part in self.parts)

    def order(self) -> Array:
        return np.array(self.starts, dtype=np.int32)

    def row(self, em: Emitter) -> None:
        for number, part in enumerate(self.parts):
            with em.loop("ky", self.layer.kernel[0]), em.loop("kx", self.layer.kernel[1]):
                down, along = self.layer.dilation
                tap = plus(times("ky", down * self.source.row_bytes), times("kx", along * self.source.pixel_bytes))
                em.line(f"const uint8_t *tap = x + {plus(tap, f'm_get_s32(order, {number})')};", scalar=2)
                with em.block():
                    em.line("const uint8_t *x = tap;")
                    part.row(em)

    def pack(self, weight: Array) -> Array:
        packed = []
        for part in self.parts:
            assert part.layer.weight is not None
            packed.append(np.ascontiguousarray(part.pack(part.layer.weight)).view(np.uint8).reshape(-1))
        return np.concatenate(packed)


class Grouped(OutputStationary):
    """Output-stationary tiles of 8 channels of a convolution with groups or a dilation."""

    def plan(self) -> Schedule:
        kind = micro_class(self.style(), self.layer, self.source, self.target)
        return choose(self.height, self.width, 1, self.style(), kind.work, self.options.core)

    def micro(self, blocks: Sequence[Block]) -> MicroKernel:
        kind = micro_class(self.style(), self.layer, self.source, self.target)
        return GroupedMicro(self.layer, self.source, blocks, self.schedule, self.limits, kind)

    def tiles(self) -> list[Tile]:
        if self.schedule.channels != 8:
            which = "groups" if self.layer.groups > 1 else "a dilation"
            raise SysmolError(f"layer {self.layer.name}: {self.schedule}: a convolution with {which} takes 8 channels")
        pixels = tuple((r, c) for r in range(self.schedule.rows) for c in range(self.schedule.columns))
        result: list[Tile] = []
        for first, count in segments(self.blocks, same_lanes=True):
            forms = [self._form(self.blocks[i]) for i in range(first, first + count)]
            start = 0
            for i in range(1, count + 1):
                if i == count or forms[i] != forms[start]:
                    result.append(Tile(first + start, 1, "t", i - start, pixels))
                    start = i
        return result

    def _form(self, block: Block) -> list[tuple[object, object]]:
        """What two blocks must share to run the same code."""
        numbers = _numbers([block], self.layer)
        parts = [group_tensor(self.source.tensor, self.layer.groups, number) for number in numbers]
        return [(part.patterns, _only(block, self.layer, n).lanes) for part, n in zip(parts, numbers, strict=True)]


def expanded(layer: Layer) -> Layer:
    """The same convolution without groups and dilation: weights of zero for the channels of other groups and between
    the taps (plain numbers only)."""
    assert layer.weight is not None
    k, *_, part = layer.weight.shape
    weight = np.zeros((k, *layer.reach, part * layer.groups), dtype=layer.weight.dtype)
    down, along = layer.dilation
    for channel in range(k):
        first = group_of(layer, channel) * part
        weight[channel, ::down, ::along, first : first + part] = layer.weight[channel]
    return replace(layer, kernel=layer.reach, groups=1, dilation=(1, 1), weight=weight)


class Expanded(OutputStationary):
    """A convolution with groups or a dilation as one without, for styles that leave out elements which no channel of a
    tile weighs.

    ``layer`` is :func:`expanded`, ``groups`` are the groups before. The epilogue knows the network's own layer, whose
    taps its border classes count.
    """

    def __init__(self, net: Network, layer: Layer, places: dict[str, Place], target: Target, options: Options) -> None:
        super().__init__(net, layer, places, target, options)
        self.groups = layer.groups
        self.layer = expanded(layer)
        self.schedule = options.schedules.get(layer.name) or self.plan()

    def micro(self, blocks: Sequence[Block]) -> MicroKernel:
        assert self.layer.weight is not None
        per = len(self.layer.weight) // self.groups
        own = {c // per for block in blocks for lanes in block.groups for c in lanes if c >= 0}
        weight = self.layer.weight.copy()
        weight[[c for c in range(len(weight)) if c // per not in own]] = 0
        kind = micro_class(self.style(), self.layer, self.source, self.target)
        return kind(replace(self.layer, weight=weight), self.source, blocks, self.schedule, self.limits)

    def tiles(self) -> list[Tile]:
        """Tiles with code of their own: different groups leave out different elements."""
        return [
            Tile(tile.first + number * tile.count, tile.count, "t", 1, tile.pixels)
            for tile in super().tiles()
            for number in range(tile.times)
        ]


def grouped(net: Network, layer: Layer, places: dict[str, Place], target: Target, options: Options) -> OutputStationary:
    """The loop nest of a convolution with groups or a dilation; raises :class:`SysmolError` for a style without."""
    source = places[layer.input]
    dense = OutputStationary(net, layer, places, target, options)
    kind = micro_class(dense.style(), layer, source, target)
    if kind.tap_by_tap and all(view(layer, source, number) for number in range(layer.groups)):
        return Grouped(net, layer, places, target, options)
    if source.tensor.format == "smol":
        which = "groups" if layer.groups > 1 else "a dilation"
        way = "choose vdot" if options.has.has("vdot") else "the hardware has no vdot"
        raise SysmolError(f"layer {layer.name}: style {dense.style()} cannot do {which}; {way}")
    return Expanded(net, layer, places, target, options)
