"""Where activations lie in memory: blocks of channels, order groups, padded buffers, the arena.

A kernel works on *blocks* of up to 8 channels: one or two *groups* of 4 lanes, one accumulator register each. Blocks
of a SMOL tensor are the pieces of its vectors that one store can write: two 4-bit chunks (32 bits), one 2-bit chunk
(16 bits) or half a 1-bit chunk (8 bits). Tensors that meet element by element (residual and outputs of a layer, input
and outputs of pooling) form an order group; where all SMOL tensors of a group agree on their slots, the other tensors
of the group take the same channel order, so that no kernel ever permutes channels.

A SMOL tensor of one precision whose channels fill at most half of a vector can be *narrow*: its pixels take 2, 4 or 8
bytes instead of 16, so that a row of kernel taps is a run of bytes and one register holds several taps
(:mod:`sysmol.kernels_c.micro.smol_run`).

A SMOL tensor can lie in *planes*: 32 bits of all pixels, then the next 32, so that a register holds four neighbouring
pixels (:mod:`sysmol.kernels_c.plan.planes`).
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TypeVar

import numpy as np

from sysmol.network import Array, Layer, Network, Tensor, operation
from sysmol.pattern import CHUNK_BITS, REGISTER_BYTES, chunk_precisions, narrow_bytes
from sysmol.register_parts import words

ELEMENT_BYTES = {"u8": 1, "s8": 1, "s16": 2, "s32": 4, "f32": 4}
ALIGNMENT = 64
PLANE_BYTES = 4
"""Of a pixel of a tensor in planes."""
SLACK = 64
"""Bytes behind the last buffer that loads of whole registers may read."""

Key = TypeVar("Key")
Group = tuple[int, int, int, int]
"""Logical channel of each of 4 lanes, -1 where a lane has none."""


@dataclass(frozen=True)
class Block:
    """Channels that a kernel handles together.

    ``groups``: the lanes. For SMOL tensors ``precision`` in bits, ``offset`` of the block's first byte in the pixel,
    width of its memory word in ``bits``, and ``shifts``, the bit of every lane's code in that word.
    """

    groups: tuple[Group, ...]
    precision: int = 0
    offset: int = 0
    bits: int = 0
    shifts: tuple[Group, ...] = ()

    @property
    def form(self) -> tuple[int, int, int, tuple[Group, ...]]:
        """What two blocks must share to be handled by the same code."""
        return self.precision, len(self.groups), self.bits, self.shifts

    @property
    def lanes(self) -> tuple[tuple[bool, ...], ...]:
        """Which lanes of every group hold a channel."""
        return tuple(tuple(channel >= 0 for channel in group) for group in self.groups)


@dataclass
class Place:
    """Memory of one tensor: its blocks and the geometry of its padded buffer, in bytes.

    ``narrow``: bytes of a pixel of a narrow tensor, 0 in all others. ``planes``: how many a tensor in planes has, 0 in
    all others; its geometry is that of a plane, and its blocks' offsets are those of planes. ``side_by_side``: its
    blocks as they are in a pixel. ``split``: 16-bit blocks have one group behind the other instead of both interleaved;
    the kernel that writes the tensor decides that.
    """

    tensor: Tensor
    blocks: tuple[Block, ...]
    flat: bool = False
    narrow: int = 0
    planes: int = 0
    side_by_side: tuple[Block, ...] = ()
    split: bool = False
    pads: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    offset: int = 0

    @property
    def pixel_bytes(self) -> int:
        """Bytes from a pixel to its right neighbour."""
        t = self.tensor
        if self.planes:
            return PLANE_BYTES
        if t.format == "smol":
            return self.narrow or REGISTER_BYTES * len(t.patterns)
        if self.flat:
            return ELEMENT_BYTES[t.format] * t.channels
        return ELEMENT_BYTES[t.format] * sum(self.block_elements(b) for b in self.blocks)

    @property
    def row_bytes(self) -> int:
        """Bytes from a pixel to the one below it."""
        return self.pixel_bytes * (self.tensor.width + self.pads[1] + self.pads[3])

    @property
    def plane_bytes(self) -> int:
        """Bytes of all rows with their borders; of one plane where there are several."""
        return self.row_bytes * (self.tensor.height + self.pads[0] + self.pads[2])

    @property
    def bytes(self) -> int:
        """Size of the buffer with its borders."""
        size = self.plane_bytes * max(1, self.planes)
        return -(-size // ALIGNMENT) * ALIGNMENT

    def into_planes(self) -> None:
        """Move the channels into planes, once the borders are known."""
        self.side_by_side = self.blocks
        self.planes = max(block.offset for block in self.blocks) // PLANE_BYTES + 1
        self.blocks = tuple(
            replace(block, offset=block.offset // PLANE_BYTES * self.plane_bytes + block.offset % PLANE_BYTES)
            for block in self.blocks
        )

    def start(self, pads: Sequence[int] = (0, 0)) -> int:
        """Byte offset, in the buffer, of the pixel ``pads`` rows above and columns left of the first real one."""
        return self.bytes_to(self.pads[0] - pads[0], self.pads[1] - pads[1])

    def bytes_to(self, rows: int, columns: int) -> int:
        """Bytes from a pixel to the one so many rows below and columns right of it."""
        return rows * self.row_bytes + columns * self.pixel_bytes

    def block_elements(self, block: Block) -> int:
        """Elements that a block takes in a tensor of plain numbers; 16-bit blocks have two groups."""
        return 8 if self.tensor.format == "s16" else 4 * len(block.groups)

    def block_base(self, index: int) -> int:
        """First byte of block ``index`` within a pixel."""
        if self.tensor.format == "smol":
            return self.blocks[index].offset
        return ELEMENT_BYTES[self.tensor.format] * sum(self.block_elements(b) for b in self.blocks[:index])

    def positions(self) -> list[int]:
        """Place of every logical channel in a pixel: bit (SMOL) or element index."""
        t = self.tensor
        if self.flat:
            return list(range(t.channels))
        result = [0] * t.channels
        for index, block in enumerate(self.blocks):
            base = self.block_base(index)
            for g, lanes in enumerate(block.groups):
                for lane, channel in enumerate(lanes):
                    if channel < 0:
                        continue
                    if t.format == "smol":
                        result[channel] = 8 * base + block.shifts[g][lane]
                    elif t.format == "s16":
                        result[channel] = base // 2 + (4 * g + lane if self.split else 2 * lane + g)
                    else:
                        result[channel] = base // ELEMENT_BYTES[t.format] + 4 * g + lane
        return result

    def filled(self) -> Array:
        """The buffer of a constant tensor, uint8 ``[bytes]``: its elements, and 0 around and between them."""
        t = self.tensor
        assert t.data is not None
        size = t.data.dtype.itemsize
        buffer = np.zeros((self.bytes // size,), dtype=t.data.dtype)
        channels = np.array(self.positions())
        for y in range(t.height):
            for x in range(t.width):
                pixel = (self.start() + self.bytes_to(y, x)) // size
                buffer[pixel + channels] = t.data[y, x]
        return buffer.view(np.uint8)


def _group(channels: Sequence[int], first: int) -> Group:
    a, b, c, d = channels[first : first + 4]
    return a, b, c, d


def _used(group: Group) -> bool:
    return any(channel >= 0 for channel in group)


def dense_blocks(channels: int) -> tuple[Block, ...]:
    """Blocks of a tensor of plain numbers in logical order."""
    padded = [*range(channels), *[-1] * (-channels % 8)]
    blocks = []
    for first in range(0, channels, 8):
        groups = tuple(g for g in (_group(padded, first), _group(padded, first + 4)) if _used(g))
        blocks.append(Block(groups))
    return tuple(blocks)


def slot_channels(tensor: Tensor) -> list[int]:
    """Logical channel of every slot, -1 where a slot is unused."""
    assert tensor.slots is not None
    count = sum(CHUNK_BITS // p for number in tensor.patterns for p in chunk_precisions(number))
    result = [-1] * count
    for channel, slot in enumerate(np.asarray(tensor.slots).tolist()):
        result[slot] = channel
    return result


def smol_blocks(tensor: Tensor, narrow: int = 0) -> tuple[Block, ...]:
    """Blocks of a SMOL tensor: every used piece of its vectors, those of one form side by side.

    No block is wider than the pixels of a tensor with ``narrow`` bytes per pixel.
    """
    channels = slot_channels(tensor)
    blocks: list[Block] = []
    slot = 0
    for vector, number in enumerate(tensor.patterns):
        precisions = chunk_precisions(number)
        for chunk, chunks in words(number, pairs=narrow != 2):
            p = precisions[chunk]
            offset = vector * REGISTER_BYTES + 2 * chunk
            for piece in range(2 if p == 1 else 1):
                bits = 8 if p == 1 else CHUNK_BITS * chunks
                first = slot + 8 * piece
                groups = [_group(channels, first + 4 * g) for g in range(bits // p // 4)]
                while groups and not _used(groups[-1]):
                    groups.pop()
                if groups:
                    shifts = tuple(_shifts(p, g) for g in range(len(groups)))
                    blocks.append(Block(tuple(groups), p, offset + piece, bits, shifts))
            slot += chunks * CHUNK_BITS // p
    blocks.sort(key=lambda b: (-b.precision, -len(b.groups), -b.bits, b.offset))
    return tuple(blocks)


def _shifts(precision: int, group: int) -> Group:
    first = 4 * group * precision
    return first, first + precision, first + 2 * precision, first + 3 * precision


def segments(blocks: Sequence[Block], same_lanes: bool = False) -> list[tuple[int, int]]:
    """Runs ``(first, count)`` of blocks of one form: one loop of a kernel each. ``same_lanes``: and equal lanes."""

    def alike(a: Block, b: Block) -> bool:
        return a.form == b.form and (not same_lanes or a.lanes == b.lanes)

    result: list[tuple[int, int]] = []
    for index, block in enumerate(blocks):
        if result and alike(blocks[result[-1][0]], block):
            result[-1] = (result[-1][0], result[-1][1] + 1)
        else:
            result.append((index, 1))
    return result


def runs(blocks: Sequence[Block], key: Callable[[Block], Key]) -> list[tuple[Key, int, int]]:
    """Runs ``(key, first, count)`` of blocks of one form, with equal lanes and the same key."""
    return [
        (value, next(own), 1 + sum(1 for _ in own))
        for first, count in segments(blocks, same_lanes=True)
        for value, own in groupby(range(first, first + count), key=lambda index: key(blocks[index]))
    ]


def is_tap_by_tap(layer: Layer) -> bool:
    """Whether a convolution has groups or a dilation."""
    return layer.groups > 1 or layer.dilation != (1, 1)


def one_for_all(net: Network, layer: Layer) -> bool:
    """Whether the residual's only channel is added to all channels of the outputs."""
    return bool(layer.residual) and net.tensors[layer.residual].channels < net.tensors[layer.targets[0]].channels


def _order_groups(net: Network) -> Iterable[list[str]]:
    """Sets of tensors that meet element by element."""
    parent = {name: name for name in net.tensors}

    def find(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for layer in net.layers:
        members = [*layer.targets, "" if one_for_all(net, layer) else layer.residual]
        kind = operation(layer)
        if kind.keeps_channels and not kind.mixes_channels:
            members += [name for name in layer.inputs if name != net.input]
        for name in filter(None, members):
            parent[find(name)] = find(members[0])
    groups: dict[str, list[str]] = {}
    for name in net.tensors:
        groups.setdefault(find(name), []).append(name)
    return groups.values()


def narrow_size(tensor: Tensor) -> int:
    """Bytes of a pixel if ``tensor`` is stored narrow, 0 where it cannot be."""
    if tensor.format != "smol":
        return 0
    return narrow_bytes(tensor.patterns, tensor.used_slots)


def run_registers(kernel: tuple[int, int], pixel_bytes: int) -> tuple[int, int]:
    """Registers of activations that hold the taps of a kernel over narrow pixels, and the operations that make them.

    A row's full registers are loaded. What is left of each row is masked; where it fits half a register, that of two
    rows is joined.
    """
    height, width = kernel
    full, rest = divmod(width * pixel_bytes, REGISTER_BYTES)
    if not rest:
        return height * full, 0
    if rest > REGISTER_BYTES // 2:
        return height * (full + 1), height
    pairs, single = divmod(height, 2)
    return height * full + pairs + single, pairs * (1 + (rest < REGISTER_BYTES // 2)) + single


def _narrow(net: Network, names: Sequence[str], wide: Collection[str], halves: bool) -> dict[str, int]:
    """Bytes of a pixel of the SMOL tensors of an order group, where all can be narrow and that saves work; ``halves``:
    kernels read half a register or less at no cost."""
    sizes = {name: narrow_size(net.tensors[name]) for name in names if net.tensors[name].format == "smol"}
    if not sizes or not all(sizes.values()) or set(sizes) & set(wide):
        return {}
    saved = 0
    for layer in net.layers:
        kind = operation(layer)
        lanewise = kind.has_weights and not kind.mixes_channels
        if lanewise and any(sizes.get(n, 4) < 4 for n in (layer.input, *layer.targets)):
            return {}  # the parts that it multiplies are up to 32 bits wide
        if layer.input in sizes and is_tap_by_tap(layer):
            return {}
        if kind.mixes_channels and layer.input in sizes:
            target = net.tensors[layer.targets[0]]
            registers, operations = run_registers(layer.kernel, sizes[layer.input])
            each = 8 * (layer.kernel[0] * layer.kernel[1] - registers) - operations
            saved += 1 if halves else target.height * target.width * target.channels * each
        elif halves and lanewise and layer.input in sizes:
            return {}
    return sizes if saved > 0 else {}


def _pads(net: Network, layer: Layer, place: Place) -> None:
    """Widen ``place`` for the taps that ``layer`` reads outside the image as zeros."""
    t = place.tensor
    target = net.tensors[layer.targets[0]]
    bottom = (target.height - 1) * layer.stride[0] + layer.reach[0] - layer.padding[0] - t.height
    right = (target.width - 1) * layer.stride[1] + layer.reach[1] - layer.padding[1] - t.width
    place.pads = [max(a, b) for a, b in zip(place.pads, (*layer.padding[:2], bottom, right), strict=True)]


def plan(
    net: Network, wide: Collection[str] = (), planes: Collection[str] = (), halves: bool = False
) -> dict[str, Place]:
    """Place of every tensor, without its offset in the arena; the tensors ``wide`` are not stored narrow, those of
    ``planes`` lie in planes. ``halves``: kernels read narrow pixels at no cost."""
    places: dict[str, Place] = {net.input: Place(net.tensors[net.input], (), flat=True)}
    for names in _order_groups(net):
        narrow = _narrow(net, names, wide, halves)
        own = {n: smol_blocks(net.tensors[n], narrow.get(n, 0)) for n in names if net.tensors[n].format == "smol"}
        shared = next(iter(own.values())) if own else None
        ragged = any(blocks != shared for blocks in own.values())
        for name in names:
            if name == net.input:
                continue
            t = net.tensors[name]
            if t.format == "smol":
                places[name] = Place(t, own[name], narrow=narrow.get(name, 0))
            elif shared is not None and not ragged:
                places[name] = Place(t, shared)
            else:
                places[name] = Place(t, dense_blocks(t.channels))
    for layer in net.layers:
        if layer.input == net.input:
            for name in layer.targets:
                alone = all(name != other.residual for other in net.layers)
                readers = [operation(other) for other in net.layers if name in other.inputs]
                kept = operation(layer).keeps_channels
                if (
                    kept
                    and net.tensors[name].format in ("s8", "f32")
                    and alone
                    and all(r.mixes_channels for r in readers)
                ):
                    places[name].flat = True
        if operation(layer).zeros_outside:
            for name in layer.inputs:
                _pads(net, layer, places[name])
    for name in planes:
        places[name].into_planes()
    return places
