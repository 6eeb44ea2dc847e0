"""Where figures come from: noted beside tables, compared with what is there today, listed."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sysmol.benchmarks.sources import damaged, sources
from sysmol.cli import run_command_line
from sysmol.errors import SysmolError
from sysmol.network import save
from sysmol.network.builder import random_network
from sysmol.workbench import provenance
from sysmol.workbench.experiments.table import COLUMNS
from sysmol.workbench.steps import compile

Run = Callable[..., tuple[int, str, str]]


def test_what_is_another_today_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tiny.network.safetensors"
    save(path, random_network(1))
    inputs = provenance.merged([compile.task(path, "arm").inputs])
    assert inputs["code"]["kernels_c/build.py"] and "network" not in inputs["files"]
    assert inputs["files"]["kernels_c/include/smol_arith.h"] and inputs["packages"]["numpy"] == np.__version__
    assert provenance.verdict(inputs) == "match" and provenance.verdict(None) == "unknown"
    inputs["code"]["kernels_c/build.py"] = "0" * 16
    assert provenance.verdict(inputs) == "changed: kernels_c/build.py"
    inputs["code"]["kernels_c/gone.py"] = "0" * 16
    inputs["packages"]["numpy"] = "1.0"
    assert provenance.changed(inputs) == ["code: kernels_c/build.py", "code: kernels_c/gone.py", "packages: numpy"]
    inputs["packages"][""] = "1.0"  # no distribution has an empty name
    assert provenance.changed(inputs)[2:] == ["packages: numpy"]
    monkeypatch.setenv("SYSMOL_CC_ARM", "another")
    assert "variables: SYSMOL_CC_ARM" in provenance.changed(inputs)


def row(variant: str, command: str = "a command") -> str:
    known = {"network": "n", "dataset": "d", "variant": variant, "seed": "0", "command": command, "date": "2026-01-02"}
    return ",".join(known.get(column, "") for column in COLUMNS)


def test_sources_are_listed_row_by_row(tmp_path: Path, run: Run) -> None:
    table = tmp_path / "training.csv"
    table.write_text("\n".join([",".join(COLUMNS), row("w4"), row("w2"), row("old", "an old command")]) + "\n")
    provenance.write(
        table, [{"code": {"network/file/__init__.py": "0"}}], {"n d w4 0": {"command": "new", "date": "2026-03-04"}}
    )
    provenance.write(table, [{"packages": {"numpy": np.__version__}}], {"n d w2 0": {"command": "newer"}})
    found = {source.command: source for source in sources(tmp_path)}
    assert found["new"].inputs == "changed: network/file/__init__.py" and found["new"].date == "2026-03-04"
    assert found["newer"].inputs == "match" and len(found["newer"].commit) == 12
    old = found["an old command"]
    assert (old.inputs, old.commit, old.date, old.rows) == ("unknown", "unknown", "2026-01-02", 1)
    assert "trained.md" in old.shown_in
    status, out, _ = run("results", tmp_path)
    assert status == 0 and "match: 1, changed: 1, unknown: 1" in out


def test_networks_beside_rows_are_checked(tmp_path: Path, run: Run) -> None:
    table = tmp_path / "training.csv"
    table.write_text("\n".join([",".join(COLUMNS), row("w4")]) + "\n")
    facts = {"network": "n-d-0-w4.network.safetensors", "network_sha256": "0" * 64}
    provenance.write(table, [], {"n d w4 0": facts})
    assert damaged(tmp_path) == ["n d w4 0: n-d-0-w4.network.safetensors is not in networks/"]
    save(tmp_path / "networks" / facts["network"], random_network(1), deploy=True)
    assert "is another network" in damaged(tmp_path)[0]
    status, _, error = run("results", tmp_path, "--check")
    assert status == 1 and "is another network" in error
    path = provenance.path_of(table)
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | {"inputs": {}}))
    with pytest.raises(SysmolError, match="names inputs that are not there"):
        damaged(tmp_path)


def test_the_committed_results_are_listed_and_whole(run: Run) -> None:
    status, out, error = run("results", "--check")
    assert status == 0, error
    assert "kernels.csv" in out and "training.csv" in out and run_command_line(["results"]) == 0
