"""Folders that are whole or absent, whoever fails, is killed, or comes second."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sysmol.errors import SysmolError
from sysmol.files import content_key, making, remove_unfinished


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
