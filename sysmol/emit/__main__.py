"""``python -m sysmol.emit [--check]``: write the generated files, or compare them with the instruction table."""

import sys

from sysmol.emit import ARTEFACTS, stale
from sysmol.errors import SysmolError
from sysmol.files import PACKAGE, atomic_write_text


def main(arguments: list[str]) -> int:
    """Write the artefacts, or compare them with ``--check``; the exit status."""
    if arguments not in ([], ["--check"]):
        raise SysmolError("usage: python -m sysmol.emit [--check]")
    if arguments:
        different = stale()
        for path in different:
            print(f"{path} is not what the instruction table gives: run `python -m sysmol.emit`", file=sys.stderr)
        return 1 if different else 0
    for path, render in ARTEFACTS.items():
        atomic_write_text(PACKAGE / path, render())
        print(path)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SysmolError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
