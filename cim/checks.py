"""What is wrong with a descriptor on a tile; gem5_ext/tile/smol_tile_core.hh checks the same in the same order."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sysmol.cim.descriptor import CONSTANT_BYTES, FLAGS, Descriptor, Fault, Flag, Kind
from sysmol.cim.tile import Tile

Loaded = Mapping[tuple[int, int], tuple[int, int]]
"""Rows and bytes per row that a context (array, context) holds."""
InMemory = Callable[[int, int], bool]
"""Whether so many bytes from an address on are memory."""

SIZES: Mapping[Kind, tuple[str, ...]] = {
    Kind.FETCH: ("rows", "row_bytes"),
    Kind.WEIGHTS: ("rows", "row_bytes"),
    Kind.COMPUTE: ("taps_wide", "elements", "outputs", "taps", "height", "width", "stride_y", "stride_x"),
    Kind.STORE: ("channels", "height", "width", "pixel_bytes"),
}
"""Fields that must not be 0."""


def find_fault(d: Descriptor, tile: Tile, loaded: Loaded, in_memory: InMemory) -> Fault:
    """The first fault of a descriptor, or ``Fault.NONE``."""
    if d.kind not in FLAGS:
        return Fault.KIND
    kind = Kind(d.kind)
    if d.flags & ~FLAGS[kind]:
        return Fault.FLAGS
    if not d.clean:
        return Fault.RESERVED
    if not all(d[name] for name in SIZES[kind]):
        return Fault.ZERO
    if kind is Kind.FETCH:
        return _fetch(d, tile, in_memory)
    if kind is Kind.WEIGHTS:
        return _weights(d, tile, in_memory)
    if kind is Kind.COMPUTE:
        return _compute(d, tile, loaded)
    return _store(d, tile, in_memory)


def _fetch(d: Descriptor, tile: Tile, in_memory: InMemory) -> Fault:
    if d["rows"] > 1 and d["scratch_stride"] < d["row_bytes"]:
        return Fault.SCRATCH
    if written_by_fetch(d)[1] > tile.scratch_bytes:
        return Fault.SCRATCH
    if not in_memory(d["memory"], extent(d["rows"], d["memory_stride"], d["row_bytes"])):
        return Fault.MEMORY
    return Fault.NONE


def _weights(d: Descriptor, tile: Tile, in_memory: InMemory) -> Fault:
    if d["array"] >= tile.arrays:
        return Fault.ARRAY
    if d["context"] >= tile.contexts:
        return Fault.CONTEXT
    if d["rows"] > tile.rows:
        return Fault.ROWS
    if d["row_bytes"] > row_bytes(tile):
        return Fault.COLUMNS
    return Fault.NONE if in_memory(d["memory"], d["rows"] * d["row_bytes"]) else Fault.MEMORY


def _compute(d: Descriptor, tile: Tile, loaded: Loaded) -> Fault:
    if d["bits"] not in (1, 2, 4, 8) or d["bit"] > 7 or d["bit"] % d["bits"]:
        return Fault.BITS
    if d["array"] >= tile.arrays:
        return Fault.ARRAY
    if d["context"] >= tile.contexts:
        return Fault.CONTEXT
    rows, depthwise = d["taps"] * d["elements"], d.has(Flag.DEPTHWISE)
    if rows > tile.rows:
        return Fault.ROWS
    if d["outputs"] * d["bits"] > tile.columns:
        return Fault.COLUMNS
    if depthwise and d["outputs"] != d["elements"]:
        return Fault.OUTPUTS
    has_rows, has_bytes = loaded.get((d["array"], d["context"]), (0, 0))
    if rows > has_rows or weight_bytes(d) > has_bytes:
        return Fault.NOT_LOADED
    if read_by_compute(d)[1] > tile.scratch_bytes:
        return Fault.SCRATCH
    if d["outputs"] > 1 and d["channel_stride"] < d["height"] * d["width"]:
        return Fault.ACCUMULATORS
    if written_by_compute(d)[1] > tile.accumulators:
        return Fault.ACCUMULATORS
    return Fault.NONE


def _store(d: Descriptor, tile: Tile, in_memory: InMemory) -> Fault:
    if max(d["shift"], d["pre"], d["residual_left"]) > 31:
        return Fault.SHIFT
    if read_by_store(d)[1] > tile.accumulators:
        return Fault.ACCUMULATORS
    if constants_range(d)[1] > tile.scratch_bytes:
        return Fault.SCRATCH
    if d.has(Flag.RESIDUAL):
        if not d["residual_pixel"]:
            return Fault.ZERO
        if residual_range(d)[1] > tile.scratch_bytes:
            return Fault.SCRATCH
    written = d["width"] * d["pixel_bytes"]
    if d["height"] > 1 and d["memory_stride"] < written:
        return Fault.MEMORY
    return Fault.NONE if in_memory(d["memory"], extent(d["height"], d["memory_stride"], written)) else Fault.MEMORY


# --- what descriptors touch ---


def extent(count: int, stride: int, last: int) -> int:
    """Bytes, or words, from the first of ``count`` pieces to the end of the last."""
    return (count - 1) * stride + last


def row_bytes(tile: Tile) -> int:
    """Bytes of a row of an array."""
    return -(-tile.columns // 8)


def weight_bytes(d: Descriptor) -> int:
    """Bytes of a row of weights that a computation reads."""
    return -(-(1 if d.has(Flag.DEPTHWISE) else d["outputs"]) * d["bits"] // 8)


def element_bytes(d: Descriptor) -> int:
    """Bytes that hold the elements of a tap."""
    return -(-(d["bit"] + d["elements"] * d["bits"]) // 8)


def written_by_fetch(d: Descriptor) -> tuple[int, int]:
    """Bytes of the scratchpad from the first to behind the last that a fetch changes."""
    return d["scratch"], d["scratch"] + extent(d["rows"], d["scratch_stride"], d["row_bytes"])


def read_by_compute(d: Descriptor) -> tuple[int, int]:
    """Bytes of the scratchpad from the first to behind the last that a computation may read."""
    first, last = d["tap_first"], d["tap_first"] + d["taps"] - 1
    wide = d["taps_wide"]
    right = last % wide if first // wide == last // wide else wide - 1
    y, x = (d["height"] - 1) * d["stride_y"] + last // wide, (d["width"] - 1) * d["stride_x"] + right
    return d["scratch"], d["scratch"] + y * d["row_stride"] + x * d["pixel_stride"] + element_bytes(d)


def written_by_compute(d: Descriptor) -> tuple[int, int]:
    """Accumulators from the first to behind the last that a computation changes."""
    words = extent(d["outputs"], d["channel_stride"], d["height"] * d["width"])
    return d["accumulator"], d["accumulator"] + words


def read_by_store(d: Descriptor) -> tuple[int, int]:
    """Accumulators from the first to behind the last that are stored."""
    image = extent(d["height"], d["row_stride"], d["width"])
    return d["accumulator"], d["accumulator"] + extent(d["channels"], d["channel_stride"], image)


def constants_range(d: Descriptor) -> tuple[int, int]:
    """Bytes of the scratchpad that hold the constants of a store."""
    return d["constants"], d["constants"] + CONSTANT_BYTES * d["channels"]


def residual_range(d: Descriptor) -> tuple[int, int]:
    """Bytes of the scratchpad that hold the residual of a store."""
    row = d["width"] * d["residual_pixel"]
    return d["residual"], d["residual"] + extent(d["height"], d["residual_row"], row)
