"""The build's products and what it refuses, each with one line."""

import dataclasses
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sysmol.errors import SysmolError
from sysmol.files import sha256_file
from sysmol.kernels_c.build import compile_network, run_host
from sysmol.kernels_c.targets import TARGETS
from sysmol.kernels_c.toolchain import find_compiler, flags
from sysmol.network import Network, save
from sysmol.network.builder import Builder, random_network


@pytest.fixture(scope="module")
def small() -> Network:
    b = Builder(np.random.default_rng(5), 3, 3, 1, "small")
    (x,) = b.layer("rescale", "image", [[4]])
    b.classifier(x, 3)
    return b.finish()


@pytest.fixture
def file(small: Network, tmp_path: Path) -> Path:
    return save(tmp_path / "small.network.safetensors", small)


def one_line(error: pytest.ExceptionInfo[SysmolError], *words: str) -> None:
    text = str(error.value)
    assert "\n" not in text and all(word in text for word in words), text


@pytest.mark.parametrize("isa", list(TARGETS))
def test_manifest(isa, file, small, tmp_path):
    path = compile_network(file, isa, tmp_path / "bin", variant="tiny")
    record = json.loads(path.read_text())
    assert path.name == f"tiny.{isa}.json" and record["isa"] == isa and record["format"] == "sysmol-manifest"
    elf = path.parent / record["elf"]["path"]
    assert record["elf"]["sha256"] == sha256_file(elf)
    assert record["elf"]["sizes"]["text"] > 0 and "layer_conv2d1" in record["elf"]["symbols"]
    assert record["network"]["sha256"] == sha256_file(path.parent / record["network"]["path"])
    assert [r["name"] for r in record["regions"]] == ["rescale0", "conv2d1"]
    assert record["regions"][1]["macs"] == 9 * 3
    assert str(tmp_path) not in path.read_text()
    images = np.fromfile(path.parent / record["reference"]["images"], dtype=np.uint8)
    assert images.size == record["reference"]["count"] * record["input"]["bytes"]
    again = compile_network(file, isa, tmp_path / "bin", variant="tiny")
    assert json.loads(again.read_text()) == record


def test_programs_do_not_depend_on_where_they_are_compiled(isa, file, tmp_path, monkeypatch):
    """To the byte: from folders of other names, with paths that are absolute and relative."""
    first = compile_network(file, isa, tmp_path / "one", variant="tiny").with_suffix("")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    second = compile_network(file, isa, "another/bin", variant="tiny").with_suffix("")
    assert first.read_bytes() == second.read_bytes()


def test_run_host(file, small, tmp_path):
    manifest = compile_network(file, "host", tmp_path)
    assert np.array_equal(run_host(manifest, small.samples.images, 2), small.samples.logits)
    with pytest.raises(SysmolError) as error:
        run_host(manifest, small.samples.images, 3)
    one_line(error, "3 images")


def test_executable_refuses_bad_arguments(file, small, tmp_path):
    manifest = compile_network(file, "host", tmp_path)
    elf = tmp_path / json.loads(manifest.read_text())["elf"]["path"]
    images = tmp_path / "images"
    images.write_bytes(small.samples.images.tobytes()[:-1])
    for arguments, words in [
        ([], "usage"),
        ([tmp_path / "none", tmp_path / "out", "1"], "cannot read"),
        ([images, tmp_path / "none" / "out", "1"], "cannot write"),
        ([images, tmp_path / "out", "2"], "fewer images"),
        ([images, tmp_path / "out", "x"], "COUNT"),
        ([images, tmp_path / "out", "0"], "COUNT"),
        ([images, tmp_path / "out", "1", "--rio"], "usage"),
    ]:
        done = subprocess.run([elf, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 1 and words in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_refusals(file, tmp_path, monkeypatch):
    with pytest.raises(SysmolError) as error:
        compile_network(file, "mips", tmp_path)
    one_line(error, "mips", "host, arm, riscv")
    with pytest.raises(SysmolError) as error:
        compile_network(file, "host", tmp_path, variant="../up")
    one_line(error, "../up")
    with pytest.raises(SysmolError) as error:
        compile_network(file, "arm", tmp_path, cc="no-such-gcc -O2")
    one_line(error, "no-such-gcc")
    monkeypatch.setenv("SYSMOL_CC_RISCV", "/nowhere/gcc")
    with pytest.raises(SysmolError) as error:
        compile_network(file, "riscv", tmp_path)
    one_line(error, "SYSMOL_CC_RISCV", "/nowhere/gcc")
    (tmp_path / "taken").write_text("")
    with pytest.raises(SysmolError) as error:
        compile_network(file, "host", tmp_path / "taken" / "bin")
    one_line(error, "taken")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SysmolError) as error:
        compile_network(file, "arm", tmp_path)
    one_line(error, "cross compiler", "ziglang", "SYSMOL_CC_ARM")


def test_host_compiler_is_no_cross_compiler(file, tmp_path):
    with pytest.raises(SysmolError) as error:
        compile_network(file, "riscv", tmp_path, cc="cc")
    assert "\n" not in str(error.value)


def test_layer_names(small, tmp_path):
    """Any layer name compiles, also two that C could not tell apart."""
    odd = dataclasses.replace(small, layers=[dataclasses.replace(layer) for layer in small.layers])
    odd.layers[0].name, odd.layers[1].name = "int", "9 a-b/ü"
    path = save(tmp_path / "odd.safetensors", odd)
    manifest = compile_network(path, "host", tmp_path)
    assert np.array_equal(run_host(manifest, small.samples.images, 2), small.samples.logits)
    odd.layers[0].name = "9 a-b ü"
    manifest = compile_network(save(tmp_path / "odd.safetensors", odd), "host", tmp_path)
    assert np.array_equal(run_host(manifest, small.samples.images, 2), small.samples.logits)


def test_image_needs_a_conversion(tmp_path):
    net = random_network(3)
    net.layers[0].op = "maxpool"
    net.layers[0].output, net.layers[0].outputs = net.layers[0].outputs[0].tensor, []
    net.tensors[net.layers[0].output].format = "u8"
    with pytest.raises(SysmolError) as error:
        compile_network(save(tmp_path / "n.safetensors", net), "host", tmp_path)
    assert "\n" not in str(error.value)


def test_constants_need_no_half_precision(tmp_path):
    """gem5 24.0 has no half-precision vector instructions: `fnegs` counts those, our flags leave none."""
    source = tmp_path / "constant.c"
    source.write_text("typedef short v __attribute__((vector_size(16))); v f(void) { return (v){} + -32763; }\n")
    compiler = find_compiler(TARGETS["arm"])

    def fnegs(*more: str) -> int:
        subprocess.run(
            [*compiler.command, *flags(TARGETS["arm"], compiler), *more, "-c", "-o", tmp_path / "c.o", source],
            check=True, capture_output=True,
        )  # fmt: skip
        content = (tmp_path / "c.o").read_bytes()
        words = np.frombuffer(content[: len(content) // 4 * 4], "<u4")
        return int(np.count_nonzero(words & 0xFFFFFC00 == 0x6EF8F800))  # fneg vd.8h, vn.8h

    assert fnegs() == 0
    if "ziglang" in compiler.command:
        assert fnegs("-mcpu=neoverse_n1") == 1


def test_command(file, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "sysmol.kernels_c", str(file), "--isa", "host", "--out", str(tmp_path / "o")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stdout.strip().endswith("small.host.json")
