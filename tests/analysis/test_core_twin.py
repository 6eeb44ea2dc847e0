"""The twin of the core: caches, speed, the fit, and its place among the cost models."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sysmol.analysis.costs import calculated, models
from sysmol.analysis.costs.estimate import bounds
from sysmol.analysis.costs.quantity import Kind, Quantity
from sysmol.analysis.costs.twin import Features, cycles, features, lines, notes
from sysmol.analysis.costs.twin_parameters import FILE, Parameters
from sysmol.analysis.costs.workload import Workload
from sysmol.benchmarks.core_twin import Rows, fit, judged, left_out, with_intervals
from sysmol.benchmarks.tables import RESULTS
from sysmol.errors import SysmolError
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.machine import load_machine
from sysmol.network.builder import random_network

MACHINE = load_machine("o3-n1")


def some(seed: int, isa: str = "arm") -> Features:
    """Of a random network."""
    net = random_network(seed)
    regions = [vars(each) for each in generate(net, TARGETS[isa], f"net.{isa}", "a test").regions]
    return features(net, regions, isa, MACHINE)


def test_a_cost_model_like_the_others(products: Path) -> None:
    workload = Workload.compiled(products / "bin" / "mixed.riscv.json")
    found = models.cost("twin", workload, MACHINE)
    assert [each.layer for each in found.layers] == [region["name"] for region in workload.manifest["regions"]]
    assert found.kinds == {Kind.PREDICTION} and found.sources == "twin (prediction)"
    total = found.cycles
    assert isinstance(total, Quantity)
    assert total.value == sum(each.cycles.value for each in found.layers if isinstance(each.cycles, Quantity))
    assert total.low < total.value < total.high


def test_what_caches_hold(seed: int) -> None:
    """A network that passes L2 waits for memory; on a machine with a larger L2 the same one does not; faster clocks
    wait longer."""
    p, f = Parameters.load(), some(seed)
    large = replace(f, footprint=f.footprint * 0 + 4 * 1024 * MACHINE.l2.size_kib)
    same = np.ones(len(f.kind))
    far = lines(large, same, p.memory, MACHINE, p.clock_ghz)
    roomy = replace(MACHINE, l2=replace(MACHINE.l2, size_kib=8 * MACHINE.l2.size_kib))
    held = lines(large, same, p.memory, roomy, p.clock_ghz)
    assert (held[far > 0] < far[far > 0]).all() and (far > 0).any()
    faster = replace(MACHINE, clock_ghz=2 * p.clock_ghz)
    assert lines(large, same, p.memory, faster, p.clock_ghz) == pytest.approx(2 * far)
    small = replace(f, footprint=f.footprint * 0 + 1024.0)
    assert lines(small, same, p.memory, MACHINE, p.clock_ghz) == pytest.approx(0, abs=1)
    assert (cycles(large, MACHINE, p) > cycles(small, MACHINE, p)).all()


def test_by_name_beside_the_estimate(products: Path) -> None:
    """Both give all layers, labelled with their kind; the energy without gem5 follows the one that was asked for."""
    workload = Workload.compiled(products / "bin" / "mixed.riscv.json")
    predicted, guessed = (calculated.layers(workload, MACHINE, name) for name in ("twin", "estimate"))
    assert list(predicted.columns) == list(guessed.columns) and predicted["layer"].equals(guessed["layer"])
    assert set(predicted["kind"]) == set(predicted["cpu"]) == {Kind.PREDICTION}
    assert {calculated.kind_of(each["source"].iloc[0]) for each in (predicted, guessed)} == set(
        calculated.KINDS.values()
    )
    assert (predicted["cycles_low"] < predicted["cycles"]).all() and (predicted["cycles_high"] > 0).all()
    found = models.every_cost(workload, MACHINE, by="twin")
    assert isinstance(found.cycles, Quantity) and found.cycles.value == predicted["cycles"].sum()
    assert "events: twin (prediction)" in str(found.energy)
    with pytest.raises(SysmolError, match="'oracle' calculates no cycles: choose twin or estimate"):
        models.every_cost(workload, MACHINE, by="oracle")


def test_what_the_fit_has_not_seen_is_said(products: Path) -> None:
    workload = Workload.compiled(products / "bin" / "mixed.riscv.json")
    assert calculated.notes([workload], MACHINE, "estimate") == []
    kinds = Parameters.load().kinds
    assert notes(kinds, MACHINE) == notes(kinds, load_machine("o3-n1-chosen")) == []
    (other,) = notes(kinds, load_machine("o3-a72"))
    assert "was fitted on o3-n1; o3-a72 has another" in other and "core" in other
    (unknown,) = notes([*kinds, "arm crochet"], MACHINE)
    assert "without layers like arm crochet" in unknown


def test_without_the_network_the_estimate_remains_and_says_so(products: Path) -> None:
    (products / "mixed.network.safetensors").rename(products / "moved")
    workload = Workload.compiled(products / "bin" / "mixed.riscv.json")
    name, (why,) = calculated.usable(workload, "twin")
    assert name == "estimate" and "its cycles are the estimate's" in why
    assert calculated.usable(workload, "estimate") == ("estimate", [])


def test_candidates_are_rated_within_their_network(seed: int) -> None:
    """A region alone takes the cycles that it takes among all."""
    net = random_network(seed)
    regions = [vars(each) for each in generate(net, TARGETS["arm"], "net.arm", "a test").regions]
    whole = cycles(features(net, regions, "arm", MACHINE), MACHINE, Parameters.load())
    of = calculated.rate(net, regions, "arm", MACHINE, "twin")
    assert [of(region) for region in regions] == pytest.approx(whole.tolist())
    bound = calculated.rate(net, regions, "arm", MACHINE, "estimate")
    assert [bound(region) for region in regions] == [max(bounds(region, MACHINE).values()) for region in regions]


def test_a_layer_that_the_network_lacks(seed: int) -> None:
    net = random_network(seed)
    region = vars(generate(net, TARGETS["arm"], "net.arm", "a test").regions[0])
    with pytest.raises(SysmolError, match="has no layer 'other'"):
        features(net, [region | {"name": "other"}], "arm", MACHINE)


def test_ten_thousand_layers_a_second(seed: int) -> None:
    """From regions of a manifest to cycles, in one process."""
    net = random_network(seed)
    regions = [vars(each) for each in generate(net, TARGETS["arm"], "net.arm", "a test").regions]
    times, p = -(-3000 // len(regions)), Parameters.load()
    began = time.process_time()
    for _ in range(times):
        cycles(features(net, regions, "arm", MACHINE), MACHINE, p)
    assert time.process_time() - began < 0.3 * times * len(regions) / 3000


def test_the_fit_finds_what_made_the_rows(seed: int) -> None:
    """Cycles that the twin itself gives with other parameters, and 2% of noise: back to within that on rows that were
    seen, and on a network that was not."""
    rng = np.random.default_rng(seed)
    parts = [some(seed % 1000 + n) for n in range(6)]
    f = Features.join(parts)
    f = replace(f, footprint=rng.choice([2e5, 3e6], len(f.kind)))
    p = Parameters.load()
    truth = replace(
        p, kinds={kind: (0.1, 0.2, 0.0) for kind in set(f.kind)}, memory=replace(p.memory, weights_far=20.0)
    )
    measured = cycles(f, MACHINE, truth) * np.exp(rng.normal(0, 0.02, len(f.kind)))
    names = [f"net{n % 3}" for n, part in enumerate(parts) for _ in part.kind]
    facts = {"network": names, "variant": "w4", "isa": "arm", "machine": "o3-n1", "cycles": measured, "share": 0.1}
    rows = Rows(pd.DataFrame(facts), f)
    found = fit(rows, MACHINE)
    assert judged(rows, cycles(f, MACHINE, found))["by cycles"] < 0.05
    assert abs(np.log(found.memory.weights_far / 20.0)) < abs(np.log(15.0 / 20.0)) + 0.05
    unseen = left_out(rows, MACHINE)
    whole = with_intervals(found, rows, unseen)
    low, high = whole.layers["arm"]
    assert low <= 1 <= high


def test_the_committed_parameters_are_of_all_rows(tmp_path: Path) -> None:
    p = Parameters.load()
    kernels = pd.read_csv(RESULTS / "kernels.csv")
    assert p.rows == (kernels["layer"] != "total").sum()
    assert set(p.layers) == set(p.networks) == {"arm", "riscv"}
    assert Parameters.load(p.save(tmp_path / "twin.json")) == p
    broken = tmp_path / "broken.json"
    broken.write_text(FILE.read_text().replace('"middle"', '"muddle"'))
    with pytest.raises(SysmolError, match="middle is missing"):
        Parameters.load(broken)
