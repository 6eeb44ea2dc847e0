"""Lanes, chunks and elements of a 16-byte register, as the instructions' clauses read them. Little-endian."""

from sysmol.pattern import CHUNK_BITS, REGISTER_BYTES

ALIGN = {4: 0, 2: 4, 1: 6}
"""Left shift of a product of two ``p``-bit elements to the accumulators' unit of 2**-6."""


def elements(register: bytes, chunk: int, p: int) -> list[int]:
    """Odd integers ``g`` of the elements of one chunk read at ``p`` bits."""
    word = int.from_bytes(register[2 * chunk : 2 * chunk + 2], "little")
    return [2 * (word >> shift & ((1 << p) - 1)) - ((1 << p) - 1) for shift in range(0, CHUNK_BITS, p)]


def codes_of(content: bytes, p: int) -> list[int]:
    """Odd integers ``g`` of all codes of ``p`` bits of some bytes."""
    word, top = int.from_bytes(content, "little"), (1 << p) - 1
    return [2 * (word >> shift & top) - top for shift in range(0, 8 * len(content), p)]


def pair_dot(vn: bytes, n: int, vm: bytes, m: int, p: int) -> int:
    """Sum of the products of chunk ``n`` of one register and chunk ``m`` of another."""
    return sum(a * b for a, b in zip(elements(vn, n, p), elements(vm, m, p), strict=True))


def chunk_dot(vn: bytes, vm: bytes, chunk: int, p: int) -> int:
    """Sum of the aligned products of one chunk."""
    return pair_dot(vn, chunk, vm, chunk, p) << ALIGN[p]


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
