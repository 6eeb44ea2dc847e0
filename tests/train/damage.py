"""Files that were cut, flipped or forged."""

from collections.abc import Iterator

import numpy as np

NUMBERS = (0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE)


def damaged(rng: np.random.Generator, content: bytes, count: int) -> Iterator[bytes]:
    """So many damaged copies: a third each cut short, with flipped bytes, with 4-byte words of other values."""
    for number in range(count):
        broken = bytearray(content)
        if number % 3 == 0:
            yield bytes(broken[: int(rng.integers(0, len(broken)))])
            continue
        for _ in range(int(rng.integers(1, 4))):
            if number % 3 == 1:
                broken[int(rng.integers(len(broken)))] ^= 1 << int(rng.integers(8))
            else:
                place = 4 * int(rng.integers(len(broken) // 4))
                broken[place : place + 4] = int(rng.choice(NUMBERS)).to_bytes(4, "little")
        yield bytes(broken)
