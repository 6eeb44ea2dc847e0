"""gem5's ``stats.txt`` as a pandas table: a row per layer and run.

gem5 writes one text block per dump; a program run with ``--roi`` dumps once after every region of every image, so
block ``b`` belongs to image ``b // regions`` and region ``b % regions``. What follows the last region (gem5 dumps
once more when it exits) is ignored.

Columns of :func:`load_run` (counts are per image):

=================  ==================================================================================================
run, name,         folder name; network's name; fp32, int8, w4, mixed ...
variant
isa, cpu, machine  arm | riscv; o3 | timing | minor | atomic; name of the machine description
source             who gives the figures, e.g. ``gem5 24.0.0.1 o3``
index, layer, op   position in the network, region's name, operation
images             how many images the run simulated
cycles             clock cycles: mean over the images after the first one, or the only image's; NaN for ``atomic``,
                   whose clock does not model time
cycles_cold        clock cycles of the first image (caches and predictors cold); NaN for ``atomic``
insts, ipc         instructions committed; insts / cycles
smol, simd, load,  micro-operations committed by class: SMOL; vector and floating-point arithmetic; memory reads;
store, vset,       memory writes; RVV configuration; everything else
scalar
branch             control instructions (also counted in ``scalar``)
fu_busy            times that an instruction was ready and found no free functional unit (O3; else NaN)
mispredicts        branch mispredictions found at commit (O3; else NaN)
l1i_misses,        misses per cache level (NaN where there is none)
l1d_misses,
l2_misses
smol_macs4,        multiply-accumulates that the committed SMOL instructions did with elements of 4, 2 and 1 bits, those
smol_macs2,        that fill up registers and border taps among them; from the plug-in's statistics (NaN in runs of a
smol_macs1         plug-in that had none; also on ``minor`` in a gem5 without tracing)
smol_slot_share    share of the SMOL units' issue slots that committed instructions filled: smol / (units x cycles)
macs,              multiply-accumulates of the region; macs / cycles; bytes of weights, inputs and outputs
macs_per_cycle,
bytes
=================  ==================================================================================================
"""

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sysmol.errors import SysmolError
from sysmol.files import read_json, sha256_file
from sysmol.manifest import load_manifest

RUN_FORMAT, RUN_VERSION = "sysmol-run", 1

COUNTS = ("insts", "smol", "simd", "load", "store", "vset", "scalar", "branch")
SMOL_COUNTS = ("smol_macs4", "smol_macs2", "smol_macs1")
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
    """One block's events under the column names above (cycles, counts, misses); absent ones are NaN."""
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


def read_run(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """``(run.json, manifest)`` of a run folder; :class:`SysmolError` where one is absent or they do not match."""
    if not (folder / "run.json").is_file():
        raise SysmolError(f"{folder} has no run.json: the run did not finish (or this is no run folder); run it again")
    run = read_json(folder / "run.json", RUN_FORMAT, RUN_VERSION)
    path = folder / run["manifest"]["path"]
    if not path.is_file():  # the products were moved: as `sysmol demo` lays them out, runs/ and bin/ are neighbours
        path = folder.parent.parent / "bin" / path.name
    manifest = load_manifest(path)
    if sha256_file(path) != run["manifest"]["sha256"] and manifest["elf"]["sha256"] != run["elf_sha256"]:
        raise SysmolError(f"{path} changed since {folder} was simulated: simulate it again")
    return run, manifest


def run_source(run: Mapping[str, Any]) -> str:
    """Who measured: ``gem5 <version> <cpu>``."""
    return f"gem5 {run['gem5']['version']} {run['cpu']}"


def region_bytes(region: Mapping[str, Any]) -> int:
    """Bytes of weights, inputs and outputs that a region touches."""
    return int(region["bytes_weights"] + region["bytes_in"] + region["bytes_out"])


def load_run(folder: str | Path) -> pd.DataFrame:
    """The table of one run folder, a row per layer; the columns are in this module's docstring."""
    folder = Path(folder)
    run, manifest = read_run(folder)
    regions = manifest["regions"]
    blocks = read_stats(folder / "stats.txt")
    images, wanted = int(run["images"]), int(run["images"]) * len(regions)
    if len(blocks) < wanted:
        raise SysmolError(
            f"{folder}/stats.txt has {len(blocks)} blocks where {images} images of {len(regions)} regions "
            f"need {wanted}: the run was cut short, run it again"
        )
    smol_classes = {function["class"] for function in run["machine"]["smol"]["functions"].values()}
    samples = pd.DataFrame([block_counts(block, smol_classes) for block in blocks[:wanted]])
    timed = run["cpu"] != "atomic"
    rows = []
    for index, region in enumerate(regions):
        layer = samples.iloc[index :: len(regions)]
        warm = layer.iloc[1:] if images > 1 else layer
        means = {column: float(warm[column].mean()) for column in (*COUNTS, *SMOL_COUNTS, *EVENTS)}
        cycles = float(warm["cycles"].mean()) if timed else math.nan
        slots = float(layer["smol_units"].iloc[0]) * cycles
        rows.append(
            {
                "run": folder.name,
                "name": run["name"],
                "variant": run["variant"],
                "isa": run["isa"],
                "cpu": run["cpu"],
                "machine": run["machine"]["name"],
                "source": run_source(run),
                "index": index,
                "layer": region["name"],
                "op": region["op"],
                "images": images,
                "cycles": cycles,
                "cycles_cold": float(layer["cycles"].iloc[0]) if timed else math.nan,
                **means,
                "smol_slot_share": means["smol"] / slots if slots else math.nan,
                "ipc": means["insts"] / cycles if cycles else math.nan,
                "macs": int(region["macs"]),
                "macs_per_cycle": region["macs"] / cycles if cycles else math.nan,
                "bytes": region_bytes(region),
            }
        )
    return pd.DataFrame(rows)


def smol_breakdown(folder: str | Path) -> pd.DataFrame:
    """Committed SMOL instructions of a run by layer, function and selector (pattern, part, or format and shift).

    Columns ``index``, ``layer``, ``function``, ``selector``, ``count`` (mean per image). Raises :class:`SysmolError`
    where the run's gem5 did not count them.
    """
    folder = Path(folder)
    run, manifest = read_run(folder)
    regions, images = manifest["regions"], int(run["images"])
    blocks = read_stats(folder / "stats.txt")[: images * len(regions)]
    if not blocks or not any(key.endswith(".smol.units") for key in blocks[0]):
        raise SysmolError(f"{folder}: this run's gem5 counted no SMOL instructions: build it again, simulate again")
    counts: dict[tuple[int, str, str], float] = {}
    for number, block in enumerate(blocks):
        for key, value in block.items():
            found = re.search(r"\.smol\.(v\w{3})::(?!total$)(.+)$", key)
            if found:
                where = (number % len(regions), found.group(1), found.group(2))
                counts[where] = counts.get(where, 0.0) + value / images
    rows = [(index, regions[index]["name"], *where, count) for (index, *where), count in sorted(counts.items())]
    return pd.DataFrame(rows, columns=["index", "layer", "function", "selector", "count"])


TOTAL_KEYS = ["name", "variant", "isa", "cpu", "machine", "source", "run", "images"]


def totals(layers: pd.DataFrame) -> pd.DataFrame:
    """Whole networks: the sum over the layers of each run, in the order of the runs; rates are computed anew."""
    columns = ("cycles", "cycles_cold", *COUNTS, *SMOL_COUNTS, *EVENTS, "macs", "bytes")
    sums = [column for column in columns if column in layers]
    table = layers.groupby(TOTAL_KEYS, sort=False, dropna=False)[sums].sum(min_count=1).reset_index()
    with np.errstate(divide="ignore", invalid="ignore"):
        table["ipc"] = table["insts"] / table["cycles"]
        table["macs_per_cycle"] = table["macs"] / table["cycles"]
    return table


def join_metrics(table: pd.DataFrame, metrics: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """``table`` with a column per network metric (accuracy, size ...) that ``metrics`` gives for its variant."""
    extra = pd.DataFrame.from_dict({variant: dict(values) for variant, values in metrics.items()}, orient="index")
    return table.join(extra, on="variant")
