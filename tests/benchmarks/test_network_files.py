"""The networks beside the table of trained ones: what rows name is there, and small."""

import csv
import re
from pathlib import Path

from sysmol.files import PACKAGE, read_json, sha256_file
from sysmol.network import load
from sysmol.workbench import provenance
from sysmol.workbench.experiments.run import row_name
from sysmol.workbench.experiments.table import LARGE, NETWORKS, read_table

TABLE = PACKAGE.parent / "results" / "training.csv"
QUANTISED = TABLE.with_name("quantised.csv")
MOST = 8 << 20
"""Bytes of all of them."""


def test_rows_and_their_networks_belong_together() -> None:
    folder = TABLE.parent / NETWORKS
    rows = {row["network_file"]: row for row in read_table(TABLE) if row["network_file"]}
    untrained = {name: row for row in csv.DictReader(QUANTISED.open()) if (name := row["network_file"])}
    files = {path.name: path for path in folder.glob("*")} if folder.is_dir() else {}
    assert set(files) == rows.keys() | untrained.keys() and not rows.keys() & untrained.keys()
    for name, row in untrained.items():
        # The size in the table is that of a file with another name inside.
        assert abs(files[name].stat().st_size - int(row["file_bytes"])) < 0.005 * int(row["file_bytes"])
    noted = read_json(provenance.path_of(TABLE), provenance.FORMAT, provenance.VERSION)["rows"] if rows else {}
    for name, row in rows.items():
        net = load(files[name])
        assert net.metrics == {} or net.metrics["file_bytes"] == int(row["file_bytes"])
        assert files[name].stat().st_size == int(row["file_bytes"]) and net.samples is None
        assert noted[row_name(row)]["network_sha256"] == sha256_file(files[name])
        assert re.fullmatch(r"[0-9a-f]{64}", row["network_sha256"])
    sizes = [path.stat().st_size for path in files.values()]
    assert sum(sizes) <= MOST and max(sizes, default=0) <= LARGE


def test_tables_of_results_name_no_folder_of_a_machine() -> None:
    for path in Path(TABLE.parent).glob("training*.csv"):
        assert not re.search(r"(?:^|[ ,\"])/(?:root|home|work|tmp)/", path.read_text())
