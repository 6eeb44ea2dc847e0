"""Folders that are whole or absent, whoever fails, is killed, or comes second."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sysmol.errors import SysmolError
from sysmol.files import (
    HOST,
    atomic_write_bytes,
    content_key,
    make_folder,
    making,
    remove_empty_folders,
    scratch_prefix,
    temporary_folder,
)


def test_a_folder_takes_its_name_when_whole(tmp_path: Path) -> None:
    place = tmp_path / "kind" / "name"
    with pytest.raises(ValueError, match="broken"), making(place) as scratch:
        (scratch / "half").write_text("")
        raise ValueError("broken")
    assert not list(place.parent.iterdir())
    with making(place) as scratch:
        (scratch / "content").write_text("first")
        assert not place.exists()
    with making(place) as scratch:  # somebody else was faster: theirs stays
        (scratch / "content").write_text("second")
    assert (place / "content").read_text() == "first"
    with making(place, replace=True) as scratch:
        (scratch / "content").write_text("third")
    assert (place / "content").read_text() == "third" and os.listdir(place.parent) == ["name"]


def test_a_file_in_the_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "name").write_text("")
    with pytest.raises(SysmolError, match="cannot create the folder"), making(tmp_path / "name"):
        pass
    assert os.listdir(tmp_path) == ["name"]


def test_keys_follow_content_alone() -> None:
    assert content_key({"a": 1, "b": [2]}) == content_key({"b": [2], "a": 1}) != content_key({"a": 1, "b": [3]})


def test_only_empty_folders_of_this_process_go(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    for name in ("theirs", "theirs/new/deep", "kept/empty"):
        make_folder(tmp_path / name)
    (tmp_path / "kept" / "product").write_text("")
    remove_empty_folders()
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["kept", "kept/product", "theirs"]


KILLED = """
import os, signal, sys
from pathlib import Path
from sysmol import files
folder = Path(sys.argv[1])
os.replace = os.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
{}
"""


@pytest.mark.parametrize(
    "work",
    [
        "files.atomic_write_bytes(folder / 'product', b'1')",
        "with files.making(folder / 'product') as scratch: (scratch / 'inner').write_text('1')",
        "with files.temporary_folder(): os.replace()",
    ],
)
def test_what_a_killed_process_left_goes_at_the_next_start(
    work: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    done = subprocess.run([sys.executable, "-c", KILLED.format(work), str(tmp_path)])
    assert done.returncode == -9 and len(list(tmp_path.iterdir())) == 1
    mine = tmp_path / f"{scratch_prefix('product')}x"
    theirs = tmp_path / f".product.elsewhere.{os.getpid()}.x"
    for path in (mine, theirs):
        path.write_text("under way")
    if "temporary" in work:
        with temporary_folder() as folder:
            assert folder.parent == tmp_path
    else:
        atomic_write_bytes(tmp_path / "product", b"2")
    left = {path.name for path in tmp_path.iterdir()}
    assert left - {"product"} == {mine.name, theirs.name} and HOST in mine.name
