"""The benchmark of the choice of patterns: runs, says which seed, and its rows are what `choose` finds."""

import csv
from pathlib import Path

import pytest

from sysmol.benchmarks import pattern_choice
from sysmol.patterns.selection import choose


def test_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.csv"
    options = ["--instances", "2", "--layers", "4", "--count", "2", "--methods", "greedy", "milp", "exhaustive"]
    assert pattern_choice.main([*options, "--seed", "7", "--out", str(out)]) == 0
    assert "from seed 7" in capsys.readouterr().out
    with out.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["seed"], row["method"]) for row in rows] == [
        (seed, method) for seed in ("7", "8") for method in ("greedy", "milp", "exhaustive")
    ]
    for row in rows:
        found = choose(pattern_choice.demands(int(row["seed"]), 4), 2, row["method"])
        assert (int(row["cycles"]), int(row["vectors"])) == (round(found.cycles), sum(found.vectors))
    cycles = [float(row["cycles"]) for row in rows]
    assert cycles[1] == cycles[2] <= cycles[0] and cycles[4] == cycles[5] <= cycles[3]


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pattern_choice.main(["--methods", "guess", "--out", str(tmp_path / "out.csv")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
