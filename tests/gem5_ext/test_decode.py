"""The generated decode header against the table: all words of both spaces, and words around them."""

import random
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

from sysmol import isa as table

REGISTERS = 1 << 15
"""Choices of vd, vn and vm."""


def test_every_word_of_the_space(compile_program: Callable[..., Path], isa: str) -> None:
    program = compile_program("decode.cc", "host", "-std=c++17", "-O2")
    lines = subprocess.run([program, isa, "--all"], capture_output=True, text=True, check=True).stdout.split()
    total, counts = int(lines[0]), [int(n) for n in lines[1:]]
    ((mask, _),) = table.spaces(isa)
    assert total == 1 << (32 - mask.bit_count())
    for fn, field6 in table.candidates():
        assert counts[64 * fn + field6] == (REGISTERS if table.is_legal(fn, field6) else 0), (fn, field6)


def test_fields(compile_program: Callable[..., Path], isa: str, seed: int) -> None:
    rng = random.Random(seed)
    ((mask, match),) = table.spaces(isa)
    words = [rng.getrandbits(32) for _ in range(5000)]
    words += [rng.getrandbits(32) & ~mask | match for _ in range(15000)]
    words += [table.encode(isa, fn, f, *(rng.randrange(32) for _ in range(3))) for fn, f in table.words()]
    # One bit of the space flipped.
    words += [w ^ (1 << bit) for w in words[-20:] for bit in range(32)]
    program = compile_program("decode.cc", "host", "-std=c++17", "-O2")
    data = struct.pack(f"<{len(words)}I", *words)
    answers = subprocess.run([program, isa], input=data, capture_output=True, check=True).stdout
    assert len(answers) == 7 * len(words)
    legal = 0
    for i, word in enumerate(words):
        expected = table.decode(isa, word)
        inside = word & mask == match
        answer = answers[7 * i : 7 * i + 7]
        if expected is None:
            assert tuple(answer) == (0, inside, 0, 0, 0, 0, 0), hex(word)
        else:
            legal += 1
            fields = (expected.fn, expected.field6, expected.vd, expected.vn, expected.vm)
            assert tuple(answer) == (1, 1, *fields), hex(word)
    assert legal > 2000
