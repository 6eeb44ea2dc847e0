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


def test_the_first_screen_has_the_baselines_of_the_same_hardware() -> None:
    table = rows().assign(test_images=360, bits_per_parameter=2.5)
    base = [
        table.iloc[0].to_dict() | {"variant": name, "cycles": cycles}
        for name, cycles in (("fp32", 29_000.0), ("int8", 5800.0))
    ]
    elsewhere = base[1] | {"machine": "o3-a72", "cycles": 3000.0}
    page = render(sweep_page(pd.DataFrame([*table.to_dict("records"), *base, elsewhere]), "Sweep"))
    first = page[: page.index("<section>")]
    for words in ("2.50 bits per weight", "accuracy 96.00%; 93.", "fp32: 29 k, 10.0x as many", "int8: 5.8 k, 2.0x"):
        assert words in first, words


def test_a_sweep_without_accuracies_or_cycles() -> None:
    table = rows().assign(accuracy_integer=None)
    assert "data:image" not in render(sweep_page(table, "Sweep"))
    assert "0 of 4" in render(sweep_page(table.assign(status="failed", cycles=None), "Sweep"))
