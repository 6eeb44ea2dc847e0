"""Files that were cut, flipped or forged."""

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from sysmol.errors import SysmolError

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


def read_damaged(
    rng: np.random.Generator, content: bytes, count: int, path: Path, read: Callable[[Path], object]
) -> int:
    """Read so many damaged copies, each written to ``path``; how many are networks still. The others end in one line;
    memory stays bounded."""
    whole = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number, broken in enumerate(damaged(rng, content, count)):
        path.write_bytes(broken)
        try:
            read(path)
            whole += 1
        except SysmolError as error:
            assert "\n" not in str(error), number
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 << 10
    return whole
