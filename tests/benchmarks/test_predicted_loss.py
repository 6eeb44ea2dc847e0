"""The benchmark of the layouts' law: a row per layout, with figures that the network itself gives."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from sysmol.benchmarks import predicted_loss
from sysmol.train.frontend.data import load_digits

SPEC = """
dataset = "digits"
model = "digits_net"
seeds = [3]
variants = ["mixed"]
[schedule]
calibration = 64
[phase]
limit = 256
[phases]
fp32 = { epochs = 2 }
int8 = { epochs = 1 }
uniform = { epochs = 1 }
noise = { epochs = 1, size_weight = 1 }
tune = { epochs = 1 }
"""


def test_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    digits = load_digits()
    few = replace(digits, test_images=digits.test_images[:40], test_labels=digits.test_labels[:40])
    monkeypatch.setattr("sysmol.workbench.steps.experiment.load", lambda name: few)
    monkeypatch.setattr(predicted_loss, "SETS", ("P4",))
    monkeypatch.setattr(predicted_loss, "BITS", (2.0, None))
    monkeypatch.setattr(predicted_loss, "SHARES", (None, 0.4))
    (tmp_path / "spec.toml").write_text(SPEC)
    out = tmp_path / "out.csv"
    options = [str(tmp_path / "spec.toml"), "--seed", "3", "--images", "100", "--experiments", str(tmp_path / "e")]
    assert predicted_loss.main([*options, "--out", str(out)]) == 0
    assert "rank correlation" in capsys.readouterr().out
    rows = pd.read_csv(out)
    assert tuple(rows.columns) == predicted_loss.COLUMNS and set(rows["seed"]) == {3}
    named = rows.set_index("layout")
    assert list(named.loc[["w4", "w2", "w1"], "cycles_share"]) == [1, 0.5, 0.25]
    assert named.loc["w2", "predicted_over_w2"] == 1 and (rows["loss"] > 0).all()
    assert named.loc["w4", "predicted_over_w2"] < 0.1 and named.loc["w1", "predicted_over_w2"] > 3
    assert ((rows["bits_per_parameter"] <= rows["bits_limit"]) | rows["bits_limit"].isna()).all()
    assert ((rows["cycles_share"] <= rows["cycles_limit"]) | rows["cycles_limit"].isna()).all()
    # Under equal limits no layout has less predicted loss than the one chosen for the learned precisions.
    learned, random = (named.loc[name].set_index(["bits_limit", "cycles_limit"]) for name in ("P4", "P4-random"))
    assert (random["predicted_over_w2"] > learned["predicted_over_w2"].reindex(random.index)).all()


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predicted_loss.main([str(tmp_path / "none.toml")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
