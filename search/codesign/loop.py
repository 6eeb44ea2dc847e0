"""train -> precisions -> patterns -> training under them -> code -> cycles -> layer costs -> train, round by round.

Every round trains with noise, its size penalty weighing each layer's bits by the cycles that the previous round's code
took for them; chooses the hardware's patterns for the precisions that came out; trains the network under these patterns
and under a limit of cycles; and measures the generated code. The limit is a share of what uniform 4-bit takes. It falls
by a quarter as long as the network keeps its accuracy on held-out images, and otherwise goes back half of the way to
the last limit that was kept. Where cycles can fall no further, the stored bits go the same way at those cycles.

Nothing but files carries over: a run that was killed replays what its checkpoints, executables and simulations hold.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sysmol.analysis.costs.area import array_budget, chunk_area, unit_area
from sysmol.analysis.costs.objectives import objective
from sysmol.analysis.costs.quantity import Quantity
from sysmol.analysis.costs.vectors import Costs
from sysmol.files import make_folder
from sysmol.isas import HOST
from sysmol.machine import machine_files
from sysmol.network import save
from sysmol.pattern import PATTERNS, UNIFORM
from sysmol.patterns.area_budget import choose_within_area
from sysmol.patterns.selection import Choice, Demand, choose
from sysmol.search.codesign.descent import Descent, Limits
from sysmol.search.codesign.measure import Bench
from sysmol.search.codesign.settings import Settings
from sysmol.train.frontend.data import Dataset, load, source_files
from sysmol.train.quantise.allocate import (
    allocate,
    learned_scores,
    least_limits,
    sensitivity,
    uniform_cost,
    vector_cost,
)
from sysmol.train.quantise.modes import FLOAT
from sysmol.train.quantise.prepared import Prepared
from sysmol.train.quantise.trainer import accuracy, settle_statistics
from sysmol.train.recipes.pipeline import Trained, build_pipeline, schedule_of
from sysmol.train.recipes.variants import Variant, variant
from sysmol.workbench import provenance
from sysmol.workbench.key import Step, Task
from sysmol.workbench.steps.train import subject_options, users_code
from sysmol.workbench.store import Store
from sysmol.workbench.view import View

BASELINES = ("fp32", "int8")
"""What every design is shown beside: networks without SMOL codes, from the same training."""
FIRST_SHARE = 0.75
"""The first round's limit."""
GAIN_SHARE = 0.1
"""The accuracy that all promotions together would bring is worth this share of the cycles in the choice of patterns."""
CLOSE_TO_LIMIT = 1.02
"""Figures up to so many times a limit keep it."""
ALL = tuple(range(len(PATTERNS)))


STEP = Step("codesign", 1, f"{__name__}:Loop", resumes=("rounds",))
"""The run as a step: more rounds go on where fewer ended."""


def training(settings: Settings, gem5: Path | None) -> Task:
    """Everything that the course of a run depends on."""
    names = ("dataset", "model", "machine", "device")
    options = {name: value for name, value in asdict(settings).items() if name not in names}
    isas = (HOST, settings.isa)
    return Task(
        STEP,
        options=options | subject_options(settings.dataset, settings.model, settings.device),
        reads=(*source_files(settings.dataset), *machine_files(settings.machine)),
        code=users_code(settings.model),
        tools={} if gem5 is None else {"gem5": gem5},
        variables=tuple(f"SYSMOL_CC_{isa.upper()}" for isa in isas),
    )


@dataclass(frozen=True)
class Row:
    """One network: a round of the loop, or a design point beside it. Accuracies are shares of the images, energies pJ
    per image with the ends of their interval (None where there are no constants), areas um2 of the SMOL units;
    ``within``: the limit of area. ``reached``: share of uniform 4-bit's cycles or energy by the row's own figures, in
    the layers that the limit counts (None without a limit)."""

    name: str
    design: str
    patterns: tuple[int, ...]
    limits: Limits
    validation: float
    accuracy_float: float
    accuracy_integer: float
    bits_per_parameter: float
    file_bytes: int
    cycles: float
    source: str
    kept: bool
    improved: bool
    energy: float | None = None
    energy_low: float | None = None
    energy_high: float | None = None
    area: float | None = None
    within: bool = True
    reached: float | None = None

    @property
    def missed(self) -> str:
        """What the row's own figures say where they are over its limits; empty where they keep them."""
        over = []
        if self.reached is not None and self.reached > CLOSE_TO_LIMIT * self.limits.share:
            over.append(f"{self.reached:.0%} of w4's {self.limits.of}")
        if self.limits.bits is not None and self.bits_per_parameter > CLOSE_TO_LIMIT * self.limits.bits:
            over.append(f"{self.bits_per_parameter:.2f} bits")
        return ", ".join(over)

    def record(self) -> dict[str, Any]:
        """For tables: patterns and limits as words."""
        words = {"patterns": " ".join(map(str, self.patterns)), "limits": str(self.limits), "missed": self.missed}
        return self.__dict__ | words

    def better_than(self, other: Row | None, name: str = "cycles") -> bool:
        """Whether it kept its accuracy, within the area, in fewer cycles or less energy (``name`` of the objective), or
        in as many and fewer bytes (differences of 2% count)."""
        good = self.kept and self.within
        if not good or other is None:
            return good
        own, others = (objective(name).of(row.__dict__) for row in (self, other))
        fewer, no_more = own < 0.98 * others, own < 1.02 * others
        return fewer or (no_more and self.file_bytes < 0.98 * other.file_bytes)


def hold_out(data: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """Training data without a random share of its images, and a data set whose test images those are."""
    order = torch.randperm(len(data.train_images), generator=torch.Generator().manual_seed(seed)).numpy()
    count = max(1, round(share * len(order)))
    held, rest = order[:count], order[count:]
    training = replace(data, train_images=data.train_images[rest], train_labels=data.train_labels[rest])
    return training, replace(training, test_images=data.train_images[held], test_labels=data.train_labels[held])


class Loop:
    """A run in one folder; :meth:`rows` yields every network as soon as it is measured."""

    def __init__(
        self, folder: Path, settings: Settings, say: Callable[[str], None], quiet: bool = False,
        gem5: Path | None = None,
    ) -> None:  # fmt: skip
        self.folder = make_folder(folder).resolve()
        self.settings, self.say = settings, say
        self.store = Store(self.folder / "store")
        self.view = View(self.store, self.folder)
        self.bench = Bench(self.store, self.view, settings, say, gem5)
        self.data, self.validation = hold_out(load(settings.dataset), settings.held_out, settings.seed)
        self.task = training(settings, self.bench.gem5)
        checkpoints = make_folder(self.store.resume_folder(self.task))
        self.pipeline = build_pipeline(
            self.data,
            settings.model,
            replace(
                schedule_of(settings.schedule), layer_bits=settings.layer_bits, normalisation=settings.normalisation
            ),
            settings.seed,
            checkpoints,
            quiet=quiet,
            device=settings.device,
        )
        self.pipeline.check([variant("mixed")])
        self.pipeline.facts["codesign"] = self.task.resumes_at
        self.goal = 0.0
        self.best: Row | None = None
        self.uniform: Costs | None = None

    # --- the run -----------------------------------------------------------------------------------------------------

    def rows(self) -> Iterator[Row]:
        """Uniform 4-bit, whose cycles are the measure of the limits; the baselines; the rounds; then the other design
        points."""
        with self.store.alone(self.folder):
            yield from self._rows()
            self.view.finish()
            provenance.write(self.folder / "rounds.csv", [self.task.inputs, *self.view.inputs])

    def _rows(self) -> Iterator[Row]:
        module = self.pipeline.fp32()
        start = self._validate(module)
        self.goal = start - self.settings.drop / 100
        self.say(f"full precision: {start:.2%} of the held-out images; the goal is {self.goal:.2%}")
        uniform, measured = self._uniform("w4")
        self.uniform = measured
        yield uniform
        for policy in BASELINES:
            yield self._measure(self.pipeline.train(policy), policy, (), Limits(1.0))[0]
        state = self._start(measured)
        last: tuple[Prepared, Limits] | None = None
        cycles, size = Descent(FIRST_SHARE, 1.0), None
        for number in range(1, self.settings.rounds + 1):
            limits = Limits(cycles.value, size.value if size else None, self.settings.objective)
            before = copy.deepcopy(state)
            choice = self._learn(state, f"round-{number}", limits)
            learned = copy.deepcopy(state)
            row, measured = self._finish(state, f"round-{number}", self._design, choice, limits)
            yield row
            self._tell(row)
            state.costs = measured.weights(self.settings.objective)
            reached = row.bits_per_parameter if size else layout_share(state)
            if self.settings.area and not size:  # hardware of this area may miss the limit until channels are narrower
                reached = min(reached, cycles.value)
            (size or cycles).tell(row.kept, reached)
            if row.kept or last is None:
                last = learned, limits
            else:  # what lost too much accuracy is no start for the next round
                state = before
                state.costs = measured.weights(self.settings.objective)
            least_bits, least_cost = least_limits(state, ALL)
            if size is None and not cycles.go_on(least_cost / uniform_cost(state)):
                stays = f"{cycles.kept:.0%} of uniform 4-bit's {self.settings.objective}"
                self.say(f"{stays} is where the limit stays; now the size")
                if not last or not self.best:
                    break
                size = Descent(0.0, self.best.bits_per_parameter)
            if size is not None and not size.go_on(least_bits):
                self.say(f"size: {size.kept:.2f} bits per parameter is where it stays: no further round")
                break
        yield from self._design_points(*last) if last else ()

    def _tell(self, row: Row) -> None:
        verdict = "improves on all before" if row.improved else "does not improve"
        missed = f", a limit that {row.source} finds missed ({row.missed})" if row.missed else ""
        self.say(f"{row.name}: accuracy {'kept' if row.kept else 'lost'} at {row.limits}{missed}; {verdict}")

    def _start(self, measured: Costs) -> Prepared:
        """The full-precision network with learned precisions, and layer costs of uniform 4-bit."""
        prepared = self.pipeline.prepared("mixed")
        prepared.costs = measured.weights(self.settings.objective)
        return prepared

    def _learn(self, state: Prepared, name: str, limits: Limits) -> Choice:
        """Phase 1 under the layers' costs, then the patterns that suit what was learned."""
        settings = self.settings
        state.mode = FLOAT
        state.train().calibrate(self.pipeline.calibration)
        state.start_noise()
        # The penalty rests where the limit is met: its weights are the layers' costs, and 4 bits cost all of them.
        phase = replace(
            self.pipeline.schedule.noise, name=f"{name}-noise", epochs=settings.noise_epochs,
            floor_bits=max(1.0, min(4 * limits.share, limits.bits or 4.0)),
        )  # fmt: skip
        self.pipeline.trainer.fit(state, phase)
        return self.patterns(state, None if settings.area else settings.patterns, limits)

    @property
    def _design(self) -> str:
        """The hardware of the rounds, by its number of patterns or by its area."""
        area = self.settings.area
        return f"P{self.settings.patterns}" if area is None else f"{area:g} um2"

    def patterns(self, state: Prepared, count: int | None, limits: Limits) -> Choice:
        """The best patterns for what channels would have with all 45 under the limits: at most ``count``, or (None)
        those that the area allows."""
        torch.manual_seed(self.settings.seed)
        images = self.data.train_images[: self.pipeline.schedule.statistics]
        labels = torch.from_numpy(self.data.train_labels[: len(images)])
        slopes = sensitivity(state, self.pipeline.data.real(images), labels)
        free = allocate(state, ALL, learned_scores(state), *met(state, limits, ALL))
        asked = {name: torch.from_numpy(found.precisions).float() for name, found in free.items()}
        demands = state.demands(asked, slopes)
        most = sum(g[0] * d.counts[1] + max(g[1:]) * d.counts[2] for d in demands for g in [d.gains])
        cycles = sum(d.cycles for d in demands)
        weight = GAIN_SHARE * cycles / most if most else 0.0
        if count is None:
            assert self.settings.area is not None
            return choose_within_area(demands, chunk_area(), array_budget(self.settings.area), weight)
        return choose_within(demands, count, weight, lambda ids: fits_bits(state, limits, ids))

    def _finish(self, state: Prepared, name: str, design: str, choice: Choice, limits: Limits) -> tuple[Row, Costs]:
        """Phase 2 under patterns and limits, export, measurement."""
        bits, cost = met(state, limits, choice.patterns)
        state.freeze(bits=bits, cost=cost, patterns=choice.patterns)
        state.train().calibrate(self.pipeline.calibration)
        phase = replace(self.pipeline.schedule.tune, name=f"{name}-tune", epochs=self.settings.tune_epochs)
        self.pipeline.trainer.fit(state, phase)
        images = self.data.train_images[: self.pipeline.schedule.statistics]
        settle_statistics(state, images, normalisation=self.pipeline.data.normalisation)
        return self._measure(Trained(Variant(name), state, []), design, choice.patterns, limits)

    def _uniform(self, policy: str) -> tuple[Row, Costs]:
        trained = self.pipeline.train(policy)
        return self._measure(trained, "P1", (UNIFORM[int(policy[1:])],), Limits(1.0))

    def _design_points(self, learned: Prepared, limits: Limits) -> Iterator[Row]:
        """What other hardware would give for the precisions of the last round that kept its accuracy."""
        for policy in ("w2", "w1"):
            yield self._uniform(policy)[0]
        for count in (4, 8, 45):
            if self.settings.area or count != self.settings.patterns:
                state = copy.deepcopy(learned)
                yield self._finish(state, f"p{count}", f"P{count}", self.patterns(state, count, limits), limits)[0]

    # --- figures -----------------------------------------------------------------------------------------------------

    def _measure(self, trained: Trained, design: str, patterns: tuple[int, ...], limits: Limits) -> tuple[Row, Costs]:
        trained.prepared.eval()
        network = self.pipeline.export(trained)
        path = save(self.view.note(self.folder / f"{trained.variant.name}.network.safetensors"), network)
        measured = self.bench.measure(path, trained.variant.name)
        facts, validation = network.metrics, self._validate(trained.prepared)
        energy, area = self._energy(measured), unit_area(patterns).value
        reached = None
        if self.uniform is not None and limits != Limits(1.0):
            reached = measured.in_vectors(limits.of) / self.uniform.in_vectors(limits.of)
        row = Row(
            trained.variant.name, design, patterns, limits, validation, facts["accuracy_float"],
            facts["accuracy_integer"], facts["bits_per_parameter"], facts["file_bytes"], measured.cycles,
            measured.source, validation >= self.goal, False, *energy, area,
            self.settings.area is None or area <= self.settings.area, reached,
        )  # fmt: skip
        if patterns and row.better_than(self.best, self.settings.objective):
            row = self.best = replace(row, improved=True)
        return row, measured

    @staticmethod
    def _energy(measured: Costs) -> tuple[float | None, float | None, float | None]:
        """pJ per image, and the ends of its interval."""
        found = measured.network.energy if measured.network else None
        return (found.value, found.low, found.high) if isinstance(found, Quantity) else (None, None, None)

    def _validate(self, module: torch.nn.Module) -> float:
        held, normalisation = self.validation, self.pipeline.data.normalisation
        return accuracy(module, held.test_images, held.test_labels, normalisation=normalisation)


def choose_within(
    demands: Sequence[Demand], count: int, gain_weight: float, fits: Callable[[Sequence[int]], bool]
) -> Choice:
    """The best patterns; where these do not fit, the best but one with the pattern that fits at the least objective.

    Cycles alone take no notice of stored bits: patterns without narrow chunks promote the channels that ask for them.
    Where no last pattern helps, the best ones stand.
    """
    best = choose(demands, count, gain_weight=gain_weight)
    if fits(best.patterns) or count == 1:
        return best
    kept = choose(demands, count - 1, gain_weight=gain_weight).patterns
    tried = []
    for last in ALL:
        ids = tuple(sorted({*kept, last}))
        if fits(ids):  # the choice among these names only those that save cycles
            found = choose(demands, count, "greedy", candidates=ids, gain_weight=gain_weight)
            tried.append(replace(found, patterns=ids))
    return min(tried, key=lambda choice: choice.objective, default=best)


def fits_bits(prepared: Prepared, limits: Limits, patterns: Sequence[int]) -> bool:
    """Whether these patterns can meet a limit of bits."""
    return limits.bits is None or least_limits(prepared, patterns)[0] <= limits.bits


def met(prepared: Prepared, limits: Limits, patterns: Sequence[int]) -> tuple[float | None, float]:
    """Bits per parameter and cost that a layout may have: the limits, or the least that these patterns allow."""
    least_bits, least_cost = least_limits(prepared, patterns)
    bits = None if limits.bits is None else max(limits.bits, least_bits)
    return bits, max(limits.share * uniform_cost(prepared), least_cost)


def layout_share(prepared: Prepared) -> float:
    """Cost of the present layout, as a share of uniform 4-bit's."""
    return vector_cost(prepared) / uniform_cost(prepared)
