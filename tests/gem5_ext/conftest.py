"""Test programs for both ISAs, as jobs that run_net.py understands: inputs are "images", results are "logits"."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sysmol import isa as table
from sysmol.configs_gem5.launch import run_gem5
from sysmol.configs_gem5.request import Simulation
from sysmol.files import PACKAGE
from sysmol.kernels_c.targets import TARGETS
from sysmol.verify.simulation import program_manifest

HERE = Path(__file__).parent
INCLUDE = PACKAGE / "kernels_c" / "include"
SEED = 20250711


@pytest.fixture(scope="session")
def seed() -> int:
    """Seed of every random vector and program of these tests, printed where a test fails."""
    print(f"seed {SEED}")
    return SEED


def host_compiler(language: str) -> list[str]:
    names = ("cc", "gcc", "clang") if language == "c" else ("c++", "g++", "clang++")
    for name in names:
        if shutil.which(name):
            return [name]
    pytest.skip(f"no {language} compiler for the host ({', '.join(names)})")


@pytest.fixture(scope="session")
def compile_program(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``compile_program(source, isa, *flags)``: a static executable; each combination is compiled once a session."""
    folder = tmp_path_factory.mktemp("programs")
    known: dict[tuple[str, ...], Path] = {}

    def build(source: str, isa: str, *flags: str) -> Path:
        key = (source, isa, *flags)
        if key not in known:
            target = folder / f"{Path(source).stem}-{isa}-{len(known)}"
            if isa == "host":
                command = [*host_compiler("c++" if source.endswith(".cc") else "c"), "-Wall", "-Wextra", "-Werror"]
            else:
                pytest.importorskip("ziglang", reason="the cross compiler, package ziglang, is absent")
                # The kernels' own processor, so that the compiler builds no second C library.
                command = [sys.executable, "-m", "ziglang", "cc", "-target", TARGETS[isa].triple]
                command += [*TARGETS[isa].zig_flags, "-static", "-fno-sanitize=all"]
            command += [
                "-O1",
                *flags,
                f"-I{INCLUDE}",
                f"-I{PACKAGE / 'gem5_ext'}",
                "-o",
                str(target),
                str(HERE / source),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            known[key] = target
        return known[key]

    return build


@dataclass
class Vectors:
    """Inputs of ``words.c`` with the Python model's results."""

    inputs: bytes
    expected: bytes
    count: int


def word_record(fn: int, field6: int, vd: bytes, vn: bytes, vm: bytes) -> bytes:
    return bytes([fn, field6]) + bytes(14) + vd + vn + vm


def around_clamps(rng: random.Random) -> Iterator[tuple[int, int, bytes, bytes, bytes]]:
    """For every pack selector, lanes just below, at and above every code's limits, and random ones of every size."""
    for field6 in range(64):
        chosen = table.pack(field6)
        steps = [*range(-1, (1 << chosen.precision) + 2), -(1 << 31) >> chosen.shift, (1 << 31) >> chosen.shift]
        edges = [(step << chosen.shift) + near for step in steps for near in (-1, 0, 1)]
        while edges:
            eight = [edges.pop() if edges else rng.randrange(1 << 32) >> rng.randrange(32) for _ in range(8)]
            rng.shuffle(eight)
            yield 3, field6, rng.randbytes(16), table.register(eight[:4], 32), table.register(eight[4:], 32)


def around_half_clamps(rng: random.Random) -> Iterator[tuple[int, int, bytes, bytes, bytes]]:
    """The same for the packing instructions of the second page, whose lanes have 16 or 32 bits."""
    for name, width, choose in (("vqpk.h", 16, table.pack16), ("vqpk.s", 32, table.pack32)):
        row, lanes = table.BY_NAME[name], 128 // width
        for field6 in row.legal_fields():
            chosen = choose(field6)
            steps = [-1, 0, 1, (1 << chosen.precision) - 1, 1 << chosen.precision]
            edges = [(step << chosen.shift) + near for step in steps for near in (-1, 0, 1)]
            edges += [-1 << (width - 1), (1 << (width - 1)) - 1]
            while edges:
                both = [edges.pop() if edges else rng.randrange(1 << width) >> rng.randrange(width)
                        for _ in range(2 * lanes)]  # fmt: skip
                rng.shuffle(both)
                n, m = (table.register(half, width) for half in (both[:lanes], both[lanes:]))
                yield row.fns[0], field6, rng.randbytes(16), n, m


EDGES = (bytes(16), b"\xff" * 16, b"\x55" * 16, b"\xaa" * 16, b"\x0f\xf0" * 8, bytes(range(16)))
ACCUMULATORS = (bytes(16), b"\xff" * 16, b"\xff\xff\xff\x7f" * 4, b"\x00\x00\x00\x80" * 4, b"\x80\x7f" * 8)


def all_code_pairs(p: int) -> Iterator[tuple[bytes, bytes]]:
    """Register pairs in which every element meets every pair of ``p``-bit codes."""
    codes = 1 << p
    for a in range(codes):
        for b in range(codes):
            n = m = 0
            for e in range(128 // p):
                n |= ((a + e) % codes) << (p * e)
                m |= ((b + 3 * e + e // codes) % codes) << (p * e)
            yield n.to_bytes(16, "little"), m.to_bytes(16, "little")


def vector_records(rng: random.Random) -> Iterator[tuple[int, int, bytes, bytes, bytes]]:
    """Every code pair of every precision, and for every instruction edges and random registers."""
    uniform = {4: 0, 2: 36, 1: 44}
    pieces, forms = {4: 0, 2: 10, 1: 14}, {4: 0, 2: 4, 1: 9}
    for p, pattern in uniform.items():
        for n, m in all_code_pairs(p):
            yield 8, pieces[p], rng.randbytes(16), n, m
            yield 9, forms[p] + 16 * rng.randrange(2), rng.randbytes(16), n, m
            taps = [f for f in table.BY_NAME["vdw"].legal_fields() if f >> 4 == {4: 0, 2: 1, 1: 2}[p]]
            yield 14, rng.choice(taps), rng.randbytes(16), n, m
            for fn in (0, 4 + rng.randrange(4)):
                yield fn, pattern, rng.randbytes(16), n, m
            for field6 in table.TABLE[1].legal_fields():
                chosen = table.part(field6)
                if chosen is not None and chosen.precision == p:
                    yield rng.choice((1, 2)), field6, rng.randbytes(16), n, m
    yield from around_clamps(rng)
    yield from around_half_clamps(rng)
    for fn, field6 in table.words():
        for n in EDGES:
            yield fn, field6, rng.choice(ACCUMULATORS), n, rng.choice(EDGES)
        for _ in range(8):
            yield fn, field6, rng.randbytes(16), rng.randbytes(16), rng.randbytes(16)


@pytest.fixture(scope="session")
def vectors(seed: int) -> Vectors:
    records = list(vector_records(random.Random(seed)))
    return Vectors(
        b"".join(word_record(*r) for r in records),
        b"".join(table.execute(*r) for r in records),
        len(records),
    )


@pytest.fixture
def run_job(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """``run_job(elf, isa, inputs, expected, record, result, **how)``: run a test program in gem5, check its results."""

    def run(
        elf: Path,
        isa: str,
        inputs: bytes,
        expected: bytes | None,
        record: int,
        result: int,
        regions: int = 0,
        **how: Any,
    ) -> dict[str, Any]:
        count = len(inputs) // record
        (tmp_path / "inputs.bin").write_bytes(inputs)
        (tmp_path / "expected.bin").write_bytes(expected if expected is not None else bytes(count * result))
        manifest = program_manifest(isa, Path(shutil.copy(elf, tmp_path)), record, result)
        manifest["regions"] = [{"name": f"region{i}", "op": "test"} for i in range(regions)]
        manifest["reference"] = {"images": "inputs.bin", "logits": "expected.bin", "count": count, "tolerance": 0}
        path = tmp_path / f"test.{isa}.json"
        path.write_text(json.dumps(manifest))
        around = {"timeout": 300, "gem5": None} | {key: how.pop(key) for key in ("timeout", "gem5") if key in how}
        settings = {"cpu": "atomic", "images": count, "roi": False, **how}
        return run_gem5(path, tmp_path / "run", Simulation(isa, **settings), **around)

    return run
