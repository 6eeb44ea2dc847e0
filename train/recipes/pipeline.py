"""The whole training of one network: full precision once, the noise that learns precisions once, and from them any
number of variants, exported.
"""

from __future__ import annotations

import copy
import datetime
import math
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import nn

from sysmol.errors import CheckFailed, SysmolError
from sysmol.files import content_key, make_folder, sha256_file
from sysmol.interchange import evaluation
from sysmol.network import Network, Normalisation, Samples, save
from sysmol.train.frontend.checkpoint import start_from
from sysmol.train.frontend.data import Dataset, load, normalised
from sysmol.train.frontend.models import build
from sysmol.train.frontend.policy import USUAL_LAYERS, LayerBits, named_policy
from sysmol.train.frontend.user_files import identity, label
from sysmol.train.quantise import integer, phase_file
from sysmol.train.quantise.allocate import (
    learned_scores,
    least_limits,
    random_scores,
    sensitivity,
    sensitivity_scores,
    stored_bits,
    uniform_cost,
)
from sysmol.train.quantise.export import export, sizes
from sysmol.train.quantise.modes import OFFSET
from sysmol.train.quantise.prepared import Prepared, prepare, resolve_patterns
from sysmol.train.quantise.trainer import Phase, Trainer, accuracy, channels_last, settle_statistics
from sysmol.train.quantise.untied import freeze as freeze_separate
from sysmol.train.quantise.untied import separate, weight_bits
from sysmol.train.recipes.variants import LEARNED, RANDOM, SEPARATE, Variant, exportable, variant

VARIANTS = ("fp32", "int8", "w4", "mixed")
"""The networks of one run, in the order in which they are made; all but fp32 start from fp32's weights."""


Real = float  # a phase of a schedule has the type's name


@dataclass(frozen=True)
class Schedule:
    """Phases of a run. ``bits``: the largest number of stored bits per parameter of learned precisions whose variant
    names no limit of its own (None: none). ``calibration`` training images set first scales and the ranges of 16-bit
    streams, ``statistics`` images settle batch normalisation and measure sensitivity, ``samples`` test images go into
    the network files. ``layer_bits`` are those of single layers. ``normalisation``: what pixels stand for (None: what
    the data set says, or weights of a file need). ``amp`` as in :class:`Trainer`.
    """

    float: Phase
    int8: Phase
    uniform: Phase
    noise: Phase
    tune: Phase
    calibration: int = 512
    statistics: int = 5000
    samples: int = 32
    bits: Real | None = None
    layer_bits: LayerBits = USUAL_LAYERS
    normalisation: Normalisation | None = None
    amp: bool | None = None


def _schedule(base: Phase, epochs: Sequence[int], size_weight: float, **fields: Any) -> Schedule:
    """One schedule from a common phase and the epochs of its five phases."""
    fp32, int8, uniform, noise, tune = epochs
    return Schedule(
        float=replace(base, name="fp32", epochs=fp32),
        int8=replace(base, name="int8", epochs=int8, lr=base.lr / 10),
        uniform=replace(base, name="w4", epochs=uniform, lr=base.lr / 2),
        noise=replace(base, name="mixed-noise", epochs=noise, lr=base.lr / 2, size_weight=size_weight),
        tune=replace(base, name="mixed-tune", epochs=tune, lr=base.lr / 2),
        **fields,
    )


DIGITS_BITS = 2.25
"""Bits per parameter that no uniform layout has: digits_net's channels then differ within a tensor."""
_DIGITS = Phase("", 0, lr=4e-3, batch=64, shift=1)
_MNIST = Phase("", 0, lr=4e-3, batch=128, shift=2)
_CIFAR = Phase("", 0, lr=4e-3, batch=128, shift=4, flip=True)

PRESETS = {
    "demo": _schedule(_DIGITS, (16, 4, 10, 12, 16), size_weight=1.0, bits=DIGITS_BITS),
    "quick": _schedule(_DIGITS, (4, 1, 2, 3, 3), size_weight=1.0, bits=DIGITS_BITS),
    "mnist": _schedule(_MNIST, (5, 1, 8, 2, 6), size_weight=1.0),
    "cifar10": _schedule(_CIFAR, (12, 2, 6, 4, 6), size_weight=2.0),
    "cifar10-short": _schedule(_CIFAR, (5, 1, 1, 1, 2), size_weight=2.0),
}
"""demo and quick suit the digits (minutes, seconds), mnist suits mnist_net (tens of minutes), the others CIFAR-10 with
resnet8 (hours on a few cores).
"""


def schedule_of(preset: str) -> Schedule:
    """The schedule of a preset's name."""
    if preset not in PRESETS:
        raise SysmolError(f"unknown preset '{preset}': choose one of {', '.join(PRESETS)}")
    return PRESETS[preset]


def run(
    dataset: str = "digits",
    model: str = "digits_net",
    out_dir: str | Path = "build/train",
    preset: str | Schedule = "demo",
    seed: int = 0,
    resume: bool = True,
    pattern_set: str | Sequence[int] = "P4",
    variants: Sequence[str] = VARIANTS,
    quiet: bool = False,
    checkpoints: Path | None = None,
    device: str = "auto",
    layer_bits: LayerBits | None = None,
    normalisation: Normalisation | None = None,
    weights: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Train a named network and write ``out_dir/VARIANT.network.safetensors``; returns the metrics per variant.

    ``variants`` are names as :func:`sysmol.train.recipes.variants.variant` reads them, all of networks that can be
    exported. Checkpoints, by default under ``out_dir/checkpoints``, let a killed run go on where it stood;
    ``resume=False`` starts anew. ``layer_bits`` and ``normalisation`` as in :class:`Schedule`, None: its own;
    ``weights`` as in :func:`build_pipeline`.
    """
    wanted = [exportable(variant(name)) for name in variants]
    schedule = schedule_of(preset) if isinstance(preset, str) else preset
    if layer_bits is not None:
        schedule = replace(schedule, layer_bits=layer_bits)
    if normalisation is not None:
        schedule = replace(schedule, normalisation=normalisation)
    folder = make_folder(out_dir)
    kept = make_folder(checkpoints or folder / "checkpoints")
    pipeline = build_pipeline(load(dataset), model, schedule, seed, kept, pattern_set, resume, quiet, device, weights)
    pipeline.check(wanted)
    metrics: dict[str, dict[str, Any]] = {}
    for each in wanted:
        network = pipeline.network(each)
        path = save(folder / f"{each.name}.network.safetensors", network)
        metrics[each.name] = network.metrics | {"path": str(path), "sha256": sha256_file(path)}
    return metrics


def build_pipeline(
    data: Dataset, model: str, schedule: Schedule, seed: int, checkpoints: Path,
    pattern_set: str | Sequence[int] = "P4", resume: bool = True, quiet: bool = False, device: str = "auto",
    weights: Path | None = None,
) -> Pipeline:  # fmt: skip
    """The pipeline of a named network, built-in or in a file (:mod:`sysmol.train.frontend.user_files`); ``seed``
    decides first weights and all randomness, ``device`` where training computes. ``weights`` are a file to start from
    instead (:func:`sysmol.train.frontend.checkpoint.start_from`).
    """
    torch.manual_seed(seed)
    module = build(model, data.shape[2], len(data.classes))
    stated = schedule.normalisation
    data = normalised(data, stated if weights is None else start_from(module, weights, data, stated))
    trainer = Trainer(data, seed, checkpoints, quiet, device, schedule.amp)
    pipeline = Pipeline(data, module, schedule, trainer, pattern_set, resume)
    pipeline.name = f"{label(model)}-{data.name}"
    pipeline.facts = {"dataset": data.name, "source": data.source, "model": label(model), "seed": seed}
    pipeline.identity = identity(model)
    if weights is not None:
        pipeline.facts["weights"] = weights.name
        pipeline.identity = content_key([pipeline.identity, sha256_file(weights)])
    return pipeline


@dataclass
class Trained:
    """A variant behind its training. ``phases``: settings and log of every phase, the full-precision one first."""

    variant: Variant
    prepared: Prepared
    phases: list[dict[str, Any]]

    @property
    def epochs(self) -> list[int]:
        """Epochs of every phase."""
        return [int(phase["epochs"]) for phase in self.phases]

    @property
    def seconds(self) -> float | None:
        """Seconds of all epochs of all phases; None where a checkpoint of an older version did not note them."""
        each = [row.get("seconds") for phase in self.phases for row in phase["log"]]
        return None if None in each else float(sum(each))


class Pipeline:
    """Variants of one module, in any order; full precision and phase 1 are trained once and shared."""

    name = "network"
    facts: dict[str, Any]
    identity = ""
    """What the network is beside its name, where it matters for going on elsewhere."""
    ends: Path | None = None
    """Folder that gets a small file at the end of every phase (:mod:`sysmol.train.quantise.phase_file`)."""
    starts: Path | None = None
    """Folder of such files, made elsewhere, that stand for phases of the same course."""

    def __init__(
        self, data: Dataset, module: nn.Module, schedule: Schedule, trainer: Trainer,
        pattern_set: str | Sequence[int] = "P4", resume: bool = True,
    ) -> None:  # fmt: skip
        self.data = data
        self.module = module
        self.schedule = schedule
        self.trainer = trainer
        self.pattern_set = pattern_set
        self.resume = resume
        self.facts = {}
        self.console = Console(stderr=True, quiet=trainer.quiet)
        self.calibration = data.real(data.train_images[: schedule.calibration])
        # A layer that cannot be exported is refused here, before any training.
        for policy in VARIANTS:
            prepared = self._prepare(module, policy)
        outputs = int(prepared.graph.convolutions[-1].shape[0])
        if outputs < len(data.classes):
            raise SysmolError(f"the network has {outputs} outputs, {data.name} has {len(data.classes)} classes")
        self.learns = bool(prepared.learned_domains())
        self.fp32_accuracy: float | None = None
        self._fp32_phase: dict[str, Any] = {}
        self._noise: dict[str, tuple[Prepared, dict[str, Any]]] = {}

    # --- training ----------------------------------------------------------------------------------------------------

    def fp32(self) -> nn.Module:
        """The module trained in full precision (once)."""
        if self.fp32_accuracy is None:
            self._fp32_phase = self._fit(self.module, self.schedule.float)
            self.fp32_accuracy = self._accuracy(self.module)
            self.console.print(f"fp32: {self.fp32_accuracy:.2%} of the test images")
        return self.module

    def noise(self, grid: str = OFFSET, shared: bool = True) -> tuple[Prepared, dict[str, Any]]:
        """A copy of the network behind phase 1, and the phase; trained once for all pattern sets and sizes."""
        name = "-".join([
            self.schedule.noise.name, *([] if shared else [SEPARATE]), *([] if grid == OFFSET else [grid]),
        ])  # fmt: skip
        if name not in self._noise:
            prepared = self.prepared("mixed", grid)
            if not shared:
                separate(prepared)
            prepared.start_noise()
            self._noise[name] = prepared, self._fit(prepared, replace(self.schedule.noise, name=name))
        prepared, phase = self._noise[name]
        return copy.deepcopy(prepared), phase

    def check(self, wanted: Iterable[Variant]) -> None:
        """Refuse variants whose limits no layout can meet, or that have nothing to learn, before any training."""
        for chosen in map(self.limited, wanted):
            if chosen.policy == "mixed" and not self.learns:
                raise SysmolError(
                    f"variant {chosen.name}: the network has no layer whose precision could be learned "
                    f"({self.schedule.layer_bits.words}); choose fp32 and int8, for example, or other bits of single "
                    "layers"
                )
            if chosen.policy == "mixed" and chosen.shared:
                prepared = self._prepare(self.module, "mixed", self._patterns(chosen))
                try:
                    prepared.freeze(chosen.bits, self._cost(chosen, prepared))
                except SysmolError as error:
                    raise SysmolError(f"variant {chosen.name}: {error}") from None

    def limited(self, chosen: Variant) -> Variant:
        """The variant, under the schedule's limit of bits, or the least that the network allows, where it names no
        limit and no patterns of its own."""
        free = chosen.bits is None and chosen.cycles is None and not chosen.pattern_set
        if self.schedule.bits is None or chosen.policy != "mixed" or not free or not self.learns:
            return chosen
        patterns = self._patterns(chosen)
        least, _ = least_limits(self._prepare(self.module, "mixed", patterns), patterns)
        return replace(chosen, bits=max(self.schedule.bits, math.ceil(100 * least) / 100))

    def train(self, wanted: str | Variant) -> Trained:
        """One variant, trained, rounded, its batch normalisation settled."""
        chosen = self.limited(variant(wanted) if isinstance(wanted, str) else wanted)
        self.fp32()
        if chosen.longer:
            before = self.train(chosen.shorter)
            prepared, phases = before.prepared, before.phases
        elif chosen.policy == "fp32":
            return Trained(chosen, self.prepared("fp32", chosen.grid).eval(), [self._fp32_phase])
        else:
            prepared, phases = self._rounded(chosen)
        phases = [*phases, self._fit(prepared, self._last_phase(chosen))]
        images = self.data.train_images[: self.schedule.statistics]
        settle_statistics(prepared, images, normalisation=self.data.normalisation)
        return Trained(chosen, prepared.eval(), phases)

    def _rounded(self, chosen: Variant) -> tuple[Prepared, list[dict[str, Any]]]:
        """A variant's network with its precisions, not fine-tuned yet, and the phases behind it."""
        phases = [self._fp32_phase]
        if chosen.policy != "mixed":
            prepared = self.prepared(chosen.policy, chosen.grid)
            prepared.freeze()
            return prepared, phases
        if chosen.scores == LEARNED:
            prepared, phase = self.noise(chosen.grid, chosen.shared)
            phases.append(phase)
            scores = learned_scores(prepared)
        else:
            prepared = self.prepared("mixed", chosen.grid)
            scores = self._scores(chosen, prepared)
        if chosen.shared:
            prepared.freeze(chosen.bits, self._cost(chosen, prepared), self._patterns(chosen), scores)
        else:
            freeze_separate(prepared, chosen.bits or 4.0)
        prepared.calibrate(self.calibration)
        return prepared, phases

    @staticmethod
    def _cost(chosen: Variant, prepared: Prepared) -> float | None:
        """The limit of a variant's cycles."""
        return None if chosen.cycles is None else chosen.cycles * uniform_cost(prepared)

    def _last_phase(self, chosen: Variant) -> Phase:
        """The phase that a variant's training ends with."""
        if chosen.policy != "mixed":
            return replace(self.schedule.int8 if chosen.policy == "int8" else self.schedule.uniform, name=chosen.name)
        tune = replace(self.schedule.tune, name=f"{chosen.name}-tune")
        if chosen.scores == LEARNED or chosen.longer:
            return tune
        # Phase 1 is left out, and its epochs go into fine-tuning: as much training in all.
        return replace(tune, epochs=tune.epochs + self.schedule.noise.epochs)

    def prepared(self, policy: str, grid: str = OFFSET) -> Prepared:
        """The full-precision network with first scales."""
        prepared = self._prepare(copy.deepcopy(self.fp32()), policy, grid=grid).train()
        prepared.calibrate(self.calibration)
        return prepared

    def _prepare(
        self, module: nn.Module, policy: str, patterns: Sequence[int] | None = None, grid: str = OFFSET
    ) -> Prepared:
        """A module under a named policy, with the schedule's bits of single layers and the data's normalisation."""
        own = self.schedule.layer_bits.applied(named_policy(policy))
        chosen = self.pattern_set if patterns is None else patterns
        prepared = prepare(module, self.calibration[:1], own, chosen, grid, self.data.normalisation)
        if self.schedule.noise.by_time:
            prepared.costs = prepared.instruction_costs()
        return prepared

    def _accuracy(self, module: nn.Module) -> float:
        """Share of the test images that a module classifies as labelled."""
        data = self.data
        return accuracy(module, data.test_images, data.test_labels, normalisation=data.normalisation)

    def _fit(self, module: nn.Module, phase: Phase) -> dict[str, Any]:
        course = self._course(phase)
        for folder in (self.ends, self.starts):
            found = None if folder is None else phase_file.read(phase_file.path_of(folder, phase.name), course, module)
            if found is not None:
                module.load_state_dict(found.state)
                channels_last(module)
                log = found.log
                break
        else:
            teacher = None if module is self.module else self.module
            log = self.trainer.fit(module, phase, resume=self.resume, teacher=teacher)
        if self.ends is not None:
            phase_file.write(phase_file.path_of(self.ends, phase.name), course, module, log)
        return phase.settings() | {"log": log}

    def _course(self, phase: Phase) -> str:
        """Name of everything that leads to the end of a phase, as the same on every computer: data, network, seed,
        settings of all phases; the phase's own name says the variant."""
        settings = {name: getattr(self.schedule, name) for name in ("calibration", "statistics")}
        settings |= {name: each.settings() for name, each in vars(self.schedule).items() if isinstance(each, Phase)}
        if self.schedule.layer_bits != USUAL_LAYERS:
            settings |= asdict(self.schedule.layer_bits)
        patterns = list(self.pattern_set)
        return content_key(
            [self.trainer.content, self.name, self.identity, self.trainer.seed, settings, patterns, phase.settings()]
        )

    def _patterns(self, chosen: Variant) -> tuple[int, ...]:
        return resolve_patterns(chosen.pattern_set or self.pattern_set)

    def _scores(self, chosen: Variant, prepared: Prepared) -> dict[str, torch.Tensor]:
        """Precisions to compare the learned ones with."""
        if chosen.scores == RANDOM:
            return random_scores(prepared, self.trainer.seed)
        count = self.schedule.statistics
        images, labels = self.data.train_images[:count], torch.from_numpy(self.data.train_labels[:count])
        torch.manual_seed(self.trainer.seed)
        prepared.start_noise()
        return sensitivity_scores(sensitivity(prepared, self.data.real(images), labels), prepared.domain_weights())

    # --- products ----------------------------------------------------------------------------------------------------

    def network(self, wanted: str | Variant) -> Network:
        """One variant, trained, exported, evaluated and with its samples."""
        return self.export(self.train(exportable(variant(wanted) if isinstance(wanted, str) else wanted)))

    def export(self, trained: Trained) -> Network:
        """The network of a trained variant, with metrics, provenance and samples."""
        chosen, prepared = exportable(trained.variant), trained.prepared
        words = chosen.described(self.schedule.layer_bits)
        network = export(prepared, f"{self.name}-{chosen.name}", self.calibration, words, samples=0)
        images, labels = self.data.test_images, self.data.test_labels
        count = min(self.schedule.samples, len(images))
        logits = all_logits(network, images, count)
        network.metrics = {
            **self.measure(trained),
            "accuracy_integer": float((logits.argmax(1) == labels).mean()),
            **sizes(network, parameters(prepared)),
        }
        network.provenance |= {
            **self.facts,
            "phases": trained.phases,
            "seconds": trained.seconds,
            **making(prepared),
        }
        network.samples = Samples(images[:count].copy(), labels[:count].copy(), logits[:count].copy())
        found = network.metrics
        self.console.print(
            f"{network.name}: float {found['accuracy_float']:.2%}, integers {found['accuracy_integer']:.2%}, "
            f"{found['bits_per_parameter']:.2f} bits per parameter, {found['compression']:.1f}x smaller"
        )
        return network

    def measure(self, trained: Trained) -> dict[str, Any]:
        """What can be said of a variant without an export: accuracies (shares of the test images) and bits."""
        prepared = trained.prepared
        found = {
            "accuracy_fp32": self.fp32_accuracy,
            "accuracy_float": self._accuracy(prepared),
            "test_images": len(self.data.test_images),
            "parameters": parameters(prepared),
            "bits_per_parameter": stored_bits(prepared) if trained.variant.shared else weight_bits(prepared),
        }
        return found if prepared.is_float else found | {"mean_smol_bits": prepared.mean_bits()}


def parameters(prepared: Prepared) -> int:
    """Weights and one bias per output channel (batch normalisation folded)."""
    return sum(prepared.convolution(u.name).weight.numel() + u.shape[0] for u in prepared.graph.convolutions)


def making(prepared: Prepared) -> dict[str, Any]:
    """Of every network's provenance: patterns, day and versions."""
    return {
        "patterns_supported": list(prepared.supported),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }


def all_logits(network: Network, images: np.ndarray, samples: int) -> np.ndarray:
    """Logits ``[n, classes]`` of images uint8 ``[n, H, W, C]`` by PyTorch's integers; where onnxruntime is installed
    only of the first ``samples``, and of all by it, many times faster.

    Raises :class:`CheckFailed` where the two differ on the samples.
    """
    if network.is_float or not evaluation.available():
        return integer.evaluate(network, images)
    logits = evaluation.evaluate(network, images)
    if not np.array_equal(logits[:samples], integer.evaluate(network, images[:samples])):
        raise CheckFailed(f"{network.name}: onnxruntime and PyTorch give other logits: please report it")
    return logits
