"""Searches over networks and tiles: modes, counts, baselines, the comparison, and a toy from training to table."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sysmol.cim.tile import Tile
from sysmol.cli import run_command_line
from sysmol.errors import SysmolError
from sysmol.files import PACKAGE
from sysmol.search.joint.campaign import Accuracies, compare, verdict
from sysmol.search.joint.modes import MODES, run
from sysmol.search.joint.search import Problem, fit
from sysmol.search.joint.spec import load_spec
from sysmol.search.joint.workload import Costs
from sysmol.search.spaces import Point, load_space
from sysmol.search.supernet.families import largest

pytest.importorskip("pymoo", reason="searches need pymoo, the extra search")

SEED = int(os.environ.get("SYSMOL_TEST_SEED", "20261130"))
NETWORKS, TILES = load_space("resnet-digits"), load_space("tile-4k")


def plausible(point: Point) -> float:
    """An accuracy that grows with width, depth and bits, each less than the one before."""
    terms = [float(v) ** 0.5 for name, v in point.items() if name.startswith(("width", "bits", "depth"))]
    return 1 - 1 / (1 + 0.05 * sum(terms))


@pytest.fixture(scope="module")
def costs() -> Costs:
    return Costs(NETWORKS, 1, 10)


@pytest.fixture
def problem(costs: Costs) -> Problem:
    return Problem(NETWORKS, TILES, costs, plausible)


def test_layers_are_those_of_the_module(costs: Costs):
    """Multiply-accumulates counted by hand, for the largest network on digits."""
    layers = [shape for shape, _ in costs.layers(largest(NETWORKS))]
    first = layers[0]
    assert (first.height, first.width, first.channels, first.elements_8, first.kernel_y) == (8, 8, 16, 1, 3)
    assert [shape.height for shape in layers] == [8] * 6 + [4] * 5 + [2] * 5 + [1]
    assert sum(
        s.height * s.width * s.channels * s.kernel_y**2 * max(s.elements_8, s.elements_4) for s in layers
    ) == sum(
        [64 * 16 * 9, 64 * 16 * 16 * (1 + 4 * 9), 16 * 32 * (16 * (1 + 9) + 3 * 9 * 32), 4 * 32 * 32 * (1 + 4 * 9), 320]
    )


def test_a_tile_that_is_too_small_takes_for_ever(costs: Costs):
    wide = load_space("resnet-cifar")  # 64 channels, whose constants do not fit
    assert Costs(wide, 3, 10).nanoseconds(largest(wide), Tile(scratch_bytes=1024)) == np.inf
    assert 0 < costs.nanoseconds(largest(NETWORKS), Tile()) < 1e6


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_measures_as_often(problem: Problem, mode: str):
    """And what it fixes stays fixed; the same seed gives the same search."""
    print(f"seed {SEED}")
    goal = plausible(problem.largest()) - 0.02
    found = run(problem, mode, 24, SEED, goal)
    assert len(found.measured) == 24
    networks = {NETWORKS.key(each.network) for each in found.measured}
    tiles = {TILES.key(each.tile) for each in found.measured}
    for each in found.measured:
        TILES.check(each.tile)
    if mode == "network":
        assert tiles == {TILES.key(problem.default_tile())}
    if mode == "hardware":
        assert networks == {NETWORKS.key(problem.largest())} and len(tiles) == 24
    if mode == "network-hardware":
        assert {TILES.key(each.tile) for each in found.measured[:12]} == {TILES.key(problem.default_tile())}
        assert len({NETWORKS.key(each.network) for each in found.measured[12:]}) == 1
    if mode == "hardware-network":
        assert len({TILES.key(each.tile) for each in found.measured[12:]}) == 1
    again = run(problem, mode, 24, SEED, goal)
    assert [(e.network, e.tile) for e in again.measured] == [(e.network, e.tile) for e in found.measured]


def test_a_search_beats_chance(problem: Problem):
    """With the same number of measurements, over three seeds, on accuracies that a formula gives."""
    print(f"seed {SEED}")
    goal = plausible(problem.largest()) - 0.02

    def median(mode: str) -> float:
        best = [run(problem, mode, 60, SEED + i, goal).best(goal) for i in range(3)]
        return float(np.median([each.nanoseconds if each else np.inf for each in best]))

    assert median("joint") < median("random")


def test_baselines(problem: Problem):
    """The best, the default and the median tile of all, for the largest network."""
    found = problem.baselines()
    times = sorted(problem.costs.nanoseconds(problem.largest(), tile) for tile in map(tile_of, problem.all_tiles))
    assert found["best"].nanoseconds == times[0] <= found["default"].nanoseconds
    assert found["median"].nanoseconds in times[len(times) // 2 - 2 : len(times) // 2 + 2]


def tile_of(point: Point) -> Tile:
    return Tile.of_values(TILES.values(point))


def test_the_predictor_orders_what_it_has_not_seen(problem: Problem):
    from scipy.stats import kendalltau

    print(f"seed {SEED}")
    rng = random.Random(SEED)
    points = [NETWORKS.random(rng) for _ in range(90)]
    measured = [problem.measure(point, problem.default_tile()) for point in points[:60]]
    mean, spread = fit(NETWORKS, measured)(points[60:])
    assert kendalltau(mean, [plausible(point) for point in points[60:]]).statistic > 0.7
    assert (spread >= 0).all()


def row(mode: str, seed: int, time: float | None) -> dict[str, object]:
    best = None if time is None else {"microseconds": time}
    return {"mode": mode, "seed": seed, "best": best}


def test_the_comparison():
    """By hand: medians, ratios, and a difference that the spread of the seeds covers."""
    modes = [
        row("joint", 0, 10.0),
        row("joint", 1, 12.0),
        row("network-hardware", 0, 11.0),
        row("hardware-network", 0, 30.0),
    ]
    modes += [row("random", 0, None)]
    found = {"baselines": {"best": {"microseconds": 22.0}, "default": {"microseconds": 33.0}}, "modes": modes}
    rows = compare(found)
    assert rows[0] == ["joint", 2, 2, 10.0, 11.0, 12.0, 2.0, 3.0]
    assert rows[-1] == ["random", 1, 0, None, None, None, None, None]
    assert "1.00x" in verdict(found) and "no difference" in verdict(found)
    modes[2] = row("network-hardware", 0, 22.0)
    assert verdict(found) == "joint search is 2.00x as fast as the better sequential order (network-hardware)"
    assert "not both been run" in verdict({**found, "modes": modes[:2]})


def test_accuracies_are_measured_once(tmp_path: Path):
    """Also by a search that begins anew; another supernet's are refused."""
    calls: list[Point] = []

    def measure(point: Point) -> float:
        calls.append(point)
        return 0.5

    file, point = tmp_path / "a.json", largest(NETWORKS)
    for _ in range(2):
        assert Accuracies(file, "this", measure).of("key", point) == 0.5
    assert len(calls) == 1
    with pytest.raises(SysmolError, match="is of another supernet"):
        Accuracies(file, "that", measure)


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "format is missing"), ('modes = ["all"]', "none of joint"), ("measurements = 0", "measurements")],
)
def test_specs_that_are_wrong(tmp_path: Path, text: str, said: str):
    good = (
        '\nformat = "sysmol-search"\nversion = 1\nnetworks = "resnet-digits"\ntiles = "tile-4k"\ndataset = "digits"\n'
    )
    file = tmp_path / "bad.toml"
    file.write_text(text + good if text else "version = 1\n")
    with pytest.raises(SysmolError, match=said):
        load_spec(file)


def test_specs_of_the_package():
    for name, measurements in (("toy", 16), ("small", 60)):
        assert load_spec(PACKAGE / "search" / "joint" / f"{name}.toml").measurements == measurements


@pytest.mark.slow
def test_a_toy_from_training_to_table(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    """Seconds of training, all modes; run again it trains and measures nothing and says the same."""
    command = ["search", str(PACKAGE / "search" / "joint" / "toy.toml"), "--out", str(tmp_path)]
    assert run_command_line(command) == 0
    said = capsys.readouterr().out
    assert "estimate of the tile" in said and "x over default" in said and "joint search" in said
    first = json.loads((tmp_path / "search.json").read_text())
    assert {each["mode"] for each in first["modes"]} == set(MODES)
    assert {each["measurements"] for each in first["modes"]} == {16}
    assert first["baselines"]["default"]["accuracy"] > 0.3  # chance is a tenth
    forbid(monkeypatch)
    assert run_command_line(command) == 0
    assert json.loads((tmp_path / "search.json").read_text()) == first


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*_: object) -> float:
        raise AssertionError("measured again")

    name: Callable[..., float] = no
    monkeypatch.setattr("sysmol.search.supernet.supernet.Supernet.accuracy", name)
    monkeypatch.setattr("sysmol.search.supernet.training._step", name)
