"""The cost protocol: figures say how they are known, sums are as weak as their parts, models are checked."""

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest

from sysmol.analysis.costs import models
from sysmol.analysis.costs.estimate import Estimate, estimate
from sysmol.analysis.costs.estimate_errors import ERRORS, interval
from sysmol.analysis.costs.gem5 import Gem5
from sysmol.analysis.costs.protocol import CostModel, LayerCost, NetworkCost
from sysmol.analysis.costs.quantity import Absent, Kind, Quantity, add
from sysmol.analysis.costs.workload import Workload
from sysmol.benchmarks import estimate_errors
from sysmol.benchmarks.tables import RESULTS
from sysmol.errors import SysmolError
from sysmol.machine import Machine, load_machine

MACHINE = load_machine("o3-n1")


def test_a_figure_says_how_it_is_known() -> None:
    measured = Quantity.exact(29_916, "cycles", Kind.MEASURED, "gem5 24.0.0.1 o3")
    guessed = Quantity(100, 90, 150, "cycles", Kind.ESTIMATE, "estimate")
    assert str(measured) == "29,916 cycles (gem5 24.0.0.1 o3)"
    assert str(guessed) == "about 100 cycles (90 to 150; estimate)"
    assert str(Quantity.exact(1, "pJ", Kind.PREDICTION, "forest")) == "about 1 pJ (prediction, forest)"
    with pytest.raises(ValueError, match="do not lie between"):
        Quantity(100, 110, 150, "cycles", Kind.ESTIMATE, "estimate")
    with pytest.raises(ValueError, match="do not lie between"):
        Quantity.exact(float("nan"), "cycles", Kind.MEASURED, "gem5")


def test_a_sum_is_as_weak_as_its_weakest_part() -> None:
    measured = Quantity.exact(10, "cycles", Kind.MEASURED, "gem5")
    guessed = Quantity(100, 90, 150, "cycles", Kind.ESTIMATE, "estimate")
    assert add([measured, guessed]) == Quantity(110, 100, 160, "cycles", Kind.ESTIMATE, "gem5, estimate")
    assert add([measured, Absent("cycles", "why")]) == Absent("cycles", "why")
    with pytest.raises(ValueError, match="2 units"):
        add([measured, Quantity.exact(1, "pJ", Kind.MEASURED, "gem5")])


def test_both_models_give_cycles_and_say_why_there_is_no_more(products: Path) -> None:
    workload = Workload.compiled(products / "bin" / "mixed.riscv.json")
    guessed = models.cost("estimate", workload, MACHINE)
    measured = models.cost("gem5", workload, MACHINE, run=products / "runs" / "mixed-riscv-o3")
    assert [layer.layer for layer in guessed.layers] == [layer.layer for layer in measured.layers]
    table = estimate(products / "bin" / "mixed.riscv.json", MACHINE)
    low, high = interval("riscv", "conv2d")
    for layer, cycles in zip(guessed.layers, table["cycles"], strict=True):
        assert layer.cycles == Quantity(cycles, low * cycles, high * cycles, "cycles", Kind.ESTIMATE, "estimate")
    total = guessed.cycles
    assert isinstance(total, Quantity) and total.value == table["cycles"].sum() and total.kind is Kind.ESTIMATE
    assert total.high < sum(layer.cycles.high for layer in guessed.layers), "a network's estimate is closer"
    for layer in measured.layers:
        assert isinstance(layer.cycles, Quantity) and layer.cycles.is_exact and layer.cycles.kind is Kind.MEASURED
    for cost in (guessed, measured):
        assert isinstance(cost.energy, Absent) and isinstance(cost.area, Absent)
        assert "no model of energy" in cost.energy.reason
        assert cost.columns()["energy"] is None and cost.columns()["cycles_kind"] in ("estimate", "measured")
    models_: list[CostModel] = [Estimate(), Gem5(Path("run"))]
    assert {model.kind for model in models_} == {Kind.ESTIMATE, Kind.MEASURED}


@dataclass(frozen=True)
class PerLayer:
    """A toy: a picojoule for every layer, and a square micrometre shared."""

    name = "toy"
    kind = Kind.PREDICTION
    said_kind: Kind = Kind.PREDICTION

    def cost(self, workload: Workload, machine: Machine) -> NetworkCost:
        one = Quantity(1, 0.5, 2, "pJ", self.said_kind, "toy")
        regions = workload.manifest["regions"]
        layers = tuple(LayerCost(region["name"], region["op"], energy=one) for region in regions)
        area = Quantity.exact(1, "um2", self.said_kind, "toy")
        return NetworkCost("tiny", "mixed", workload.isa, machine.name, layers, shared_area=area)


def test_a_registered_model_completes_another(products: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "MODELS", dict(models.MODELS))
    models.register("toy", PerLayer)
    with pytest.raises(ValueError, match="already"):
        models.register("toy", PerLayer)
    workload = Workload.compiled(products / "bin" / "mixed.riscv.json")
    cycles, energy = models.cost("estimate", workload, MACHINE), models.cost("toy", workload, MACHINE)
    for both in (cycles.completed_by(energy), energy.completed_by(cycles)):
        assert both.cycles == cycles.cycles and both.energy == energy.energy and both.area == energy.shared_area
        assert both.kinds == {Kind.ESTIMATE, Kind.PREDICTION} and both.sources == "estimate, toy"
    with pytest.raises(ValueError, match="different layers"):
        cycles.completed_by(replace(energy, layers=energy.layers[1:]))


def test_a_model_cannot_pass_its_figures_for_measured(products: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "MODELS", dict(models.MODELS))
    models.register("toy", PerLayer)
    workload = Workload.compiled(products / "bin" / "mixed.riscv.json")
    with pytest.raises(ValueError, match="gives figures as measured, but it is one of prediction"):
        models.cost("toy", workload, MACHINE, said_kind=Kind.MEASURED)
    with pytest.raises(SysmolError, match="no cost model 'oracle'"):
        models.cost("oracle", workload, MACHINE)


def test_a_network_that_is_not_compiled_has_a_way_out(products: Path) -> None:
    workload = Workload("arm", network_path=products / "mixed.network.safetensors")
    assert workload.network.name == "tiny <net>"
    with pytest.raises(SysmolError, match="not compiled yet"):
        models.cost("estimate", workload, MACHINE)


def test_the_errors_are_those_of_the_results() -> None:
    kernels = pd.read_csv(RESULTS / "kernels.csv")
    assert ERRORS.read_text() == estimate_errors.errors(kernels)
    good = kernels[(kernels["status"] == "ok") & (kernels["op"] == "conv2d") & (kernels["isa"] == "arm")]
    low, high = interval("arm", "conv2d")
    inside = ((good["cycles"] >= low * good["estimate"]) & (good["cycles"] <= high * good["estimate"])).mean()
    assert 0.94 <= inside <= 0.97
    assert interval("arm", "an operation that nobody measured") == interval("arm", "any")
