"""Run folders of gem5 as pandas tables: a row per layer and run, and their sums.

Columns of :func:`load_run` (counts are per image):

=================  ==================================================================================================
run, name,         folder name; network's name; fp32, int8, w4, mixed ...
variant
isa, cpu, machine  arm | riscv; o3 | timing | minor | atomic; name of the machine description
source, kind       who gives the figures, e.g. ``gem5 24.0.0.1 o3``; ``measured``, or ``estimate`` in the tables of
                   :mod:`sysmol.analysis.costs.estimate` (:class:`sysmol.analysis.costs.quantity.Kind`)
index, layer, op,  position in the network, region's name, operation, style of its multiply-accumulates (empty where
style              it has no schedule)
images             how many images the run simulated
cycles             clock cycles: mean over the images after the first one, or the only image's; NaN for ``atomic``,
                   whose clock does not model time
cycles_low,        fewest and most clock cycles of those images
cycles_high
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
smol_vmac,         SMOL instructions committed, by name; NaN where neither the plug-in's statistics nor operation
smol_vdot, ...     classes tell them apart
smol_slot_share    share of the SMOL units' issue slots that committed instructions filled: smol / (units x cycles)
macs,              multiply-accumulates of the region; macs / cycles; bytes of weights, inputs and outputs
macs_per_cycle,
bytes
=================  ==================================================================================================
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sysmol.analysis.stats import (
    COUNTS,
    EVENTS,
    SMOL_COUNTS,
    SMOL_FUNCTIONS,
    block_counts,
    function_counts,
    read_stats,
)
from sysmol.errors import SysmolError
from sysmol.files import check_fields, read_json, sha256_file
from sysmol.manifest import load_counted
from sysmol.schedule import style_of
from sysmol.typed import anything, entries, file_name, flag, many, number, or_null, table, text, whole

RUN_FORMAT, RUN_VERSION = "sysmol-run", 1
COUNTED = (*COUNTS, *SMOL_COUNTS, *SMOL_FUNCTIONS.values(), *EVENTS)
"""Columns of events: means over the images of a run, sums over the layers of a network."""
MOST_BLOCKS = 10_000_000
"""Of statistics in a run."""

_SMOL = table({"functions": entries(table({"class": text}))})
_FIELDS = table(
    {
        **dict.fromkeys(("name", "elf_sha256"), text),
        **dict.fromkeys(("variant", "isa", "cpu"), file_name),
        "machine": table({"name": text, "smol": _SMOL}),
        "manifest": table({"path": text, "sha256": text}),
        "images": whole(1, MOST_BLOCKS),
        "gem5": table({"version": text}),
    },
    {
        "logits_match": or_null(flag),
        "mismatches": whole(),
        "seed": whole(),
        "network_sha256": text,
        "mode": text,
        "isa_fingerprint": text,
        "command": many(text),
        "processes": many(entries(number())),
    },
)
_SHOWN = table(dict.fromkeys(("logits_match", "mismatches", "seed", "isa_fingerprint", "command"), anything))
"""What a report says of a run beside its figures."""


def read_record(path: Path, *, shown: bool = False) -> dict[str, Any]:
    """A ``run.json``; :class:`SysmolError` where it cannot be read or a field is not what belongs there. ``shown``: it
    must also say whether the logits were the expected ones, and how it was made."""
    found = read_json(path, RUN_FORMAT, RUN_VERSION, _FIELDS)
    if shown:
        check_fields(path, RUN_FORMAT, found, _SHOWN)
    return found


def read_run(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """``(run.json, manifest)`` of a run folder; :class:`SysmolError` where one is absent or they do not match."""
    if not (folder / "run.json").is_file():
        raise SysmolError(f"{folder} has no run.json: the run did not finish (or this is no run folder); run it again")
    run = read_record(folder / "run.json")
    path = folder / run["manifest"]["path"]
    if not path.is_file():  # the products were moved: as `sysmol demo` lays them out, runs/ and bin/ are neighbours
        path = folder.parent.parent / "bin" / path.name
    manifest = load_counted(path)
    if sha256_file(path) != run["manifest"]["sha256"] and manifest["elf"]["sha256"] != run["elf_sha256"]:
        raise SysmolError(f"{path} changed since {folder} was simulated: simulate it again")
    return run, manifest


def run_source(run: Mapping[str, Any]) -> str:
    """Who measured: ``gem5 <version> <cpu>``."""
    return f"gem5 {run['gem5']['version']} {run['cpu']}"


def region_bytes(region: Mapping[str, Any]) -> int:
    """Bytes of weights, inputs and outputs that a region touches."""
    return int(region["bytes_weights"] + region["bytes_in"] + region["bytes_out"])


def region_style(region: Mapping[str, Any]) -> str:
    """Style of a region's multiply-accumulates, empty where it has no schedule."""
    style = style_of(region.get("schedule", ""))
    return "" if style is None else style.name


def load_run(folder: str | Path) -> pd.DataFrame:
    """The table of one run folder, a row per layer; the columns are in this module's docstring."""
    folder = Path(folder)
    run, manifest = read_run(folder)
    regions = manifest["regions"]
    samples = _samples(folder, run, len(regions))
    facts = {
        "run": folder.name,
        "name": run["name"],
        "variant": run["variant"],
        "isa": run["isa"],
        "cpu": run["cpu"],
        "machine": run["machine"]["name"],
        "source": run_source(run),
        "kind": "measured",
    }
    rows = []
    for index, region in enumerate(regions):
        named = {
            "index": index,
            "layer": region["name"],
            "op": region["op"],
            "style": region_style(region),
            "images": int(run["images"]),
        }
        rows.append(facts | named | _layer(samples.iloc[index :: len(regions)], region, run["cpu"] != "atomic"))
    return pd.DataFrame(rows)


def _samples(folder: Path, run: Mapping[str, Any], regions: int) -> pd.DataFrame:
    """Events of every region of every image, in the order of the run."""
    blocks, images = read_stats(folder / "stats.txt"), int(run["images"])
    wanted = images * regions
    if len(blocks) < wanted:
        raise SysmolError(
            f"{folder}/stats.txt has {len(blocks)} blocks where {images} images of {regions} regions "
            f"need {wanted}: the run was cut short, run it again"
        )
    classes = {name: function["class"] for name, function in run["machine"]["smol"]["functions"].items()}
    rows = [block_counts(block, set(classes.values())) | function_counts(block, classes) for block in blocks[:wanted]]
    return pd.DataFrame(rows)


def _layer(samples: pd.DataFrame, region: Mapping[str, Any], timed: bool) -> dict[str, Any]:
    """Figures of one layer from its events, a row per image."""
    warm = samples.iloc[1:] if len(samples) > 1 else samples
    means = {column: float(warm[column].mean()) for column in COUNTED}
    clock = warm["cycles"] if timed else pd.Series([math.nan])
    cycles = float(clock.mean())
    slots = float(samples["smol_units"].iloc[0]) * cycles
    return {
        "cycles": cycles,
        "cycles_low": float(clock.min()),
        "cycles_high": float(clock.max()),
        "cycles_cold": float(samples["cycles"].iloc[0]) if timed else math.nan,
        **means,
        "smol_slot_share": means["smol"] / slots if slots else math.nan,
        "ipc": means["insts"] / cycles if cycles else math.nan,
        "macs": int(region["macs"]),
        "macs_per_cycle": region["macs"] / cycles if cycles else math.nan,
        "bytes": region_bytes(region),
    }


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
    for at, block in enumerate(blocks):
        for key, value in block.items():
            found = re.search(r"\.smol\.(v\w{3})::(?!total$)(.+)$", key)
            if found:
                where = (at % len(regions), found.group(1), found.group(2))
                counts[where] = counts.get(where, 0.0) + value / images
    rows = [(index, regions[index]["name"], *where, count) for (index, *where), count in sorted(counts.items())]
    return pd.DataFrame(rows, columns=["index", "layer", "function", "selector", "count"])


TOTAL_KEYS = ["name", "variant", "isa", "cpu", "machine", "source", "kind", "run", "images"]


def totals(layers: pd.DataFrame) -> pd.DataFrame:
    """Whole networks: the sum over the layers of each run, in the order of the runs; rates are computed anew."""
    columns = ("cycles", "cycles_low", "cycles_high", "cycles_cold", *COUNTED, "macs", "bytes")
    sums = [column for column in columns if column in layers]
    table = layers.groupby(TOTAL_KEYS, sort=False, dropna=False)[sums].sum(min_count=1).reset_index()
    with np.errstate(divide="ignore", invalid="ignore"):
        table["ipc"] = table["insts"] / table["cycles"]
        table["macs_per_cycle"] = table["macs"] / table["cycles"]
    return table
