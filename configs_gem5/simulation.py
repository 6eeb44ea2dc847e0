"""What the scripts that run inside gem5 share: where gem5's files go, last words, errors as one line. Imports m5."""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import _m5.core
import m5

from sysmol.errors import CheckFailed, SysmolError


def redirect(outdir: Path) -> None:
    """Send gem5's own files to the run folder; its default folder is left as it was before gem5 started."""
    before = Path(m5.options.outdir).resolve()
    m5.options.outdir = str(outdir)
    _m5.core.setOutputDir(str(outdir))
    if before != outdir:
        with contextlib.suppress(OSError):
            if (before / "stats.txt").stat().st_size == 0:
                (before / "stats.txt").unlink()
            before.rmdir()


def last_lines(path: Path) -> list[str]:
    """The lines of a text that a simulated program wrote; none where there is no such file."""
    return path.read_text(errors="replace").strip().splitlines() if path.exists() else []


def report_errors(main: Callable[[], None], name: str) -> int:
    """Run a script's ``main``; the exit status. Errors become one line: status 1 a failed check, 2 bad input."""
    try:
        main()
    except CheckFailed as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except SysmolError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    return 0
