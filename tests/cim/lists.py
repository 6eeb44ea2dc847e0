"""Random lists of descriptors: mostly good ones, of every kind, with values at the edges, and some that are wrong."""

import random
from dataclasses import dataclass

from sysmol.cim.checks import extent, find_fault
from sysmol.cim.descriptor import FLAGS, LAYOUT, SIGNED, Descriptor, Fault, Flag, Kind, make
from sysmol.cim.model import NOWHERE, Memory, TileModel, place
from sysmol.cim.tile import Tile

BASE = 0x80000000


@dataclass
class Case:
    """A list on a tile, with the memory that it finds."""

    tile: Tile
    memory: bytes
    base: int
    descriptors: list[Descriptor]
    ram: tuple[int, int] | None = None

    def run(self, model: TileModel) -> tuple[int, Fault, bytes]:
        """Descriptors done, fault and memory behind the Python model, which keeps what it holds."""
        memory = Surrounded(bytearray(self.memory), self.base, self.ram)
        outcome = model.run(self.descriptors, memory)
        return outcome.done, outcome.fault, bytes(memory.data)


@dataclass
class Surrounded(Memory):
    """A piece of the memory that ``ram`` (address, bytes) has."""

    ram: tuple[int, int] | None = None

    def holds(self, address: int, size: int) -> bool:
        if self.ram is None:
            return super().holds(address, size)
        return self.ram[0] <= address and address + size <= sum(self.ram)


def random_tile(rng: random.Random) -> Tile:
    """A small tile."""
    return Tile(
        arrays=rng.choice([1, 2, 3]),
        rows=rng.choice([8, 24, 36, 64]),
        columns=rng.choice([8, 17, 32, 64]),
        contexts=rng.choice([1, 2, 3]),
        scratch_bytes=rng.choice([1024, 2048, 4096]),
        accumulators=rng.choice([64, 256, 1024]),
        window=rng.choice([1, 4, 16]),
    )


def random_case(
    rng: random.Random,
    count: int,
    wrong: float,
    memory_bytes: int = 4096,
    base: int = BASE,
    model: TileModel | None = None,
    ram: tuple[int, int] | None = None,
) -> Case:
    """A list of ``count`` descriptors, each of them wrong with that probability; a list ends behind its first fault.

    ``model``: a tile with what it holds, by default a random one with nothing. ``ram``: what the tile takes for memory;
    nothing but ``memory_bytes`` from ``base`` on is read or written.
    """
    memory = bytearray(rng.randbytes(memory_bytes // 2))
    while len(memory) < memory_bytes:  # half of it constants of stores
        memory += constants(rng, 1, rng.randint(1, 16), rng.randint(1, 9))
    del memory[memory_bytes:]
    tile = random_tile(rng) if model is None else model.tile
    shadow = TileModel(tile)
    if model is not None:
        shadow.weights = dict(model.weights)
    held = Surrounded(bytearray(memory), base, ram)
    made: list[Descriptor] = []
    while len(made) < count:
        d, bad = random_descriptor(rng, tile, shadow, held), rng.random() < wrong
        if bad:
            d = damaged(rng, d)
        loaded = {key: weights.shape for key, weights in shadow.weights.items()}
        fault = find_fault(d, tile, loaded, held.holds)
        if fault is not Fault.NONE and not bad:
            continue  # a good descriptor that found no room
        if fault is Fault.NONE and find_fault(d, tile, loaded, Memory(held.data, base).holds) is not Fault.NONE:
            continue  # memory that is there, but not this list's
        made.append(d)
        if fault is not Fault.NONE:
            break
        if d.kind == Kind.WEIGHTS:
            shadow.execute(d, held)
    return Case(tile, bytes(memory), base, made, ram)


def fenced(descriptors: list[Descriptor]) -> list[Descriptor]:
    """With a fence wherever memory is touched that an earlier one changes, or changed that it touches: a tile watches
    everything but memory."""
    result: list[Descriptor] = []
    open_ranges: list[tuple[int, int, bool]] = []
    for d in descriptors:
        if (touched := memory_range(d)) is not None:
            begin, end, writes = touched
            clash = any(begin < e and b < end and (writes or w) for b, e, w in open_ranges)
            if clash:
                d = Descriptor(d.kind, d.values, d.flags | Flag.FENCE, d.clean)
            if d.flags & Flag.FENCE:
                open_ranges = []
            open_ranges.append(touched)
        elif d.flags & Flag.FENCE:
            open_ranges = []
        result.append(d)
    return result


def memory_range(d: Descriptor) -> tuple[int, int, bool] | None:
    """First and last byte of memory that a good descriptor touches, and whether it writes there."""
    if d.kind == Kind.FETCH:
        return d["memory"], d["memory"] + extent(d["rows"], d["memory_stride"], d["row_bytes"]), False
    if d.kind == Kind.WEIGHTS:
        return d["memory"], d["memory"] + d["rows"] * d["row_bytes"], False
    if d.kind == Kind.STORE:
        size = extent(d["height"], d["memory_stride"], d["width"] * d["pixel_bytes"])
        return d["memory"], d["memory"] + size, True
    return None


def packed(d: Descriptor) -> bytes:
    """The bytes of a descriptor, also of one of no known kind, and with something in bytes of no field."""
    if d.kind not in set(Kind):
        return bytes([d.kind, d.flags]) + bytes(62)
    data = bytearray(d.pack())
    if not d.clean:
        fields = LAYOUT[Kind(d.kind)].values()
        data[max(set(range(64)) - {at + i for at, size in fields for i in range(size)})] = 7
    return bytes(data)


def random_descriptor(rng: random.Random, tile: Tile, model: TileModel, memory: Memory) -> Descriptor:
    """Of any kind, likely without a fault."""
    flags = Flag.FENCE if rng.random() < 0.2 else 0
    kinds = [Kind.FETCH, Kind.WEIGHTS, Kind.STORE, *([Kind.COMPUTE] * 3 if model.weights else [])]
    kind = rng.choice(kinds)
    size = len(memory.data)
    if kind is Kind.FETCH:
        rows, row_bytes = rng.randint(1, 5), rng.randint(1, 120)
        stride = row_bytes + rng.choice([0, 0, 1, 17])
        source = rng.choice([row_bytes, row_bytes + rng.randint(0, 40), 0])
        room = tile.scratch_bytes - (rows - 1) * stride - row_bytes
        return make(
            kind, flags, rows=rows, row_bytes=row_bytes, scratch_stride=stride, memory_stride=source,
            scratch=rng.choice([0, max(room, 0), rng.randint(0, max(room, 0))]),
            memory=memory.base + rng.randint(0, size - (rows - 1) * source - row_bytes),
        )  # fmt: skip
    if kind is Kind.WEIGHTS:
        rows, row_bytes = rng.randint(1, tile.rows), rng.randint(1, -(-tile.columns // 8))
        return make(
            kind, flags, rows=rows, row_bytes=row_bytes, memory=memory.base + rng.randint(0, size - rows * row_bytes),
            array=rng.randrange(tile.arrays), context=rng.randrange(tile.contexts),
        )  # fmt: skip
    return (_compute if kind is Kind.COMPUTE else _store)(rng, tile, model, memory, flags)


def _compute(rng: random.Random, tile: Tile, model: TileModel, memory: Memory, flags: int) -> Descriptor:
    (array, context), held = rng.choice(list(model.weights.items()))
    bits = rng.choice([1, 2, 4, 8])
    bit = rng.choice([0, rng.randrange(0, 8, bits)])
    most = max(1, min(tile.columns, 8 * held.shape[1]) // bits)
    wide = rng.randint(1, 4)
    elements = rng.randint(1, max(1, min(held.shape[0], 20)))
    taps = rng.randint(1, max(1, min(held.shape[0] // elements, 9)))
    outputs = rng.randint(1, most)
    if rng.random() < 0.3:
        flags |= Flag.DEPTHWISE
        outputs = elements
    height, width = rng.randint(1, 4), rng.randint(1, 4)
    pixels = height * width
    channel = pixels + rng.choice([0, 0, 1, 5])
    return make(
        Kind.COMPUTE, flags | rng.choice([0, Flag.CLEAR]), bits=bits, taps_wide=wide, elements=elements,
        outputs=outputs, tap_first=rng.choice([0, 0, rng.randint(0, 9)]), taps=taps, array=array, context=context,
        height=height, width=width, stride_y=rng.randint(1, 3), stride_x=rng.randint(1, 3),
        pixel_stride=rng.choice([0, rng.randint(1, 12)]), row_stride=rng.randint(0, 60),
        scratch=rng.randint(0, tile.scratch_bytes // 2), channel_stride=channel, bit=bit,
        accumulator=rng.randint(0, max(0, tile.accumulators - (outputs - 1) * channel - pixels)),
    )  # fmt: skip


def _store(rng: random.Random, tile: Tile, model: TileModel, memory: Memory, flags: int) -> Descriptor:
    channels, height, width = rng.randint(1, 12), rng.randint(1, 4), rng.randint(1, 4)
    pixel = rng.randint(1, 16)
    row_stride, channel_stride = rng.randint(0, 5), rng.randint(0, 20)
    words = (channels - 1) * channel_stride + (height - 1) * row_stride + width
    stride = width * pixel + rng.choice([0, 3])
    lo, hi = rng.choice([(0, 15), (-128, 127), (-(2**31), 2**31 - 1), (3, 2), (-5, 200)])
    room = len(memory.data) - (height - 1) * stride - width * pixel
    return make(
        Kind.STORE, flags | rng.choice([0, Flag.HIGH]) | rng.choice([0, Flag.RESIDUAL, Flag.RESIDUAL | 8, 8]),
        shift=rng.choice([0, 5, 16, 31]), pre=rng.choice([0, 1, 7, 31]), residual_left=rng.choice([0, 16, 27, 31]),
        channels=channels, height=height, width=width, channel_stride=channel_stride, row_stride=row_stride,
        accumulator=rng.randint(0, max(0, tile.accumulators - words)), pixel_bytes=pixel,
        constants=rng.randint(0, tile.scratch_bytes - 24 * channels), residual=rng.randint(0, tile.scratch_bytes // 2),
        residual_row=rng.randint(0, 60), residual_pixel=rng.randint(1, 9), memory_stride=stride, lo=lo, hi=hi,
        memory=memory.base + rng.randint(0, room),
    )  # fmt: skip


def damaged(rng: random.Random, d: Descriptor) -> Descriptor:
    """With a field, the kind or the flags replaced by something that is likely wrong."""
    what = rng.random()
    if what < 0.1:
        return Descriptor(rng.choice([0, 5, 99, 255]), {}, d.flags)
    if what < 0.15:
        return Descriptor(d.kind, d.values, d.flags, clean=False)
    if what < 0.2:
        return Descriptor(d.kind, d.values, d.flags | rng.choice([16, 128, 8, ~FLAGS[Kind(d.kind)] & 0xFF]))
    name, (_, size) = rng.choice(list(LAYOUT[Kind(d.kind)].items()))
    most = (1 << (8 * size - (name in SIGNED))) - 1
    value = rng.choice([0, 0, 1, most, most // 2, 255, 65535, rng.randint(0, most)])
    return Descriptor(d.kind, {**d.values, name: min(value, most)}, d.flags)


def constants(rng: random.Random, channels: int, pixel: int, residual_pixel: int) -> bytes:
    """Constants with places that mostly fit."""
    words: list[int] = []
    for _ in range(channels):
        words += [rng.choice([0, rng.getrandbits(32), rng.randint(-99, 99)]) for _ in range(4)]
        for size in (pixel, residual_pixel):
            bits = rng.choice([1, 2, 4, 8, 16, 32])
            bit = rng.randrange(0, max(1, 8 * size - bits + 1)) // min(bits, 8) * min(bits, 8)
            words.append(rng.choice([place(bit, bits)] * 6 + [NOWHERE, place(8 * size, bits), rng.getrandbits(32)]))
    return b"".join((word & 0xFFFFFFFF).to_bytes(4, "little") for word in words)
