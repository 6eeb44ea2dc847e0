"""Training a supernet: the largest network, then kernels, depth and width, then bits.

Every step draws its points and images from its own number, so that a training that was interrupted goes on as if it had
not been. In each step the largest network of the phase learns from the labels, and the smallest and random ones from
its answers as well (the sandwich rule, Yu et al., 2020).
"""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from sysmol.errors import SysmolError
from sysmol.files import atomic_write_bytes, check_file
from sysmol.search.spaces import Point, Space
from sysmol.search.supernet.families import largest
from sysmol.search.supernet.supernet import Supernet

PHASES = ("whole", "kernel", "shape", "bits")
"""What varies: nothing; kernels; also depth, width, expansion and resolution; also bits."""
FREE = {
    "whole": (),
    "kernel": ("kernel",),
    "shape": ("kernel", "depth", "width", "expand", "resolution"),
    "bits": ("kernel", "depth", "width", "expand", "resolution", "bits"),
}
"""Beginnings of the names of the genes that vary in a phase."""
FORMAT = "sysmol-supernet"


@dataclass(frozen=True)
class Schedule:
    """Steps of every phase, images per step, random networks per step beside largest and smallest, peak learning
    rate."""

    whole: int = 2000
    kernel: int = 1000
    shape: int = 2000
    bits: int = 4000
    batch: int = 128
    random: int = 2
    rate: float = 0.05

    @property
    def steps(self) -> int:
        """Of all phases."""
        return sum(getattr(self, phase) for phase in PHASES)

    def phase(self, step: int) -> str:
        """The phase of a step, counted from 0."""
        for phase in PHASES:
            step -= getattr(self, phase)
            if step < 0:
                return phase
        raise ValueError("the training has ended")


def points_of(space: Space, phase: str, rng: random.Random, count: int) -> list[Point]:
    """The points of a step: the largest network first, then (where something varies) the smallest and random ones."""
    whole = largest(space)
    if phase == "whole":
        return [whole]

    def limited(point: Point) -> Point:
        values = {gene.name: gene.choices[-1] for gene in space.genes}
        values |= {name: value for name, value in point.items() if name.startswith(FREE[phase])}
        return space.canonical(values)

    smallest = space.decode([0] * len(space.genes))
    return [whole, limited(smallest), *(limited(space.random(rng)) for _ in range(count))]


def train(
    space: Space, images: torch.Tensor, labels: torch.Tensor, classes: int, schedule: Schedule, seed: int,
    checkpoint: Path | None = None, device: str = "cpu", say: Callable[[str], None] | None = None, every: int = 200,
) -> Supernet:  # fmt: skip
    """A trained supernet. ``images`` float ``[n, C, H, W]``, ``labels`` int64 ``[n]``. ``checkpoint``: a file that is
    written every so many steps and from which the same training goes on; :class:`SysmolError` where it is of another.
    """
    torch.manual_seed(seed)
    net = Supernet(space, images.shape[1], classes).to(device)
    optimizer = torch.optim.SGD(net.whole.parameters(), lr=schedule.rate, momentum=0.9, weight_decay=1e-4)
    identity = {
        "format": FORMAT,
        "space": space.name,
        "schedule": asdict(schedule),
        "seed": seed,
        "content": _content(images, labels),
    }
    start = _resume(checkpoint, identity, net, optimizer)
    for step in range(start, schedule.steps):
        _step(net, optimizer, images, labels, schedule, seed, step, device)
        if checkpoint is not None and ((step + 1) % every == 0 or step + 1 == schedule.steps):
            _save(checkpoint, identity, net, optimizer, step + 1)
        if say is not None and (step + 1) % every == 0:
            say(f"supernet {space.name}: step {step + 1} of {schedule.steps} ({schedule.phase(step)})")
    return net


def _step(
    net: Supernet, optimizer: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor, schedule: Schedule,
    seed: int, step: int, device: str,
) -> None:  # fmt: skip
    rng = random.Random(f"{seed} {step}")
    phase = schedule.phase(step)
    chosen = torch.tensor([rng.randrange(len(images)) for _ in range(schedule.batch)])
    x, y = images[chosen].to(device), labels[chosen].to(device)
    for group in optimizer.param_groups:
        group["lr"] = schedule.rate * _slope(step, schedule.steps)
    optimizer.zero_grad(set_to_none=True)
    teacher: torch.Tensor | None = None
    for number, point in enumerate(points_of(net.space, phase, rng, schedule.random)):
        logits = net.forward_point(point, x, quantised=phase == "bits" and number > 0)
        loss = nn.functional.cross_entropy(logits, y, label_smoothing=0.05)
        if teacher is not None:
            loss = 0.5 * loss + 0.5 * nn.functional.cross_entropy(logits, teacher)
        loss.backward()
        if number == 0:
            teacher = logits.detach().softmax(1)
    nn.utils.clip_grad_norm_(net.whole.parameters(), 5.0)
    optimizer.step()


def _slope(step: int, steps: int) -> float:
    """Learning rate over its peak: a short rise, then straight down to a hundredth."""
    rise = max(1, steps // 20)
    return min((step + 1) / rise, 1.0) * max(1 - step / steps, 0.01)


def _save(path: Path, identity: dict[str, object], net: Supernet, optimizer: torch.optim.Optimizer, step: int) -> None:
    buffer = io.BytesIO()
    state = {"identity": identity, "step": step, "weights": net.whole.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state, buffer)
    atomic_write_bytes(path, buffer.getvalue())


def _resume(path: Path | None, identity: dict[str, object], net: Supernet, optimizer: torch.optim.Optimizer) -> int:
    """Steps that a checkpoint has behind it."""
    if path is None or not path.is_file():
        return 0
    check_file(path)
    try:
        state = torch.load(path, weights_only=True, map_location=next(net.parameters()).device)
        if state["identity"] != identity:
            raise SysmolError(f"{path} is of another training: name another file, or remove it")
        step = int(state["step"])
        net.whole.load_state_dict(state["weights"])
        optimizer.load_state_dict(state["optimizer"])
    except SysmolError:
        raise
    except Exception as error:  # torch names no class for files that are none of its own
        what = " ".join(str(error).split())[:100] or type(error).__name__
        raise SysmolError(f"{path} is no checkpoint of a supernet: {what}") from None
    return step


def _content(images: torch.Tensor, labels: torch.Tensor) -> str:
    """SHA-256 of what is learned from."""
    digest = hashlib.sha256(repr((images.shape, images.dtype)).encode())
    for each in (images, labels):
        digest.update(each.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()
