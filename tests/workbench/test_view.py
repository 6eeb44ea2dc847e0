"""What an output folder shows: one run's products, nothing of another's."""

from pathlib import Path

import pytest

from sysmol.workbench.store import Store
from sysmol.workbench.view import View


def run(folder: Path, *names: str, killed: bool = False) -> set[str]:
    """A run that writes these files; the files below the folder afterwards, without the store's."""
    view = View(Store(folder / "store"), folder)
    for name in names:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        view.note(path).write_text("")
    if not killed:
        view.finish()
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in files if not name.startswith("store/")}


@pytest.mark.parametrize("killed", [False, True])
def test_nothing_of_another_run_stays(tmp_path: Path, killed: bool) -> None:
    (tmp_path / "notes.txt").write_text("the user's own")
    first = {"round-1", "round-2", "bin/round-2"}
    assert run(tmp_path, *first, killed=killed) == {"notes.txt", *first}
    assert run(tmp_path, "round-1") == {"notes.txt", "round-1"}
    assert not (tmp_path / "bin").exists()


def test_a_list_names_nothing_outside(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("")
    folder = tmp_path / "out"
    run(folder, "round-1")
    view = View(Store(folder / "store"), folder)
    for text in ('["../other", "round-1"]', "no list", "[1]"):
        view.listed.write_text(text)
        run(folder, "round-2")
        assert other.exists()
