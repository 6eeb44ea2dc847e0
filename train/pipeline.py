"""The whole training of one network: full precision once, then int8, uniform 4-bit and mixed precision from it,
exported.
"""

from __future__ import annotations

import copy
import datetime
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from sysmol.errors import SysmolError
from sysmol.files import make_folder, sha256_file
from sysmol.network import Network, Samples, save
from train import integer
from train.data import Dataset, load, to_real
from train.export import export, sizes
from train.models import build
from train.prepared import LEARNED, Prepared, prepare
from train.trainer import Phase, Trainer, accuracy, settle_statistics

VARIANTS = ("fp32", "int8", "w4", "mixed")
"""The networks of one run, in the order in which they are made; all but fp32 start from fp32's weights."""


@dataclass(frozen=True)
class Schedule:
    """Phases of a run. ``calibration`` training images set first scales and the ranges of 16-bit streams,
    ``statistics`` images settle batch normalisation, ``samples`` test images go into the network files."""

    float: Phase
    int8: Phase
    uniform: Phase
    noise: Phase
    tune: Phase
    calibration: int = 512
    statistics: int = 5000
    samples: int = 32


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


_DIGITS = Phase("", 0, lr=4e-3, batch=64, shift=1)
_CIFAR = Phase("", 0, lr=4e-3, batch=128, shift=4, flip=True)

PRESETS = {
    "demo": _schedule(_DIGITS, (16, 4, 10, 12, 16), size_weight=1.0),
    "quick": _schedule(_DIGITS, (4, 1, 2, 3, 3), size_weight=1.0),
    "cifar10": _schedule(_CIFAR, (12, 2, 6, 4, 6), size_weight=2.0),
    "cifar10-short": _schedule(_CIFAR, (5, 1, 1, 1, 2), size_weight=2.0),
}
"""demo and quick suit the digits (minutes, seconds), the others CIFAR-10 with resnet8 (hours on a few cores)."""


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
) -> dict[str, dict[str, Any]]:
    """Train a built-in network and write ``out_dir/VARIANT.network.safetensors``; returns the metrics per variant.

    Checkpoints under ``out_dir/checkpoints`` let a killed run go on where it stood; ``resume=False`` starts anew.
    """
    if isinstance(preset, str) and preset not in PRESETS:
        raise SysmolError(f"unknown preset '{preset}': choose one of {', '.join(PRESETS)}")
    unknown = [variant for variant in variants if variant not in VARIANTS]
    if unknown:
        raise SysmolError(f"unknown variant '{unknown[0]}': choose from {', '.join(VARIANTS)}")
    schedule = PRESETS[preset] if isinstance(preset, str) else preset
    folder = make_folder(out_dir)
    checkpoints = make_folder(folder / "checkpoints")
    data = load(dataset)
    torch.manual_seed(seed)
    module = build(model, data.shape[2], len(data.classes))
    pipeline = Pipeline(data, module, schedule, Trainer(data, seed, checkpoints, quiet), pattern_set, resume)
    pipeline.name = f"{model}-{dataset}"
    pipeline.facts = {"dataset": data.name, "source": data.source, "model": model, "seed": seed}
    metrics: dict[str, dict[str, Any]] = {}
    for variant in variants:
        network = pipeline.network(variant)
        path = save(folder / f"{variant}.network.safetensors", network)
        metrics[variant] = network.metrics | {"path": str(path), "sha256": sha256_file(path)}
    return metrics


class Pipeline:
    """Variants of one module, in any order; full precision is trained once and shared."""

    name = "network"
    facts: dict[str, Any]

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
        self.calibration = to_real(data.train_images[: schedule.calibration])
        # A layer that cannot be exported is refused here, before any training.
        for policy in VARIANTS:
            prepare(module, self.calibration[:1], policy, pattern_set)
        self.fp32_accuracy: float | None = None

    def fp32(self) -> nn.Module:
        """The module trained in full precision (once)."""
        if self.fp32_accuracy is None:
            self.trainer.fit(self.module, self.schedule.float, resume=self.resume)
            self.fp32_accuracy = accuracy(self.module, self.data.test_images, self.data.test_labels)
            self.console.print(f"fp32: {self.fp32_accuracy:.2%} of the test images")
        return self.module

    def network(self, variant: str) -> Network:
        """One variant, trained, exported, evaluated and with its samples."""
        start = time.monotonic()
        prepared = prepare(copy.deepcopy(self.fp32()), self.calibration[:1], variant, self.pattern_set)
        phases = self._train(prepared, variant)
        prepared.eval()
        network = export(prepared, f"{self.name}-{variant}", self.calibration, self._describe(variant))
        self._measure(network, prepared, phases, time.monotonic() - start)
        return network

    def _train(self, prepared: Prepared, variant: str) -> list[dict[str, Any]]:
        if variant == "fp32":
            return [asdict(self.schedule.float)]
        logs: list[dict[str, Any]] = []

        def fit(phase: Phase) -> None:
            log = self.trainer.fit(prepared, phase, resume=self.resume)
            logs.append(asdict(phase) | {"log": log})

        prepared.calibrate(self.calibration)
        if any(bits == LEARNED for bits in prepared.bits.values()):
            prepared.start_noise()
            fit(self.schedule.noise)
        prepared.freeze()
        if logs:
            prepared.calibrate(self.calibration)
        fit({"int8": self.schedule.int8, "w4": self.schedule.uniform, "mixed": self.schedule.tune}[variant])
        settle_statistics(prepared, self.data.train_images[: self.schedule.statistics])
        return logs

    def _describe(self, variant: str) -> str:
        return {
            "fp32": "full precision",
            "int8": "all layers at 8 bits",
            "w4": "uniform 4-bit codes; first and last layer at 8 bits",
            "mixed": "learned 1/2/4-bit codes per input channel; first and last layer at 8 bits",
        }[variant]

    def _measure(self, network: Network, prepared: Prepared, phases: list[dict[str, Any]], seconds: float) -> None:
        images, labels = self.data.test_images, self.data.test_labels
        logits = integer.evaluate(network, images)
        parameters = sum(
            prepared.convolution(unit.name).weight.numel() + unit.shape[0] for unit in prepared.graph.convolutions
        )
        network.metrics = {
            "accuracy_fp32": self.fp32_accuracy,
            "accuracy_float": accuracy(prepared, images, labels),
            "accuracy_integer": float((logits.argmax(1) == labels).mean()),
            "test_images": len(images),
            **sizes(network, parameters),
        }
        if not prepared.is_float:
            network.metrics["mean_smol_bits"] = prepared.mean_bits()
        network.provenance |= {
            **self.facts,
            "phases": phases,
            "patterns_supported": list(prepared.supported),
            "seconds": round(seconds, 1),
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
        }
        count = min(self.schedule.samples, len(images))
        network.samples = Samples(images[:count].copy(), labels[:count].copy(), logits[:count].copy())
        found = network.metrics
        self.console.print(
            f"{network.name}: float {found['accuracy_float']:.2%}, integers {found['accuracy_integer']:.2%}, "
            f"{found['bits_per_parameter']:.2f} bits per parameter, {found['compression']:.1f}x smaller"
        )
