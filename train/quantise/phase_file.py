"""The end of a training phase as a small file, from which any computer goes on: weights at half precision, layouts and
the log, under the name of the course that led there.

The computer that wrote it goes on from the same rounded weights, so that it does not matter where training goes on.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sysmol.files import atomic_write_bytes
from sysmol.train.quantise.states import is_log, is_state_of

FORMAT = "sysmol-phase-1"
SUFFIX = ".phase.pt"


@dataclass(frozen=True)
class End:
    """A state dictionary, floating point at half precision where it fits, and the phase's log, a row per epoch."""

    state: dict[str, Any]
    log: list[dict[str, float]]


def path_of(folder: Path, phase: str) -> Path:
    """The file of a phase."""
    return folder / f"{phase}{SUFFIX}"


def write(path: Path, course: str, module: nn.Module, log: list[dict[str, float]]) -> None:
    """Write the end of a phase, and round the module's numbers to what the file holds."""
    state = {name: _halved(value) for name, value in module.state_dict().items()}
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "course": course, "log": log, "model": state}, buffer)
    atomic_write_bytes(path, buffer.getvalue())
    module.load_state_dict(state)


def _halved(value: Any) -> Any:
    """Floating point at half precision; as it is where a number is beyond its range."""
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return value
    half = value.half()
    return half if bool(half.isfinite().all()) else value


def read(path: Path, course: str, module: nn.Module) -> End | None:
    """The end of a phase of that course; None where the file is absent, damaged, of another course, or of another
    module than ``module``."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch.load raises many kinds on a damaged file
        return None
    if not isinstance(found, dict) or found.get("format") != FORMAT or found.get("course") != course:
        return None
    log = found.get("log")
    if not isinstance(log, list) or not is_log(log, len(log)) or not is_state_of(module, found.get("model")):
        return None
    return End(found["model"], log)
