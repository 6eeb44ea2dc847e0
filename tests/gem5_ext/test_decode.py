"""The generated decode header against the table: all words of both spaces, and words around them."""

import random
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

from sysmol import isa as table

REGISTERS = 1 << 15
"""Choices of vd, vn and vm."""
ACCESSES = 1 << 22
"""Choices of a load's or store's registers and offset."""


def test_every_word_of_the_space(compile_program: Callable[..., Path], isa: str) -> None:
    program = compile_program("decode.cc", "host", "-std=c++17", "-O2")
    lines = subprocess.run([program, isa, "--all"], capture_output=True, text=True, check=True).stdout.split()
    total, counts = int(lines[0]), [int(n) for n in lines[1:]]
    spaces = table.spaces(isa)
    assert len(spaces) == 2 and total == sum(1 << (32 - mask.bit_count()) for mask, _ in spaces)
    accesses = [access.fn for access in table.ACCESSES if isa in table.ACCESS_FORMATS[access.format].on]
    expected = dict.fromkeys(table.words(), REGISTERS) | {(fn, 0): ACCESSES for fn in accesses}
    for at, count in enumerate(counts):
        assert count == expected.get((at // 64, at % 64), 0), divmod(at, 64)
    assert len(counts) > 64 * max(fn for fn, _ in expected)


def test_fields(compile_program: Callable[..., Path], isa: str, seed: int) -> None:
    rng = random.Random(seed)
    words = [rng.getrandbits(32) for _ in range(5000)]
    for mask, match in table.spaces(isa):
        words += [rng.getrandbits(32) & ~mask | match for _ in range(15000)]
    words += [table.encode(isa, fn, f, *(rng.randrange(32) for _ in range(3))) for fn, f in table.words()]
    # One bit of the space flipped.
    words += [w ^ (1 << bit) for w in words[-20:] for bit in range(32)]
    program = compile_program("decode.cc", "host", "-std=c++17", "-O2")
    data = struct.pack(f"<{len(words)}I", *words)
    answers = subprocess.run([program, isa], input=data, capture_output=True, check=True).stdout
    assert len(answers) == 9 * len(words)
    legal = 0
    for i, word in enumerate(words):
        expected = table.decode(isa, word)
        inside = any(word & mask == match for mask, match in table.spaces(isa))
        answer = answers[9 * i : 9 * i + 9]
        if expected is None:
            assert tuple(answer) == (0, inside, *[0] * 7), hex(word)
        else:
            legal += 1
            fields = (expected.fn, expected.field6, expected.vd, expected.vn, expected.vm)
            assert tuple(answer) == (1, 1, *fields, *(expected.imm & 0xFFFF).to_bytes(2, "little")), hex(word)
    assert legal > 2000
