"""train -> precisions -> patterns -> training under them -> code -> cycles -> layer costs -> train, round by round.

Every round trains with noise, its size penalty weighing each layer's bits by the cycles that the previous round's code
took for them; chooses the hardware's patterns for the precisions that came out; trains the network under these patterns
and under a limit of cycles; and measures the generated code. The limit is a share of what uniform 4-bit takes. It falls
by a quarter as long as the network keeps its accuracy on held-out images, and otherwise goes back half of the way to
the last limit that was kept.

Nothing but files carries over: a run that was killed replays what its checkpoints, executables and simulations hold.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sysmol.codesign.measure import Bench, Measured
from sysmol.codesign.settings import Settings
from sysmol.files import make_folder
from sysmol.network import save
from sysmol.patterns import PATTERNS
from train.allocate import Allocation, learned_scores, least_cost, sensitivity
from train.choice import Choice, choose
from train.data import Dataset, load, to_real
from train.models import build
from train.pipeline import PRESETS, Pipeline, Trained
from train.prepared import FLOAT, UNIFORM, Prepared
from train.trainer import Trainer, accuracy, settle_statistics
from train.variants import Variant

FIRST_SHARE = 0.75
STEP = 0.75
"""How much smaller the next limit is where the accuracy held."""
GAIN_SHARE = 0.1
"""The accuracy that all promotions together would bring is worth this share of the cycles in the choice of patterns."""
CLOSE = 0.03
"""Limits closer than this share of uniform 4-bit's cycles are not told apart: the loop ends."""


ALL = tuple(range(len(PATTERNS)))


@dataclass(frozen=True)
class Row:
    """One network: a round of the loop, or a design point beside it. Accuracies are shares; ``share`` is the limit."""

    name: str
    design: str
    patterns: tuple[int, ...]
    share: float
    validation: float
    accuracy_float: float
    accuracy_integer: float
    bits_per_parameter: float
    file_bytes: int
    cycles: float
    source: str
    kept: bool
    improved: bool

    def record(self) -> dict[str, Any]:
        """For tables: patterns as one word."""
        return self.__dict__ | {"patterns": " ".join(map(str, self.patterns))}


def hold_out(data: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """Training data without a random share of its images, and a data set whose test images those are."""
    order = torch.randperm(len(data.train_images), generator=torch.Generator().manual_seed(seed)).numpy()
    count = max(1, round(share * len(order)))
    held, rest = order[:count], order[count:]
    training = replace(data, train_images=data.train_images[rest], train_labels=data.train_labels[rest])
    return training, replace(training, test_images=data.train_images[held], test_labels=data.train_labels[held])


class Loop:
    """A run in one folder; :meth:`rows` yields every network as soon as it is measured."""

    def __init__(self, folder: Path, settings: Settings, say: Callable[[str], None], quiet: bool = False) -> None:
        self.folder = make_folder(folder)
        self.settings, self.say = settings, say
        self.bench = Bench(self.folder, settings, say)
        self.data, self.validation = hold_out(load(settings.dataset), settings.held_out, settings.seed)
        torch.manual_seed(settings.seed)
        module = build(settings.model, self.data.shape[2], len(self.data.classes))
        preset = PRESETS[settings.preset or ("demo" if settings.dataset == "digits" else settings.dataset)]
        trainer = Trainer(self.data, settings.seed, make_folder(self.folder / "checkpoints"), quiet)
        self.pipeline = Pipeline(self.data, module, preset, trainer)
        self.pipeline.name = f"{settings.model}-{settings.dataset}"
        self.pipeline.facts = {"dataset": self.data.name, "source": self.data.source, "model": settings.model,
                               "seed": settings.seed, "codesign": settings.key}  # fmt: skip
        self.goal = 0.0
        self.best: Row | None = None
        self.kept, self.lost, self.least_share = 1.0, 0.0, 0.0

    # --- the run -----------------------------------------------------------------------------------------------------

    def rows(self) -> Iterator[Row]:
        """Uniform 4-bit, whose cycles are the measure of the limits; the rounds; then the other design points."""
        module = self.pipeline.fp32()
        self.goal = self._validate(module) - self.settings.drop / 100
        self.say(f"full precision: {self._validate(module):.2%} of the held-out images; the goal is {self.goal:.2%}")
        uniform, measured = self._uniform("w4")
        yield uniform
        state = self._start(measured)
        last: tuple[Prepared, float] | None = None
        for number, share in self._shares():
            before = copy.deepcopy(state)
            choice = self._learn(state, f"round-{number}", share)
            learned = copy.deepcopy(state)
            row, measured = self._finish(state, f"round-{number}", self.settings.patterns, choice, share)
            yield row
            self._feedback(row, share)
            if row.kept or last is None:
                last = learned, share
            else:
                state = before  # what lost too much accuracy is no start for the next round
            state.costs = measured.costs
            self.least_share = least_cost(state, ALL) / uniform_cost(state)
        yield from self._design_points(*last) if last else ()

    def _shares(self) -> Iterator[tuple[int, float]]:
        """Numbers and limits of the rounds, until there is nothing to find out or the rounds are over."""
        share = FIRST_SHARE
        for number in range(1, self.settings.rounds + 1):
            yield number, share
            least = self.least_share
            if self.kept - self.lost < CLOSE:
                self.say(f"the limit is known to {CLOSE:.0%} of uniform 4-bit's cycles: no further round")
                return
            if self.kept <= least:
                self.say("every tensor takes as few registers as it can: no further round")
                return
            share = max(self.kept * STEP, least) if self.lost == 0 else (self.kept + self.lost) / 2

    def _feedback(self, row: Row, share: float) -> None:
        if row.kept:
            self.kept = min(self.kept, share)
        else:
            self.lost = max(self.lost, share)
        verdict = "improves on all before" if row.improved else "does not improve"
        held = "kept" if row.kept else "lost"
        self.say(f"{row.name}: accuracy {held} at {share:.0%} of uniform 4-bit's cycles; {verdict}")

    def _start(self, measured: Measured) -> Prepared:
        """The full-precision network with learned precisions, and layer costs of uniform 4-bit."""
        prepared = self.pipeline.prepared("mixed")
        prepared.costs = measured.costs
        return prepared

    def _learn(self, state: Prepared, name: str, share: float) -> Choice:
        """Phase 1 under the layers' costs, then the patterns that suit what was learned."""
        settings = self.settings
        state.mode = FLOAT
        state.calibrate(self.pipeline.calibration)
        state.start_noise()
        # The penalty rests where the limit is met: its weights are the layers' costs, and 4 bits cost all of them.
        phase = replace(
            self.pipeline.schedule.noise, name=f"{name}-noise", epochs=settings.noise_epochs,
            floor_bits=max(1.0, 4 * share),
        )  # fmt: skip
        self.pipeline.trainer.fit(state, phase)
        return self.patterns(state, settings.patterns, share)

    def patterns(self, state: Prepared, count: int, share: float) -> Choice:
        """The best patterns, at most ``count``, for what channels would have with all 45 under the limit of cycles."""
        torch.manual_seed(self.settings.seed)
        images = self.data.train_images[: self.pipeline.schedule.statistics]
        labels = torch.from_numpy(self.data.train_labels[: len(images)])
        slopes = sensitivity(state, to_real(images), labels)
        free = Allocation(state, ALL, learned_scores(state)).solve(cost=limit(state, share, ALL))
        asked = {name: torch.from_numpy(found.precisions).float() for name, found in free.items()}
        demands = state.demands(asked, slopes)
        most = sum(g[0] * d.counts[1] + max(g[1:]) * d.counts[2] for d in demands for g in [d.gains])
        cycles = sum(d.cycles for d in demands)
        return choose(demands, count, gain_weight=GAIN_SHARE * cycles / most if most else 0.0)

    def _finish(self, state: Prepared, name: str, count: int, choice: Choice, share: float) -> tuple[Row, Measured]:
        """Phase 2 under patterns and limit, export, measurement."""
        state.freeze(cost=limit(state, share, choice.patterns), patterns=choice.patterns)
        state.calibrate(self.pipeline.calibration)
        phase = replace(self.pipeline.schedule.tune, name=f"{name}-tune", epochs=self.settings.tune_epochs)
        self.pipeline.trainer.fit(state, phase)
        settle_statistics(state, self.data.train_images[: self.pipeline.schedule.statistics])
        return self._measure(Trained(Variant(name), state, []), f"P{count}", choice.patterns, share)

    def _uniform(self, policy: str) -> tuple[Row, Measured]:
        trained = self.pipeline.train(policy)
        return self._measure(trained, "P1", (UNIFORM[int(policy[1:])],), 1.0)

    def _design_points(self, learned: Prepared, share: float) -> Iterator[Row]:
        """What other hardware would give for the precisions of the last round that kept its accuracy."""
        for policy in ("w2", "w1"):
            yield self._uniform(policy)[0]
        for count in (4, 8, 45):
            if count != self.settings.patterns:
                state = copy.deepcopy(learned)
                yield self._finish(state, f"p{count}", count, self.patterns(state, count, share), share)[0]

    # --- figures -----------------------------------------------------------------------------------------------------

    def _measure(self, trained: Trained, design: str, patterns: tuple[int, ...], share: float) -> tuple[Row, Measured]:
        trained.prepared.eval()
        network = self.pipeline.export(trained)
        path = save(self.folder / f"{trained.variant.name}.network.safetensors", network)
        measured = self.bench.measure(path, trained.variant.name)
        facts, validation = network.metrics, self._validate(trained.prepared)
        kept = validation >= self.goal
        improved = kept and (self.best is None or measured.cycles < self.best.cycles)
        row = Row(
            trained.variant.name, design, patterns, share, validation, facts["accuracy_float"],
            facts["accuracy_integer"], facts["file_bits_per_weight"], facts["file_bytes"], measured.cycles,
            measured.source, kept, improved,
        )  # fmt: skip
        self.best = row if improved else self.best
        return row, measured

    def _validate(self, module: torch.nn.Module) -> float:
        return accuracy(module, self.validation.test_images, self.validation.test_labels)


def limit(prepared: Prepared, share: float, patterns: Sequence[int]) -> float:
    """The limit of a round, or the least that these patterns allow where that is more."""
    return max(share * uniform_cost(prepared), least_cost(prepared, patterns))


def uniform_cost(prepared: Prepared) -> float:
    """Cost of all learned domains at 4 bits per channel: the measure of the limits."""
    per_vector = 32
    domains = prepared.learned_domains()
    return sum(cost * -(-len(domains[name].s) // per_vector) for name, cost in prepared.domain_costs().items())
