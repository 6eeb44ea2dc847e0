"""Searches over networks and tiles: modes, counts, baselines, the comparison, and a toy from training to table."""

import json
import os
import random
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sysmol.cim.tile import Tile
from sysmol.cli import run_command_line
from sysmol.errors import SysmolError
from sysmol.files import PACKAGE
from sysmol.search.joint.campaign import campaign
from sysmol.search.joint.comparison import Spread, compared, verdict, whole
from sysmol.search.joint.evaluation import Accuracies
from sysmol.search.joint.modes import MODES, run
from sysmol.search.joint.page import mode_rows, network_rows
from sysmol.search.joint.results import read_search, record, write_search
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


def plausible_all(points: Mapping[str, Point]) -> dict[str, float]:
    """Of several networks, by their keys."""
    return {key: plausible(point) for key, point in points.items()}


@pytest.fixture(scope="module")
def costs() -> Costs:
    return Costs(NETWORKS, 1, 10)


@pytest.fixture
def problem(costs: Costs) -> Problem:
    return Problem(NETWORKS, TILES, costs, plausible_all)


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


def point(time: float | None, accuracy: float = 0.9) -> dict[str, Any]:
    cycles = None if time is None else 1000 * time
    shape: dict[str, Any] = {"network": {"width1": 8}, "tile": {"rows": 32}, "accuracy": accuracy}
    return shape | {"microseconds": time, "cycles": cycles, "kibibytes": 4.0}


def row(mode: str, seed: int, time: float | None) -> dict[str, Any]:
    best = None if time is None else point(time)
    return {"mode": mode, "seed": seed, "measurements": 8, "best": best}


def search_of(modes: list[dict[str, Any]], **changed: Any) -> dict[str, Any]:
    spec = {"networks": "resnet-digits", "tiles": "tile-4k", "dataset": "digits", "drop": 1.0}
    data = {
        "format": "sysmol-search-result", "version": 2, "spec": spec | {"seeds": [r["seed"] for r in modes]},
        "accuracy_source": "a", "time_source": "t", "validation_images": 200, "goal": 0.9,
        "baselines": {"best": point(22.0), "default": point(33.0), "median": point(44.0)},
        "uniform": [{"bits": 1, "hardware": "default", **point(11.0, 0.5)}], "modes": modes,
    }  # fmt: skip
    return data | changed


def test_the_comparison():
    """By hand: medians, ratios, spreads, and a difference that the spread of the seeds covers."""
    modes = [
        row("joint", 0, 10.0),
        row("joint", 1, 12.0),
        row("network-hardware", 0, 11.0),
        row("network-hardware", 1, 11.0),
        row("hardware-network", 0, 30.0),
        row("random", 0, None),
    ]
    found = whole(search_of(modes))
    rows = mode_rows(found)
    assert rows[0] == ["joint", 2, 2, 0.9, 4.0, 11000.0, 10.0, 11.0, 12.0, 2.0, 3.0, 4.0]
    assert rows[-1] == ["random", 1, 0, *[None] * 9]
    assert found.lines[0].gain("median") == Spread(44 / 12, 4.0, 4.4)
    assert network_rows(found)[1:] == [
        ["largest", "default", 0.9, 4.0, 33000.0, 33.0, 1.0],
        ["largest", "median", 0.9, 4.0, 44000.0, 44.0, 0.75],
        ["all of 1 bit", "default", 0.5, 4.0, 11000.0, 11.0, 3.0],
    ]
    assert "1.00x" in verdict(found) and "0.92 to 1.10 over the seeds: the seeds overlap" in verdict(found)
    modes[2:4] = [row("network-hardware", 0, 22.0), row("network-hardware", 1, 24.0)]
    assert verdict(whole(search_of(modes))) == (
        "joint search is 2.09x as fast as the better sequential order (network-hardware), 1.83 to 2.40 over the seeds"
    )
    assert "which has no spread" in verdict(whole(search_of([modes[0], modes[2]])))
    assert "not both been run" in verdict(whole(search_of(modes[:2])))


def test_searches_of_one_workload_are_pooled(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Seeds come together, other workloads stand apart; what contradicts itself or is unfinished is refused."""
    one = search_of([row("joint", 0, 10.0), row("network-hardware", 0, 20.0)])
    two = search_of([row("joint", 1, 14.0), row("joint", 0, 10.0)])
    other = search_of([row("joint", 0, 5.0)], spec=one["spec"] | {"dataset": "mnist"})
    for name, data in (("one", one), ("two", two), ("other", other)):
        (tmp_path / name).mkdir()
        write_search(tmp_path / name, data)
    folders = [tmp_path / "one", tmp_path / "two" / "search.json", tmp_path / "other"]
    pooled, alone = compared(folders)
    assert [(line.mode, line.seeds) for line in pooled.lines] == [("joint", 2), ("network-hardware", 1)]
    assert pooled.lines[0].spread("microseconds") == Spread(10.0, 12.0, 14.0)
    assert [line.seeds for line in alone.lines] == [1]
    assert run_command_line(["search", "compare", *map(str, folders), "--out", str(tmp_path / "page")]) == 0
    said = capsys.readouterr().out
    assert said.count("fastest points of the same accuracy") == 2 and "1.67x" in said
    page = (tmp_path / "page" / "comparison.html").read_text()
    assert "resnet-digits with tile-4k, mnist" in page and "12 (10 to 14)" in page and "<svg" not in page
    assert "joint" in (tmp_path / "page" / "comparison.svg").read_text()
    write_search(tmp_path / "two", search_of([row("joint", 0, 11.0)]))
    with pytest.raises(SysmolError, match="another result of joint, seed 0"):
        compared(folders)
    write_search(tmp_path / "two", search_of([], goal=0.8))
    with pytest.raises(SysmolError, match="not one supernet's"):
        compared(folders)
    (tmp_path / "two" / "search.json").unlink()
    with pytest.raises(SysmolError, match="has not come to its end"):
        compared([tmp_path / "two"])
    write_search(tmp_path / "two", search_of([], version=1))
    with pytest.raises(SysmolError, match="lacks cycles"):
        compared([tmp_path / "two"])
    write_search(tmp_path / "two", search_of([{**row("joint", 0, 1.0), "seed": "x"}]))
    with pytest.raises(SysmolError, match="seed"):
        compared([tmp_path / "two"])


def test_a_record_is_read_as_it_was_written(problem: Problem, tmp_path: Path):
    """With cycles that are those of the tile's clock, and the largest network at 4, 2 and 1 bits."""
    goal = plausible(problem.largest()) - 0.02
    spec = load_spec(PACKAGE / "search" / "joint" / "toy.toml")
    results = [run(problem, "random", 8, 0, goal)]
    write_search(tmp_path, record(spec, problem, problem.baselines(), goal, results, 100))
    found = read_search(tmp_path)
    assert [(each["bits"], each["hardware"]) for each in found["uniform"]] == [
        (bits, hardware) for bits in (4, 2, 1) for hardware in ("default", "best")
    ]
    for each in (*found["baselines"].values(), *found["uniform"]):
        clock = tile_of(each["tile"]).clock_ghz
        assert each["cycles"] == pytest.approx(1000 * each["microseconds"] * clock)
    assert found["uniform"][0]["microseconds"] == found["baselines"]["default"]["microseconds"]
    assert {v for k, v in found["uniform"][-1]["network"].items() if k.startswith("bits")} == {1}


def test_accuracies_are_measured_once(tmp_path: Path):
    """Also by a search that begins anew; another supernet's are refused."""
    calls: list[Point] = []

    def measure(asked: Point) -> float:
        calls.append(asked)
        return 0.5

    file, largest_point = tmp_path / "a.json", largest(NETWORKS)
    for _ in range(2):
        assert Accuracies(file, "this", measure).of({"key": largest_point}) == {"key": 0.5}
    assert len(calls) == 1
    with pytest.raises(SysmolError, match="is of another supernet"):
        Accuracies(file, "that", measure)


def test_networks_of_a_round_are_measured_at_the_same_time(costs: Costs, tmp_path: Path):
    """Where the executor has room: a measurement ends when another one has begun."""
    both = threading.Barrier(2, timeout=60)

    def measure(point: Point) -> float:
        both.wait()
        return plausible(point)

    with ThreadPoolExecutor(2) as executor:
        known = Accuracies(tmp_path / "a.json", "this", measure, executor)
        rng = random.Random(SEED)
        points: dict[str, Point] = {}
        while len(points) < 4:
            point = NETWORKS.random(rng)
            points[NETWORKS.key(point)] = point
        assert Problem(NETWORKS, TILES, costs, known.of).accuracies(list(points.values())) == [
            plausible(point) for point in points.values()
        ]
    again = Accuracies(tmp_path / "a.json", "this", lambda point: pytest.fail("measured again"))
    assert again.of(points) == plausible_all(points)


@pytest.mark.slow
def test_other_processes_find_what_one_finds(tmp_path: Path):
    """A search whose accuracies come from two workers has every figure of the search in one process."""
    spec = load_spec(PACKAGE / "search" / "joint" / "toy.toml")
    spec = spec.model_copy(update={"seeds": (0,), "measurements": 11, "modes": ("joint",)})
    alone = campaign(spec, tmp_path / "alone", say=lambda line: None)
    spread = campaign(spec, tmp_path / "spread", say=lambda line: None, jobs=2)
    assert json.dumps(spread, sort_keys=True) == json.dumps(alone, sort_keys=True)


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
    assert "Joint search over the better" in (tmp_path / "comparison.html").read_text()
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
