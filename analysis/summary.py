"""Everything that a folder of products says, gathered from the files alone: networks, executables, checks, runs.

The layout that :func:`collect` reads (``sysmol demo`` writes it):

| path | what |
|---|---|
| ``<variant>.network.safetensors`` | the networks; the variant is the file's name |
| ``bin/<variant>.<isa>.json`` | manifests of the executables |
| ``runs/*/run.json`` | gem5 run folders |
| ``checks/*.json`` | verifications made outside gem5 (:func:`write_check`) |
"""

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from sysmol import __version__
from sysmol.analysis import stats
from sysmol.analysis.costs.estimate import SOURCE as ESTIMATE
from sysmol.analysis.costs.estimate import estimate
from sysmol.errors import SysmolError
from sysmol.files import atomic_write_json, read_json, sha256_file
from sysmol.machine import load_machine
from sysmol.network import Network, load

CHECK_FORMAT, CHECK_VERSION = "sysmol-check", 1
SUMMARY_FORMAT, SUMMARY_VERSION = "sysmol-summary", 1
SUFFIX = ".network.safetensors"
USUAL_ORDER = ("fp32", "int8", "w4", "mixed")


@dataclass
class Results:
    """What :func:`collect` found. ``layers`` has the columns of :mod:`sysmol.analysis.stats`, measured and estimated
    rows; ``stale`` names run folders and checks of executables and networks that are no longer there, which are left
    out."""

    folder: Path
    networks: dict[str, Network]
    network_hashes: dict[str, str]
    manifests: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    checks: list[dict[str, Any]]
    layers: pd.DataFrame
    stale: list[str]
    machines: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def variants(self) -> list[str]:
        """The variants, the usual ones first and in their usual order."""
        return sort_variants(self.networks)

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Each network's own figures (accuracy, size), by variant."""
        return {variant: dict(self.networks[variant].metrics) for variant in self.variants}

    def cycles(self) -> pd.DataFrame:
        """The best figures there are, per ISA: gem5's O3 where it ran, else its other timed CPUs, else the estimate."""
        timed = self.layers.dropna(subset=["cycles"])
        best = []
        for _, rows in timed.groupby("isa", sort=False):
            for cpu in ("o3", "minor", "timing", ESTIMATE):
                chosen = rows[rows["cpu"] == cpu]
                if len(chosen):
                    best.append(chosen)
                    break
        return pd.concat(best, ignore_index=True) if best else timed


def sort_variants(names: Mapping[str, Any] | Sequence[str]) -> list[str]:
    """fp32, int8, w4, mixed, then the others by name."""
    return sorted(names, key=lambda name: (USUAL_ORDER.index(name) if name in USUAL_ORDER else len(USUAL_ORDER), name))


def write_check(
    path: Path,
    *,
    what: str,
    variant: str,
    isa: str,
    images: int,
    mismatches: int,
    tolerance: float,
    worst: float,
    network_sha256: str,
    elf_sha256: str = "",
) -> None:
    """Record a verification over ``images`` images: ``mismatches`` logits differ from the network file's.

    ``tolerance`` is 0 (bit for bit) or relative; ``worst`` is the largest difference in the same terms.
    """
    record = {
        "format": CHECK_FORMAT,
        "version": CHECK_VERSION,
        "what": what,
        "variant": variant,
        "isa": isa,
        "images": images,
        "mismatches": mismatches,
        "tolerance": tolerance,
        "worst": worst,
        "network_sha256": network_sha256,
        "elf_sha256": elf_sha256,
    }
    atomic_write_json(path, record)


def network_files(folder: str | Path) -> dict[str, Path]:
    """The network files of a folder by variant, the usual variants first; :class:`SysmolError` where there are none."""
    files = {path.name.removesuffix(SUFFIX): path for path in sorted(Path(folder).glob(f"*{SUFFIX}"))}
    if not files:
        raise SysmolError(f"{folder} holds no *{SUFFIX}: name a folder that `sysmol demo` or `sysmol train` wrote")
    return {variant: files[variant] for variant in sort_variants(files)}


def collect(folder: str | Path, machine: str | None = None) -> Results:
    """Read all products under ``folder``; with ``machine``, also estimate the cycles of the executables on it."""
    folder = Path(folder)
    files = network_files(folder)
    hashes = {variant: sha256_file(path) for variant, path in files.items()}
    manifest_paths = sorted(folder.glob("bin/*.json"))
    manifests = [stats.load_manifest(path) for path in manifest_paths]
    executables = {str(manifest["elf"]["sha256"]) for manifest in manifests}
    runs, tables, stale = [], [], []
    for path in sorted(folder.glob("runs/*/run.json")):
        run = read_json(path, stats.RUN_FORMAT, stats.RUN_VERSION)
        if run["elf_sha256"] in executables:
            runs.append(run | {"folder": path.parent.name})
            tables.append(stats.load_run(path.parent))
        else:
            stale.append(path.parent.relative_to(folder).as_posix())
    checks = []
    for path in sorted(folder.glob("checks/*.json")):
        check = read_json(path, CHECK_FORMAT, CHECK_VERSION)
        if check["network_sha256"] in hashes.values() and check["elf_sha256"] in executables | {""}:
            checks.append(check)
        else:
            stale.append(path.relative_to(folder).as_posix())
    machines = {str(run["machine"]["name"]): dict(run["machine"]) for run in runs}
    if machine is not None:
        design = load_machine(machine)
        machines.setdefault(design.name, design.to_json())
        tables += [
            estimate(path, design)
            for path, manifest in zip(manifest_paths, manifests, strict=True)
            if manifest["isa"] in ("arm", "riscv")
        ]
    layers = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["variant", "isa", "cycles"])
    if len(layers):
        rank = {variant: place for place, variant in enumerate(sort_variants(list(layers["variant"].unique())))}
        layers = layers.assign(rank=layers["variant"].map(rank)).sort_values(
            ["isa", "cpu", "rank", "index"], ignore_index=True
        )
        layers = layers.drop(columns="rank")
    return Results(
        folder=folder,
        networks={variant: load(path) for variant, path in files.items()},
        network_hashes=hashes,
        manifests=manifests,
        runs=runs,
        checks=checks,
        layers=layers,
        stale=stale,
        machines=machines,
    )


def agreement(results: Results) -> list[dict[str, Any]]:
    """Who computed the logits of how many images, and how many logits differ: checks first, then gem5's runs."""
    rows: list[dict[str, Any]] = [
        {key: check[key] for key in ("what", "variant", "isa", "images", "mismatches", "tolerance", "worst")}
        for check in results.checks
    ]
    for run in results.runs:
        if run["logits_match"] is None:
            continue
        tolerances = [m["reference"]["tolerance"] for m in results.manifests if m["elf"]["sha256"] == run["elf_sha256"]]
        rows.append(
            {
                "what": stats.run_source(run),
                "variant": run["variant"],
                "isa": run["isa"],
                "images": run["images"],
                "mismatches": run["mismatches"],
                "tolerance": max(tolerances, default=0),
                "worst": None,
            }
        )
    return rows


def estimate_errors(layers: pd.DataFrame) -> pd.DataFrame:
    """How far the estimate is from gem5's O3, where both exist on one machine: isa, variant, machine, measured,
    estimated (cycles per image), ratio (estimated / measured), worst_layer and its ratio."""
    keys = ["isa", "variant", "machine", "layer"]
    timed = layers.dropna(subset=["cycles"])[[*keys, "cpu", "cycles"]]
    measured, estimated = timed[timed["cpu"] == "o3"], timed[timed["cpu"] == ESTIMATE]
    pairs = measured.merge(estimated, on=keys, suffixes=("", "_estimated"))
    pairs["ratio"] = pairs["cycles_estimated"] / pairs["cycles"]
    rows = []
    for (isa, variant, machine), group in pairs.groupby(keys[:3], sort=False):
        total, guess = float(group["cycles"].sum()), float(group["cycles_estimated"].sum())
        ratios = group["ratio"].tolist()
        worst = max(range(len(ratios)), key=lambda place: abs(math.log(ratios[place])))
        row = {"isa": isa, "variant": variant, "machine": machine, "measured": total, "estimated": guess}
        rows.append(
            row | {"ratio": guess / total, "worst_layer": group["layer"].iloc[worst], "worst_ratio": ratios[worst]}
        )
    return pd.DataFrame(rows)


def _number(value: Any) -> Any:
    """A value for JSON: NaN becomes null, whole floats become integers."""
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return int(value) if value.is_integer() else value
    return value.item() if hasattr(value, "item") else value


def cycle_records(layers: pd.DataFrame) -> list[dict[str, Any]]:
    """A record per run: source, total cycles and the layers' cycles."""
    records = []
    for keys, rows in layers.dropna(subset=["cycles"]).groupby(
        ["isa", "variant", "cpu", "machine", "source"], sort=False
    ):
        record: dict[str, Any] = dict(zip(("isa", "variant", "cpu", "machine", "source"), keys, strict=True))
        record["images"] = _number(rows["images"].iloc[0])
        record["cycles"] = _number(float(rows["cycles"].sum()))
        record["cycles_cold"] = _number(float(rows["cycles_cold"].sum(min_count=len(rows))))
        record["macs"] = _number(rows["macs"].sum())
        record["layers"] = [
            {key: _number(row[key]) for key in ("layer", "op", "cycles", "macs", "macs_per_cycle", "ipc")}
            for _, row in rows.iterrows()
        ]
        records.append(record)
    return records


def summary(results: Results, command: str, main_variant: str = "mixed") -> dict[str, Any]:
    """The content of ``summary.json``; accuracy and size of ``main_variant`` stand at its top."""
    checks = agreement(results)
    metrics = results.metrics
    main = metrics.get(main_variant) or next(iter(metrics.values()))
    return {
        "format": SUMMARY_FORMAT,
        "version": SUMMARY_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "sysmol": __version__,
        "host": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "network": main_variant if main_variant in metrics else next(iter(metrics)),
        "accuracy": {kind: main.get(f"accuracy_{kind}") for kind in ("fp32", "float", "integer")},
        "bits_per_parameter": main.get("bits_per_parameter"),
        "compression": main.get("compression"),
        "cycles_source": sorted(set(results.cycles()["source"])) if len(results.layers) else [],
        "logits_agree": bool(checks) and all(row["mismatches"] == 0 for row in checks),
        "networks": {
            variant: {"sha256": results.network_hashes[variant], **values} for variant, values in metrics.items()
        },
        "agreement": checks,
        "left_out_as_stale": results.stale,
        "cycles": cycle_records(results.layers) if len(results.layers) else [],
    }
