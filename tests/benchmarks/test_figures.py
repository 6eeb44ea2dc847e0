"""Figures of the documents say what they were drawn from, and a check tells when that is another."""

import json
from pathlib import Path

import pytest

from sysmol.benchmarks import figures
from sysmol.workbench.provenance import path_of


def test_the_committed_figures_are_of_the_committed_rows() -> None:
    assert figures.main(["--check"]) == 0


def test_a_figure_of_other_rows_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures.redraw(["trained-resnet8"], tmp_path)
    assert "<svg" in (tmp_path / "trained-resnet8.svg").read_text()
    assert "trained-resnet8" not in dict(figures.stale(tmp_path))
    noted = path_of(tmp_path / "trained-resnet8.svg")
    content = json.loads(noted.read_text())
    (inputs,) = content["inputs"].values()
    inputs["files"]["results/training.csv"] = "0" * 16
    noted.write_text(json.dumps(content))
    assert dict(figures.stale(tmp_path))["trained-resnet8"].startswith("changed: results/training.csv")
    assert dict(figures.stale(tmp_path))["trained-resnet20"] == "unknown"


def test_a_folder_without_networks_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert figures.main(["--demo", str(tmp_path)]) == 2
    assert "holds no *.network.safetensors" in capsys.readouterr().err
