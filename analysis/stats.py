"""The parser of gem5's ``stats.txt``: blocks of statistics, and the events of a block that the tables count.

gem5 writes one text block per dump; a program run with ``--roi`` dumps once after every region of every image, so
block ``b`` belongs to image ``b // regions`` and region ``b % regions``. What follows the last region (gem5 dumps
once more when it exits) is ignored. :mod:`sysmol.analysis.runs` makes tables of it and says what the columns mean.
"""

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sysmol import isa
from sysmol.analysis.moved import moved_from
from sysmol.errors import SysmolError

COUNTS = ("insts", "smol", "simd", "load", "store", "vset", "scalar", "branch")
SMOL_COUNTS = ("smol_macs4", "smol_macs2", "smol_macs1")
SMOL_FUNCTIONS = {row.name: f"smol_{row.name.replace('.', '_')}" for row in isa.TABLE}
"""Column that counts each SMOL instruction, by its name."""
EVENTS = ("fu_busy", "mispredicts", "l1i_misses", "l1d_misses", "l2_misses")

_LOAD = re.compile(r"MemRead$|InstPrefetch$|Simd\w*Load$")
_STORE = re.compile(r"MemWrite$|Simd\w*Store$")
_CACHES = {"l1i_misses": r"(icache|l1i)", "l1d_misses": r"(dcache|l1d)", "l2_misses": r"l2"}

Block = dict[str, float]


def op_class_kind(op_class: str, smol_classes: Collection[str]) -> str:
    """The column that counts gem5's operation class: smol, vset, load, store, simd or scalar.

    ``smol_classes``: the classes that the machine gives to the SMOL instructions (no other code has them).
    """
    if op_class in smol_classes or op_class.startswith("Smol"):  # gem5 with named classes (patch op-classes)
        return "smol"
    if op_class == "SimdConfig":
        return "vset"
    if _LOAD.search(op_class):
        return "load"
    if _STORE.search(op_class):
        return "store"
    return "simd" if op_class.startswith(("Simd", "Float")) else "scalar"


def parse_blocks(lines: Iterable[str], name: str = "stats.txt") -> Iterator[Block]:
    """The blocks of a statistics file in order, each a dict from statistic to value.

    Vectors give ``stat::element``; one-line vectors and histograms of the form ``stat | ...`` are left out.
    Raises :class:`SysmolError` where a block has no end (a run that was cut short) or a line cannot be read.
    """
    block: Block | None = None
    for number, line in enumerate(lines, 1):
        if line.startswith("---------- Begin"):
            if block is not None:
                raise SysmolError(
                    f"{name}:{number}: a block begins inside another one: the run was cut short, run it again"
                )
            block = {}
        elif line.startswith("---------- End"):
            if block is None:
                raise SysmolError(f"{name}:{number}: a block ends that never began: the file is damaged, run it again")
            yield block
            block = None
        elif block is not None and line.strip():
            fields = line.split("#", 1)[0].split()
            if len(fields) >= 2 and fields[1] == "|":
                continue
            try:
                block[fields[0]] = float(fields[1])
            except (IndexError, ValueError):
                raise SysmolError(
                    f"{name}:{number}: no statistic and value here: the run was cut short, run it again"
                ) from None
    if block is not None:
        raise SysmolError(f"{name}: the last block has no end: the run was cut short, run it again")


def read_stats(path: Path) -> list[Block]:
    """:func:`parse_blocks` of a file."""
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            return list(parse_blocks(stream, str(path)))
    except OSError as error:
        raise SysmolError(f"cannot read {path}: {error.strerror}") from None


def block_counts(block: Mapping[str, float], smol_classes: Collection[str]) -> dict[str, float]:
    """One block's events under the column names of :mod:`sysmol.analysis.runs`: cycles, counts, misses; absent: NaN."""
    found = sorted((key for key in block if re.search(r"cpu\d*\.numCycles$", key)), key=len)
    if not found:
        raise SysmolError("a statistics block has no CPU cycle count (…cpu.numCycles): is this a sysmol run folder?")
    cpu = found[0].removesuffix(".numCycles")
    row = dict.fromkeys(COUNTS, 0.0)
    row["cycles"] = block[found[0]]
    # numInsts is printed only where it is not zero; simInsts counts the same for one thread.
    row["insts"] = block.get(f"{cpu}.commitStats0.numInsts", block.get("simInsts", 0.0))
    row["branch"] = block.get(f"{cpu}.commitStats0.committedControl::IsControl", 0.0)
    prefix = f"{cpu}.commitStats0.committedInstType::"
    for key, value in block.items():
        if key.startswith(prefix) and not key.endswith("::total"):
            row[op_class_kind(key.removeprefix(prefix), smol_classes)] += value
    for column in SMOL_COUNTS:
        # Elements that are zero are not printed; the units are, wherever the plug-in counts.
        absent = 0.0 if f"{cpu}.smol.units" in block else math.nan
        row[column] = block.get(f"{cpu}.smol.macs::{column[-1]}bit", absent)
    row["smol_units"] = block.get(f"{cpu}.smol.units", math.nan)
    busy = [
        value for key, value in block.items() if key.startswith(f"{cpu}.statFuBusy::") and not key.endswith("total")
    ]
    row["fu_busy"] = sum(busy) if busy else math.nan
    # printed only where it is not zero, so its absence on O3 (which always has statFuBusy) means none
    row["mispredicts"] = block.get(f"{cpu}.commit.branchMispredicts", 0.0 if busy else math.nan)
    for column, pattern in _CACHES.items():
        matcher = re.compile(rf"\.{pattern}[^.:]*\.overallMisses::total$")
        levels = [value for key, value in block.items() if matcher.search(key)]
        if not levels and any(re.search(rf"\.{pattern}[^.:]*\.", key) for key in block):
            levels = [0.0]  # the cache is there, but saw no miss
        row[column] = sum(levels) if levels else math.nan
    return row


def function_counts(block: Mapping[str, float], classes: Mapping[str, str]) -> dict[str, float]:
    """How often each SMOL instruction committed in a block, by column (:data:`SMOL_FUNCTIONS`).

    ``classes``: the operation class of each by its name, as the machine says. The plug-in's own statistics count where
    there are some, else the classes do; NaN where another instruction has the same class, or the machine knows none.
    """
    counted = any(key.endswith(".smol.units") for key in block)
    found = {}
    for name, column in SMOL_FUNCTIONS.items():
        op_class = classes.get(name, "")
        if counted:
            own = re.compile(rf"\.smol\.{re.escape(name.replace('.', '_'))}::(?!total$)")
        elif list(classes.values()).count(op_class) == 1:
            own = re.compile(rf"\.committedInstType::{re.escape(op_class)}$")
        else:
            found[column] = math.nan
            continue
        found[column] = sum(value for key, value in block.items() if own.search(key))
    return found


if not TYPE_CHECKING:  # type checkers would take every name for defined
    __getattr__ = moved_from(__name__)
