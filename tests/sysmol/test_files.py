"""Folders that are whole or absent, whoever fails, is killed, or comes second."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sysmol.errors import SysmolError
from sysmol.files import alone, content_key, make_folder, making, remove_empty_folders, remove_unfinished


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


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from sysmol.files import making\n"
        "with making(Path(sys.argv[1])): print('made', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "kind" / "name")], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"made\n"
    remove_unfinished(tmp_path)
    assert len(os.listdir(tmp_path / "kind")) == 1, "that of a living process was removed"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    remove_unfinished(tmp_path)
    assert os.listdir(tmp_path / "kind") == []


def test_keys_follow_content_alone() -> None:
    assert content_key({"a": 1, "b": [2]}) == content_key({"b": [2], "a": 1}) != content_key({"a": 1, "b": [3]})


def test_only_empty_folders_of_this_process_go(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    for name in ("theirs", "theirs/new/deep", "kept/empty"):
        make_folder(tmp_path / name)
    (tmp_path / "kept" / "product").write_text("")
    remove_empty_folders()
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["kept", "kept/product", "theirs"]


def test_one_process_has_a_folder_alone(tmp_path: Path) -> None:
    script = (
        "import sys, time; from sysmol.files import alone\n"
        "with alone(sys.argv[1]) as mine: print(mine, flush=True); time.sleep(60 * mine)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"True\n"
    with alone(tmp_path) as mine:
        assert not mine
    assert subprocess.check_output(command) == b"False\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with alone(tmp_path) as mine:
        assert mine, "a killed process kept its lock"
        assert subprocess.check_output(command) == b"False\n"
    assert os.listdir(tmp_path) == []


def test_a_lock_whose_file_its_last_holder_removed_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, flock = alone(tmp_path), fcntl.flock
    assert first.__enter__()

    def late(lock: int, operation: int) -> None:
        monkeypatch.undo()
        first.__exit__(None, None, None)  # between opening and locking
        flock(lock, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with alone(tmp_path) as mine, alone(tmp_path) as other:
        assert mine and not other
