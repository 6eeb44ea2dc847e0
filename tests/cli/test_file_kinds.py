"""A file of the wrong kind: one line says what it is and what takes it, told by its content."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from sysmol.cli.file_kinds import KINDS, kind_of
from sysmol.machine.files import MACHINE_FOLDER
from sysmol.network import save
from sysmol.network.builder import random_network
from sysmol.places import PLACES

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A file or folder of many kinds, without the suffix that gives it away where there is another sign."""
    made = {"network": save(tmp_path / "a.network.safetensors", random_network(3)).rename(tmp_path / "net")}
    for kind in ("manifest", "costs", "run", "schedules", "summary"):
        made[kind] = tmp_path / f"{kind}.txt"
        made[kind].write_text(json.dumps({"format": f"sysmol-{kind}", "version": 1}, indent=1))
    made["machine"] = MACHINE_FOLDER / "o3-n1.json"
    made["experiments"] = next(PLACES["specs"].path.glob("*.toml"))
    made["sweep"] = tmp_path / "sweep.toml"
    made["sweep"].write_text('networks = ["*.network.safetensors"]\n')
    np.savez(tmp_path / "data.npz", train_images=np.zeros((2, 2, 2), np.uint8))
    made["data"] = (tmp_path / "data.npz").rename(tmp_path / "data")
    made["checkpoint"] = tmp_path / "checkpoint"
    torch.save({"x": torch.zeros(1)}, made["checkpoint"])
    made["tensors"] = tmp_path / "other.safetensors"
    safetensors.numpy.save_file({"x": np.zeros(3)}, str(made["tensors"]))
    made["program"] = tmp_path / "program"
    made["program"].write_bytes(b"\x7fELF\x02\x01\x01")
    made["foreign"] = tmp_path / "model"
    made["foreign"].write_bytes(b"\x1c\0\0\0TFL3")
    made["run folder"] = tmp_path / "run"
    made["run folder"].mkdir()
    (made["run folder"] / "run.json").write_text("{}")
    made["folder"] = tmp_path / "empty"
    made["folder"].mkdir()
    return made


def test_content_tells_the_kind(files: dict[str, Path]) -> None:
    assert {kind: kind_of(path) for kind, path in files.items()} == {kind: kind for kind in files}


def test_what_is_nothing_known(tmp_path: Path) -> None:
    for name, content in (("empty", b""), ("text", b"hello"), ("json", b"{"), ("zip", b"PK\x03\x04")):
        (tmp_path / name).write_bytes(content)
        assert kind_of(tmp_path / name) == ""
    assert kind_of(tmp_path / "absent") == ""
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme", "text")
    assert kind_of(tmp_path / "other.zip") == ""


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["info"], "network"), (["compile"], "network"), (["patterns"], "network"), (["strip"], "network"),
        (["run"], "manifest"), (["verify"], "manifest"), (["estimate"], "manifest"), (["costs"], "manifest"),
        (["machines"], "machine"), (["sweep"], "sweep"), (["experiments"], "experiments"), (["train"], "data"),
        (["import"], "foreign"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)  # fmt: skip
def test_every_other_kind_is_one_line(
    run: Run, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], wanted: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for kind, path in files.items():
        if kind != wanted:
            status, out, err = run(*words, path)
            assert (status, out, err.count("\n")) == (2, "", 1), err
            assert KINDS[kind].what in err and KINDS[kind].use in err and KINDS[wanted].what in err, err
    assert sorted(tmp_path.rglob("*")) == before
