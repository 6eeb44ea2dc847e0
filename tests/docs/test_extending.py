"""docs/extending.md, followed to the letter in a copy of the tree: a machine, an instruction, a layer.

A block of code with a title is written to the file of that name. To a file that is there, Python is added at the end, C
above the line that includes smol_dispatch.h; a title ``FILE: NAME`` means an entry of the tuple or dictionary NAME.
"""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sysmol.files import PACKAGE
from sysmol.network import save
from sysmol.network.builder import Builder

from .pages import CLONE, Block, section

pytestmark = pytest.mark.slow

PAGE = CLONE / "docs" / "extending.md"
DISPATCH = '\n#include "smol_dispatch.h"\n'
Shell = Callable[[str], str]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The package with its rooms, as a clone has them."""
    rooms = [path.name for path in PACKAGE.iterdir() if path.is_symlink()]
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "sysmol", symlinks=True, ignore=ignore)
    for room in rooms:
        shutil.copytree(CLONE / room, tmp_path / room, ignore=ignore)
    return tmp_path


@pytest.fixture
def shell(tree: Path) -> Shell:
    """Run a command in the copy; returns what it printed."""

    def call(line: str) -> str:
        for name, module in (("sysmol", "-m sysmol"), ("python", "")):
            if line.split()[0] == name:
                line = f"{sys.executable} {module} {line.removeprefix(name)}"
        done = subprocess.run(
            line, shell=True, cwd=tree, env=os.environ | {"PYTHONPATH": str(tree)}, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{line}: {done.stdout}\n{done.stderr}"
        return done.stdout

    return call


def add_entry(text: str, name: str, entry: str) -> str:
    """The source with an entry more in a tuple or dictionary, before its closing bracket."""
    for node in ast.parse(text).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            lines = text.splitlines()
            value = node.value  # type: ignore[attr-defined, union-attr]
            return "\n".join(
                [*lines[: value.end_lineno - 1], entry.rstrip(",\n") + ",", *lines[value.end_lineno - 1 :], ""]
            )
    raise AssertionError(f"there is no {name}")


def write(tree: Path, block: Block) -> None:
    name, _, entry_of = block.title.partition(": ")
    path = tree / name
    if not path.exists():
        path.write_text(block.text)
        return
    text = path.read_text()
    if entry_of:
        path.write_text(add_entry(text, entry_of, block.text))
    elif block.language == "c":
        assert text.count(DISPATCH) == 1
        path.write_text(text.replace(DISPATCH, "\n" + block.text + DISPATCH))
    else:
        path.write_text(text + "\n\n" + block.text)


def follow(tree: Path, shell: Shell, heading: str) -> str:
    """Do what a section says; returns what its commands printed."""
    said = []
    for block in section(PAGE, heading):
        if block.title:
            write(tree, block)
        elif block.language == "sh":
            said += [shell(line) for line in block.text.splitlines()]
    assert said, f"{heading}: no commands"
    return "".join(said)


def test_a_machine(tree: Path, shell: Shell) -> None:
    builder = Builder(np.random.default_rng(5), 3, 3, 2)
    (x,) = builder.layer("rescale", "image", [[4, 1]])
    builder.classifier(x, classes=3)
    save(tree / "example.network.safetensors", builder.finish())
    said = follow(tree, shell, "A machine")
    assert "16 KiB, 4-way" in said and "on toy; not simulated" in said


def test_an_instruction(tree: Path, shell: Shell) -> None:
    before = shell("sysmol isa")
    follow(tree, shell, "An instruction")
    assert "vsha.h" in shell("sysmol isa") and "vsha.h" not in before
    shell("python -m sysmol.emit --check")
    assert "vsha.h" in (tree / "docs" / "isa.md").read_text()
    assert "VshaH" in (tree / "gem5_ext" / "SmolClasses.py").read_text()
    program = '#include <stdint.h>\n#include "smol_calls.h"\nint main(void) { return !smol_call_vsha_h; }\n'
    (tree / "program.c").write_text(program)
    shell("cc -Wall -Werror -Wno-address -I kernels_c/include -o program program.c && ./program")


def test_a_layer(tree: Path, shell: Shell) -> None:
    assert "all sample images have the stored logits" in follow(tree, shell, "A layer")
