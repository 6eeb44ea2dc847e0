"""Finished searches beside one another (docs/search.md): times at equal accuracy, and what the seeds leave open."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sysmol.errors import SysmolError
from sysmol.search.joint.modes import MODES
from sysmol.search.joint.results import BASELINES, read_search

SEQUENTIAL = ("network-hardware", "hardware-network")
NOT_OF_THE_WORKLOAD = ("modes", "seeds")
"""Fields of a spec in which searches of one workload may differ."""


@dataclass(frozen=True)
class Spread:
    """Least, median and most of several seeds."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """ValueError of nothing."""
        return cls(min(values), statistics.median(values), max(values))


@dataclass(frozen=True)
class Line:
    """A mode: how many seeds it has, and the points, one of a seed, that are as accurate as the goal asks."""

    mode: str
    seeds: int
    points: tuple[Mapping[str, Any], ...]
    baselines: Mapping[str, Mapping[str, Any]]

    def spread(self, column: str) -> Spread | None:
        """Of ``microseconds``, ``cycles``, ``accuracy`` or ``kibibytes``; None where nothing was found."""
        return Spread.of([float(point[column]) for point in self.points]) if self.points else None

    def gain(self, baseline: str) -> Spread | None:
        """A baseline's time over the points' times."""
        base, own = self.baselines[baseline]["microseconds"], self.spread("microseconds")
        if own is None or base is None:
            return None
        return Spread(base / own.most, base / own.median, base / own.least)


@dataclass
class Comparison:
    """Searches of one workload, put together."""

    spec: Mapping[str, Any]
    goal: float
    sources: tuple[str, str]
    images: int
    baselines: Mapping[str, Mapping[str, Any]]
    uniform: Sequence[Mapping[str, Any]]
    runs: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def title(self) -> str:
        """What was searched."""
        names = [Path(self.spec[name]).stem for name in ("networks", "tiles", "dataset")]
        return "{} with {}, {}".format(*names)

    @property
    def lines(self) -> list[Line]:
        """A line of every mode that was run, in the order of the modes."""
        found = []
        for mode in MODES:
            own = [run for run in self.runs if run["mode"] == mode]
            if own:
                points = tuple(run["best"] for run in own if run["best"] and run["best"]["microseconds"] is not None)
                found.append(Line(mode, len(own), points, self.baselines))
        return found

    @property
    def measurements(self) -> list[int]:
        """The different numbers of measurements of the runs: one, where the comparison is a fair one."""
        return sorted({int(run["measurements"]) for run in self.runs})

    def claim(self) -> tuple[str, Spread] | None:
        """The better sequential order, and its time over joint search's: of the medians, and the least and the most
        that any two seeds give. None where one of the two is not there."""
        times = {line.mode: line.spread("microseconds") for line in self.lines}
        joint = times.get("joint")
        orders = {mode: spread for mode in SEQUENTIAL if (spread := times.get(mode)) is not None}
        if joint is None or not orders:
            return None
        order = min(orders, key=lambda mode: orders[mode].median)
        other = orders[order]
        return order, Spread(other.least / joint.most, other.median / joint.median, other.most / joint.least)


def compared(paths: Sequence[str | Path]) -> list[Comparison]:
    """The searches of these folders, those of one workload together. :class:`SysmolError` where two say different
    things of one mode and seed, or of the baselines."""
    found: dict[str, Comparison] = {}
    for path in paths:
        _add(found, path, read_search(path))
    return list(found.values())


def whole(data: Mapping[str, Any]) -> Comparison:
    """A single search."""
    found: dict[str, Comparison] = {}
    _add(found, "the search", data)
    return next(iter(found.values()))


def _add(found: dict[str, Comparison], path: str | Path, data: Mapping[str, Any]) -> None:
    workload = {name: value for name, value in data["spec"].items() if name not in NOT_OF_THE_WORKLOAD}
    key = json.dumps([workload, data["accuracy_source"], data["time_source"]], sort_keys=True)
    baselines = {name: data["baselines"][name] for name in BASELINES}
    fresh = Comparison(
        workload, data["goal"], (data["accuracy_source"], data["time_source"]), data["validation_images"], baselines,
        data["uniform"],
    )  # fmt: skip
    own = found.setdefault(key, fresh)
    if own.baselines != fresh.baselines or own.goal != fresh.goal:
        raise SysmolError(f"{path} has other baselines than searches of the same spec before it: not one supernet's")
    known = {(run["mode"], run["seed"]): run for run in own.runs}
    for run in data["modes"]:
        earlier = known.get((run["mode"], run["seed"]))
        if earlier is None:
            own.runs.append(run)
        elif earlier != run:
            raise SysmolError(f"{path} has another result of {run['mode']}, seed {run['seed']}, than one before it")


def verdict(comparison: Comparison) -> str:
    """The claim of the protocol: joint against the better of the two sequential orders."""
    claim = comparison.claim()
    if claim is None:
        return "joint search and a sequential order have not both been run, or found nothing as accurate"
    order, ratio = claim
    lines = {line.mode: line for line in comparison.lines}
    few = min(len(lines[mode].points) for mode in ("joint", order))
    text = f"joint search is {ratio.median:.2f}x as fast as the better sequential order ({order})"
    if few < 2:
        return f"{text}: of one seed, which has no spread"
    text += f", {ratio.least:.2f} to {ratio.most:.2f} over the seeds"
    return text if ratio.least > 1 or ratio.most < 1 else f"{text}: the seeds overlap, so this is no difference"
