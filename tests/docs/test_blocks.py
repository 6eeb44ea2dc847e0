"""Blocks of code of the pages, run as they stand: Python, machines, and the commands that take seconds.

docs/extending.md and docs/training.md have tests of their own. Commands that train, simulate or need other tools are
compared with the command line alone (test_references.py).
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sysmol.analysis.costs.vectors import layer_costs
from sysmol.kernels_c.build import compile_network
from sysmol.machine import load_machine
from sysmol.manifest import load_manifest
from sysmol.network import load, save
from sysmol.network.builder import Builder, random_network
from sysmol.train import prepare
from sysmol.train.frontend.models import build
from sysmol.workbench.sweep.ledger import COLUMNS, FIGURES, Ledger

from .pages import CLONE, blocks, commands, pages

Run = Callable[..., tuple[int, str, str]]
QUICK = ("info", "estimate", "patterns", "export", "space", "machines", "paths", "strip", "isa", "hwcost", "compile")
NETWORK = "build/demo/mixed.network.safetensors"
STANDS_FOR = {"NET": NETWORK, "NETWORK": NETWORK, "IN": NETWORK, "OUT": "out.network.safetensors", "NAME": "o3-n1"}
NOT_HERE = re.compile(
    r"compile --|toy|example|double|resnet8|mine|LAYER=|VARIANT|schedules\.json|FILE|array|unit|--out build"
)
"""Names of files that other commands make, and units that are synthesised."""


def lines() -> Iterator[str]:
    """Commands of all pages that can be run here, each once."""
    found: dict[str, None] = {}
    for page in pages():
        for words in commands(page):
            quick = (
                words[0] == "sysmol" and words[1:2] and words[1] in QUICK and len(words) + (words[1] == "hwcost") > 2
            )
            if quick and page.name != "CHANGELOG.md" and not NOT_HERE.search(" ".join(words)):
                found["\0".join(STANDS_FOR.get(word, word) for word in words[1:])] = None
    yield from found


LINES = list(lines())


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the demo would leave, of a small network."""
    folder = tmp_path_factory.mktemp("demo")
    builder = Builder(np.random.default_rng(1), 8, 8, 3)
    (x,) = builder.layer("rescale", "image", [[4, 2, 1]])
    (x,) = builder.layer("conv2d", x, [[4] * 8 + [2] * 24], 32, (3, 3), padding=(1, 1, 1, 1))
    builder.classifier(x)
    save(folder / NETWORK, builder.finish())
    for isa in ("arm", "riscv"):
        compile_network(folder / NETWORK, isa, folder / "build/demo/bin", "mixed")
    layer_costs(folder / "build/demo/bin/mixed.arm.json", load_machine("o3-n1")).write(folder / "mixed.costs.json")
    return folder


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.replace("\0", " "))
def test_commands(run: Run, monkeypatch: pytest.MonkeyPatch, demo: Path, line: str) -> None:
    monkeypatch.chdir(demo)
    words = line.split("\0")
    if words[0] == "compile":
        words += ["--isa", "host"] if "--isa" not in words else []
    status, said, wrong = run(*words)
    if "conv2d1=os-1x1x1-vmac-w40" in words:  # the page shows it for what it is told
        assert status == 2 and "29 vector registers that are free" in wrong
    else:
        assert status == 0 and said, wrong


def test_there_are_commands() -> None:
    assert len(LINES) > 15 and {line.split("\0")[0] for line in LINES} == set(QUICK) - {"isa"}


def python(page: str) -> str:
    """The Python of a page, one program."""
    found = [block.text for block in blocks(CLONE / page, "python") if not block.title]
    assert found, page
    return "\n".join(found)


def execute(page: str, **given: Any) -> dict[str, Any]:
    names = dict(given)
    exec(compile(python(page), page, "exec"), names)
    return names


def images() -> torch.Tensor:
    return torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 4 - 2


def test_readme() -> None:
    made = execute("README.md", my_module=build("digits_net", 1, 10), images=images())
    assert made["prepared"](images()).shape == (8, 10)


def test_a_file_of_another_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tflite")
    monkeypatch.syspath_prepend(CLONE / "tests" / "train")
    from tflite_files import everything

    (tmp_path / "model.tflite").write_bytes(everything(1))
    monkeypatch.chdir(tmp_path)
    from sysmol.train.frontend.readers import read_model

    channels, height, width = read_model("model.tflite").shape
    inputs = torch.rand(4, channels, height, width, generator=torch.Generator().manual_seed(1))
    assert execute("docs/interchange.md", inputs=inputs)["prepared"].graph.convolutions


def test_patterns_for_what_was_learned() -> None:
    prepared = prepare(build("digits_net", 1, 10), images(), policy="mixed", pattern_set="P45")
    prepared.start_noise()
    chosen = execute("docs/patterns.md", prepared=prepared)["choice"].patterns
    assert 1 <= len(chosen) <= 4


def test_a_program_for_a_tile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    net = random_network(1)
    assert any(layer.name == "conv2d1" for layer in net.layers)
    save("net.network.safetensors", net)
    made = execute("docs/tile.md")
    assert load_manifest(made["manifest"])["mode"] == "baremetal" and load("net.network.safetensors").classes


def test_a_sweep_s_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    row = dict.fromkeys(COLUMNS, "x") | dict.fromkeys(FIGURES, 1.5) | {"images": 2, "seed": 0, "status": "ok"}
    ledger = Ledger("build/sweeps/first")
    ledger.add("0123", row)
    ledger.write_table()
    found = [block.text for block in blocks(CLONE / "docs/sweeps.md") if block.text.startswith("import pandas")]
    names: dict[str, Any] = {}
    exec(found[0], names)
    assert len(found) == 1 and np.array_equal(names["table"]["cycles"], [1.5]) and len(names["layers"]) == 0


@pytest.mark.parametrize("part", ["smol-dot.json", "smol-matrix.json"])
def test_units_of_the_page_on_machines(run: Run, tmp_path: Path, part: str) -> None:
    text = {block.title: block.text for block in blocks(CLONE / "docs/machines.md", "json")}[part]
    (tmp_path / part).write_text(text)
    whole = (
        '{"format": "sysmol-machine", "version": 1, "name": "mine", "description": "", "isas": ["arm"], '
        f'"clock_ghz": 2.6, "uses": ["core-neoverse-n1", "{part}", "caches-neoverse-n1", "memory-ddr4-2400"]}}'
    )
    (tmp_path / "mine.json").write_text(whole)
    status, said, wrong = run("machines", tmp_path / "mine.json")
    assert status == 0 and "mine" in said, wrong
