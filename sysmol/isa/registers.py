"""Lanes, chunks and elements of a 16-byte register, as the instructions' clauses read them. Little-endian."""

from sysmol.pattern import CHUNK_BITS, REGISTER_BYTES

ALIGN = {4: 0, 2: 4, 1: 6}
"""Left shift of a product of two ``p``-bit elements to the accumulators' unit of 2**-6."""


def elements(register: bytes, chunk: int, p: int) -> list[int]:
    """Odd integers ``g`` of the elements of one chunk read at ``p`` bits."""
    word = int.from_bytes(register[2 * chunk : 2 * chunk + 2], "little")
    return [2 * (word >> shift & ((1 << p) - 1)) - ((1 << p) - 1) for shift in range(0, CHUNK_BITS, p)]


def chunk_dot(vn: bytes, vm: bytes, chunk: int, p: int) -> int:
    """Sum of the aligned products of one chunk."""
    pairs = zip(elements(vn, chunk, p), elements(vm, chunk, p), strict=True)
    return sum(a * b << ALIGN[p] for a, b in pairs)


def lanes(register: bytes, width: int) -> list[int]:
    """Lanes of ``width`` bits, unsigned."""
    step = width // 8
    return [int.from_bytes(register[i : i + step], "little") for i in range(0, REGISTER_BYTES, step)]


def register(values: list[int], width: int) -> bytes:
    """Lanes of ``width`` bits to a register; every value wraps."""
    return b"".join((v & ((1 << width) - 1)).to_bytes(width // 8, "little") for v in values)


def signed(lane: int, width: int) -> int:
    """An unsigned lane of ``width`` bits as a signed number."""
    return lane - (1 << width) if lane >> (width - 1) else lane
