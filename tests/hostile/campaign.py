"""Damaged files given to their readers in a process of its own, with limits of memory and time.

    python campaign.py COUNT SEED [--branches] [READER ...]

Prints a JSON line per reader: inputs, how many were read, how many refused, how many passed the checksum or hash in
front of what was damaged (or have none), and what went wrong. With ``--branches`` a line per module of the readers
follows: its branches, and how many of them the inputs took.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import branches
from readers import READERS, Reader

from sysmol.errors import SysmolError

MEMORY = 256 << 20
"""Bytes above what the process has before the first input; four times as much ends in MemoryError."""
SECONDS = 10
"""Of processor time that one input may take; of any time, thirty times as many."""


class TooLong(BaseException):
    """An input took more than :data:`SECONDS`."""


def _alarm(*_: Any) -> None:
    raise TooLong


def listing(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def outcome(reader: Reader, folder: Path, others: Path | None = None) -> str:
    """``read``, ``refused``, or what went wrong. ``others``: where temporary files go, if nobody else's do."""
    watched = [folder] if others is None else [folder, others]
    before = [listing(each) for each in watched]
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(30 * SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # whoever reads the file would see it beside the one line
            for kind in (DeprecationWarning, PendingDeprecationWarning, ResourceWarning):
                warnings.simplefilter("ignore", kind)
            reader.read(folder)
        told = "read"
    except SysmolError as error:
        printable = str(error).isprintable() and len(str(error)) < 3000
        told = "refused" if printable else f"no line: {ascii(str(error))[:300]}"
    except TooLong:
        told = f"took more than {SECONDS} s"
    except BaseException:
        told = traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
    left = set().union(*(listing(each) ^ old for each, old in zip(watched, before, strict=True)))
    left -= {"store/locks", "store/unfinished"}
    if told in ("read", "refused") and left:
        told = f"left {sorted(left)}"
    return told


def memory(what: str) -> int:
    """KiB that this process holds (``VmRSS``), or held at most since :func:`forget_peak` (``VmHWM``)."""
    found = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(found[what].split()[0])


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def run(
    name: str, count: int, seed: int, base: Path, others: Path | None = None,
    counting: contextlib.AbstractContextManager[Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """So many damaged inputs for one reader, all read while ``counting`` counts branches."""
    reader = READERS[name]
    whole, folder = base / "whole", base / "work"
    whole.mkdir()
    reader.make(whole)
    shutil.copytree(whole, folder)
    reader.read(folder)  # libraries that are imported here may make folders for caches
    first = outcome(reader, folder, others)
    assert first == "read", f"{name}: the undamaged files end in {first}"
    forget_peak()
    before = memory("VmRSS")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 4 * MEMORY, resource.RLIM_INFINITY))
    result: dict[str, Any] = {
        "reader": name,
        "inputs": max(1, round(count * reader.share)),
        "read": 0,
        "refused": 0,
        "behind": 0,
        "wrong": [],
    }
    start = time.monotonic()
    for number in range(max(1, round(count * reader.share))):
        rng = random.Random(f"{seed} {name} {number}")
        shutil.rmtree(folder)
        shutil.copytree(whole, folder)
        file, damage = reader.files[number % len(reader.files)]
        content = damage(rng, (whole / file).read_bytes())
        (folder / file).write_bytes(content)
        result["behind"] += reader.behind(content)
        if reader.seal is not None and not file.endswith(".json") and rng.random() < 0.7:
            reader.seal(folder)
        with counting or contextlib.nullcontext():
            told = outcome(reader, folder, others)
        if told in ("read", "refused"):
            result[told] += 1
        else:
            result["wrong"].append({"file": file, "number": number, "what": told})
    result["seconds"] = round(time.monotonic() - start, 2)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    result["mebibytes"] = (memory("VmHWM") - before) >> 10
    shutil.rmtree(whole)
    shutil.rmtree(folder)
    return result


@contextlib.contextmanager
def own_folders() -> Iterator[tuple[Path, Path]]:
    """A folder to work in, in which nothing may be left, and another one for temporary files."""
    with tempfile.TemporaryDirectory() as base:
        work, temporary = Path(base) / "work", Path(base) / "temporary"
        for folder in (work, temporary):
            folder.mkdir()
        os.chdir(work)
        os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
        yield work, temporary
        left = listing(work)
        assert not left, f"left in the working folder: {sorted(left)}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("readers", nargs="*")
    parser.add_argument("--branches", action="store_true")
    asked = parser.parse_args()
    for each in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(each, _alarm)
    counting = branches.Counting() if asked.branches else None
    with own_folders() as (base, others):
        for name in asked.readers or list(READERS):
            inner = base / f"r{zlib.crc32(name.encode())}"
            inner.mkdir()
            print(json.dumps(run(name, asked.count, asked.seed, inner, others, counting)), flush=True)
            inner.rmdir()
        for row in counting.rows() if counting else ():
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
