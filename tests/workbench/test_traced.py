"""For every step: each file of the project and the user's that it really reads is an input, and changes the key.

With ``-s`` it prints the table: step, files in the key, files read, changes seen. gem5 is the real one where there is
one (its Python tells what it opens; what its C++ opens, the executable and its images, the manifest names), and a
stand-in that imports what gem5's Python does.
"""

import functools
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from sysmol.benchmarks import steps as benchmark_steps
from sysmol.benchmarks.shapes import parse_shapes
from sysmol.configs_gem5.launch import find_gem5, why_no_gem5
from sysmol.files import PACKAGE
from sysmol.kernels_c.plan.options import DEFAULT
from sysmol.network import save
from sysmol.network.builder import random_network
from sysmol.train.recipes.pipeline import PRESETS
from sysmol.train.recipes.variants import variant
from sysmol.workbench import key
from sysmol.workbench.key import Task
from sysmol.workbench.steps import check, compile, experiment, simulate, train
from sysmol.workbench.store import Store

HERE = Path(__file__).parent
CLONE = PACKAGE.parent
SHAPE = "network 4x4x3\nstem conv 3 16 3x3 1 1 1 relu image -\npool avgpool 16 16 4x4 1 0 1 none stem -\n"
SHAPE += "classifier linear 16 3 1x1 1 0 1 none pool -\n"
NETS = """from torch import nn
from parts import convolution


def Tiny(channels, classes):
    return nn.Sequential(convolution(channels, 8), nn.ReLU(), convolution(8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(8, classes))
"""
PARTS = "from torch import nn\n\n\ndef convolution(a, b):\n    return nn.Conv2d(a, b, 3, padding=1)\n"
GEM5 = """#!{python}
import json, os, re, runpy, sys
from pathlib import Path
options = dict(zip(sys.argv[4::2], sys.argv[5::2]))
opened = set()
def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        opened.add(os.path.realpath(arguments[0]))
sys.addaudithook(hook)
sys.path.insert(0, {clone!r})
from sysmol.workbench import closure
import ast, importlib
# What run_net.py imports, as gem5's Python does; gem5's own modules are not there.
script = Path(sys.argv[3])
for node in ast.walk(ast.parse(script.read_text())):
    if isinstance(node, ast.ImportFrom) and node.module.startswith("sysmol"):
        try:
            importlib.import_module(node.module)
        except ModuleNotFoundError as error:
            assert error.name in ("m5", "_m5"), error
opened |= {{os.path.realpath(m.__file__) for n, m in sys.modules.items() if n.startswith("sysmol") and m.__file__}}
from sysmol.configs_gem5.inputs import load_job
from sysmol.machine import load_machine
job = load_job(options["--net"], None, None)
load_machine(options.get("--machine", "o3-n1"))
for path in (job.elf, job.images, job.logits):
    opened.add(os.path.realpath(path))
Path({log!r}).write_text(json.dumps(sorted(p for p in opened if "/workbench/" not in p)))
out = Path(options["--outdir"])
out.mkdir(exist_ok=True)
(out / "run.json").write_text("{{}}")
"""


COMPILER = """#!/bin/sh
[ "$1" = ziglang ] && shift  # which tells that it takes the options of ziglang's clang
flags=$(echo "$@" | tr " " "\\n" | grep -E "^-(I|D|std|target|march|mcpu)")
case "$*" in *-o*) for source in "$@"; do case "$source" in *.c|*.S)
  {command} $flags -M "$source" >> {notes};; esac; done;; esac
echo "$@" | tr " ," "\\n\\n" | grep "[.]ld$" >> {notes}
exec {command} "$@"
"""
NOTING = """import os, sys
log = os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        os.write(log, os.path.realpath(arguments[0]).encode() + b"\\n")
sys.addaudithook(hook)
"""
"""What every Python runs first that finds it as sitecustomize.py: gem5's, too."""
NOTING_GEM5 = """#!/bin/sh
PYTHONPATH={hook} PYTHONDONTWRITEBYTECODE=1 PYTHONPYCACHEPREFIX={hook}/none exec {gem5} "$@"
"""


@dataclass
class Example:
    """A task made anew on every call, from files that may have changed, and where others than Python note reads."""

    make: Callable[[], Task]
    notes: Path | None = None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's files: data, a network with a part of its own, an exported network, and a stand-in for gem5."""
    folder = tmp_path_factory.mktemp("traced")
    save(folder / "tiny.network.safetensors", random_network(1))
    (folder / "nets.py").write_text(NETS)
    (folder / "parts.py").write_text(PARTS)
    rng = np.random.default_rng(0)
    images = {f"{split}_images": rng.integers(0, 256, (60, 8, 8)).astype(np.uint8) for split in ("train", "test")}
    labels = {f"{split}_labels": rng.integers(0, 3, 60) for split in ("train", "test")}
    np.savez(folder / "data.npz", **images, **labels)  # type: ignore[arg-type]
    gem5 = folder / "gem5"
    gem5.write_text(GEM5.format(python=sys.executable, clone=str(CLONE), log=str(folder / "gem5.reads")))
    gem5.chmod(0o755)
    real = find_gem5("arm")
    if real is not None:
        hook = folder / "hook"
        hook.mkdir()
        (hook / "sitecustomize.py").write_text(NOTING.format(log=str(folder / "noted.paths")))
        wrapper = folder / "noting-gem5"
        wrapper.write_text(NOTING_GEM5.format(hook=hook, gem5=real))
        wrapper.chmod(0o755)
    return folder


def examples(folder: Path) -> dict[str, Example]:
    """A task of every step."""
    store, network = Store(folder / "store"), folder / "tiny.network.safetensors"
    (shape,) = parse_shapes(SHAPE, "tiny", "tiny")

    @functools.cache  # compiled once, whatever changes then
    def manifest(isa: str) -> Path:
        return compile.manifest_of(store.make(compile.task(network, isa, "tiny")).folder, isa, "tiny")

    data, model = str(folder / "data.npz"), f"{folder}/nets.py:Tiny"
    return {
        "train": Example(lambda: train.task(data, model, "quick", 0, ["fp32"])),
        "experiment": Example(lambda: experiment.task(data, model, PRESETS["quick"], variant("fp32"), 0)),
        "compile host": Example(lambda: compile.task(network, "host", "tiny"), folder / "host.d"),
        "compile arm": Example(lambda: compile.task(network, "arm", "tiny"), folder / "arm.d"),
        "compile riscv, bare metal": Example(
            lambda: compile.task(network, "riscv", "tiny", mode="baremetal"), folder / "riscv.d"
        ),
        "check on the host": Example(lambda: check.on_host(manifest("host"))),
        "check by the reference": Example(lambda: check.with_reference(network, "tiny", 0)),
        "simulate": Example(lambda: simulate.task(manifest("arm"), folder / "gem5", "o3-n1"), folder / "gem5.reads"),
        "simulate in gem5": Example(
            lambda: simulate.task(manifest("arm"), folder / "noting-gem5", "o3-n1"), folder / "noted.paths"
        ),
        "benchmark network": Example(lambda: benchmark_steps.network(shape, "w4", 0, 2)),
        "benchmark generation": Example(lambda: benchmark_steps.generation(network, "arm", DEFAULT)),
    }


STEPS = (
    "train", "experiment", "compile host", "compile arm", "compile riscv, bare metal", "check on the host",
    "check by the reference", "simulate", pytest.param("simulate in gem5", marks=pytest.mark.gem5),
    "benchmark network", "benchmark generation",
)  # fmt: skip


def reads(example: Example, folder: Path) -> set[Path]:
    """Every file of the project and the user's that a task opens."""
    task, scratch, log = example.make(), folder / "scratch", folder / "log.json"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    environment = dict(os.environ)
    if example.notes is not None and example.notes.suffix == ".d":
        environment |= noting_compiler(task, folder, example.notes)
    subprocess.run(
        [sys.executable, str(HERE / "traced.py"), str(scratch), str(log)],
        input=pickle.dumps(task), env=environment, check=True, capture_output=True,
    )  # fmt: skip
    opened = {Path(name) for name in json.loads(log.read_text()) if name}
    if example.notes is not None:
        opened |= noted(example.notes)
    rooms = [path.resolve() for path in PACKAGE.iterdir() if path.is_symlink()]

    def counts(path: Path) -> bool:
        inside = path.is_relative_to(PACKAGE) or any(path.is_relative_to(room) for room in rooms)
        made = (scratch, folder / "hook", folder / "noted.paths", log, example.notes)
        own = path.is_relative_to(folder) and not any(path.is_relative_to(each) for each in made if each is not None)
        return path.is_file() and path.suffix != ".pyc" and (inside or own)

    return {path for path in opened if counts(path)}


def noting_compiler(task: Task, folder: Path, notes: Path) -> dict[str, str]:
    """The task's compiler, which also writes down what it reads."""
    from sysmol.kernels_c.targets import TARGETS
    from sysmol.kernels_c.toolchain import compiler_command

    isa = task.options["isa"]
    command = " ".join(compiler_command(TARGETS[isa]))
    script = folder / f"cc-{isa}"
    notes.unlink(missing_ok=True)
    script.write_text(COMPILER.format(command=command, notes=notes))
    script.chmod(0o755)
    return {f"SYSMOL_CC_{isa.upper()}": f"{script} ziglang" if "ziglang" in command else str(script)}


def noted(notes: Path) -> set[Path]:
    """The files in what a stand-in wrote."""
    if notes.suffix == ".reads":
        return {Path(name) for name in json.loads(notes.read_text())}
    if notes.suffix == ".paths":
        return {Path(name) for name in notes.read_text().splitlines()}
    words = notes.read_text().replace("\\\n", " ").split()
    return {Path(word).resolve() for word in words if "/" in word and not word.endswith(":")}


@pytest.fixture
def edit() -> Iterator[Callable[[Path], None]]:
    """Change a file, and put it back at the end. The digest stands for the file's content: no file is written."""
    changed: set[str] = set()
    whole = key._digest

    def digest(path: str, *facts: int) -> str:
        return "changed" if os.path.realpath(path) in changed else whole(path, *facts)

    def change(path: Path) -> None:
        changed.clear()
        changed.add(os.path.realpath(path))

    key._digest = digest  # type: ignore[assignment]
    yield change
    key._digest = whole


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_every_file_that_a_step_reads_changes_its_key(
    name: str,
    folder: Path,
    edit: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if name == "simulate in gem5" and find_gem5("arm") is None:
        pytest.skip(why_no_gem5("arm"))
    example = examples(folder)[name]
    task = example.make()
    read = reads(example, folder)
    assert len(read) > 5
    listed = len(task.inputs["code"]) + len(task.inputs["files"])
    unseen = []
    for path in sorted(read):
        edit(path)
        again = example.make()
        if again.key == task.key:
            unseen.append(path)
    assert not unseen, f"{name} reads these, and its key does not know: {', '.join(map(str, unseen))}"
    for path in task.tools.values():
        edit(path)
        assert example.make().key != task.key, path
    edit(folder / "nothing")
    for variable in task.variables:
        monkeypatch.setenv(variable, f"{sys.executable} -m ziglang cc")
        assert example.make().key != task.key, variable
        monkeypatch.delenv(variable)
    assert example.make().key == task.key
    for path in (CLONE / "docs" / "isa.md", CLONE / "tests" / "conftest.py", CLONE / "cli" / "__init__.py"):
        edit(path)
        assert example.make().key == task.key, path
    print(f"{name}: {listed} files in the key, {len(read)} read, each changes the key; docs, tests and cli do not")
