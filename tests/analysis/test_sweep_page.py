"""The page of a sweep, from a ledger's rows."""

import pandas as pd

from sysmol.analysis.page import render
from sysmol.analysis.sweep_page import sweep_page


def rows() -> pd.DataFrame:
    """Two networks on two ISAs, one point that failed, one sum of layers."""
    same = {"machine": "o3-n1", "cpu": "o3", "images": 2, "error": None, "macs_per_cycle": 10.0, "kind": "network"}
    points = [
        {"variant": "w4", "isa": "arm", "patterns": "P1", "status": "ok", "accuracy_integer": 0.97, "cycles": 4000.0},
        {"variant": "<b>", "isa": "arm", "patterns": "P4", "status": "ok", "accuracy_integer": 0.96, "cycles": 3000.0},
        {"variant": "<b>", "isa": "arm", "patterns": "P8", "status": "ok", "accuracy_integer": 0.96, "cycles": 2900.0},
        {"variant": "w4", "isa": "riscv", "patterns": "P1", "status": "failed", "error": "no <memory>"},
    ]
    table = pd.DataFrame([same | point for point in points])
    table.loc[2, "kind"] = "sum of layers"
    return table


def test_the_page_of_a_sweep() -> None:
    page = render(sweep_page(rows(), "Sweep <x>", "sysmol sweep x.toml"))
    assert "<b>3 of 4</b>" in page and "Sweep &lt;x&gt;" in page and "&lt;b&gt;" in page
    assert "2.9 k" in page and "97.00%" in page and "failed: no &lt;memory&gt;" in page
    assert page.count("data:image/svg+xml") == 1 and "<script" not in page
    assert page == render(sweep_page(rows(), "Sweep <x>", "sysmol sweep x.toml"))


def test_energy_has_its_interval_and_a_figure_of_its_own() -> None:
    table = rows().assign(energy=2.0e6, energy_low=1.5e6, energy_high=2.6e6, area=2017.0)
    page = render(sweep_page(table, "Sweep"))
    assert "Accuracy over energy" in page and page.count("data:image/svg+xml") == 2
    assert "2 (1.5 to 2.6) uJ" in page and "2,017" in page


def test_accuracies_have_their_interval_where_the_images_are_counted() -> None:
    page = render(sweep_page(rows().assign(test_images=360), "Sweep"))
    assert "94.6 to 98.3%: 95% interval, 360 test images" in page and "<td" in page
    assert page.count("94.6 to 98.3%") > 1 and "95% interval, " not in render(sweep_page(rows(), "Sweep"))


def test_a_sweep_without_accuracies_or_cycles() -> None:
    table = rows().assign(accuracy_integer=None)
    assert "data:image" not in render(sweep_page(table, "Sweep"))
    assert "0 of 4" in render(sweep_page(table.assign(status="failed", cycles=None), "Sweep"))
