"""The command line: what users see on bad input is one line on stderr and an exit status, never a traceback."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from sysmol.files import atomic_write_text, sha256_file
from sysmol.manifest import HEADER
from sysmol.network import load, save
from sysmol.network.builder import Builder, random_network
from sysmol.network.file import breakdown
from sysmol.network.reference import evaluate
from sysmol.workbench.steps.check import compare

Run = Callable[..., tuple[int, str, str]]
MANIFEST = HEADER | {
    "name": "net", "variant": "w4", "isa": "arm", "patterns": [], "regions": [],
    "network": {"path": "net", "sha256": "0" * 64}, "elf": {"path": "net.arm", "sha256": "0" * 64},
}  # fmt: skip
"""Fields of a manifest that every reader asks for."""


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A small valid network file."""
    return save(tmp_path / "tiny.network.safetensors", random_network(3))


def assert_one_line(result: tuple[int, str, str], status: int, *words: str) -> None:
    """Exit status, and one line on stderr with these words in it."""
    found, _, err = result
    assert found == status, err
    assert err.startswith("sysmol: ") and err.count("\n") == 1 and err.endswith("\n"), err
    assert "Traceback" not in err
    for word in words:
        assert word in err, err


def leftovers(folder: Path) -> list[str]:
    """Everything below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_help_is_instant_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, sysmol.cli as c; s = c.run_command_line(['--help']); "
        "sys.exit(s or any(m in sys.modules for m in ('torch', 'pandas', 'numpy', 'matplotlib')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout


def test_version_is_the_installed_one(run: Run) -> None:
    status, out, _ = run("--version")
    assert status == 0 and out == f"sysmol {version('sysmol')}\n"


def test_no_command_shows_the_help_alone(run: Run) -> None:
    status, out, err = run()
    assert status == 2 and "verify-gem5" in out + err and "sysmol: " not in err


def test_module_entry_point_sets_the_exit_status(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sysmol", "info", str(tmp_path / "absent")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert_one_line((done.returncode, done.stdout, done.stderr), 2, "absent")


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["demo", "--images", "0"], ["info"], ["isa", "zzz"], ["isa", "0x100000000"]]
)
def test_usage_errors(run: Run, arguments: list[str]) -> None:
    assert_one_line(run(*arguments), 2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "mnist", "--out", "new/folder"], ["train", "digits", "--model", "none", "--out", "new/folder"],
        ["codesign", "--dataset", "none", "--out", "new/folder"], ["codesign", "--machine", "none", "--out", "new"],
        ["demo", "--machine", "none", "--out", "new"], ["experiments", "spec.toml", "--out", "new"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_fails_before_its_first_product_leaves_no_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.delenv("SYSMOL_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    atomic_write_text("spec.toml", 'dataset="mnist"\nmodel="mnist_net"\nseeds=[0]\nvariants=["w4"]\nphase.epochs=1\n')
    assert_one_line(run(*arguments), 2)
    assert leftovers(tmp_path) == ["spec.toml"]


def test_isa_decodes_words(run: Run) -> None:
    status, out, _ = run("isa", "0x0000000b", "0xffffffff")
    assert status == 0 and "vmac.P0" in out


def test_info(run: Run, network: Path) -> None:
    status, out, err = run("info", network)
    assert status == 0 and err == ""
    assert "conv2d" in out and "smol" in out
    for part, size in breakdown(load(network)).items():
        assert part in out and f"{size:,}" in out


def test_strip(run: Run, network: Path, tmp_path: Path) -> None:
    status, out, err = run("strip", network, "--out", tmp_path / "deploy.safetensors")
    stripped = load(tmp_path / "deploy.safetensors")
    size = (tmp_path / "deploy.safetensors").stat().st_size
    assert status == 0 and err == "" and f"{size:,}" in out
    assert stripped.samples is None and size == sum(breakdown(stripped).values()) < network.stat().st_size
    images = load(network).samples.images[:1]  # type: ignore[union-attr]
    assert np.array_equal(evaluate(stripped, images), evaluate(load(network), images))
    assert_one_line(run("strip", tmp_path / "absent", "--out", tmp_path / "out"), 2, "absent")
    assert_one_line(run("strip", network, "-o", network / "below"), 2, str(network))


@pytest.mark.parametrize("command", ["info", "compile"])
def test_truncated_network(run: Run, network: Path, tmp_path: Path, command: str) -> None:
    data = network.read_bytes()
    out = tmp_path / "out"
    options = ["--out", out] if command == "compile" else []
    for share in (0, 4, 100, len(data) // 2, len(data) - 1):
        network.write_bytes(data[:share])
        assert_one_line(run(command, network, *options), 2, str(network))
    assert not out.exists() or leftovers(out) == []


@pytest.mark.parametrize("command", ["info", "compile"])
def test_network_of_a_newer_version(run: Run, network: Path, tmp_path: Path, command: str) -> None:
    with safetensors.safe_open(str(network), framework="numpy") as stream:
        description = json.loads(stream.metadata()["sysmol"])
    arrays = safetensors.numpy.load_file(str(network))
    safetensors.numpy.save_file(arrays, str(network), {"sysmol": json.dumps(description | {"version": 99})})
    options = ["--out", tmp_path / "out"] if command == "compile" else []
    assert_one_line(run(command, network, *options), 2, "version 99", "newer")


def test_other_safetensors_file(run: Run, tmp_path: Path, network: Path) -> None:
    other = tmp_path / "other.safetensors"
    safetensors.numpy.save_file(safetensors.numpy.load_file(str(network)), str(other))
    assert_one_line(run("info", other), 2, "a safetensors file of another program")


def test_missing_cross_compiler(run: Run, network: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("compile", network, "--isa", "arm", "--cc", "no-such-cross-gcc", "--out", out)
    assert_one_line(result, 2, "no-such-cross-gcc")
    assert not list(out.glob("*.json")) if out.exists() else True


def test_demo_checks_tools_before_it_trains(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    assert_one_line(run("demo", "--out", out, "--machine", "cray-1"), 2, "cray-1")
    monkeypatch.setenv("SYSMOL_CC_RISCV", "no-such-cross-gcc")
    assert_one_line(run("demo", "--out", out), 2, "no-such-cross-gcc", "SYSMOL_CC_RISCV")
    monkeypatch.delenv("SYSMOL_CC_RISCV")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert_one_line(run("demo", "--out", out), 2, "no C compiler")
    assert leftovers(out) == []


def test_compile_and_verify_on_the_host(run: Run, tmp_path: Path) -> None:
    builder = Builder(np.random.default_rng(5), 3, 3, 2)
    (x,) = builder.layer("rescale", "image", [[4, 1]])
    builder.classifier(x, classes=3)
    network, out = save(tmp_path / "small.safetensors", builder.finish()), tmp_path / "out"
    status, said, err = run("compile", network, "--isa", "host", "--out", out, "--name", "tiny")
    assert status == 0, err
    assert said.strip().splitlines()[-1] == str(out / "tiny.host.json")
    status, _, err = run("verify", out / "tiny.host.json")
    assert status == 0, err
    net = load(network)
    assert net.samples is not None
    net.samples.logits[1, 0] += 1
    save(network, net)
    assert_one_line(run("verify", out / "tiny.host.json"), 2, "changed since")
    manifest = json.loads((out / "tiny.host.json").read_text())
    manifest["network"]["sha256"] = sha256_file(network)
    (out / "tiny.host.json").write_text(json.dumps(manifest))
    assert_one_line(run("verify", out / "tiny.host.json"), 1, "1 of", "logits differ")


def test_unknown_target(run: Run, network: Path, tmp_path: Path) -> None:
    assert_one_line(run("compile", network, "--isa", "mips", "--out", tmp_path / "out"), 2, "mips")


def test_unwritable_output_folder(run: Run, network: Path, tmp_path: Path) -> None:
    # a file where a folder should be: refused for every user, the superuser too
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    assert_one_line(run("compile", network, "--isa", "host", "--out", blocker / "out"), 2, "file")
    assert_one_line(run("demo", "--out", blocker / "out"), 2, "file")
    assert_one_line(run("train", "--preset", "quick", "--out", blocker / "out"), 2, "file")
    assert_one_line(run("report", network.parent, "--out", blocker / "out"), 2, "file")
    assert blocker.read_text() == "in the way"
    assert leftovers(tmp_path) == ["file", network.name]


def test_missing_gem5(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEM5_ROOT", str(tmp_path / "nowhere"))
    manifest = tmp_path / "net.arm.json"
    manifest.write_text(json.dumps(MANIFEST | {"isa": "arm"}))
    assert_one_line(run("run", manifest, "--out", tmp_path / "out"), 2, "gem5", "GEM5_ROOT")
    assert not (tmp_path / "out").exists()


def test_host_executables_are_not_simulated(run: Run, tmp_path: Path) -> None:
    manifest = tmp_path / "net.host.json"
    manifest.write_text(json.dumps(MANIFEST | {"isa": "host"}))
    assert_one_line(run("run", manifest), 2, "built for host")


def test_manifest_that_is_none(run: Run, tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    for text in ("", "{", "[]", '{"format": "other"}', '{"format": "sysmol-manifest", "version": 2}'):
        broken.write_text(text)
        for command in ("run", "estimate", "verify"):
            assert_one_line(run(command, broken), 2, "broken.json")


def test_missing_machine(run: Run, tmp_path: Path) -> None:
    assert_one_line(run("machines", "cray-1"), 2, "cray-1", "o3-n1")
    assert_one_line(run("machines", tmp_path / "absent.json"), 2, "absent.json")


def test_report_of_an_empty_folder(run: Run, tmp_path: Path) -> None:
    assert_one_line(run("report", tmp_path), 2, "holds no")
    assert leftovers(tmp_path) == []


def test_full_disk_leaves_nothing_behind(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "page.html"

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr("sysmol.analysis.products.collect", lambda *_: atomic_write_text(target, "x"))
    assert_one_line(run("report", tmp_path), 2, "No space left")
    assert leftovers(tmp_path) == []


def test_raw_operating_system_errors_are_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/some/where")

    monkeypatch.setattr("sysmol.analysis.products.collect", fail)
    assert_one_line(run("report"), 2, "/some/where", "Permission denied")


def test_interrupt_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sysmol.analysis.products.collect", interrupt)
    assert_one_line(run("report"), 130, "interrupted")


def test_compare_counts_logits() -> None:
    expected = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.int32)
    assert compare(expected, expected, 0) == (0, 0.0)
    assert compare(expected + np.array([[0, 0], [0, 1], [0, 0]]), expected, 0) == (1, 1.0)
    near = expected.astype(np.float32) * np.float32(1 + 1e-6)
    assert compare(near, expected.astype(np.float32), 1e-4)[0] == 0
    assert compare(near * np.nan, expected.astype(np.float32), 1e-4)[0] == 6, "not a number is no agreement"
