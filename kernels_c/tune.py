"""Search for the best schedules of a network's convolutions: rank by calculated cycles, measure the best few.

A candidate is measured in the whole network, where caches and neighbours are as they will be: run ``k`` gives every
layer its ``k``-th candidate, so a few simulations measure as many candidates of all layers at once. Candidate 0 is the
heuristic's choice. A simulation is a process and a folder of its own; folders whose simulation is complete are reused.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sysmol.errors import SysmolError
from sysmol.kernels_c.build import compile_network, target_named
from sysmol.kernels_c.micro import micro_class
from sysmol.kernels_c.micro.step import STEPS
from sysmol.kernels_c.nest import LoopNest
from sysmol.kernels_c.operations import kernel
from sysmol.kernels_c.plan import schedule_file as store
from sysmol.kernels_c.plan.heuristic import LayerShape, yflows_schedules
from sysmol.kernels_c.plan.layout import Place
from sysmol.kernels_c.plan.options import DEFAULT, Options
from sysmol.kernels_c.program import places_of, region_of
from sysmol.kernels_c.targets import Target
from sysmol.network import Layer, Network, load
from sysmol.schedule import PER_OUTPUT, Schedule

Estimate = Callable[[Mapping[str, Any]], float]
"""Cycles of a manifest's region."""
Measure = Callable[[Path, Path], tuple[dict[str, float], str]]
"""Cycles by layer, and who measured, of an executable's manifest in a run folder."""

LARGEST_TILE = 8
"""Rows and columns of pixels that a candidate's tile may have."""
STRAIGHT = 640
"""Multiply-accumulates up to which a candidate unrolls the whole kernel."""
WIDEST_TILE = 8
"""Blocks of 8 output channels that a candidate's tile may have."""


@dataclass(frozen=True)
class Candidate:
    """A schedule and its estimated cycles."""

    schedule: Schedule
    cycles: float


@dataclass
class Result:
    """What is known about the layers of one shape. ``measured``: cycles by schedule, one layer's."""

    layers: list[str]
    facts: dict[str, Any]
    candidates: list[Candidate]
    measured: dict[str, float]
    source: str = "estimate"

    @property
    def heuristic(self) -> str:
        """The heuristic's schedule."""
        return str(self.candidates[0].schedule)

    def cycles(self, schedule: str) -> float:
        """Cycles of a schedule: measured, or estimated where nothing was measured."""
        if self.measured:
            return self.measured[schedule]
        return next(c.cycles for c in self.candidates if str(c.schedule) == schedule)

    @property
    def best(self) -> str:
        """The schedule with the fewest cycles; the heuristic's where it is as good."""
        names = list(self.measured) or [str(c.schedule) for c in self.candidates]
        return min(names, key=lambda name: (self.cycles(name), name != self.heuristic))

    def entry(self) -> dict[str, Any]:
        """The entry of :mod:`sysmol.kernels_c.plan.schedule_file`."""
        return {
            **self.facts,
            "schedule": self.best,
            "cycles": self.cycles(self.best),
            "heuristic": {"schedule": self.heuristic, "cycles": self.cycles(self.heuristic)},
            "measured": self.measured,
            "source": self.source,
        }


def register_tiles(nest: LoopNest, layer: Layer, target: Target) -> list[Schedule]:
    """Register tiles in the nest's style that its registers and its output allow, with some unrolling."""
    style = nest.style()
    kind = micro_class(style, layer, nest.source, target)
    result = []
    for blocks in range(1, min(WIDEST_TILE, len(nest.blocks)) + 1):
        for rows in range(1, min(LARGEST_TILE, nest.height) + 1):
            for columns in range(1, min(LARGEST_TILE, nest.width) + 1):
                schedule = Schedule("os", 8 * blocks, rows, columns, style)
                if kind.work(blocks, rows * columns) == float("inf"):
                    continue
                try:
                    schedule.check()
                except SysmolError:
                    continue
                result.append(schedule)
    return result


def single_tiles(nest: LoopNest, layer: Layer, target: Target) -> list[Schedule]:
    """YFlows' extended kernels with one accumulator, in the steps that serve the layer."""
    result = []
    for style, step in STEPS.items():
        if style in (nest.style(), *PER_OUTPUT) and step.serves(layer, nest.source, target):
            vectors = step(layer, nest.source).vectors
            shape = LayerShape(layer.kernel, layer.stride, nest.height, nest.width, vectors)
            result += [s for name, s in yflows_schedules(shape, style).items() if not name.endswith("basic")]
    return list(dict.fromkeys(result))


def variants(schedule: Schedule, steps: int, rows: int) -> list[Schedule]:
    """A register tile in straight code, and with pixels outside of output channels; most promising first.

    ``steps`` of a kernel row, ``rows`` of the kernel. Half a tile has half the epilogue, which the next tile's
    multiply-accumulates hide better, and straight code frees the instructions for that.
    """
    if schedule.single:
        return []
    tiles = [schedule]
    if schedule.columns % 2 == 0:
        tiles.insert(0, replace(schedule, columns=schedule.columns // 2))
    whole = [steps * (rows if tile.channels * tile.pixels * steps * rows <= STRAIGHT else 1) for tile in tiles]
    unrolled = [replace(tile, unroll=n) for tile, n in zip(tiles, whole, strict=True) if n > 1]
    return [*unrolled, replace(schedule, block=1)]


def candidates(
    net: Network, layer: Layer, places: dict[str, Place], target: Target, options: Options, estimate: Estimate
) -> list[Candidate]:
    """The heuristic's choice first, then all others that are legal, by their estimated cycles."""
    plain = replace(options, schedules={})
    nest = kernel(net, layer, places, target, plain)
    if not isinstance(nest, LoopNest):
        raise SysmolError(f"layer {layer.name} has no schedule")

    def rated(schedules: Sequence[Schedule]) -> list[Candidate]:
        found = []
        for schedule in schedules:
            try:
                region = region_of(net, layer, places, target, replace(plain, schedules={layer.name: schedule}))
            except SysmolError:
                continue  # not legal for this layer
            found.append(Candidate(schedule, estimate(asdict(region))))
        return sorted(found, key=lambda candidate: candidate.cycles)

    own = rated([nest.schedule])
    others = rated(register_tiles(nest, layer, target) + single_tiles(nest, layer, target))
    best = own + [c for c in others if c.schedule != nest.schedule]
    tile = min(best, key=lambda c: c.cycles).schedule
    steps = nest.micro(nest.blocks[: max(1, nest.schedule.channels // 8)]).steps
    changed = [c for each in variants(tile, steps, layer.kernel[0]) if each != nest.schedule for c in rated([each])]
    return best[:1] + changed + best[1:]


def spread(found: Sequence[Candidate], count: int) -> list[Candidate]:
    """The ``count`` candidates to measure: the heuristic's, then tiles and variants of the best tile in turn."""
    changed = [c for c in found[1:] if c.schedule.unroll or c.schedule.block]
    tiles = [c for c in found[1:] if c not in changed]
    turns = [c for pair in zip(tiles, changed, strict=False) for c in pair]
    return [found[0], *turns, *(c for c in tiles if c not in turns)][:count]


def search(
    path: str | Path,
    isa: str,
    machine: str,
    folder: Path,
    estimate: Estimate,
    measure: Measure | None,
    count: int = 6,
    options: Options = DEFAULT,
    say: Callable[[str], None] = print,
    source: str = "estimate",
) -> list[Result]:
    """Results for every shape of convolution in a network file, in the order of the layers.

    ``measure`` simulates one executable (it may answer from a finished run folder); without it ``estimate`` decides,
    whose name is ``source``.
    """
    net, target = load(Path(path)), target_named(isa)
    places = places_of(net, options)
    results: dict[str, Result] = {}
    for layer in store.convolutions(net):
        facts = store.description(net, layer, isa, machine)
        name = store.key(facts)
        if name in results:
            results[name].layers.append(layer.name)
            continue
        found = candidates(net, layer, places, target, options, estimate)
        results[name] = Result([layer.name], facts, found, {}, source)
        say(f"{layer.name}: {len(found)} candidates, {found[0].schedule} by the heuristic")
    if measure is None or not results:
        return list(results.values())
    chosen = {name: spread(result.candidates, count) for name, result in results.items()}
    for k in range(max(map(len, chosen.values()))):
        schedules = {
            layer: own[min(k, len(own) - 1)].schedule for name, own in chosen.items() for layer in results[name].layers
        }
        variant = f"candidate{k}"
        manifest = compile_network(path, isa, folder / "bin", variant, options=replace(options, schedules=schedules))
        cycles, source = measure(manifest, folder / "runs" / f"{variant}-{isa}")
        say(f"measured candidate {k} of every layer: {sum(cycles.values()):,.0f} cycles")
        for name, own in chosen.items():
            if k < len(own):
                layers = results[name].layers
                results[name].measured[str(own[k].schedule)] = sum(cycles[layer] for layer in layers) / len(layers)
                results[name].source = source
    return list(results.values())
