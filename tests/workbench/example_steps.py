"""Steps of the store's tests."""

import time
from pathlib import Path
from typing import Any

from sysmol import environment
from sysmol.errors import CheckFailed


def write(folder: Path, source: Path, text: str, seed: int, note: Any = None) -> None:
    (folder / "product").write_text(f"{source.read_text()} {text} {seed}")


def fail(folder: Path, kind: str) -> None:
    (folder / "log").write_text("so far")
    if kind == "check":
        raise CheckFailed("not equal")
    if kind == "bug":
        raise ValueError


def read(folder: Path, name: str) -> None:
    environment.read(name)


def slow(folder: Path, log: Path, seconds: float) -> None:
    with open(log, "a") as stream:
        stream.write("started\n")
    time.sleep(seconds)


def count(folder: Path, log: Path, seconds: float, resume: Path) -> None:
    """Two parts, each noted in the log; goes on behind the part that was done."""
    done = int((resume / "done").read_text()) if (resume / "done").exists() else 0
    for part in range(done + 1, 3):
        (resume / "done").write_text(str(part))
        with open(log, "a") as stream:
            stream.write(f"{part}\n")
        time.sleep(seconds)
