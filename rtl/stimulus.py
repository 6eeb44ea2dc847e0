"""Vectors that units are checked with: random registers with many edge values, and every pair of codes."""

import numpy as np

from sysmol.rtl.reference import Registers

_EDGES = np.array([0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF], dtype=np.uint8)


def registers(rng: np.random.Generator, vectors: int) -> Registers:
    """Random registers; in a quarter of them bytes are edge values, in an eighth lanes are small numbers of any sign,
    and in an eighth powers of two, which alone show whether a clamp sees every bit."""
    data = rng.integers(0, 256, (vectors, 16), dtype=np.uint8)
    quarter = vectors // 4
    data[:quarter] = rng.choice(_EDGES, (quarter, 16))
    small = vectors // 8
    lanes = rng.integers(-(1 << 20), 1 << 20, (small, 4)) >> rng.integers(0, 20, (small, 1))
    data[quarter : quarter + small] = lanes.astype("<i4").view(np.uint8)
    powers = np.uint32(1) << rng.integers(0, 32, (small, 4), dtype=np.uint32)
    data[quarter + small : quarter + 2 * small] = powers.astype("<u4").view(np.uint8)
    return rng.permutation(data)


def floats(rng: np.random.Generator, vectors: int) -> Registers:
    """fp32 lanes: random bits, numbers of like exponents (so that sums cancel), infinities, NaNs, zeros, subnormals."""
    bits = rng.integers(0, 1 << 32, (vectors, 4), dtype=np.uint32)
    near = rng.integers(118, 137, (vectors, 4), dtype=np.uint32) << np.uint32(23) | bits & np.uint32(0x807FFFFF)
    tiny = rng.integers(0, 30, (vectors, 4), dtype=np.uint32) << np.uint32(23) | bits & np.uint32(0x807FFFFF)
    special = rng.choice(
        np.array([0, 1, 0x7FFFFF, 0x800000, 0x3F800000, 0x7F7FFFFF, 0x7F800000, 0x7FC00000, 0x7F800001], np.uint32),
        (vectors, 4),
    ) | bits & np.uint32(0x80000000)
    kind = rng.choice(4, (vectors, 4), p=[0.25, 0.45, 0.2, 0.1])
    return np.choose(kind, [bits, near, tiny, special]).astype("<u4").view(np.uint8)


def code_pairs() -> tuple[Registers, Registers]:
    """Every pair of bytes, and so of codes of any precision, in every byte of two registers: 65,536 vectors.

    The bytes of a register differ: byte k of the second register is rotated by k, so that no two bytes always agree.
    """
    number = np.arange(1 << 16, dtype=np.uint32)
    first = np.stack([(number >> 8) + 17 * k & 255 for k in range(16)], axis=1).astype(np.uint8)
    second = np.stack([number + 29 * k & 255 for k in range(16)], axis=1).astype(np.uint8)
    return first, second
