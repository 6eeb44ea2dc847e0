"""``python -m sysmol.isa_patches apply|check|revert|diff GEM5_TREE [--patch NAME ...]``, or ``sysmol patch``."""

import argparse
import sys
from pathlib import Path

from sysmol.errors import CheckFailed, SysmolError
from sysmol.isa_patches.command import ACTIONS, run


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 a patch is missing (check), 2 refused."""
    parser = argparse.ArgumentParser(prog="python -m sysmol.isa_patches", description="Edits inside gem5's own tree")
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("tree", type=Path, help="gem5's source tree")
    parser.add_argument("--patch", action="append", default=[], metavar="NAME", help="only this one; may be repeated")
    options = parser.parse_args(arguments)
    try:
        run(options.action, options.tree, options.patch, print)
    except SysmolError as error:
        print(f"isa_patches: {error}", file=sys.stderr)
        return 1 if isinstance(error, CheckFailed) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
