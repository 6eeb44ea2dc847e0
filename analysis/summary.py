"""``summary.json``: what a folder of products says, for programs to read."""

import math
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sysmol import __version__
from sysmol.analysis import runs
from sysmol.analysis.costs.energy.model import Energies
from sysmol.analysis.costs.energy.networks import KEYS, Key
from sysmol.analysis.costs.energy.networks import record as energy_record
from sysmol.analysis.costs.quantity import Absent
from sysmol.analysis.intervals import accuracy_interval
from sysmol.analysis.moved import moved_from
from sysmol.analysis.products import Results
from sysmol.files import read_json
from sysmol.typed import entries, many, number, or_null, table, text, whole

SUMMARY_FORMAT, SUMMARY_VERSION = "sysmol-summary", 1

_CHECK = table({**dict.fromkeys(("what", "variant", "isa"), text), "images": whole(), "mismatches": whole()})
_CYCLES = table({**dict.fromkeys(("variant", "isa", "cpu", "machine", "source"), text), "cycles": or_null(number(0))})
_FIELDS = table({"networks": entries(table({"sha256": text})), "agreement": many(_CHECK), "cycles": many(_CYCLES)})


def read_summary(path: Path) -> dict[str, Any]:
    """A ``summary.json``; :class:`SysmolError` where it cannot be read or a field is not what belongs there."""
    return read_json(path, SUMMARY_FORMAT, SUMMARY_VERSION, _FIELDS)


def agreement(results: Results) -> list[dict[str, Any]]:
    """Who computed the logits of how many images, and how many logits differ: checks first, then gem5's runs."""
    rows: list[dict[str, Any]] = [
        {key: check[key] for key in ("what", "variant", "isa", "images", "mismatches", "tolerance", "worst")}
        for check in results.checks
    ]
    for run in results.runs:
        if run["logits_match"] is None:
            continue
        own = [m["reference"] for m in results.manifests if m["elf"]["sha256"] == run["elf_sha256"]]
        tolerances = [reference["tolerance"] for reference in own if reference]
        rows.append(
            {
                "what": runs.run_source(run),
                "variant": run["variant"],
                "isa": run["isa"],
                "images": run["images"],
                "mismatches": run["mismatches"],
                "tolerance": max(tolerances, default=0),
                "worst": None,
            }
        )
    return rows


def _number(value: Any) -> Any:
    """A value for JSON: NaN becomes null, whole floats become integers."""
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return int(value) if value.is_integer() else value
    return value.item() if hasattr(value, "item") else value


def cycle_records(layers: pd.DataFrame, energies: Mapping[Key, Energies | Absent]) -> list[dict[str, Any]]:
    """A record per run: source, total cycles, energy with its interval, and the layers' cycles."""
    records = []
    for keys, rows in layers.dropna(subset=["cycles"]).groupby(KEYS, sort=False):
        record: dict[str, Any] = dict(zip(KEYS, keys, strict=True))
        record["images"] = _number(rows["images"].iloc[0])
        record["cycles"] = _number(float(rows["cycles"].sum()))
        record["cycles_cold"] = _number(float(rows["cycles_cold"].sum(min_count=len(rows))))
        record["energy"] = energy_record(energies[tuple(map(str, keys))])
        record["macs"] = _number(rows["macs"].sum())
        record["layers"] = [
            {key: _number(row[key]) for key in ("layer", "op", "cycles", "macs", "macs_per_cycle", "ipc")}
            for _, row in rows.iterrows()
        ]
        records.append(record)
    return records


def _interval(metrics: dict[str, Any]) -> list[float] | None:
    """The 95% interval of the integers' accuracy, where it and the number of test images are known."""
    accuracy, images = metrics.get("accuracy_integer"), metrics.get("test_images")
    return list(accuracy_interval(accuracy, images)) if accuracy is not None and images else None


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
        "accuracy_interval": _interval(main),
        "bits_per_parameter": main.get("bits_per_parameter"),
        "compression": main.get("compression"),
        "cycles_source": sorted(set(results.cycles()["source"])) if len(results.layers) else [],
        "logits_agree": bool(checks) and all(row["mismatches"] == 0 for row in checks),
        "networks": {
            variant: {"sha256": results.network_hashes[variant], **values} for variant, values in metrics.items()
        },
        "agreement": checks,
        "left_out_as_stale": results.stale,
        "cycles": cycle_records(results.layers, results.energies()) if len(results.layers) else [],
    }


if not TYPE_CHECKING:  # type checkers would take every name for defined
    __getattr__ = moved_from(__name__)
