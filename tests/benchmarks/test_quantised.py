"""Rows of what `sysmol quantise` made, from its network files."""

import numpy as np
import pandas as pd
import pytest

from sysmol.benchmarks.quantised import main, merged, row_of, table
from sysmol.errors import SysmolError
from sysmol.network import load
from sysmol.network.reference import evaluate


@pytest.fixture
def made(run, tmp_path):
    """A network file of the command."""
    path = tmp_path / "n.network.safetensors"
    options = ("--steps", 2, "--images", 16, "--bits", 2)
    assert run("quantise", "digits_net", "--data", "digits", "--out", path, *options)[0] == 0
    return path


def test_rows_say_how_and_how_well(made, tmp_path, capfd):
    row = row_of(made, load(made))
    options = "--bits 2 --images 16 --steps 2 --epochs 0 --seed 0"
    assert row["command"] == f"sysmol quantise digits_net --data digits {options}"
    assert row["file_bytes"] > 0 and 0 <= row["accuracy_integer"] <= 1
    out = tmp_path / "quantised.csv"
    assert main([str(made), "--out", str(out)]) == 0 and main([str(made), "--out", str(out)]) == 0
    found = pd.read_csv(out)
    assert len(found) == 1
    assert main([str(made), "--out", str(out), "--keep"]) == 0
    (kept,) = (tmp_path / "networks").iterdir()
    assert kept.name == "digits_net-digits-2bit-0epochs.network.safetensors"
    assert list(pd.read_csv(out)["network_file"]) == [kept.name]
    small, image = load(kept), np.zeros((1, 8, 8, 1), np.uint8)
    assert small.samples is None and (evaluate(small, image) == evaluate(load(made), image)).all()
    better = row | {"bits": 4, "accuracy_integer": row["accuracy_fp32"] + 0.01}
    both = merged(found, [better])
    assert list(both["bits"]) == [4, 2]
    line = table({"quantised": both}).splitlines()[2]
    assert line.startswith("| digits_net | 4 |") and "+1.00" in line
    net = load(made)
    del net.provenance["steps"]
    with pytest.raises(SysmolError, match="has no steps"):
        row_of(made, net)
    capfd.readouterr()
    assert main([str(tmp_path / "absent"), "--out", str(tmp_path / "q.csv")]) == 2
    assert capfd.readouterr().err.count("\n") == 1 and not (tmp_path / "q.csv").exists()
