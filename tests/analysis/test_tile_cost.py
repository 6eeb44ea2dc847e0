"""The tile as a cost model: layers that it computes, reasons for the others, corrections, and what was left out."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sysmol.analysis.costs.quantity import Absent, Kind, Quantity
from sysmol.analysis.costs.tile import FEATURES, Correction, TileTwin
from sysmol.analysis.costs.workload import Workload
from sysmol.benchmarks.tile_corrections import compare, correction, left_out, table_of
from sysmol.benchmarks.tile_points import calculated, mapped, network_of, pairs, tile_of
from sysmol.cim.tile import Tile
from sysmol.errors import SysmolError
from sysmol.machine import load_machine
from sysmol.network import save
from sysmol.network.builder import random_network

SEED = int(os.environ.get("SYSMOL_TEST_SEED", "20261130"))
NONE = (0.0,) * (len(FEATURES) + 1)


@pytest.fixture
def workload(tmp_path: Path) -> Workload:
    path = save(tmp_path / "net.network.safetensors", random_network(SEED))
    return Workload("arm", network_path=path)


def test_layers_that_the_tile_computes(workload: Workload):
    """In cycles of the core, as an estimate; the others are absent and say why."""
    machine = load_machine("o3-n1")
    tile = Tile(clock_ghz=1.3)
    found = TileTwin(tile).cost(workload, machine)
    for layer, cost in zip(workload.network.layers, found.layers, strict=True):
        if layer.op in ("conv2d", "depthwise"):
            assert isinstance(cost.cycles, Quantity) and cost.cycles.kind is Kind.ESTIMATE and cost.cycles.value > 0
        else:
            assert isinstance(cost.cycles, Absent) and f"no {layer.op}" in cost.cycles.reason
    faster = TileTwin(Tile(clock_ghz=2.6)).cost(workload, machine)
    for one, other in zip(found.layers, faster.layers, strict=True):
        if isinstance(one.cycles, Quantity) and isinstance(other.cycles, Quantity):
            assert one.cycles.value / 2 < other.cycles.value < one.cycles.value  # memory does not get faster


def test_a_corrected_figure_is_a_prediction_with_an_interval(workload: Workload):
    shift = (float(np.log(1.25)), *NONE[1:])
    machine = load_machine("o3-n1")
    plain = TileTwin().cost(workload, machine).layers[1].cycles
    found = TileTwin(correction=Correction("gem5", 100, shift, 0.9, 1.2)).cost(workload, machine).layers[1].cycles
    assert isinstance(plain, Quantity) and isinstance(found, Quantity)
    assert found.kind is Kind.PREDICTION and found.value == pytest.approx(1.25 * plain.value)
    assert (found.low, found.high) == pytest.approx((0.9 * found.value, 1.2 * found.value))


def test_a_correction_comes_back_from_its_file(tmp_path: Path):
    written = Correction("gem5", 100, NONE, 0.9, 1.2)
    written.save(tmp_path / "corrections.json")
    assert Correction.load(tmp_path / "corrections.json") == written


def test_a_layer_that_does_not_fit(tmp_path: Path):
    """65 channels, whose constants are more than the scratchpad holds."""
    path = save(tmp_path / "net.network.safetensors", random_network(SEED, widths=(7, 65)))
    found = TileTwin(Tile(scratch_bytes=1024)).cost(Workload("arm", network_path=path), load_machine("o3-n1"))
    assert any(isinstance(each.cycles, Absent) and "does not fit" in each.cycles.reason for each in found.layers)


def made_rows() -> pd.DataFrame:
    """Rows whose "measured" cycles follow a law of the features, with some noise."""
    print(f"seed {SEED}")
    rng, rows = np.random.default_rng(SEED), []
    for number, pair in enumerate(pairs(9)):
        net, tile = network_of(pair), tile_of(pair, "tile-4k")
        facts = {"pair": number, "network": pair.network, "tile": pair.tile, "reads": 0, **tile.facts()}
        rows += [{**facts, **row} for row in calculated(net, mapped(net, tile), tile, 0)]
    table = pd.DataFrame(rows)
    law = np.array([0.3, 0.02, -0.03, 0.01, 0, 0, 0.1, 0, 0.02, 0])
    table["gem5"] = table["closed"] * np.exp(table_of(table) @ law + rng.normal(0, 0.02, len(table)))
    return table


def test_corrections_find_a_law_on_what_they_have_not_seen():
    rows = made_rows()
    assert len(rows) > 30
    table = {row[0]: row for row in compare(rows)}
    assert table["without a network"][2] < 0.5 * table["closed, unseen"][2]  # type: ignore[operator]
    found = correction(rows)
    assert found.low < 1 < found.high < 1.5
    with pytest.raises(SysmolError, match="too few to learn from"):
        left_out(rows[rows["network"] == 0].reset_index(drop=True), "a network")


def test_pairs_are_the_same_for_the_same_number():
    assert len({(pair.network, pair.tile) for pair in pairs(25)}) == 25
    one, other = (network_of(pairs(3)[2]) for _ in range(2))
    assert [layer.name for layer in one.layers] == [layer.name for layer in other.layers]
    for a, b in zip(one.layers, other.layers, strict=True):
        assert (a.weight is None) == (b.weight is None) and (a.weight is None or np.array_equal(a.weight, b.weight))
