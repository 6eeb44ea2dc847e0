"""The tile's arithmetic, bit by bit the same as in the simulated device: descriptors executed one after the other.

:mod:`sysmol.cim.timing` says when things happen; nothing here depends on it, since a tile waits where one descriptor
needs what another has still to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sysmol.cim.checks import element_bytes, find_fault, weight_bytes
from sysmol.cim.descriptor import CONSTANT_BYTES, MOST_DESCRIPTORS, PLACE_BITS, Descriptor, Fault, Flag, Kind
from sysmol.cim.tile import Tile
from sysmol.grid import PRODUCT_SHIFT

Array = npt.NDArray[np.int64]
MASK = 0xFFFFFFFF


@dataclass
class Memory:
    """Bytes from the address ``base`` on."""

    data: bytearray
    base: int = 0

    def holds(self, address: int, size: int) -> bool:
        """Whether so many bytes from there on are memory."""
        return self.base <= address and address + size <= self.base + len(self.data)

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes."""
        start = address - self.base
        return bytes(self.data[start : start + size])

    def write(self, address: int, data: bytes) -> None:
        """Replace bytes."""
        start = address - self.base
        self.data[start : start + len(data)] = data


@dataclass
class Outcome:
    """``done`` descriptors were executed; the next one had the ``fault``, if there is one."""

    done: int
    fault: Fault = Fault.NONE


@dataclass
class TileModel:
    """A tile with what it holds; everything is 0, and no context has weights, when it starts."""

    tile: Tile
    scratch: npt.NDArray[np.uint8] = field(init=False)
    accumulators: Array = field(init=False)
    weights: dict[tuple[int, int], npt.NDArray[np.uint8]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scratch = np.zeros(self.tile.scratch_bytes, dtype=np.uint8)
        self.accumulators = np.zeros(self.tile.accumulators, dtype=np.int64)

    def run(self, descriptors: Sequence[Descriptor], memory: Memory) -> Outcome:
        """Execute a list until its end or its first fault."""
        if not 1 <= len(descriptors) <= MOST_DESCRIPTORS:
            return Outcome(0, Fault.COUNT)
        for number, each in enumerate(descriptors):
            loaded = {key: (held.shape[0], held.shape[1]) for key, held in self.weights.items()}
            fault = find_fault(each, self.tile, loaded, memory.holds)
            if fault is not Fault.NONE:
                return Outcome(number, fault)
            self.execute(each, memory)
        return Outcome(len(descriptors))

    def execute(self, d: Descriptor, memory: Memory) -> None:
        """One descriptor without faults."""
        if d.kind == Kind.FETCH:
            for row in range(d["rows"]):
                data = memory.read(d["memory"] + row * d["memory_stride"], d["row_bytes"])
                at = d["scratch"] + row * d["scratch_stride"]
                self.scratch[at : at + len(data)] = np.frombuffer(data, dtype=np.uint8)
        elif d.kind == Kind.WEIGHTS:
            data = memory.read(d["memory"], d["rows"] * d["row_bytes"])
            self.weights[d["array"], d["context"]] = np.frombuffer(data, dtype=np.uint8).reshape(d["rows"], -1)
        elif d.kind == Kind.COMPUTE:
            self._compute(d)
        else:
            self._store(d, memory)

    def _compute(self, d: Descriptor) -> None:
        """Sums ``[height, width, outputs]`` into accumulators, which wrap at 32 bits."""
        x = self._inputs(d)
        w = elements(self.weights[d["array"], d["context"]][: x.shape[-1], : weight_bytes(d)], d["bits"])
        if d.has(Flag.DEPTHWISE):
            each = x.reshape(*x.shape[:2], d["taps"], d["elements"])
            sums = (each * w[:, 0].reshape(d["taps"], d["elements"])).sum(axis=2)
        else:
            sums = x @ w[:, : d["outputs"]]
        sums = sums << PRODUCT_SHIFT.get(d["bits"], 0)
        pixels = d["height"] * d["width"]
        at = d["accumulator"] + np.arange(d["outputs"])[:, None] * d["channel_stride"] + np.arange(pixels)
        before = 0 if d.has(Flag.CLEAR) else self.accumulators[at]
        self.accumulators[at] = wrap(before + sums.reshape(pixels, -1).T)

    def _inputs(self, d: Descriptor) -> Array:
        """What the rows of the array are fed, int64 ``[height, width, taps * elements]``."""
        taps = d["tap_first"] + np.arange(d["taps"])
        y = np.arange(d["height"])[:, None] * d["stride_y"] + taps // d["taps_wide"]
        x = np.arange(d["width"])[:, None] * d["stride_x"] + taps % d["taps_wide"]
        starts = d["scratch"] + y[:, None] * d["row_stride"] + x[None] * d["pixel_stride"]
        data = self.scratch[starts[..., None] + np.arange(element_bytes(d))]
        first = d["bit"] // d["bits"]
        own = elements(data, d["bits"])[..., first : first + d["elements"]]
        return own.reshape(d["height"], d["width"], -1)

    def _store(self, d: Descriptor, memory: Memory) -> None:
        """Requantised pixels, row after row."""
        channels, shape = d["channels"], (d["height"], d["width"])
        at = d["constants"]
        words = self.scratch[at : at + CONSTANT_BYTES * channels].view("<i4").reshape(channels, 6).astype(np.int64)
        add, m, b, r_factor = (words[:, i] for i in range(4))
        places, residual_places = words[:, 4] & MASK, words[:, 5] & MASK
        y, x = np.arange(shape[0])[:, None, None], np.arange(shape[1])[None, :, None]
        where = d["accumulator"] + y * d["row_stride"] + x + np.arange(channels) * d["channel_stride"]
        acc = wrap(self.accumulators[where] + add)
        total = product(acc, m, d["pre"], d.has(Flag.HIGH)) + b
        if d.has(Flag.RESIDUAL):
            residual = self._residual(d, residual_places)
            total = total + product(residual, r_factor, d["residual_left"], d.has(Flag.RESIDUAL_HIGH))
        result = np.maximum(np.minimum(wrap(total) >> d["shift"], d["hi"]), d["lo"])
        rows = packed(result, places, d["pixel_bytes"])
        for row in range(shape[0]):
            memory.write(d["memory"] + row * d["memory_stride"], rows[row].tobytes())

    def _residual(self, d: Descriptor, places: Array) -> Array:
        """Residual values ``[height, width, channels]``; 0 where a place lies outside the pixel."""
        size = d["residual_pixel"]
        y, x = np.arange(d["height"])[:, None, None], np.arange(d["width"])[None, :, None]
        starts = d["residual"] + y * d["residual_row"] + x * size
        pixels = self.scratch[starts + np.arange(size)].astype(np.int64)
        values = np.zeros((d["height"], d["width"], len(places)), dtype=np.int64)
        for channel, place in enumerate(places):
            bit, bits = place_of(int(place))
            if not fits(bit, bits, size):
                continue
            byte = bit >> 3
            if bits < 8:
                values[..., channel] = 2 * (pixels[..., byte] >> (bit & 7) & ((1 << bits) - 1)) - ((1 << bits) - 1)
            else:
                number = sum(pixels[..., byte + i] << (8 * i) for i in range(bits // 8))
                values[..., channel] = (number ^ (1 << (bits - 1))) - (1 << (bits - 1))
        return values


def wrap(x: Array) -> Array:
    """To 32 bits with a sign."""
    return ((x + (1 << 31)) & MASK) - (1 << 31)


def product(x: Array, factor: Array, left: int, high: bool) -> Array:
    """``x * factor`` at 32 bits; high: ``((x << left at 32 bits) * factor) >> 31``, exact in 64."""
    return wrap((wrap(x << left) * factor) >> 31) if high else wrap(x * factor)


def elements(data: npt.NDArray[np.uint8], bits: int) -> Array:
    """The numbers in bytes ``[..., n]``: int64 ``[..., 8 n / bits]``; odd integers of codes, or signed bytes."""
    if bits == 8:
        return data.astype(np.int8).astype(np.int64)
    top = (1 << bits) - 1
    codes = data[..., None].astype(np.int64) >> np.arange(0, 8, bits) & top
    return 2 * codes.reshape(*data.shape[:-1], -1) - top


def place_of(place: int) -> tuple[int, int]:
    """Bit offset and bits of an element; more than 32 bits mean that there is none."""
    return place & ((1 << PLACE_BITS) - 1), 1 << (place >> PLACE_BITS)


def place(bit: int, bits: int) -> int:
    """The inverse of :func:`place_of`."""
    return bit | (bits.bit_length() - 1) << PLACE_BITS


NOWHERE = place(0, 64)
"""A place that no pixel has."""


def fits(bit: int, bits: int, pixel_bytes: int) -> bool:
    """Whether a pixel has such a place: whole bytes, or a part of one that does not cross its end."""
    return bits <= 32 and bit % min(bits, 8) == 0 and bit + bits <= 8 * pixel_bytes


def packed(values: Array, places: Array, pixel_bytes: int) -> npt.NDArray[np.uint8]:
    """Pixels uint8 ``[height, width * pixel_bytes]``: channels of fewer than 8 bits are codes, limited to their bits.
    Later channels replace earlier ones in the same place."""
    height, width, channels = values.shape
    pixels = np.zeros((height, width, pixel_bytes), dtype=np.uint8)
    for channel in range(channels):
        bit, bits = place_of(int(places[channel]))
        if not fits(bit, bits, pixel_bytes):
            continue
        byte, value = bit >> 3, values[..., channel]
        if bits < 8:
            mask = (1 << bits) - 1
            code = np.minimum(value, mask) & mask
            pixels[..., byte] &= np.uint8(~(mask << (bit & 7)) & 0xFF)
            pixels[..., byte] |= (code << (bit & 7)).astype(np.uint8)
        else:
            for i in range(bits // 8):
                pixels[..., byte + i] = (value >> (8 * i) & 0xFF).astype(np.uint8)
    return pixels.reshape(height, -1)
