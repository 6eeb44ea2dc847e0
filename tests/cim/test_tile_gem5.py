"""The tile in gem5, beside cores of both instruction sets: random lists, doorbells, and layers of networks."""

import json
import os
import random
import re
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from sysmol.cim.descriptor import Fault, Flag, Kind, make
from sysmol.cim.model import TileModel
from sysmol.cim.tile import ADDRESS, Tile
from sysmol.configs_gem5.launch import find_gem5, run_gem5, why_no_gem5
from sysmol.configs_gem5.request import Simulation
from sysmol.files import atomic_write_json
from sysmol.isas import ISAS
from sysmol.kernels_c.build import TILE_HEADERS, compile_network
from sysmol.kernels_c.image.runtimes import runtime_for
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.targets import TARGETS
from sysmol.kernels_c.toolchain import compile_c, find_compiler
from sysmol.network import save
from sysmol.network.builder import Builder, random_precisions
from sysmol.network.operations import operation
from sysmol.verify.simulation import program_manifest

from .lists import Case, fenced, packed, random_case

pytestmark = pytest.mark.gem5

SEED = int(os.environ.get("SYSMOL_TEST_SEED", "20261130"))
COUNT = int(os.environ.get("SYSMOL_TEST_DESCRIPTORS", "550"))
MEMORY, MOST = 4096, 400
RAM = (0x80000000, 256 << 20)
TILE = Tile(arrays=2, rows=40, columns=40, contexts=2, scratch_bytes=4096, accumulators=1024, window=8)


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> str:
    binary = find_gem5(request.param)
    if binary is None:
        pytest.skip(why_no_gem5(request.param))
    if b"SmolTile" not in binary.read_bytes():
        pytest.skip(f"{binary} was built without the tile")
    return str(request.param)


def lists_program(isa: str, folder: Path) -> tuple[Path, int]:
    """The program lists.c, and the address of the memory that its lists find."""
    pytest.importorskip("ziglang", reason="the cross compiler, package ziglang, is absent")
    target, out = TARGETS[isa], folder / f"lists.{isa}"
    runtime = runtime_for("baremetal", target)
    facts = [f"-DLISTS_MEMORY={MEMORY}", f"-DLISTS_MOST={MOST}", f"-DTILE_ADDRESS={ADDRESS}ul"]
    sources = [Path(__file__).parent / "lists.c", *runtime.sources]
    compile_c(find_compiler(target), target, sources, [*target.include, TILE_HEADERS], out, [*runtime.flags, *facts])
    with out.open("rb") as stream:
        (heap,) = ELFFile(stream).get_section_by_name(".symtab").get_symbol_by_name("smol_heap_start")
        return out, -(-heap.entry.st_value // 64) * 64


def image(case: Case, rings: int = 1) -> bytes:
    """What lists.c reads."""
    assert len(case.descriptors) <= MOST
    words = b"".join(map(packed, case.descriptors))
    head = len(case.descriptors).to_bytes(4, "little") + rings.to_bytes(4, "little")
    return head.ljust(64, b"\0") + case.memory + words.ljust(64 * MOST, b"\0")


def result(done: int, fault: Fault, refused: int, memory: bytes) -> bytes:
    """What it answers."""
    return np.array([done, fault, refused], dtype="<u4").tobytes() + memory


def run_lists(elf: Path, isa: str, cpu: str, images: list[bytes], answers: list[bytes], folder: Path) -> dict:
    """Run in gem5; the run record. Answers are compared there."""
    (folder / "images.bin").write_bytes(b"".join(images))
    (folder / "logits.bin").write_bytes(b"".join(answers))
    manifest = program_manifest(isa, elf, len(images[0]), len(answers[0]), mode="baremetal")
    manifest["tile"] = {**TILE.facts(), "address": ADDRESS}
    reference = {"images": "images.bin", "logits": "logits.bin", "count": len(images), "tolerance": 0}
    path = atomic_write_json(folder / f"lists.{isa}.json", {**manifest, "reference": reference})
    simulation = Simulation(isa, cpu, images=len(images), roi=False)
    return run_gem5(path, folder / "run", simulation, timeout=600)


@pytest.mark.parametrize("cpu", ["atomic", "o3"])
def test_random_lists(isa: str, cpu: str, tmp_path: Path):
    """Descriptors right and wrong, all with what earlier lists left in the tile; and a doorbell while it is busy."""
    print(f"seed {SEED}")
    rng = random.Random(f"{SEED} {isa} {cpu}")
    elf, base = lists_program(isa, tmp_path)
    model = TileModel(TILE)
    images: list[bytes] = []
    answers: list[bytes] = []
    faults = set()
    total = 0
    while total < COUNT:
        case = random_case(rng, rng.randint(10, 40), rng.choice([0.0, 0.02, 0.2]), MEMORY, base, model, RAM)
        case.descriptors = fenced(case.descriptors)
        done, fault, memory = case.run(model)
        images.append(image(case))
        answers.append(result(done, fault, 0, memory))
        faults.add(fault)
        total += len(case.descriptors)
    assert len(faults) > 5
    busy = Case(TILE, rng.randbytes(MEMORY), base, [fence(base, i) for i in range(MOST)], RAM)
    done, fault, memory = busy.run(model)
    images.append(image(busy, rings=2))
    answers.append(result(done, fault, 1, memory))
    run = run_lists(elf, isa, cpu, images, answers, tmp_path)
    assert run["logits_match"] is True
    print(f"{isa} {cpu}: {total} descriptors in {len(images)} lists, {sorted(fault.name for fault in faults)}")


def fence(base: int, number: int):
    """A fetch that waits for all before it."""
    return make(Kind.FETCH, Flag.FENCE, rows=1, row_bytes=64, memory=base + 8 * number, scratch=8 * number)


def network(seed: int):
    """Convolutions with paddings, strides and residuals, a depthwise and a linear layer, of mixed precisions."""
    b = Builder(np.random.default_rng(seed), 12, 12, 3, "tiled")
    p = random_precisions(b.rng, 24)
    (x,) = b.layer("rescale", "image", ["s8"])
    x, stream = b.layer("conv2d", x, [p, "s16"], 24, (3, 3), padding=(1, 1, 1, 1))
    (x,) = b.layer("conv2d", x, [p], 24, (3, 3), padding=(1, 1, 1, 1), residual=stream)
    (x,) = b.layer("depthwise", x, [p], kernel=(3, 3), padding=(1, 1, 1, 1))
    (x,) = b.layer("conv2d", x, [random_precisions(b.rng, 40)], 40, (3, 3), stride=(2, 2), padding=(1, 1, 1, 1))
    (x,) = b.layer("avgpool", x, ["s8"], kernel=(6, 6))
    b.classifier(x)
    return b.finish()


@pytest.mark.parametrize("cpu", ["timing", "o3"])
def test_network_on_the_tile(isa: str, cpu: str, tmp_path: Path):
    """Every layer that a tile can compute is computed there, the others by the core, on the same padded buffers."""
    pytest.importorskip("ziglang", reason="the cross compiler, package ziglang, is absent")
    net = network(SEED)
    path = save(tmp_path / "net.network.safetensors", net)
    names = frozenset(layer.name for layer in net.layers if operation(layer).has_weights)
    options = Options(tile=Tile(arrays=2, rows=80, columns=64, scratch_bytes=8192, accumulators=2048), on_tile=names)
    manifest = compile_network(path, isa, tmp_path, "net", options=options, mode="baremetal")
    units = [region["unit"] for region in json.loads(manifest.read_text())["regions"]]
    assert units.count("tile") == 5 and units.count("core") == 2
    run = run_gem5(manifest, tmp_path / "run", Simulation(isa, cpu, images=2), timeout=600)
    assert run["logits_match"] is True
    stats = (tmp_path / "run" / "stats.txt").read_text()
    lists = [float(each) for each in re.findall(r"^system\.tile\.lists\s+(\S+)", stats, re.M)]
    assert lists == [1.0 if unit == "tile" else 0.0 for unit in units] * 2
    cycles = [float(each) for each in re.findall(r"^system\.tile\.cycles\s+(\S+)", stats, re.M)]
    assert all((cycle > 0) == (unit == "tile") for cycle, unit in zip(cycles, units * 2, strict=True))
