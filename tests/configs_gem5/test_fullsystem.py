"""Networks without system-call emulation: bare metal on both ISAs, Linux on AArch64."""

import ctypes
import json
import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sysmol import isa as table
from sysmol.analysis.runs import load_run
from sysmol.configs_gem5.inputs import load_job
from sysmol.configs_gem5.launch import boot_linux, find_gem5, is_booted, run_gem5, why_no_gem5
from sysmol.configs_gem5.request import Simulation
from sysmol.errors import CheckFailed, SysmolError
from sysmol.files import atomic_write_json, sha256_file
from sysmol.isas import ISAS
from sysmol.kernels_c.build import compile_network
from sysmol.kernels_c.elf import kernels
from sysmol.kernels_c.image import cpio
from sysmol.kernels_c.image.linux_system import build_initramfs, build_kernel, refused_options
from sysmol.kernels_c.targets import KERNELS, TARGETS
from sysmol.network import save
from sysmol.network.builder import Builder
from sysmol.verify.simulation import program_manifest

SEED = 20260712
MEMORY_START = 0x80000000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of the digits' size, compiled for bare metal and for Linux: ``<mode>/net.<isa>*.json``."""
    pytest.importorskip("ziglang", reason="the cross compiler, package ziglang, is absent")
    path = tmp_path_factory.mktemp("fullsystem")
    builder = Builder(np.random.default_rng(SEED), 8, 8, 1, "small")
    (x,) = builder.layer("rescale", "image", [[4]])
    (x,) = builder.layer("conv2d", x, [[4] * 8 + [2] * 8], 16, (3, 3), padding=(1, 1, 1, 1))
    (x,) = builder.layer("conv2d", x, [[4] * 12 + [1] * 20], 32, (3, 3), stride=(2, 2), padding=(1, 1, 1, 1))
    builder.classifier(x, 10)
    network = save(path / "net.network.safetensors", builder.finish(samples=4))
    for isa in ISAS:
        for mode in ("baremetal", "se"):
            compile_network(network, isa, path, "net", mode=mode)
    return path


def need_gem5(isa: str) -> None:
    if find_gem5(isa) is None:
        pytest.skip(why_no_gem5(isa))


@pytest.mark.parametrize("isa", ISAS)
def test_bare_metal_program(folder: Path, isa: str) -> None:
    """It starts at the beginning of memory, and its kernels are those of the program for Linux."""
    manifest = json.loads((folder / f"net.{isa}-baremetal.json").read_text())
    assert manifest["mode"] == "baremetal" and json.loads((folder / f"net.{isa}.json").read_text())["mode"] == "se"
    elf = folder / manifest["elf"]["path"]
    (entry,) = struct.unpack_from("<Q", elf.read_bytes(), 24)
    assert entry == MEMORY_START
    own, hosted = ({name: len(code) for name, code in kernels(path).items()} for path in (elf, folder / f"net.{isa}"))
    assert own.keys() == hosted.keys()
    # Addresses of constants take other instructions on RISC-V, where memory lies beyond the reach of lui.
    assert own == hosted if isa == "arm" else abs(sum(own.values()) / sum(hosted.values()) - 1) < 0.05


def test_modes_are_told_apart(folder: Path) -> None:
    bare, hosted = (load_job(str(folder / f"net.arm{suffix}.json"), None, None) for suffix in ("-baremetal", ""))
    assert (bare.check_mode(None), hosted.check_mode(None), hosted.check_mode("linux")) == ("baremetal", "se", "linux")
    for job, mode in ((bare, "se"), (bare, "linux"), (hosted, "baremetal")):
        with pytest.raises(SysmolError, match="compile with --mode"):
            job.check_mode(mode)
    with pytest.raises(SysmolError, match="AArch64 only"):
        load_job(str(folder / "net.riscv.json"), None, None).check_mode("linux")


def test_no_such_program(folder: Path, tmp_path: Path) -> None:
    network = folder / "net.network.safetensors"
    with pytest.raises(SysmolError, match="there is no mode 'kernel'"):
        compile_network(network, "arm", tmp_path, mode="kernel")
    with pytest.raises(SysmolError, match="compile for arm or riscv"):
        compile_network(network, "host", tmp_path, mode="baremetal")


def test_own_memory_functions(tmp_path: Path) -> None:
    """memset, memcpy and memmove of the bare-metal runtime, at every alignment, against Python's."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler for the host (cc)")
    names = ("memset", "memcpy", "memmove")
    command = ["cc", "-O2", "-shared", "-fPIC", *(f"-D{name}=own_{name}" for name in names)]
    library = tmp_path / "memory.so"
    sources = KERNELS / "image" / "baremetal"
    subprocess.run([*command, f"-I{sources / 'include'}", "-o", library, sources / "memory.c"], check=True)
    own = ctypes.CDLL(str(library))
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    for _ in range(3000):
        data = bytearray(rng.randbytes(96))
        to, source, size = rng.randrange(40), rng.randrange(40), rng.randrange(56)
        expected = bytearray(data)
        area = (ctypes.c_uint8 * len(data)).from_buffer(data)
        base = ctypes.addressof(area)
        name = rng.choice(names)
        if name == "memset":
            value = rng.randrange(256)
            expected[to : to + size] = bytes([value]) * size
            own.own_memset(ctypes.c_void_p(base + to), value, ctypes.c_size_t(size))
        else:
            if name == "memcpy" and abs(to - source) < size:
                continue
            expected[to : to + size] = data[source : source + size]
            copy = getattr(own, f"own_{name}")
            copy(ctypes.c_void_p(base + to), ctypes.c_void_p(base + source), ctypes.c_size_t(size))
        del area
        assert data == expected, f"{name}(to {to}, from {source}, {size} bytes)"


@pytest.mark.gem5
@pytest.mark.parametrize("isa", ISAS)
def test_bare_metal_in_gem5(folder: Path, tmp_path: Path, isa: str) -> None:
    """Logits as the reference, statistics per layer, and as many SMOL instructions as the manifest counts."""
    need_gem5(isa)
    manifest = folder / f"net.{isa}-baremetal.json"
    run = run_gem5(manifest, tmp_path / "run", Simulation(isa, "o3", images=2))
    assert run["logits_match"] is True and run["mode"] == "baremetal"
    regions = json.loads(manifest.read_text())["regions"]
    rows = load_run(tmp_path / "run")
    assert rows["smol"].tolist() == [region["mix"]["smol"] for region in regions]
    assert "2 images done" in (tmp_path / "run" / "simout").read_text()


@pytest.mark.gem5
@pytest.mark.parametrize("isa", ISAS)
def test_trap_on_bare_metal(folder: Path, tmp_path: Path, isa: str) -> None:
    """An instruction that the hardware lacks ends the run with cause and pc, not in a hang."""
    need_gem5(isa)
    with pytest.raises(CheckFailed, match=r"trap: (undefined|illegal) instruction, cause 0x\w+, pc 0x8000\w+"):
        simulation = Simulation(isa, "atomic", patterns="44")
        run_gem5(folder / f"net.{isa}-baremetal.json", tmp_path / "run", simulation, timeout=100)


@pytest.mark.gem5
def test_wrong_logits_on_bare_metal_are_caught(folder: Path, tmp_path: Path) -> None:
    need_gem5("riscv")
    for path in folder.glob("net.*"):
        if path.is_file():
            shutil.copy(path, tmp_path)
    logits = bytearray((tmp_path / "net.logits.bin").read_bytes())
    logits[0] ^= 1
    (tmp_path / "net.logits.bin").write_bytes(logits)
    path = tmp_path / "net.riscv-baremetal.json"
    manifest = json.loads(path.read_text())
    manifest["reference"]["logits_sha256"] = sha256_file(tmp_path / "net.logits.bin")
    path.write_text(json.dumps(manifest))
    with pytest.raises(CheckFailed, match="1 of 10 logits differ"):
        run_gem5(path, tmp_path / "run", Simulation("riscv", "atomic"))


def write_manifest(program: Path, isa: str, mode: str, image_bytes: int, classes: int, count: int) -> Path:
    """A manifest for a test program: "images" from inputs.bin, "logits" to compare with expected.bin, beside it."""
    reference = {"images": "inputs.bin", "logits": "expected.bin", "count": count, "tolerance": 0}
    manifest = {**program_manifest(isa, program, image_bytes, 4 * classes, mode=mode), "reference": reference}
    return atomic_write_json(program.with_suffix(".json"), manifest)


UNIT_IS_OFF = {"arm": 0x1FE00000, "riscv": 2}
"""ESR_EL1 of an access to FP/SIMD that CPACR_EL1 traps (class 0x07, condition AL); mcause of an illegal instruction."""


@pytest.mark.gem5
@pytest.mark.parametrize("cpu", ("atomic", "o3"))
@pytest.mark.parametrize("isa", ISAS)
def test_unit_that_is_off(tmp_path: Path, isa: str, cpu: str) -> None:
    """With FP/SIMD or the vector unit disabled a SMOL word takes the ISA's trap, with its own address as pc."""
    pytest.importorskip("ziglang", reason="the cross compiler, package ziglang, is absent")
    need_gem5(isa)
    program = tmp_path / "unit_off"
    command = [sys.executable, "-m", "ziglang", "cc", "-target", TARGETS[isa].triple, *TARGETS[isa].zig_flags, "-O2"]
    command += ["-nostdlib", "-static", "-fno-pic"]
    command += [
        f"-DWORD={table.encode(isa, 0, 0, 1, 2, 3):#010x}",
        f"-Wl,-T,{KERNELS / 'image' / 'baremetal' / 'program.ld'}",
    ]
    command += ["-mcmodel=medany"] if isa == "riscv" else []
    subprocess.run([*command, "-o", str(program), str(Path(__file__).with_name("unit_off.S"))], check=True)
    (tmp_path / "inputs.bin").write_bytes(b"\0")
    (tmp_path / "expected.bin").write_bytes(struct.pack("<2I", UNIT_IS_OFF[isa], 0))
    path = write_manifest(program, isa, "baremetal", image_bytes=1, classes=2, count=1)
    run = run_gem5(path, tmp_path / "run", Simulation(isa, cpu, roi=False), timeout=100)
    assert run["logits_match"] is True


def read_archive(data: bytes) -> Iterator[tuple[str, int, bytes, tuple[int, int]]]:
    """Name, mode, content and device number of every entry of a newc archive."""
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        numbers = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        name = data[at + 110 : at + 110 + numbers[11] - 1].decode()
        if name == "TRAILER!!!":
            return
        start = (at + 110 + numbers[11] + 3) & ~3
        yield name, numbers[1], data[start : start + numbers[6]], (numbers[9], numbers[10])
        at = (start + numbers[6] + 3) & ~3


def test_archive() -> None:
    entries = [cpio.folder("dev"), cpio.character_device("dev/console", 5, 1), cpio.program("init", b"\x7fELF.")]
    data = cpio.archive(entries)
    assert list(read_archive(data)) == [
        ("dev", 0o040755, b"", (0, 0)),
        ("dev/console", 0o020600, b"", (5, 1)),
        ("init", 0o100755, b"\x7fELF.", (0, 0)),
    ]
    assert data == cpio.archive(entries) and len(data) % 4 == 0


def test_initramfs_holds_a_static_init(tmp_path: Path) -> None:
    pytest.importorskip("ziglang", reason="the cross compiler, package ziglang, is absent")
    found = {name: content for name, _, content, _ in read_archive(build_initramfs(tmp_path).read_bytes())}
    assert list(found) == ["dev", "dev/console", "init"] and found["init"][:4] == b"\x7fELF"


def test_kernel_inputs(tmp_path: Path) -> None:
    with pytest.raises(SysmolError, match="is no Linux source tree"):
        build_kernel(tmp_path, tmp_path / "out")
    assert refused_options("# a\nCONFIG_A=y\nCONFIG_B=y\n", "CONFIG_A=y\n# CONFIG_B is not set\n") == ["CONFIG_B=y"]


def test_boot_is_of_these_files(tmp_path: Path) -> None:
    """A checkpoint counts only while kernel and initramfs are those it was made of."""
    for name in ("vmlinux", "initramfs.cpio"):
        (tmp_path / name).write_text(name)
    facts = {
        key: {"path": str(tmp_path / name), "sha256": sha256_file(tmp_path / name)}
        for key, name in (("kernel", "vmlinux"), ("initramfs", "initramfs.cpio"))
    }
    atomic_write_json(tmp_path / "boot" / "boot.json", facts)
    assert is_booted(tmp_path, tmp_path / "boot") and not is_booted(tmp_path, tmp_path)
    (tmp_path / "initramfs.cpio").write_text("another one")
    assert not is_booted(tmp_path, tmp_path / "boot")


@pytest.mark.gem5
def test_linux_needs_a_boot(folder: Path, tmp_path: Path) -> None:
    need_gem5("arm")
    manifest, out = folder / "net.arm.json", tmp_path / "run"
    with pytest.raises(SysmolError, match="needs --boot"):
        run_gem5(manifest, out, Simulation("arm", mode="linux"))
    with pytest.raises(SysmolError, match="belong to --mode linux"):
        run_gem5(manifest, out, Simulation("arm", processes=2))
    with pytest.raises(SysmolError, match=r"there is no .*vmlinux"):
        boot_linux(tmp_path / "empty", tmp_path / "boot")


@pytest.fixture(scope="module")
def boot() -> Path:
    """The checkpoint behind the boot of the Linux in $SYSMOL_LINUX; made where there is none yet."""
    need_gem5("arm")
    linux = os.environ.get("SYSMOL_LINUX")
    if not linux:
        pytest.skip("no Linux: name a folder of 'sysmol linux' in SYSMOL_LINUX (docs/fullsystem.md)")
    return boot_linux(linux, timeout=1800)


@pytest.mark.gem5
def test_two_processes_under_linux(folder: Path, boot: Path, tmp_path: Path) -> None:
    """Two instances on different images share one core; both keep their registers over context switches."""
    simulation = Simulation("arm", "o3", mode="linux", boot=boot, processes=2, images=2)
    run = run_gem5(folder / "net.arm.json", tmp_path / "run", simulation)
    assert run["logits_match"] is True and run["mode"] == "linux"
    assert [process["status"] for process in run["processes"]] == [0, 0]
    assert not (tmp_path / "run" / "work.bin").exists()


@pytest.mark.gem5
def test_layers_under_linux(folder: Path, boot: Path, tmp_path: Path) -> None:
    """One process writes statistics per layer, as under system-call emulation."""
    manifest = folder / "net.arm.json"
    run_gem5(manifest, tmp_path / "run", Simulation("arm", "atomic", mode="linux", boot=boot))
    rows = load_run(tmp_path / "run")
    assert rows["smol"].tolist() == [region["mix"]["smol"] for region in json.loads(manifest.read_text())["regions"]]


@pytest.mark.gem5
def test_killed_process_under_linux(folder: Path, boot: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match="ended by signal 4"):
        simulation = Simulation("arm", "atomic", mode="linux", boot=boot, patterns="44")
        run_gem5(folder / "net.arm.json", tmp_path / "run", simulation)


ROUNDS = 40


def state_words(rng: random.Random) -> list[tuple[int, int, int, int, int]]:
    """One SMOL word per destination register: fn, field6, vd, vn, vm."""
    words = [word for word in table.words() if word[0] < 8]
    return [(*rng.choice(words), vd, rng.randrange(32), rng.randrange(32)) for vd in range(32)]


def state_after(content: bytes, words: list[tuple[int, int, int, int, int]], first: tuple[int, int]) -> bytes:
    zero = bytes(16)
    registers = [content[16 * r : 16 * r + 16] for r in range(32)]
    for _ in range(ROUNDS):
        for fn, field6, vd, vn, vm in words:
            registers[vd] = table.execute(fn, field6, registers[vd], registers[vn], registers[vm])
    return table.execute(*first, zero, zero, zero) + b"".join(registers)


@pytest.mark.gem5
@pytest.mark.parametrize("cpu", ("atomic", "o3"))
def test_vector_state_of_two_processes(boot: Path, tmp_path: Path, cpu: str) -> None:
    """Two processes that hold SMOL results in all 32 registers and give the core to each other after every round; the
    first vector instruction of each is a SMOL word, on the zero registers of a new process."""
    pytest.importorskip("ziglang", reason="the cross compiler, package ziglang, is absent")
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    words, first = state_words(rng), (0, 0)
    lines = [f"    .inst {table.encode('arm', *word):#010x}" for word in words]
    (tmp_path / "words.inc").write_text("\n".join(lines) + "\n")
    program = tmp_path / "program"
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-none", "-nostdlib", "-static"]
    command += [f"-DFIRST_WORD={table.encode('arm', *first, 0, 1, 2):#010x}", f"-DROUNDS={ROUNDS}"]
    command += [f'-DWORDS_FILE="{tmp_path / "words.inc"}"', "-o", str(program)]
    subprocess.run([*command, str(Path(__file__).with_name("vector_state.S"))], check=True)
    inputs = [rng.randbytes(512) for _ in range(2)]
    (tmp_path / "inputs.bin").write_bytes(b"".join(inputs))
    (tmp_path / "expected.bin").write_bytes(b"".join(state_after(content, words, first) for content in inputs))
    path = write_manifest(program, "arm", "se", image_bytes=512, classes=132, count=2)
    simulation = Simulation("arm", cpu, mode="linux", boot=boot, processes=2)
    run = run_gem5(path, tmp_path / "run", simulation, timeout=300)
    assert run["logits_match"] is True
    switches = [p["voluntary_switches"] + p["involuntary_switches"] for p in run["processes"]]
    assert min(switches) >= ROUNDS // 2, switches
    if cpu == "atomic":  # a register of the second process that is wrong by one bit is found
        expected = bytearray((tmp_path / "expected.bin").read_bytes())
        expected[-1] ^= 1
        (tmp_path / "expected.bin").write_bytes(expected)
        with pytest.raises(CheckFailed, match="1 of 264 logits differ"):
            run_gem5(path, tmp_path / "run", simulation, timeout=300)
