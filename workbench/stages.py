"""Stages by a stamp; goes away with its last user."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sysmol.files import PACKAGE, atomic_write_json, content_key, sha256_file

FORMAT_SOURCES = (
    "grid.py", "pattern.py", "packing.py", "network.py", "network_file.py",
)  # fmt: skip
"""What the meaning of a network file depends on."""
PROGRAM_SOURCES = ("kernels_c", "isa", *FORMAT_SOURCES)
"""What an executable depends on beside its network file."""
RUN_SOURCES = ("configs_gem5/run_net.py", "configs_gem5/system.py", "configs_gem5/inputs.py")
"""What a simulation depends on beside its executable, machine and gem5."""


def source_digest(*names: str) -> str:
    """SHA-256 over names and contents of the program's own sources: files, or all below a folder."""
    digest = hashlib.sha256()
    for name in names:
        for path in sorted([PACKAGE / name, *(PACKAGE / name).rglob("*")]):
            if path.suffix in (".py", ".c", ".h") and path.is_file():
                digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class Stages:
    """Runs stages under one folder, or skips those that stand; says so in one line each."""

    def __init__(self, folder: Path, say: Callable[[str], None]):
        self.folder = folder
        self.say = say

    def run(self, name: str, inputs: dict[str, Any], action: Callable[[], Iterable[Path]]) -> None:
        """Call ``action`` unless the last complete run had equal ``inputs`` and its products are unchanged.

        ``action`` returns the files that it made; their hashes are kept beside the inputs' in ``.stages/<name>.json``.
        """
        key = content_key(inputs)
        stamp = self.folder / ".stages" / f"{name}.json"
        if self._stands(stamp, key):
            self.say(f"{name}: unchanged, skipped")
            return
        self.say(f"{name} ...")
        stamp.unlink(missing_ok=True)
        start = time.monotonic()
        products = {os.path.relpath(path, self.folder): sha256_file(path) for path in action()}
        seconds = time.monotonic() - start
        atomic_write_json(stamp, {"key": key, "seconds": round(seconds, 1), "products": products})
        self.say(f"{name}: done in {seconds:.1f} s")

    def _stands(self, stamp: Path, key: str) -> bool:
        try:
            record = json.loads(stamp.read_text())
            return record["key"] == key and all(
                (self.folder / path).is_file() and sha256_file(self.folder / path) == digest
                for path, digest in record["products"].items()
            )
        except (OSError, ValueError, KeyError):
            return False
