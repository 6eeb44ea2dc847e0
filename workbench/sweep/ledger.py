"""The ledger of a sweep: one record per point, written when it ends, well or not.

``records/<key>.json`` says what a point's simulation in the store gave; ``ledger.csv`` is all records as a table,
written anew after each. What is known already decides the store, not the ledger.
"""

import os
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sysmol.errors import SysmolError
from sysmol.files import atomic_write_json, atomic_write_text, content_key, make_folder, read_json
from sysmol.typed import either, number, or_null, passage, table, text, whole

RECORD_FORMAT, RECORD_VERSION = "sysmol-sweep-record", 1

IDENTITY = ("network", "variant", "isa", "machine", "patterns", "cpu", "images", "seed")
FIGURES = (
    "cycles", "cycles_cold", "insts", "ipc", "macs", "macs_per_cycle", "smol", "simd", "load", "store", "scalar",
    "mispredicts", "l1d_misses", "l2_misses", "energy", "energy_low", "energy_high",
)  # fmt: skip
"""Per image, as in :mod:`sysmol.analysis.runs`; energies in pJ, estimates with the ends of their interval."""
NETWORK, LAYER, SUM = "network", "layer", "sum of layers"
"""What a record is of: a whole network that ran; one layer that ran alone; a network as the sum of such layers."""
COLUMNS = (
    "key", "kind", *IDENTITY, "status", "error", *FIGURES, "area", "accuracy_integer", "test_images",
    "bits_per_parameter", "layers", "layers_simulated", "seconds", "finished", "gem5", "gem5_sha256",
    "machine_sha256", "network_sha256", "elf_sha256", "run", "last_lines",
)  # fmt: skip
"""Columns of ``ledger.csv``; ``status``: ok, failed, time limit, unsupported; ``area``: um2 of the SMOL units."""
_TEXTS = dict.fromkeys(("key", *IDENTITY[:6], "status"), text)
_COUNTS = dict.fromkeys(IDENTITY[6:], whole())
_OTHERS = or_null(either(number(), passage))
_FIELDS = table(
    {**_TEXTS, **_COUNTS}, {**dict.fromkeys(set(COLUMNS) - {*_TEXTS, *_COUNTS}, _OTHERS), "run": or_null(text)}
)


def point_key(inputs: Mapping[str, Any]) -> str:
    """Name of a point: 20 hexadecimal digits over what its figures depend on."""
    return content_key(inputs)[:20]


class Ledger:
    """Records in ``folder``."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = make_folder(folder)
        self.records = make_folder(self.folder / "records")

    @property
    def table(self) -> Path:
        """The records as CSV."""
        return self.folder / "ledger.csv"

    def path(self, key: str) -> Path:
        return self.records / f"{key}.json"

    def find(self, key: str) -> dict[str, Any] | None:
        """The record of a point, or ``None``."""
        path = self.path(key)
        return _read(path) if path.is_file() else None

    def add(self, key: str, record: Mapping[str, Any]) -> None:
        """Keep a record; a later one of the same key replaces it."""
        atomic_write_json(self.path(key), {"format": RECORD_FORMAT, "version": RECORD_VERSION, "key": key, **record})

    def keep(self, keys: Container[str]) -> None:
        """Take away the records of other points: another spec asked for them. What ran stays in the store."""
        for path in self.records.glob("*.json"):
            if path.stem not in keys:
                path.unlink()

    def frame(self) -> pd.DataFrame:
        """All records, a row each, sorted by what they are about."""
        rows = [_read(path) for path in sorted(self.records.glob("*.json"))]
        found = pd.DataFrame([{column: row.get(column) for column in COLUMNS} for row in rows], columns=list(COLUMNS))
        return found.sort_values([*IDENTITY[1:], "key"], ignore_index=True)

    def write_table(self) -> Path:
        """Bring ``ledger.csv`` up to date."""
        return atomic_write_text(self.table, self.frame().to_csv(index=False))


def _read(path: Path) -> dict[str, Any]:
    return read_json(path, RECORD_FORMAT, RECORD_VERSION, _FIELDS)


def load(folder: str | Path) -> pd.DataFrame:
    """The ledger of a sweep's folder: columns :data:`COLUMNS`."""
    if not (Path(folder) / "records").is_dir():
        raise SysmolError(f"{folder} holds no sweep: run 'sysmol sweep' first, or name its --out folder")
    return Ledger(folder).frame()


def load_layers(folder: str | Path) -> pd.DataFrame:
    """Rows per layer of all points that ended well: ``key``, ``patterns`` and the columns of
    :mod:`sysmol.analysis.runs`.
    """
    from sysmol.analysis.runs import load_run

    tables = []
    for row in load(folder).to_dict("records"):
        if row["status"] == "ok" and isinstance(row["run"], str) and os.path.isdir(Path(folder) / row["run"]):
            layers = load_run(Path(folder) / row["run"])
            layers.insert(0, "key", row["key"])
            layers.insert(1, "patterns", row["patterns"])
            tables.append(layers)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
