"""The rooms: one package, imports that point down, and checkers that find an upward import and a type error."""

import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from sysmol.files import PACKAGE
from sysmol.renamed import RENAMED

CLONE = PACKAGE.parent
ROOMS = sorted(path.name for path in PACKAGE.iterdir() if path.is_symlink() and (path / "__init__.py").is_file())
BIN = Path(sys.executable).parent


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package and its rooms, without products, where a fault can be put in."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CLONE / "sysmol", tmp_path / "sysmol", symlinks=True, ignore=ignore)
    for room in PACKAGE.iterdir():
        if room.is_symlink():
            shutil.copytree(CLONE / room.name, tmp_path / room.name, ignore=ignore)
    shutil.copy(CLONE / "pyproject.toml", tmp_path)
    return tmp_path


def run(*command: str, folder: Path) -> tuple[int, str]:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_no_import_circles_between_files():
    graph = grimp.build_graph("sysmol", cache_dir=None)
    files = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    while leaves := [module for module, imported in files.items() if not imported & files.keys()]:
        for module in leaves:
            del files[module]
    rest = {module for module in files if any(module in imported for imported in files.values())}
    assert not rest, f"these import one another: {', '.join(sorted(rest))}"


def test_a_lazy_upward_import_is_found(copy: Path):
    """Inside a function, in a room that lies outside the folder sysmol/."""
    linter = str(BIN / "lint-imports")
    assert run(linter, "--no-cache", folder=copy)[0] == 0
    file = copy / "train" / "frontend" / "graph.py"
    file.write_text(file.read_text() + "\n\ndef upward():\n    from sysmol.workbench import demo\n\n    return demo\n")
    status, said = run(linter, "--no-cache", folder=copy)
    assert status == 1 and "sysmol.train.frontend.graph -> sysmol.workbench.demo" in said


@pytest.mark.slow
def test_a_type_error_between_rooms_is_found(copy: Path):
    file = copy / "workbench" / "measured_cycles.py"
    fault = "\n\nfrom sysmol.configs_gem5.launch import find_gem5\n\nnumber: int = find_gem5('arm')\n"
    file.write_text(file.read_text() + fault)
    if (cache := CLONE / ".mypy_cache").is_dir():  # spares the types of all libraries
        shutil.copytree(cache, copy / cache.name)
    status, said = run(sys.executable, "-m", "mypy", "-p", "sysmol.workbench", folder=copy)
    assert status == 1 and "measured_cycles.py" in said and "Incompatible types in assignment" in said


@pytest.mark.parametrize("room", ["train", "analysis", "kernels_c", "configs_gem5", "isa_patches", "benchmarks"])
def test_an_old_import_says_the_new_name(room: str):
    """As seen from the clone's folder, where the rooms lie beside the program."""
    status, said = run(sys.executable, "-c", f"import {room}", folder=CLONE)
    assert status == 1 and f"ImportError: {room} is now sysmol.{room}" in said.splitlines()[-1]


@pytest.mark.parametrize("old", sorted(RENAMED))
def test_a_renamed_module_says_the_new_name(old: str):
    __import__(RENAMED[old])
    with pytest.raises(ModuleNotFoundError, match=f"{old} is now {RENAMED[old]}"):
        __import__(old)


def test_names_of_the_module_that_became_a_room():
    import sysmol.patterns
    from sysmol.patterns import slots

    assert slots.__name__ == "sysmol.patterns.slots"
    with pytest.raises(ImportError, match=r"sysmol\.patterns\.PATTERNS is now sysmol\.pattern\.PATTERNS"):
        from sysmol.patterns import PATTERNS  # noqa: F401
    with pytest.raises(AttributeError):
        sysmol.patterns.no_such_name  # noqa: B018


def test_every_room_is_a_link_in_the_package():
    """Relative ones: they serve Python, mypy, the import linter, gem5's Python and the wheel alike."""
    assert {"train", "kernels_c", "configs_gem5", "analysis", "workbench", "search", "verify", "cli"} <= set(ROOMS)
    for path in PACKAGE.iterdir():
        if path.is_symlink():
            assert path.readlink() == Path("..", path.name)
