"""Files that are made from others and committed all the same: written anew, or compared."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sysmol.files import atomic_write_text


def stale(files: Mapping[Path, str]) -> list[Path]:
    """Those of ``files`` (what they should hold, by path) that hold something else, or are not there."""
    return [path for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]


def main(module: str, files: Mapping[Path, str], arguments: Sequence[str]) -> int:
    """What ``python -m MODULE [--check]`` does: write the stale files, or name them. Exit status 1 where ``--check``
    finds one, 2 for other arguments.
    """
    if list(arguments) not in ([], ["--check"]):
        print(f"usage: python -m {module} [--check]", file=sys.stderr)
        return 2
    different = stale(files)
    for path in different:
        if arguments:
            print(f"{path} is not what `python -m {module}` makes", file=sys.stderr)
        else:
            print(atomic_write_text(path, files[path]))
    return int(bool(arguments and different))
