"""One training phase at a time, with seeds, a progress bar, and checkpoints that a killed run resumes from bit for
bit.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import nn

from sysmol.errors import SysmolError
from sysmol.files import atomic_write_bytes
from sysmol.network import Normalisation
from sysmol.train.frontend.data import USUAL, Dataset, to_real
from sysmol.train.quantise.modes import NOISE
from sysmol.train.quantise.modules import Activation, Convolution, Domain
from sysmol.train.quantise.prepared import Prepared
from sysmol.train.quantise.states import is_log, is_optimiser_state, is_state_of

CHECKPOINT = "sysmol-checkpoint-1"
LATER = ("distil", "floor_bits", "by_time")
"""Settings that younger versions know: at their defaults they change neither training nor fingerprints, so that
checkpoints of older versions stay good."""
TEMPERATURE = 4.0
"""Of soft labels (Hinton et al., 2015)."""


@dataclass(frozen=True)
class Phase:
    """Settings of one phase. Adam with a cosine learning rate over all its steps.

    ``lr`` for weights, ``scale_lr`` for logarithmic scales and offsets, ``precision_lr`` for SMOL's s,
    ``size_weight`` (lambda) for the size penalty in bits per weight. ``shift`` pixels of random translation,
    ``flip`` mirrors half of the images; ``limit`` images per epoch (0: all); ``warmup`` is the share of the steps
    with a rising learning rate; ``distil`` is the share of the loss that a teacher's soft labels have;
    ``floor_bits`` is the mean precision at which the size penalty rests: from there on the loss alone moves bits
    between channels. ``by_time``: lambda is the price of instructions instead of bits of weights
    (:meth:`sysmol.train.quantise.structure.Structure.instruction_costs`).
    """

    name: str
    epochs: int
    lr: float = 2e-3
    batch: int = 64
    weight_decay: float = 1e-4
    scale_lr: float = 1e-3
    precision_lr: float = 0.05
    size_weight: float = 0.0
    shift: int = 1
    flip: bool = False
    limit: int = 0
    warmup: float = 0.1
    distil: float = 0.0
    floor_bits: float = 0.0
    by_time: bool = False

    def settings(self) -> dict[str, Any]:
        """All fields, but for those of :data:`LATER` at their defaults."""
        later = {f.name: f.default for f in fields(self) if f.name in LATER}
        return {name: value for name, value in asdict(self).items() if name not in later or value != later[name]}


def augment(
    images: torch.Tensor, phase: Phase, generator: torch.Generator, normalisation: Normalisation = USUAL
) -> torch.Tensor:
    """Randomly translated (the border is the pixel that stands for 0) and mirrored images, u8 ``[n, H, W, C]``."""
    n, height, width, channels = images.shape
    d = phase.shift
    if d:
        mean, _ = normalisation.of_channels(channels)
        border = torch.tensor(mean).round().clamp(0, 255).to(images)
        padded = border.expand(n, height + 2 * d, width + 2 * d, channels).clone()
        padded[:, d : d + height, d : d + width] = images
        moves = torch.randint(0, 2 * d + 1, (n, 2), generator=generator).to(images.device)
        rows = moves[:, :1] + torch.arange(height, device=images.device)
        columns = moves[:, 1:] + torch.arange(width, device=images.device)
        each = torch.arange(n, device=images.device)
        images = padded[each[:, None, None], rows[:, :, None], columns[:, None, :]]
    if phase.flip:
        mirrored = (torch.rand(n, generator=generator) < 0.5).to(images.device)
        images = torch.where(mirrored[:, None, None, None], images.flip(2), images)
    return images


def parameter_groups(model: nn.Module, phase: Phase) -> list[dict[str, Any]]:
    """Weights with decay; biases and batch normalisation without; scales and precisions with learning rates of their
    own.
    """
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    scales: list[nn.Parameter] = []
    precisions: list[nn.Parameter] = []
    noise = isinstance(model, Prepared) and model.mode == NOISE
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            if isinstance(module, Domain):
                if noise:
                    precisions.append(parameter)
            elif isinstance(module, Activation) or (isinstance(module, Convolution) and name == "log_scale"):
                if not noise:
                    scales.append(parameter)
            else:
                (decayed if parameter.dim() > 1 else plain).append(parameter)
    groups = [
        {"params": decayed, "lr": phase.lr, "weight_decay": phase.weight_decay},
        {"params": plain, "lr": phase.lr, "weight_decay": 0.0},
        {"params": scales, "lr": phase.scale_lr, "weight_decay": 0.0},
        {"params": precisions, "lr": phase.precision_lr, "weight_decay": 0.0, "steady": True},
    ]
    return [group for group in groups if group["params"]]


def channels_last(module: nn.Module) -> None:
    """Give weights the order in memory that training computes in.

    PyTorch's kernels add in an order that follows from it: a module that was read from a file and one that was trained
    agree to the last bit only with the same order.
    """
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class Trainer:
    """Trains a module on a data set, phase after phase; every epoch's randomness follows from (seed, phase, epoch)
    alone.

    ``device`` is where it computes (``auto``: a GPU where PyTorch finds one); modules come from the CPU and are there
    again afterwards. ``amp``: products in bfloat16, sums and parameters in float32 (None: on GPUs).
    """

    def __init__(
        self, dataset: Dataset, seed: int = 0, folder: Path | None = None, quiet: bool = False, device: str = "auto",
        amp: bool | None = None,
    ) -> None:  # fmt: skip
        self.dataset = dataset
        self.seed = seed
        self.folder = folder
        self.quiet = quiet
        self.device = device_named(device)
        self.amp = self.device.type != "cpu" if amp is None else amp
        self.images = torch.from_numpy(dataset.train_images).to(self.device)
        self.labels = torch.from_numpy(dataset.train_labels).to(self.device)
        self.content = _content(dataset)

    def fit(
        self, model: nn.Module, phase: Phase, key: str = "", resume: bool = True, teacher: nn.Module | None = None
    ) -> list[dict[str, float]]:
        """Run a phase, from its last checkpoint if there is one with the same settings; returns the log, a row per
        epoch: ``epoch``, ``loss``, ``accuracy`` (share of the augmented training images), ``bits``, ``seconds``.

        ``key`` distinguishes runs of one phase from different starts, and goes into the checkpoint's fingerprint.
        ``teacher`` gives the soft labels that ``phase.distil`` asks for.
        """
        if phase.distil and teacher is None:
            raise SysmolError(f"phase {phase.name}: distil is {phase.distil:g}, but no teacher is given")
        if not phase.distil:
            teacher = None
        model.train()
        channels_last(model)
        fingerprint = self._fingerprint(model, phase, key, teacher)
        model.to(self.device)
        if teacher is not None:
            teacher.to(self.device).eval()
        optimiser = torch.optim.AdamW(parameter_groups(model, phase))
        peaks = [group["lr"] for group in optimiser.param_groups]
        path = None if self.folder is None else self.folder / f"{phase.name}.checkpoint.pt"
        done = 0
        log: list[dict[str, float]] = []
        if resume and path is not None and path.is_file():
            done, log = self._load(path, fingerprint, model, optimiser)
        count = min(phase.limit or len(self.images), len(self.images))
        steps = -(-count // phase.batch)
        with self._bar(phase, done, steps) as advance:
            for epoch in range(done, phase.epochs):
                begin = time.perf_counter()
                row = self._epoch(model, phase, epoch, count, optimiser, peaks, advance, teacher)
                log.append(row | {"seconds": round(time.perf_counter() - begin, 2)})
                if path is not None:
                    self._save(path, fingerprint, model, optimiser, epoch + 1, log)
        model.cpu()
        if teacher is not None:
            teacher.cpu()
        return log

    def _epoch(
        self, model: nn.Module, phase: Phase, epoch: int, count: int, optimiser: torch.optim.Optimizer,
        peaks: list[float], advance: Callable[[str], None], teacher: nn.Module | None,
    ) -> dict[str, float]:  # fmt: skip
        generator = torch.Generator().manual_seed(_seed(self.seed, phase.name, epoch))
        torch.manual_seed(_seed(self.seed, phase.name, epoch, "noise"))
        order = torch.randperm(len(self.images), generator=generator)[:count]
        steps = -(-count // phase.batch)
        loss_sum, right = 0.0, 0
        model.train()
        for step in range(steps):
            self._schedule(optimiser, peaks, (epoch * steps + step) / (phase.epochs * steps), phase)
            pick = order[step * phase.batch : (step + 1) * phase.batch].to(self.device)
            moved = augment(self.images[pick], phase, generator, self.dataset.normalisation)
            x = self.dataset.real(moved).to(memory_format=torch.channels_last)
            y = self.labels[pick]
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
                logits = model(x).float()
                soft = None if teacher is None else _soft_labels(teacher, x)
            loss = F.cross_entropy(logits, y)
            total = loss
            if soft is not None:
                # The square makes up for the temperature's effect on the gradient.
                imitation = F.cross_entropy(logits / TEMPERATURE, soft) * TEMPERATURE**2
                total = (1 - phase.distil) * loss + phase.distil * imitation
            if phase.size_weight and isinstance(model, Prepared):
                excess = model.size_penalty()
                if phase.floor_bits:
                    excess = F.relu(excess - (phase.floor_bits - 1))
                total = total + phase.size_weight * excess
            optimiser.zero_grad(set_to_none=True)
            total.backward()
            optimiser.step()
            loss_sum += float(loss.detach()) * len(pick)
            right += int((logits.detach().argmax(1) == y).sum())
            advance(f"epoch {epoch + 1}/{phase.epochs} loss {loss_sum / ((step + 1) * phase.batch):.3f}")
        if not np.isfinite(loss_sum):
            raise SysmolError(f"training diverged in phase {phase.name}, epoch {epoch + 1}: lower its learning rate")
        row = {"epoch": epoch + 1, "loss": loss_sum / count, "accuracy": right / count}
        if isinstance(model, Prepared):
            row["bits"] = model.mean_bits()
        return row

    @staticmethod
    def _schedule(optimiser: torch.optim.Optimizer, peaks: list[float], progress: float, phase: Phase) -> None:
        """Linear warm-up, then a cosine to zero. Precisions keep their rate: they need all steps to travel."""
        warm = min(1.0, progress / phase.warmup) if phase.warmup else 1.0
        factor = warm * 0.5 * (1 + float(np.cos(np.pi * progress)))
        for group, peak in zip(optimiser.param_groups, peaks, strict=True):
            group["lr"] = peak if group.get("steady") else peak * factor

    # --- checkpoints -------------------------------------------------------------------------------------------------

    def _fingerprint(self, model: nn.Module, phase: Phase, key: str, teacher: nn.Module | None = None) -> str:
        """Of everything that decides a phase's course, the weights at its start included."""
        digest = hashlib.sha256(json.dumps([phase.settings(), self.seed, self.content, key]).encode())
        if self.amp or self.device.type != "cpu":
            digest.update(f"{self.device.type}, bfloat16: {self.amp}".encode())
        for module in (model,) if teacher is None else (model, teacher):
            for name, tensor in sorted(module.state_dict().items()):
                digest.update(name.encode())
                digest.update(
                    tensor.contiguous().numpy().tobytes() if isinstance(tensor, torch.Tensor) else str(tensor).encode()
                )
        return digest.hexdigest()

    def _save(
        self, path: Path, fingerprint: str, model: nn.Module, optimiser: torch.optim.Optimizer, epochs: int,
        log: list[dict[str, float]],
    ) -> None:  # fmt: skip
        buffer = io.BytesIO()
        state = {"format": CHECKPOINT, "fingerprint": fingerprint, "epochs": epochs, "log": log}
        torch.save(state | {"model": model.state_dict(), "optimiser": optimiser.state_dict()}, buffer)
        atomic_write_bytes(path, buffer.getvalue())

    def _load(
        self, path: Path, fingerprint: str, model: nn.Module, optimiser: torch.optim.Optimizer
    ) -> tuple[int, list[dict[str, float]]]:
        """Continue from a checkpoint; one of other settings, or a damaged one, counts as none."""
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except Exception:  # torch.load raises many kinds on a damaged file
            return 0, []
        if not isinstance(state, dict) or state.get("format") != CHECKPOINT or state.get("fingerprint") != fingerprint:
            return 0, []
        whole = is_log(state.get("log"), state.get("epochs")) and is_state_of(model, state.get("model"))
        if not whole or not is_optimiser_state(optimiser, state.get("optimiser")):
            return 0, []
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        return state["epochs"], state["log"]

    @contextlib.contextmanager
    def _bar(self, phase: Phase, done: int, steps: int) -> Iterator[Callable[[str], None]]:
        columns = (TextColumn("{task.description:28}"), BarColumn(), TextColumn("{task.fields[note]}"),
                   TimeElapsedColumn(), TimeRemainingColumn())  # fmt: skip
        with Progress(*columns, console=Console(stderr=True), disable=self.quiet) as progress:
            task = progress.add_task(phase.name, total=phase.epochs * steps, completed=done * steps, note="")
            yield lambda note: progress.update(task, advance=1, note=note)


def _content(dataset: Dataset) -> str:
    """SHA-256 of the training images, what their pixels stand for, and labels: data sets of one name may differ."""
    digest = hashlib.sha256(repr(dataset.train_images.shape).encode())
    if dataset.normalisation != USUAL:
        digest.update(repr(dataset.normalisation).encode())
    for array in (dataset.train_images, dataset.train_labels):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def device_named(name: str) -> torch.device:
    """The device of a name, ``auto`` being a GPU where PyTorch finds one; :class:`SysmolError` where it has none."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0]
        raise SysmolError(f"this PyTorch cannot compute on device '{name}': choose cpu ({why})") from None


@torch.no_grad()
def _soft_labels(teacher: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What a trained module makes of real images, as probabilities ``[n, classes]`` at :data:`TEMPERATURE`."""
    return (teacher(x).float() / TEMPERATURE).softmax(1)


def _seed(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7], "little")


def accuracy(
    model: nn.Module, images: np.ndarray, labels: np.ndarray, batch: int = 500, normalisation: Normalisation = USUAL
) -> float:
    """Share of images (u8 ``[n, H, W, C]``) that a module classifies as labelled."""
    return float((classes_of(model, images, batch, normalisation) == labels).mean())


@torch.no_grad()
def classes_of(
    model: nn.Module, images: np.ndarray, batch: int = 500, normalisation: Normalisation = USUAL
) -> np.ndarray:
    """Classes int64 ``[n]`` that a module gives to images u8 ``[n, H, W, C]``."""
    model.eval()
    parts = (to_real(images[i : i + batch], normalisation) for i in range(0, len(images), batch))
    return np.concatenate([model(x).argmax(1).numpy() for x in parts])


@torch.no_grad()
def settle_statistics(
    model: nn.Module, images: np.ndarray, batch: int = 250, normalisation: Normalisation = USUAL
) -> None:
    """Recompute the running statistics of batch normalisation as plain averages over ``images`` (u8, at least 2), in
    batches of nearly ``batch`` that differ by one image at most: every image counts as much.
    """
    with plain_averages(model):
        for part in np.array_split(images, max(1, len(images) // batch)):
            model(to_real(part, normalisation))


@contextlib.contextmanager
def plain_averages(model: nn.Module) -> Iterator[None]:
    """A module in training mode whose batch normalisations begin anew and average their statistics over all batches
    that it is given; behind that in evaluation mode."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    yield
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
