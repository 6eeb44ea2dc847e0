"""Rounds of a search in the manner of LINAS (Cummings et al., 2022): measure some points, fit a predictor of accuracy,
look for good points with it by NSGA-II, measure the most promising and the least certain of them, and so on.

Time and size come from the closed form of the tile, so only accuracy is predicted. Needs pymoo (the extra ``search``).
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sysmol.errors import SysmolError
from sysmol.search.joint.workload import Costs, tile_of
from sysmol.search.spaces import Point, Space
from sysmol.search.supernet.families import largest

Floats = npt.NDArray[np.float64]
Accuracies = Callable[[Mapping[str, Point]], Mapping[str, float]]
ROUND = 10
"""Measurements between two fits of the predictor."""
GENERATIONS, POPULATION = 12, 40


@dataclass(frozen=True)
class Measured:
    """A network on a tile: accuracy on validation images, estimated time of an image, KiB of weights."""

    network: Point
    tile: Point
    accuracy: float
    nanoseconds: float
    kibibytes: float


class Problem:
    """Spaces of networks and tiles, and who measures: ``accuracies`` of networks by their keys, each asked for once."""

    def __init__(self, networks: Space, tiles: Space, costs: Costs, accuracies: Accuracies) -> None:
        if tiles.kind != "tile" or networks.kind != "network":
            raise SysmolError(f"a search needs a space of networks and one of tiles, not {networks.name}, {tiles.name}")
        self.networks, self.tiles, self.costs, self._accuracies = networks, tiles, costs, accuracies
        self._known: dict[str, float] = {}
        self.all_tiles = list(tiles.points())
        if not self.all_tiles:
            raise SysmolError(f"the space {tiles.name} is empty")

    def accuracies(self, networks: Sequence[Point]) -> list[float]:
        """Of networks, which are measured together, each once."""
        keys = [self.networks.key(network) for network in networks]
        missing = {key: point for key, point in zip(keys, networks, strict=True) if key not in self._known}
        self._known |= self._accuracies(missing)
        return [self._known[key] for key in keys]

    def accuracy(self, network: Point) -> float:
        """Of one network."""
        return self.accuracies([network])[0]

    def measure(self, network: Point, tile: Point) -> Measured:
        """One measurement."""
        time = self.costs.nanoseconds(network, tile_of(self.tiles, tile))
        return Measured(network, tile, self.accuracy(network), time, self.costs.kibibytes(network))

    def largest(self) -> Point:
        """The largest network."""
        return largest(self.networks)

    def default_tile(self) -> Point:
        """The first tile that lies nearest to the middle of every gene's choices."""
        distances = [sum((f - 0.5) ** 2 for f in self.tiles.features(tile) if f >= 0) for tile in self.all_tiles]
        return self.all_tiles[int(np.argmin(distances))]

    def fastest_tile(self, network: Point) -> Point | None:
        """The tile that computes a network in the shortest time, of all; None where none computes it."""
        times = self.costs.times([(network, tile_of(self.tiles, tile)) for tile in self.all_tiles])
        best = int(np.argmin(times))
        return self.all_tiles[best] if np.isfinite(times[best]) else None

    def uniform(self) -> dict[int, dict[str, Measured]]:
        """The largest network with the same bits everywhere, by bits: on the default tile and on the best one for it.
        Bits that a gene does not offer are left out."""
        genes = [gene for gene in self.networks.genes if gene.name.startswith("bits")]
        shared = [bits for bits in (4, 2, 1) if genes and all(bits in gene.choices for gene in genes)]
        found: dict[int, dict[str, Measured]] = {}
        for bits in shared:
            same = {name: bits for name in self.largest() if name.startswith("bits")}
            network = {**self.largest(), **same}
            tiles = {"default": self.default_tile(), "best": self.fastest_tile(network)}
            found[bits] = {name: self.measure(network, tile) for name, tile in tiles.items() if tile is not None}
        return found

    def baselines(self) -> dict[str, Measured]:
        """The largest network on the best tile for it, the default and the median one."""
        times = self.costs.times([(self.largest(), tile_of(self.tiles, tile)) for tile in self.all_tiles])
        order = [int(i) for i in np.argsort(times) if np.isfinite(times[i])]
        if not order:
            raise SysmolError(f"no tile of {self.tiles.name} computes the largest network of {self.networks.name}")
        chosen = {
            "best": self.all_tiles[order[0]],
            "default": self.default_tile(),
            "median": self.all_tiles[order[len(order) // 2]],
        }
        return {name: self.measure(self.largest(), tile) for name, tile in chosen.items()}


def search(
    problem: Problem, count: int, seed: int, network: Point | None, tile: Point | None, guided: bool = True
) -> list[Measured]:
    """``count`` measurements; ``network`` and ``tile`` are fixed where they are given. Not ``guided``: at random."""
    rng = random.Random(f"{seed} {network is None} {tile is None}")
    found: list[Measured] = []
    seen: set[tuple[str, str]] = set()

    def measure(pair: tuple[Point, Point]) -> None:
        seen.add(_key(problem, pair))
        found.append(problem.measure(*pair))

    def draw() -> tuple[Point, Point]:
        own = network if network is not None else problem.networks.random(rng)
        return own, tile if tile is not None else rng.choice(problem.all_tiles)

    while len(found) < count:
        fresh: list[tuple[Point, Point]] = []
        if guided and len(found) >= ROUND:
            fresh = _propose(problem, found, seen, network, tile, rng)
        for _ in range(20 * ROUND):
            if len(fresh) >= ROUND:
                break
            pair = draw()
            if _key(problem, pair) not in seen and pair not in fresh:
                fresh.append(pair)
        if not fresh:  # everything has been measured; what is measured again counts again
            fresh = [draw()]
        chosen = fresh[: min(ROUND, count - len(found))]
        problem.accuracies([pair[0] for pair in chosen])
        for pair in chosen:
            measure(pair)
    return found


def _key(problem: Problem, pair: tuple[Point, Point]) -> tuple[str, str]:
    return problem.networks.key(pair[0]), problem.tiles.key(pair[1])


def _propose(
    problem: Problem, found: Sequence[Measured], seen: set[tuple[str, str]], network: Point | None,
    tile: Point | None, rng: random.Random,
) -> list[tuple[Point, Point]]:  # fmt: skip
    """New points: of what NSGA-II finds on the predicted front, half by promise, a quarter by uncertainty. Of one
    network, the tiles that compute it fastest."""
    if network is not None:
        fresh = [(network, each) for each in problem.all_tiles if _key(problem, (network, each)) not in seen]
        if not fresh:
            return []
        times = problem.costs.times([(network, tile_of(problem.tiles, each)) for _, each in fresh])
        return [fresh[index] for index in np.argsort(times, kind="stable")]
    predict = fit(problem.networks, found)
    candidates = [pair for pair in evolve(problem, predict, found, tile, rng) if _key(problem, pair) not in seen]
    if not candidates:
        return []
    means, spreads = predict([pair[0] for pair in candidates])
    by_promise = sorted(range(len(candidates)), key=lambda i: -(means[i] + spreads[i]))
    by_doubt = sorted(range(len(candidates)), key=lambda i: -spreads[i])
    # Promise at every time: the candidates that no other beats in both.
    front = _front([(candidates[i], -(means[i] + spreads[i])) for i in by_promise], problem)
    chosen = dict.fromkeys([*front, *(_key(problem, candidates[i]) for i in by_doubt[: ROUND // 4])])
    by_key = {_key(problem, pair): pair for pair in candidates}
    return [by_key[key] for key in chosen]


def _front(scored: list[tuple[tuple[Point, Point], float]], problem: Problem) -> list[tuple[str, str]]:
    """Keys of the pairs that none beats in time and score, the fastest first, spread over their times."""
    times = problem.costs.times([(pair[0], tile_of(problem.tiles, pair[1])) for pair, _ in scored])
    kept, best = [], np.inf
    for _, (pair, score) in sorted(zip(times, scored, strict=True), key=lambda each: (each[0], each[1][1])):
        if score < best:
            best = score
            kept.append(_key(problem, pair))
    even = np.unique(np.linspace(0, len(kept) - 1, min(ROUND // 2, len(kept))).round().astype(int))
    return [kept[index] for index in even]


Predict = Callable[[Sequence[Point]], tuple[Floats, Floats]]


def fit(space: Space, found: Sequence[Measured]) -> Predict:
    """A predictor of accuracy, mean and standard deviation, by a Gaussian process over the genes."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, WhiteKernel

    known = {space.key(each.network): each for each in found}
    x = np.array([space.features(each.network) for each in known.values()])
    y = np.array([each.accuracy for each in known.values()])
    kernel = RBF(np.sqrt(x.shape[1]), (0.3, 30.0)) + WhiteKernel(0.05, (1e-3, 1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a value at its bound is one of the expected answers
        process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0).fit(x, y)

    def predict(points: Sequence[Point]) -> tuple[Floats, Floats]:
        mean, spread = process.predict(np.array([space.features(point) for point in points]), return_std=True)
        return np.asarray(mean), np.asarray(spread)

    return predict


def evolve(
    problem: Problem, predict: Predict, found: Sequence[Measured], tile: Point | None, rng: random.Random
) -> list[tuple[Point, Point]]:
    """Pairs on the front of predicted accuracy and time, by NSGA-II over the indices of choices; tiles are numbered, so
    that every individual keeps the budgets."""
    try:
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.core.problem import Problem as Pymoo
        from pymoo.operators.crossover.sbx import SBX
        from pymoo.operators.mutation.pm import PM
        from pymoo.operators.repair.rounding import RoundingRepair
        from pymoo.optimize import minimize
    except ImportError:
        raise SysmolError("searches need pymoo: pip install 'sysmol[search]'") from None
    genes = [len(gene.choices) - 1 for gene in problem.networks.genes]
    upper = [*genes, *([] if tile is not None else [len(problem.all_tiles) - 1])]

    def pair(row: npt.NDArray[np.int64]) -> tuple[Point, Point]:
        own = problem.networks.decode(row[: len(genes)])
        return own, tile if tile is not None else problem.all_tiles[int(row[-1])]

    class Pairs(Pymoo):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(n_var=len(upper), n_obj=2, xl=np.zeros(len(upper)), xu=np.array(upper), vtype=int)

        def _evaluate(self, x: npt.NDArray[np.int64], out: dict[str, Floats], *_: object, **__: object) -> None:
            pairs = [pair(row) for row in x]
            accuracy = predict([each[0] for each in pairs])[0]
            times = problem.costs.times([(each[0], tile_of(problem.tiles, each[1])) for each in pairs])
            out["F"] = np.column_stack([-accuracy, np.log(np.minimum(times, 1e15))])

    start = np.array([_indices(problem, each, tile) for each in found[-POPULATION:]])
    more = np.array([[rng.randint(0, top) for top in upper] for _ in range(max(0, POPULATION - len(start)))])
    algorithm = NSGA2(
        pop_size=POPULATION,
        sampling=np.vstack([start, more.reshape(-1, len(upper))]),
        crossover=SBX(prob=0.9, eta=3.0, vtype=float, repair=RoundingRepair()),
        mutation=PM(eta=3.0, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    result = minimize(Pairs(), algorithm, ("n_gen", GENERATIONS), seed=rng.randrange(1 << 30), verbose=False)
    population = result.pop.get("X").astype(np.int64)
    return list({_key(problem, found_): found_ for found_ in map(pair, population)}.values())


def _indices(problem: Problem, each: Measured, tile: Point | None) -> list[int]:
    return [*problem.networks.encode(each.network), *([] if tile is not None else [problem.all_tiles.index(each.tile)])]
