"""Patches on a made-up miniature of a gem5 tree: whole or not at all, refused where anything is not as expected."""

import copy
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sysmol.isa_patches.tree as tree_module
from sysmol.cli import run_command_line
from sysmol.configs_gem5.launch import gem5_root
from sysmol.errors import SysmolError
from sysmol.isa import BY_UNIT
from sysmol.isa_patches import Tree, load_patches
from sysmol.isa_patches.__main__ import main
from sysmol.isa_patches.patches import parse_patch
from sysmol.isa_patches.tree import JOURNAL, PREPARED, VERSION_FILE

VERSION = "99.1"
FILES = {
    VERSION_FILE: f'const char *gem5Version = "{VERSION}";\n',
    "src/toy/Kinds.py": 'kinds = [\n    "Apple",\n    "Pear",\n]\n',
    "src/toy/Pools.py": 'pools = ["Apple"]  # the default\n\nlast = 1',
    "src/toy/size.hh": "constexpr int Longest = 4096;\n",
}
TOY: dict[str, Any] = {
    "kinds": {
        "src/toy/Kinds.py": [{"anchor": '"Apple",', "insert": ['    "Plum",', '    "Fig",']}],
        "src/toy/Pools.py": [{"anchor": "# the default", "insert": ['pools += ["Plum", "Fig"]']}],
    },
    "short": {
        "src/toy/size.hh": [{"anchor": "Longest = 4096", "replace": "Longest = 64"}],
        "src/toy/Kinds.py": [{"anchor": '"Pear",', "insert": ['    "Quince",']}],
    },
}


def toy_data(name: str) -> dict[str, Any]:
    files = {
        path: {"sha256": hashlib.sha256(FILES[path].encode()).hexdigest(), "edits": copy.deepcopy(edits)}
        for path, edits in TOY[name].items()
    }
    return {
        "format": "sysmol-gem5-patch",
        "version": 1,
        "name": name,
        "description": "made up",
        "recompiles": "nothing",
        "gem5": {VERSION: files},
    }


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "src/toy/Kinds.py").chmod(0o640)
    return tmp_path


PATCHES = {name: parse_patch(toy_data(name), name) for name in TOY}


def content(root: Path) -> dict[str, str]:
    """Every file of a tree, hidden ones too."""
    return {str(p.relative_to(root)): p.read_text() for p in sorted(root.rglob("*")) if p.is_file()}


def apply(root: Path, wanted: bool = True, names: tuple[str, ...] = ()) -> list[str]:
    gem5 = Tree(root, PATCHES)
    return gem5.change(gem5.select(list(names)), wanted)


def test_apply_check_revert(toy: Path) -> None:
    before = content(toy)
    assert apply(toy) == ["src/toy/Kinds.py", "src/toy/Pools.py", "src/toy/size.hh"]
    assert (
        toy / "src/toy/Kinds.py"
    ).read_text() == 'kinds = [\n    "Apple",\n    "Plum",\n    "Fig",\n    "Pear",\n    "Quince",\n]\n'
    assert (toy / "src/toy/size.hh").read_text() == "constexpr int Longest = 64;\n"
    assert (toy / "src/toy/Kinds.py").stat().st_mode & 0o777 == 0o640
    assert content(toy).keys() == before.keys(), "temporary files are left"
    assert all(Tree(toy, PATCHES).applied(patch) for patch in PATCHES.values())
    after = content(toy)
    assert apply(toy) == [] and content(toy) == after
    assert apply(toy, False, ("kinds",)) == ["src/toy/Kinds.py", "src/toy/Pools.py"]
    assert [Tree(toy, PATCHES).applied(p) for p in PATCHES.values()] == [False, True]
    assert apply(toy, False) == ["src/toy/Kinds.py", "src/toy/size.hh"]
    assert content(toy) == before
    assert apply(toy, False) == [] and content(toy) == before


def test_any_order(toy: Path, seed: int) -> None:
    """Any sequence of single changes leaves exactly the patches last asked for, and the way back is exact."""
    rng = random.Random(seed)
    before = content(toy)
    wanted = dict.fromkeys(PATCHES, False)
    for _ in range(40):
        name = rng.choice(sorted(PATCHES))
        wanted[name] = rng.random() < 0.5
        apply(toy, wanted[name], (name,))
        gem5 = Tree(toy, PATCHES)
        assert {n: gem5.applied(p) for n, p in PATCHES.items()} == wanted
    apply(toy, False)
    assert content(toy) == before


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("name", [name for name in FILES if name != VERSION_FILE])
def test_touched_file(toy: Path, name: str, applied: bool) -> None:
    """One foreign character in one file: refused in every direction, nothing changes."""
    if applied:
        apply(toy)
    (toy / name).write_text((toy / name).read_text() + " ")
    before = content(toy)
    for wanted in (True, False):
        with pytest.raises(SysmolError, match=f"{name} is not gem5 {VERSION}'s file"):
            apply(toy, wanted)
    gem5 = Tree(toy, PATCHES)
    with pytest.raises(SysmolError, match="is not gem5"):
        [gem5.applied(patch) for patch in PATCHES.values()]
    with pytest.raises(SysmolError, match="is not gem5"):
        gem5.diff(list(PATCHES.values()))
    assert content(toy) == before


def test_patch_in_part(toy: Path) -> None:
    """A patch that stands in one of its two files only: check says so, apply and revert complete it."""
    pristine = (toy / "src/toy/Pools.py").read_text()
    apply(toy)
    whole = content(toy)
    (toy / "src/toy/Pools.py").write_text(pristine)
    with pytest.raises(SysmolError, match="in part"):
        Tree(toy, PATCHES).applied(PATCHES["kinds"])
    assert apply(toy) == ["src/toy/Pools.py"] and content(toy) == whole


def test_refused_trees(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(SysmolError, match="is no gem5 tree"):
        Tree(empty, PATCHES)
    with pytest.raises(SysmolError, match="choose from kinds, short"):
        Tree(toy, PATCHES).select(["kind"])
    (toy / "src/toy/size.hh").unlink()
    with pytest.raises(SysmolError, match=r"cannot read .*size\.hh"):
        apply(toy)
    (toy / VERSION_FILE).write_text('const char *gem5Version = "100.0";\n')
    with pytest.raises(SysmolError, match=r"is gem5 100\.0, and the patches are for 99\.1"):
        Tree(toy, PATCHES)
    (toy / VERSION_FILE).write_text("nothing\n")
    with pytest.raises(SysmolError, match="names no version"):
        Tree(toy, PATCHES)


def test_no_permission(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails half-way through the preparation leaves the tree as it was."""
    before = content(toy)
    write, calls = tree_module.write_through, []

    def failing(path: Path, data: bytes) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        write(path, data)

    monkeypatch.setattr(tree_module, "write_through", failing)
    with pytest.raises(SysmolError, match="No space left on device; nothing was changed"):
        apply(toy)
    assert content(toy) == before


def killed(root: Path, wanted: bool, step: int) -> bool:
    """Change a tree in a process that kill -9 ends before its ``step``-th operation on files; whether it got there."""
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    calls = 0

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **settings: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **settings)

        return call

    for place, name in ((tree_module, "write_through"), (os, "rename"), (os, "replace"), (Path, "unlink")):
        setattr(place, name, dying(getattr(place, name)))
    shutil.copymode = dying(shutil.copymode)
    try:
        apply(root, wanted)
    finally:
        os._exit(0)


@pytest.mark.parametrize("wanted", [True, False])
def test_killed_at_any_step(toy: Path, wanted: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    """kill -9 before each operation on files: the tree is the old one or becomes the new one, never between."""
    if not wanted:
        apply(toy)
    old = content(toy)
    reference = tmp_path_factory.mktemp("reference") / "tree"
    shutil.copytree(toy, reference)
    apply(reference, wanted)
    new = content(reference)
    for step in range(1, 100):
        root = tmp_path_factory.mktemp("killed") / "tree"
        shutil.copytree(toy, root)
        if not killed(root, wanted, step):
            break
        left = content(root)
        sources = {name: text for name, text in left.items() if PREPARED not in name}
        if JOURNAL not in left:
            assert sources in (old, new)
        else:
            with pytest.raises(SysmolError, match="interrupted"):
                Tree(root, PATCHES).applied(PATCHES["kinds"])
        # Whatever is asked for next is what comes out, without a trace.
        again = wanted if step % 2 else not wanted
        apply(root, again)
        assert content(root) == (new if again == wanted else old)
    assert step > 10


def test_changed_during_interruption(toy: Path) -> None:
    """An interrupted change whose files somebody edited meanwhile is not finished over their heads."""
    gem5 = Tree(toy, PATCHES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tree, "_finish", lambda self: None)
        gem5.change(gem5.select([]), True)
    assert (toy / JOURNAL).exists()
    (toy / "src/toy/size.hh").write_text("mine\n")
    before = content(toy)
    with pytest.raises(SysmolError, match="changed while a patch was under way"):
        apply(toy)
    assert content(toy) == before


def test_two_at_once(toy: Path) -> None:
    with Tree(toy, PATCHES)._lock(), pytest.raises(SysmolError, match="another sysmol patch"):
        apply(toy)
    assert apply(toy)


def test_diff_is_a_patch(toy: Path) -> None:
    """What diff prints, given to the program patch, is what apply does."""
    if shutil.which("patch") is None:
        pytest.skip("no program patch")
    text = Tree(toy, PATCHES).diff(list(PATCHES.values()))
    apply(toy)
    after = content(toy)
    assert Tree(toy, PATCHES).diff(list(PATCHES.values())) == text
    apply(toy, False)
    subprocess.run(["patch", "-p1", "--silent", "-d", str(toy)], input=text, text=True, check=True)
    assert content(toy) == after


BROKEN = {
    "two ways": (lambda e: e.update(replace="x"), "one of insert, insert_each, replace"),
    "no way": (lambda e: e.pop("insert"), "one of insert, insert_each, replace"),
    "two lines": (lambda e: e.update(anchor="a\nb"), "within one line"),
    "anchor again": (lambda e: e.update(insert=['"Apple",']), "could not be found again"),
    "text for lines": (lambda e: e.update(insert="x"), "list of lines"),
    "unknown": (lambda e: e.update(regex="x"), "must be an object with the fields"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_patch(what: str) -> None:
    change, message = BROKEN[what]
    data = toy_data("kinds")
    change(data["gem5"][VERSION]["src/toy/Kinds.py"]["edits"][0])
    with pytest.raises(SysmolError, match=message):
        parse_patch(data, "x")
    data = toy_data("kinds")
    data["gem5"][VERSION]["../elsewhere"] = data["gem5"][VERSION].pop("src/toy/Kinds.py")
    with pytest.raises(SysmolError, match="no path inside"):
        parse_patch(data, "x")


def test_no_python(toy: Path) -> None:
    """An edit that would break a Python file is refused before anything is written."""
    data = toy_data("kinds")
    data["gem5"][VERSION]["src/toy/Kinds.py"]["edits"][0]["insert"] = ["    ["]
    gem5 = Tree(toy, {"kinds": parse_patch(data, "x")})
    before = content(toy)
    with pytest.raises(SysmolError, match="no Python any more"):
        gem5.change(gem5.select([]), True)
    assert content(toy) == before


# --- the patches that come with the project ---------------------------------------------------------------------------


def test_data() -> None:
    patches = load_patches()
    assert list(patches) == ["op-classes", "small-vectors", "stock-decode"]
    for patch in patches.values():
        assert list(patch.gem5) == ["24.0.0.1"]
        for entry in patch.gem5["24.0.0.1"].values():
            assert all(len(edit.anchor) <= 40 for edit in entry.edits), "an anchor is a short fact, no copy"
    inserted = [e.insert for f in patches["op-classes"].gem5["24.0.0.1"].values() for e in f.edits]
    assert len(inserted) == 3
    for text in inserted:
        assert [row.named_class for row in BY_UNIT] == re.findall(r"\bSmol\w+", text), "a line for every instruction"


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """The few files of the real tree that the patches know, as gem5 ships them."""
    source = gem5_root()
    names = {name for patch in load_patches().values() for name in patch.gem5["24.0.0.1"]} | {VERSION_FILE}
    if not all((source / name).is_file() for name in names):
        pytest.skip(f"no gem5 source tree in {source} (GEM5_ROOT)")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, tmp_path / name)
    gem5 = Tree(tmp_path, load_patches())
    gem5.change(gem5.select([]), False)
    return tmp_path


@pytest.mark.gem5
def test_real_files(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(real)
    assert main(["check", str(real)]) == 1
    assert main(["apply", str(real)]) == 0
    assert main(["check", str(real)]) == 0
    after = content(real)
    values: dict[str, Any] = {"SimObject": object, "Enum": object}
    text = after["src/cpu/FuncUnit.py"]
    exec(text[text.index("class OpClass") : text.index("class OpDesc")], values)
    classes = values["OpClass"].vals
    own = [row.named_class for row in BY_UNIT]
    assert classes[-len(own) - 1 :] == ["SimdConfig", *own], "gem5's keep their numbers"
    assert len(classes) == len(set(classes))
    assert "MaxVecLenInBits = 256;" in after["src/arch/riscv/types.hh"]
    assert run_command_line(["patch", "apply", str(real)]) == 0 and content(real) == after
    assert run_command_line(["patch", "revert", str(real), "--patch", "op-classes"]) == 0
    assert run_command_line(["patch", "check", str(real), "--patch", "op-classes"]) == 1
    assert run_command_line(["patch", "check", str(real), "--patch", "small-vectors"]) == 0
    assert run_command_line(["patch", "revert", str(real)]) == 0 and content(real) == before
    capsys.readouterr()
    (real / "src/cpu/FuncUnit.py").write_text(before["src/cpu/FuncUnit.py"].replace("IntAlu", "IntAlu2", 1))
    assert run_command_line(["patch", "apply", str(real)]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said and "FuncUnit.py is not gem5 24.0.0.1's file" in said
    assert content(real)["src/arch/riscv/types.hh"] == before["src/arch/riscv/types.hh"]


def test_command_line(toy: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["patch", "apply", str(toy)]) == 2
    assert "the patches are for 24.0.0.1" in capsys.readouterr().err
    assert run_command_line(["patch", "polish", str(toy)]) == 2
    assert run_command_line(["patch", "check", str(tmp_path_factory.mktemp("empty"))]) == 2
    assert "is no gem5 tree" in capsys.readouterr().err
    assert json.dumps(sorted(os.listdir(toy)))
