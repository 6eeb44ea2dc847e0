"""A wheel and a source distribution: what they hold, and the commands from them beside a user's own files."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sysmol import __version__
from sysmol.files import PACKAGE
from sysmol.network import save
from sysmol.network.builder import Builder
from sysmol.places import PLACES

pytestmark = pytest.mark.slow

CLONE = PACKAGE.parent
ROOMS = sorted(path.name for path in PACKAGE.iterdir() if path.is_symlink())
USER_FILES = ("train.py", "analysis.py", "benchmarks.py", "cli.py", "search.py", "patterns.py")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
GENERATED = re.compile(r"\.dist-info/")
BUILD = "import sys, setuptools.build_meta as backend; getattr(backend, sys.argv[1])(sys.argv[2])"
"""What pip and other builders call, with the environment's setuptools."""


def call(*command: object, folder: Path, **variables: str) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=os.environ | variables, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout


def content(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not GENERATED.search(name)}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clone without products: a build folder that an earlier wheel left would get into the next one."""
    folder = tmp_path_factory.mktemp("clone")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CLONE / "sysmol", folder / "sysmol", symlinks=True, ignore=ignore)
    for room in ROOMS:
        shutil.copytree(CLONE / room, folder / room, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CLONE / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-c", BUILD, "build_wheel", folder, folder=clone)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in a folder of its own, which stands before the environment's packages on Python's path."""
    folder = tmp_path_factory.mktemp("site")
    call(*PIP, "install", "--no-deps", "--target", folder, wheel, folder=folder)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's folder: modules named like sysmol's rooms, and a small network."""
    for name in USER_FILES:
        (tmp_path / name).write_text("MINE = True\n")
    (tmp_path / "train.py").write_text(
        "from sysmol.train.quantise.prepared import prepare\nimport analysis\nprint(prepare.__name__, analysis.MINE)\n"
    )
    builder = Builder(np.random.default_rng(5), 3, 3, 2)
    (x,) = builder.layer("rescale", "image", [[4, 1]])
    builder.classifier(x, classes=3)
    save(tmp_path / "small.network.safetensors", builder.finish())
    return tmp_path


def test_a_wheel_installs_sysmol_alone(wheel: Path) -> None:
    assert {name.split("/")[0] for name in content(wheel)} == {"sysmol"}
    with zipfile.ZipFile(wheel) as archive:
        (top_level,) = (name for name in archive.namelist() if name.endswith("top_level.txt"))
        assert archive.read(top_level).split() == [b"sysmol"]


def test_a_wheel_holds_every_file_of_the_rooms(clone: Path, wheel: Path) -> None:
    """All that is committed in the rooms: sources, headers, assembly, machines, specs, shapes, pages, figures."""
    tracked = subprocess.run(["git", "ls-files", "sysmol", *ROOMS], cwd=CLONE, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git clone: nothing says which files belong to it")
    files = {name for name in tracked.stdout.split() if (clone / name).is_file()}
    wanted = {name if name.startswith("sysmol/") else f"sysmol/{name}" for name in files}
    assert len(wanted) > 200
    assert not wanted - content(wheel)


def test_a_wheel_from_a_source_distribution_is_the_same(clone: Path, wheel: Path, tmp_path: Path) -> None:
    call(sys.executable, "-c", BUILD, "build_sdist", tmp_path, folder=clone)
    (archive,) = tmp_path.glob("*.tar.gz")
    shutil.unpack_archive(archive, tmp_path, filter="data")
    unpacked = tmp_path / archive.name.removesuffix(".tar.gz")
    call(sys.executable, "-c", BUILD, "build_wheel", tmp_path, folder=unpacked)
    (again,) = tmp_path.glob("*.whl")
    assert content(again) == content(wheel)


def test_commands_from_a_wheel_beside_own_modules(installed: Path, project: Path) -> None:
    """`python -m` puts the user's folder first on the path: the strictest case."""

    def sysmol(*arguments: str) -> str:
        return call(sys.executable, "-m", "sysmol", *arguments, folder=project, PYTHONPATH=str(installed))

    assert sysmol("--version") == f"sysmol {__version__}\n"
    places = {name: Path(path) for name, path in json.loads(sysmol("paths", "--json")).items()}
    assert places.keys() == PLACES.keys()
    for path in places.values():
        assert path.exists() and path.is_relative_to(installed)
    assert (places["extras"].parent / "kernels_c" / "include" / "smol_arith.h").is_file()
    assert list(places["specs"].glob("*.toml")) and (places["docs"] / "gem5.md").is_file()
    findings = {finding["part"]: finding for finding in json.loads(sysmol("doctor", "--json"))["findings"]}
    assert "wheel" in findings["sysmol"]["found"] and str(installed) in findings["sysmol"]["found"]
    sysmol("compile", "small.network.safetensors", "--isa", "host", "--isa", "riscv", "--out", "bin")
    assert "have the stored logits" in sysmol("verify", "bin/small.host.json")
    assert "not simulated" in sysmol("estimate", "bin/small.riscv.json")
    own = call(sys.executable, "train.py", folder=project, PYTHONPATH=str(installed))
    assert own == "prepare True\n"


def test_commands_from_a_clone_beside_own_modules(project: Path) -> None:
    def sysmol(*arguments: str) -> str:
        return call(sys.executable, "-m", "sysmol", *arguments, folder=project)

    assert sysmol("paths", "extras") == f"{PLACES['extras'].path}\n"
    assert "smol" in sysmol("info", "small.network.safetensors")
    assert call(sys.executable, "train.py", folder=project) == "prepare True\n"
