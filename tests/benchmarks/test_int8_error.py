"""The measure of what rounding constants costs, on a small ResNet; the committed figures."""

import pandas as pd
import pytest

from sysmol.benchmarks import int8_error


def small() -> int8_error.ResNet18:
    return int8_error.ResNet18(widths=(8, 12, 16, 24), classes=10)


def test_integers_cost_little_and_wrong_constants_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Always the same numbers: the ratio of two errors of 80 logits is a tenth off by chance."""
    row = int8_error.measure(small(), 0.3, size=32, count=8)
    assert 0.001 < row["real"] < 0.5 and row["ratio"] < 1.5
    right = int8_error.export

    def wrong(*arguments):  # type: ignore[no-untyped-def]
        net = right(*arguments)
        for out in net.layers[5].outputs:
            out.M = out.M // 2
        return net

    monkeypatch.setattr(int8_error, "export", wrong)
    assert int8_error.measure(small(), 0.3, size=32, count=8)["ratio"] > 2


def test_the_committed_figures_meet_the_limit() -> None:
    table = pd.read_csv(int8_error.TABLE)
    assert tuple(table["s"]) == int8_error.SPREADS and (table["ratio"] < 1.2).all()
