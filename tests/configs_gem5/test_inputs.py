"""What run_net.py refuses before gem5 simulates anything; and the launcher without gem5."""

import dataclasses
import json
import re
import struct
from pathlib import Path

import pytest

from sysmol.configs_gem5.inputs import count_mismatches, load_job, read_numbers
from sysmol.configs_gem5.launch import RUN_NET, find_gem5, last_words, run_gem5, why_no_gem5
from sysmol.configs_gem5.request import Simulation
from sysmol.errors import SysmolError
from sysmol.files import sha256_file


def elf(machine: int = 183, interpreter: bool = False) -> bytes:
    """The headers of a 64-bit little-endian ELF with one program header."""
    head = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    )
    return head + struct.pack("<I", 3 if interpreter else 1) + bytes(52)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    (tmp_path / "net.arm").write_bytes(elf())
    (tmp_path / "net.images.bin").write_bytes(bytes(3 * 12))
    (tmp_path / "net.logits.bin").write_bytes(struct.pack("<6i", *range(6)))
    data = {
        "format": "sysmol-manifest",
        "version": 1,
        "name": "net",
        "variant": "mixed",
        "isa": "arm",
        "network": {"path": "net.safetensors", "sha256": "0" * 64},
        "elf": {"path": "net.arm", "sha256": sha256_file(tmp_path / "net.arm")},
        "patterns": [0],
        "input": {"shape": [2, 2, 3], "bytes": 12},
        "output": {"classes": 2, "dtype": "int32"},
        "regions": [{"name": "conv"}],
        "reference": {"images": "net.images.bin", "logits": "net.logits.bin", "count": 3, "tolerance": 0},
    }
    path = tmp_path / "net.arm.json"
    path.write_text(json.dumps(data))
    return path


def change(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def refused(path: Path, isa: str | None = None) -> str:
    with pytest.raises(SysmolError) as caught:
        load_job(str(path), isa, None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_good_manifest(manifest: Path) -> None:
    job = load_job(str(manifest), "arm", None)
    assert (job.isa, job.available, job.regions, job.classes) == ("arm", 3, 1, 2)
    assert list(read_numbers(job.logits, 4, "int32")) == [0, 1, 2, 3]
    other = load_job(str(manifest), None, str(manifest.parent / "net.images.bin"))
    assert other.logits is None


def test_missing_manifest(manifest: Path) -> None:
    assert "there is no manifest" in refused(manifest.parent / "none.json")


def test_truncated_manifest(manifest: Path) -> None:
    manifest.write_text(manifest.read_text()[:100])
    assert "no JSON, or was cut short" in refused(manifest)


def test_newer_manifest(manifest: Path) -> None:
    change(manifest, version=2)
    assert "newer than version 1" in refused(manifest)


def test_incomplete_manifest(manifest: Path) -> None:
    change(manifest, output={})
    assert "output.classes is missing" in refused(manifest)


def test_other_isa(manifest: Path) -> None:
    assert "for arm, not riscv" in refused(manifest, "riscv")
    change(manifest, isa="host")
    assert "gem5 does not simulate" in refused(manifest)


def test_elf_of_the_other_isa(manifest: Path) -> None:
    (manifest.parent / "net.arm").write_bytes(elf(243))
    assert "is an ELF for riscv, not for arm" in refused(manifest)
    (manifest.parent / "net.arm").write_bytes(elf(62))
    assert "is an ELF for x86-64, not for arm" in refused(manifest)


def test_dynamic_elf(manifest: Path) -> None:
    (manifest.parent / "net.arm").write_bytes(elf(interpreter=True))
    assert "dynamically linked" in refused(manifest)


def test_no_elf(manifest: Path) -> None:
    (manifest.parent / "net.arm").write_bytes(b"#!/bin/sh\n" * 20)
    assert "is no ELF executable" in refused(manifest)
    (manifest.parent / "net.arm").unlink()
    assert "cannot read" in refused(manifest)


def test_changed_elf(manifest: Path) -> None:
    (manifest.parent / "net.arm").write_bytes(elf() + b"x")
    assert "SHA-256 differs" in refused(manifest)


def test_short_logits(manifest: Path) -> None:
    (manifest.parent / "net.logits.bin").write_bytes(bytes(20))
    assert "shorter than 3 rows" in refused(manifest)


def test_comparison() -> None:
    a, b = read_floats([1.0, 2.0, float("nan")]), read_floats([1.0, 2.001, 0.0])
    assert count_mismatches(a, b, 0.0) == 2
    assert count_mismatches(a, b, 0.01) == 1
    assert count_mismatches(b, b, 0.0) == 0


def read_floats(values: list[float]):
    import array

    return array.array("f", values)


def test_no_gem5(manifest: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GEM5_ROOT", str(tmp_path / "nowhere"))
    assert find_gem5() is None
    assert "EXTRAS" in why_no_gem5("arm")
    with pytest.raises(SysmolError, match="no gem5 with the SMOL plug-in for arm"):
        run_gem5(manifest, tmp_path / "run", Simulation("arm"))


def test_a_simulation_as_arguments(tmp_path: Path) -> None:
    """Only what is not by default; every field is an option of run_net.py."""
    assert Simulation().arguments() == []
    asked = Simulation(
        "arm", "minor", tmp_path / "m.json", "P4", images=3, images_file="x", roi=False, stock_decoder=True
    )
    assert asked.arguments() == [
        *("--isa", "arm", "--cpu", "minor", "--machine", str(tmp_path / "m.json"), "--patterns", "P4"),
        *("--images", "3", "--images-file", str(Path("x").resolve()), "--no-roi", "--stock-decoder"),
    ]  # fmt: skip
    known = set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', RUN_NET.read_text()))
    fields = {field.name for field in dataclasses.fields(Simulation)} - {"roi"} | {"no_roi", "net", "outdir"}
    assert known == {f"--{name.replace('_', '-')}" for name in fields}


def test_gem5_without_plugin_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GEM5_ROOT", str(tmp_path))
    for name, content in (("plain", b"gem5"), ("smol", b"..SmolArmDecoder.."), ("empty", b"")):
        path = tmp_path / "build" / name / "gem5.opt"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        path.chmod(0o755)
    assert find_gem5("arm") == tmp_path / "build" / "smol" / "gem5.opt"
    assert find_gem5("riscv") is None


def test_last_words() -> None:
    assert last_words("warn: x\nrun_net.py: no such\n") == "no such"
    assert (
        last_words("src/a.cc:3: panic: Unknown instruction\nMemory Usage: 1\nbacktrace")
        == "gem5: panic: Unknown instruction"
    )
    assert last_words("") == ""
