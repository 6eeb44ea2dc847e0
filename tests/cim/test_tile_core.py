"""The tile's C++, compiled for the host without gem5, against the Python model: random descriptors, right and wrong."""

import os
import random
import shutil
import struct
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from sysmol import generated
from sysmol.cim.descriptor import FLAG_NAMES, FLAGS, Fault, Flag, Kind, unpack
from sysmol.cim.header import files
from sysmol.cim.model import TileModel
from sysmol.files import PACKAGE

from .lists import Case, packed, random_case

SEED = int(os.environ.get("SYSMOL_TEST_SEED", "20261130"))
COUNT = int(os.environ.get("SYSMOL_TEST_DESCRIPTORS", "1500"))


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program run_tile.cc."""
    compiler = next((name for name in ("c++", "g++", "clang++") if shutil.which(name)), None)
    if compiler is None:
        pytest.skip("no C++ compiler for the host (c++, g++, clang++)")
    out = tmp_path_factory.mktemp("core") / "run_tile"
    include = [PACKAGE / "gem5_ext" / "tile", PACKAGE / "cim" / "include", PACKAGE / "kernels_c" / "include"]
    command = [compiler, "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined,address"]
    command += [f"-I{folder}" for folder in include]
    done = subprocess.run(
        [*command, "-fno-sanitize-recover=all", "-o", str(out), str(Path(__file__).parent / "run_tile.cc")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


def run(core: Path, cases: list[Case]) -> list[tuple[int, Fault, bytes, bytes, bytes]]:
    """Descriptors done, fault, memory, scratchpad and accumulators of every list."""
    stream = b""
    for case in cases:
        t = case.tile
        head = (t.arrays, t.rows, t.columns, t.contexts, t.scratch_bytes, t.accumulators, case.base, len(case.memory))
        stream += struct.pack("<10Q", *head, len(case.descriptors), 0) + case.memory
        stream += b"".join(map(packed, case.descriptors))
    done = subprocess.run([str(core)], input=stream, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[:2000]
    results, at = [], 0
    for case in cases:
        count, fault = struct.unpack_from("<2Q", done.stdout, at)
        at += 16
        parts = []
        for size in (len(case.memory), case.tile.scratch_bytes, 4 * case.tile.accumulators):
            parts.append(done.stdout[at : at + size])
            at += size
        results.append((count, Fault(fault), *parts))
    assert at == len(done.stdout)
    return results  # type: ignore[return-value]


def test_random_descriptors(core: Path):
    """Every kind, every fault, and every bit that they leave behind."""
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    cases: list[Case] = []
    while sum(len(case.descriptors) for case in cases) < COUNT:
        cases.append(random_case(rng, rng.randint(5, 40), rng.choice([0.0, 0.05, 0.2])))
    kinds: Counter[Kind] = Counter()
    faults: Counter[Fault] = Counter()
    for case, found in zip(cases, run(core, cases), strict=True):
        model = TileModel(case.tile)
        done, fault, memory = case.run(model)
        assert found[:2] == (done, fault)
        assert found[2] == memory
        assert found[3] == model.scratch.tobytes()
        assert found[4] == (model.accumulators & 0xFFFFFFFF).astype("<u4").tobytes()
        kinds.update(Kind(d.kind) for d in case.descriptors[:done])
        faults[fault] += 1
    print(dict(kinds), dict(faults))
    assert min(kinds[kind] for kind in Kind) > COUNT / 20
    assert len(faults) > (8 if COUNT < 5000 else 13)


def test_descriptors_come_back():
    print(f"seed {SEED}")
    case = random_case(random.Random(SEED), 40, 0.0)
    for d in case.descriptors:
        assert unpack(d.pack()) == d


def test_header_and_page_are_those_of_the_table():
    assert generated.stale(files()) == []
    for kind, flags in FLAGS.items():
        assert sum(Flag[name] for name in FLAG_NAMES[kind]) == flags
