"""Damaged files given to their readers in a process of its own, with limits of memory and time.

    python campaign.py COUNT SEED [READER ...]

Prints a JSON line per reader: inputs, how many were read, how many refused, how many passed the checksum or hash in
front of what was damaged (or have none), and what went wrong.
"""

import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zlib
from pathlib import Path
from typing import Any

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


def outcome(reader: Reader, folder: Path) -> str:
    """``read``, ``refused``, or what went wrong."""
    before = listing(folder)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(30 * SECONDS)
    try:
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
    left = listing(folder) ^ before
    if told in ("read", "refused") and left - {"store/locks", "store/unfinished"}:
        told = f"left {sorted(left)}"
    return told


def run(name: str, count: int, seed: int, base: Path) -> dict[str, Any]:
    """So many damaged inputs for one reader."""
    reader = READERS[name]
    whole, folder = base / "whole", base / "work"
    whole.mkdir()
    reader.make(whole)
    shutil.copytree(whole, folder)
    first = outcome(reader, folder)
    assert first == "read", f"{name}: the undamaged files end in {first}"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
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
        told = outcome(reader, folder)
        if told in ("read", "refused"):
            result[told] += 1
        else:
            result["wrong"].append({"file": file, "number": number, "what": told})
    result["seconds"] = round(time.monotonic() - start, 2)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    result["mebibytes"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    shutil.rmtree(whole)
    shutil.rmtree(folder)
    return result


def main() -> None:
    count, seed, names = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] or list(READERS)
    for each in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(each, _alarm)
    with tempfile.TemporaryDirectory() as base:
        os.chdir(base)
        for name in names:
            inner = Path(base) / f"r{zlib.crc32(name.encode())}"
            inner.mkdir()
            print(json.dumps(run(name, count, seed, inner)), flush=True)
            inner.rmdir()
        left = listing(Path(base))
        assert not left, f"left in the working folder: {sorted(left)}"


if __name__ == "__main__":
    main()
