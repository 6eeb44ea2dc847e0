"""What a search varies, in which order. A measurement is one network on one tile; every mode has as many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from sysmol.errors import SysmolError
from sysmol.search.joint.search import Measured, Problem, search
from sysmol.search.spaces import Point

MODES = ("joint", "network", "hardware", "network-hardware", "hardware-network", "random")


@dataclass
class Result:
    """Everything that a mode measured, in order."""

    mode: str
    seed: int
    measured: list[Measured] = field(default_factory=list)

    def best(self, accuracy: float) -> Measured | None:
        """The fastest of at least that accuracy; None where nothing is as good."""
        good = [each for each in self.measured if each.accuracy >= accuracy and np.isfinite(each.nanoseconds)]
        return min(good, key=lambda each: each.nanoseconds, default=None)


def run(problem: Problem, mode: str, measurements: int, seed: int, accuracy: float) -> Result:
    """Search in a mode. ``accuracy``: what the sequential modes ask of what they hand on. :class:`SysmolError` for an
    unknown mode."""
    if mode not in MODES:
        raise SysmolError(f"there is no mode {mode!r}: choose from {', '.join(MODES)}")
    result, half = Result(mode, seed), measurements // 2
    default, whole = problem.default_tile(), problem.largest()

    def part(count: int, network: Point | None, tile: Point | None) -> list[Measured]:
        return search(problem, count, seed, network, tile, guided=mode != "random")

    parts: dict[str, Callable[[], None]] = {
        "joint": lambda: result.measured.extend(part(measurements, None, None)),
        "random": lambda: result.measured.extend(part(measurements, None, None)),
        "network": lambda: result.measured.extend(part(measurements, None, default)),
        "hardware": lambda: result.measured.extend(part(measurements, whole, None)),
        "network-hardware": lambda: _then(result, part, half, measurements - half, accuracy, True, default, whole),
        "hardware-network": lambda: _then(result, part, half, measurements - half, accuracy, False, default, whole),
    }
    parts[mode]()
    return result


def _then(
    result: Result, part: Callable[[int, Point | None, Point | None], list[Measured]], first: int, second: int,
    accuracy: float, network_first: bool, default: Point, whole: Point,
) -> None:  # fmt: skip
    """One after the other: the second half starts from the best of the first, or from the fixed one where none is good
    enough."""
    result.measured += part(first, None, default) if network_first else part(first, whole, None)
    best = result.best(accuracy)
    if network_first:
        result.measured += part(second, best.network if best else whole, None)
    else:
        result.measured += part(second, None, best.tile if best else default)
