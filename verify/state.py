"""The state that a program works on, and how it lies in memory when a program has ended.

A block: 32 vector registers, then the scalar registers, then the memory window; little-endian, in this order.
"""

import random
from dataclasses import dataclass, field

SCALARS = 12
"""Scalar registers that programs use: x0..x11 on AArch64; a0..a7, t0..t3 on RISC-V."""
WINDOW = 512
"""Bytes that addresses reach; :data:`SLACK` more so that the widest access at the last byte stays inside."""
SLACK = 64
VECTORS = 32
WORD = (1 << 64) - 1


def signed(value: int, bits: int) -> int:
    """The lowest ``bits`` bits as a signed number."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


@dataclass
class State:
    """Registers and memory. ``size``: bytes of a vector register; ``sew``, ``vl``: RISC-V's element width in bits and
    vector length (AArch64's operations name their width themselves)."""

    isa: str
    size: int
    vectors: list[bytes]
    scalars: list[int]
    memory: bytearray
    sew: int = 32
    vl: int = field(default=0)

    def __post_init__(self) -> None:
        self.vl = self.vl or self.size // 4

    @classmethod
    def random(cls, rng: random.Random, isa: str, size: int) -> "State":
        """Random content; some scalars small, so that addresses and counts meet."""
        scalars = [rng.getrandbits(rng.choice((8, 16, 64))) for _ in range(SCALARS)]
        return cls(
            isa, size, [rng.randbytes(size) for _ in range(VECTORS)], scalars, bytearray(rng.randbytes(WINDOW + SLACK))
        )

    def copy(self) -> "State":
        return State(
            self.isa, self.size, list(self.vectors), list(self.scalars), bytearray(self.memory), self.sew, self.vl
        )

    def block(self) -> bytes:
        """All of it as it stands in memory."""
        return b"".join(self.vectors) + b"".join(x.to_bytes(8, "little") for x in self.scalars) + bytes(self.memory)

    def width(self, named: int) -> int:
        """Element width in bits of an operation that names ``named``."""
        return self.sew if self.isa == "riscv" else named

    def lanes(self, register: int, width: int) -> list[int]:
        """Unsigned elements of a vector register."""
        step, content = width // 8, self.vectors[register]
        return [int.from_bytes(content[i : i + step], "little") for i in range(0, self.size, step)]

    def put(self, register: int, width: int, values: list[int]) -> None:
        """Write the first elements; the others are kept (AArch64: all are written; RISC-V: vl of them, the tail is
        undisturbed)."""
        mask, kept = (1 << width) - 1, self.vectors[register]
        new = b"".join((value & mask).to_bytes(width // 8, "little") for value in values)
        self.vectors[register] = new + kept[len(new) :]

    def active(self, width: int) -> int:
        """Elements that an operation writes."""
        return self.vl if self.isa == "riscv" else self.size * 8 // width

    def load(self, address: int, size: int) -> int:
        return int.from_bytes(self.memory[address : address + size], "little")

    def store(self, address: int, size: int, value: int) -> None:
        self.memory[address : address + size] = (value & ((1 << (8 * size)) - 1)).to_bytes(size, "little")


def block_bytes(size: int) -> int:
    """Length of a block with vector registers of ``size`` bytes."""
    return VECTORS * size + SCALARS * 8 + WINDOW + SLACK


def first_difference(expected: bytes, found: bytes, size: int) -> str:
    """Name of the first register or memory location that differs, with both contents; empty where none does."""
    places = [(f"v{r}", r * size, size) for r in range(VECTORS)]
    places += [(f"s{i}", VECTORS * size + 8 * i, 8) for i in range(SCALARS)]
    start = VECTORS * size + 8 * SCALARS
    places += [(f"memory+{offset:#x}", start + offset, 8) for offset in range(0, WINDOW + SLACK, 8)]
    for name, at, length in places:
        want, got = expected[at : at + length], found[at : at + length]
        if want != got:
            return f"{name} is {got[::-1].hex() or 'missing'}, expected {want[::-1].hex()}"
    return ""
