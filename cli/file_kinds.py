"""What a file or folder is, told by its content, and which commands take it: the right sentence for the wrong file."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sysmol.errors import SysmolError

ENOUGH = 1 << 16
"""Bytes at the start of a file that tell what it is."""


@dataclass(frozen=True)
class Kind:
    """``what``: in words, with its article. ``use``: what takes it."""

    what: str
    use: str


KINDS = {
    "network": Kind("a network file", "sysmol info, compile, tune, patterns, strip and export take it"),
    "manifest": Kind("the manifest of an executable", "sysmol run, verify, estimate and costs take it"),
    "machine": Kind("a machine description", "--machine and sysmol machines take it"),
    "machine-part": Kind("a part of a machine description", "machine descriptions name it in 'uses'"),
    "costs": Kind("layer costs of sysmol costs", "sysmol patterns takes it as --costs"),
    "run": Kind("the record of a simulation", "sysmol costs takes its folder as --run"),
    "summary": Kind("the summary of sysmol demo or evaluate", "sysmol report makes it anew from its folder"),
    "schedules": Kind("schedules of sysmol tune", "sysmol compile takes them as --schedules"),
    "check": Kind("the record of sysmol verify", "sysmol report reads it with its folder"),
    "result": Kind("an entry of a store", "the command that made the store's folder reads it"),
    "sources": Kind("a list of what products were made from", "sysmol results reads it"),
    "boot": Kind("a booted Linux", "sysmol run takes its folder as --boot"),
    "sweep": Kind("the spec of a sweep", "sysmol sweep takes it"),
    "experiments": Kind("a training spec", "sysmol experiments takes it"),
    "search-result": Kind("the result of a search", "sysmol search compare takes it"),
    "data": Kind("a file of arrays", "sysmol train takes it as DATASET, where it holds images (docs/training.md)"),
    "module": Kind("Python source", "sysmol train and codesign take it as --model FILE.py:CALLABLE"),
    "checkpoint": Kind("a checkpoint of PyTorch", "trainings read their own; give a network file"),
    "tensors": Kind("a safetensors file of another program", "load it in a module of yours: --model FILE.py:CALLABLE"),
    "foreign": Kind("a network of another tool", "sysmol import and quantise take it"),
    "program": Kind("an executable", "the .json of its name beside it is its manifest"),
    "source": Kind("C source", "the .json of its name beside it is the manifest of its executable"),
    "page": Kind("a page", "open it in a browser"),
    "csv": Kind("a table", "sysmol experiments takes it as --rows"),
    "run folder": Kind("the folder of a simulation", "sysmol costs takes it as --run"),
    "products": Kind("a folder with networks", "sysmol report and evaluate take it"),
    "linux folder": Kind("a folder with a Linux", "sysmol run takes it as --linux"),
    "folder": Kind("a folder", "name a file"),
}
"""Everything that is told apart."""
FOLDERS = ("run folder", "products", "linux folder", "boot")
"""Kinds of folders; what one of them lacks, its reader says best."""

_JSON = re.compile(rb'"format"\s*:\s*"sysmol-([a-z-]+)"')
_TENSORS = re.compile(rb'.{8}\{\s*"', re.DOTALL)
_SUFFIXES = {
    ".py": "module", ".onnx": "foreign", ".tflite": "foreign", ".c": "source", ".h": "source", ".html": "page",
    ".csv": "csv",
}  # fmt: skip


def kind_of(path: Path) -> str:
    """The key in :data:`KINDS` of a file or folder; empty where it is absent or nothing that is known."""
    if path.is_dir():
        return _folder(path)
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as stream:
            start = stream.read(ENOUGH)
    except OSError:
        return ""
    return _magic(start) or _document(path, start) or _SUFFIXES.get(path.suffix, "")


def _folder(path: Path) -> str:
    marks = {"run.json": "run folder", "boot.json": "boot", "vmlinux": "linux folder", "initramfs.cpio": "linux folder"}
    for name, kind in marks.items():
        if (path / name).is_file():
            return kind
    return "products" if next(path.glob("*.network.safetensors"), None) else "folder"


def _magic(start: bytes) -> str:
    """By the first bytes: programs, archives of arrays, TensorFlow Lite, safetensors."""
    if start.startswith(b"\x7fELF"):
        return "program"
    if start.startswith(b"PK\x03\x04"):  # the name of an archive's first member
        name = start[30 : 30 + int.from_bytes(start[26:28], "little")]
        return "data" if name.endswith(b".npy") else "checkpoint" if name.endswith(b"/data.pkl") else ""
    if start[4:8] == b"TFL3":
        return "foreign"
    if _TENSORS.match(start):
        return "network" if b"sysmol-network" in start else "tensors"
    return ""


def _document(path: Path, start: bytes) -> str:
    """JSON of ours by its field "format"; specs in TOML by their fields."""
    if start.lstrip()[:1] == b"{" and (found := _JSON.search(start)):
        kind = found[1].decode()
        return kind if kind in KINDS else ""
    fields = set(re.findall(rb"^\s*\"?(\w+)\"?\s*[=:]", start, re.MULTILINE))
    if path.suffix in (".toml", ".json"):
        if {b"variants", b"seeds"} <= fields:
            return "experiments"
        if b"networks" in fields:
            return "sweep"
    return ""


def wrong(path: Path, wanted: str) -> str:
    """One line where ``path`` is known to be of another kind than ``wanted``; empty otherwise."""
    found = kind_of(path)
    if found in ("", wanted) or (found == "folder" and wanted in FOLDERS):
        return ""
    kind = KINDS[found]
    return f"{path} is {kind.what}: {kind.use}; here {KINDS[wanted].what} is needed"


def expect(wanted: str) -> Callable[[Any], Any]:
    """A callback of an argument or option that names files of one kind: refuses what is known to be of another."""

    def check(value: Any) -> Any:
        for each in value if isinstance(value, list | tuple) else [value]:
            named = isinstance(each, Path) or Path(str(each)).suffix or "/" in str(each)
            if each is not None and named and (line := wrong(Path(each), wanted)):
                raise SysmolError(line)
        return value

    return check
