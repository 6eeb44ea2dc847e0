"""Packing of code vectors into 128-bit registers and back (NumPy)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sysmol.errors import SysmolError
from sysmol.pattern import CHUNK_BITS, CHUNKS, REGISTER_BYTES, chunk_precisions, pattern_id


def slot_precisions(ids: Sequence[int]) -> npt.NDArray[np.int64]:
    """Precision in bits of every slot of vectors with these pattern ids, int64 ``[slots]``."""
    return np.array([p for i in ids for p in chunk_precisions(int(i)) for _ in range(CHUNK_BITS // p)], dtype=np.int64)


def _bit_positions(ids: Sequence[int]) -> npt.NDArray[np.int64]:
    """First bit of every slot, counted from the first byte of the first vector."""
    precisions = slot_precisions(ids)
    return np.concatenate([[0], np.cumsum(precisions)[:-1]]) if len(precisions) else precisions


def pack(codes: npt.ArrayLike, ids: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Pack codes ``[..., slots]`` into registers ``uint8[..., V, 16]``, ``V = len(ids)``.

    Raises :class:`SysmolError` where the number of slots is wrong or a code does not fit its precision.
    """
    array = np.asarray(codes)
    precisions = slot_precisions(ids)
    if array.shape[-1] != len(precisions):
        raise SysmolError(f"{array.shape[-1]} codes do not fill {len(precisions)} slots of the patterns {list(ids)}")
    if array.size and (array.min() < 0 or (array >> precisions).any()):
        raise SysmolError("a code does not fit the precision of its slot")
    positions = _bit_positions(ids)
    bits = np.zeros((*array.shape[:-1], len(ids) * REGISTER_BYTES * 8), dtype=np.uint8)
    for bit in range(4):
        wide = precisions > bit
        bits[..., positions[wide] + bit] = (array[..., wide] >> bit) & 1
    packed = np.packbits(bits, axis=-1, bitorder="little")
    return packed.reshape(*array.shape[:-1], len(ids), REGISTER_BYTES)


def unpack(registers: npt.ArrayLike, ids: Sequence[int]) -> npt.NDArray[np.int64]:
    """Registers ``uint8[..., V, 16]`` to codes int64 ``[..., slots]``; the inverse of :func:`pack`."""
    array = np.asarray(registers, dtype=np.uint8)
    if array.shape[-2:] != (len(ids), REGISTER_BYTES):
        raise SysmolError(f"registers of shape {array.shape[-2:]} do not match {len(ids)} patterns")
    flat = array.reshape(*array.shape[:-2], len(ids) * REGISTER_BYTES)
    precisions, positions = slot_precisions(ids), _bit_positions(ids)
    # No slot crosses a byte: precisions are powers of two.
    codes = np.take(flat, positions >> 3, axis=-1) >> (positions & 7).astype(np.uint8)
    return (codes & ((1 << precisions) - 1).astype(np.uint8)).astype(np.int64)


def filler_codes(ids: Sequence[int]) -> npt.NDArray[np.int64]:
    """Codes of weight slots that no channel uses, int64 ``[slots]``.

    They alternate between the two smallest weights, so that what unused slots add to a sum nearly cancels.
    """
    precisions = slot_precisions(ids)
    return np.asarray((1 << (precisions - 1)) - np.arange(len(precisions)) % 2, dtype=np.int64)


def _used_bits(ids: Sequence[int], slots: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Which bits of the vectors belong to these slots, bool ``[V * 128]``."""
    precisions = slot_precisions(ids)
    used = np.zeros(len(precisions), dtype=bool)
    used[np.asarray(slots)] = True
    return np.repeat(used, precisions)


def drop_fillers(registers: npt.ArrayLike, ids: Sequence[int], slots: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """The bits of registers ``uint8[..., V, 16]`` that belong to used ``slots``, end to end: uint8 ``[bytes]``.

    Bits of the last byte that no slot needs are 0.
    """
    bits = np.unpackbits(
        np.asarray(registers, dtype=np.uint8).reshape(-1, len(ids) * REGISTER_BYTES), 1, None, "little"
    )
    return np.packbits(bits[:, _used_bits(ids, slots)], bitorder="little")


def restore_fillers(
    data: npt.ArrayLike, shape: Sequence[int], ids: Sequence[int], slots: npt.ArrayLike
) -> npt.NDArray[np.uint8]:
    """Inverse of :func:`drop_fillers`: registers uint8 ``[*shape, V, 16]``, :func:`filler_codes` in unused slots."""
    used, count = _used_bits(ids, slots), int(np.prod(shape))
    bits = np.tile(np.unpackbits(pack(filler_codes(ids), ids).reshape(-1), bitorder="little"), (count, 1))
    stored = np.unpackbits(np.asarray(data, dtype=np.uint8), count=count * int(used.sum()), bitorder="little")
    bits[:, used] = stored.reshape(count, -1)
    return np.packbits(bits, 1, "little").reshape(*shape, len(ids), REGISTER_BYTES)


def stored_bytes(weights: int, ids: Sequence[int], slots: npt.ArrayLike) -> int:
    """Bytes that :func:`drop_fillers` makes of ``weights`` rows of V registers."""
    return -(-weights * int(_used_bits(ids, slots).sum()) // 8)


def assign_slots(precisions: npt.ArrayLike, ids: Sequence[int]) -> npt.NDArray[np.int64]:
    """Slot of every channel: channels of one precision fill the slots of that precision in order, int64 ``[channels]``.

    Raises :class:`SysmolError` where the vectors have too few slots of a precision.
    """
    wanted, offered = np.asarray(precisions), slot_precisions(ids)
    slots = np.zeros(len(wanted), dtype=np.int64)
    for p in (4, 2, 1):
        channels, places = np.flatnonzero(wanted == p), np.flatnonzero(offered == p)
        if len(channels) > len(places):
            raise SysmolError(f"{len(channels)} channels of {p} bits do not fit the patterns {list(ids)}")
        slots[channels] = places[: len(channels)]
    return slots


def free_cover(precisions: npt.ArrayLike) -> tuple[int, ...]:
    """Pattern ids that hold these channels in the fewest vectors where all 45 patterns are allowed.

    Chunks of 4, then 2, then 1 bits in a row, cut into vectors; the last vector is filled up with chunks like its last.
    """
    wanted = np.asarray(precisions)
    chunks = [p for p in (4, 2, 1) for _ in range(-(-int((wanted == p).sum()) * p // CHUNK_BITS))]
    chunks += chunks[-1:] * (-len(chunks) % CHUNKS)
    groups = [chunks[i : i + CHUNKS] for i in range(0, len(chunks), CHUNKS)]
    return tuple(pattern_id(g.count(4), g.count(2), g.count(1)) for g in groups)
