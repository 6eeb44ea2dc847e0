"""Trained networks to start from: files of other tools, or a module of the user's with its weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sysmol.errors import SysmolError
from sysmol.files import check_file
from sysmol.network import Normalisation
from sysmol.train.frontend.data import USUAL, Dataset
from sysmol.train.frontend.models import build
from sysmol.train.frontend.readers import SUFFIXES, read_model
from sysmol.train.frontend.readers.imported import Imported, Step
from sysmol.train.frontend.takeover import file_normalisation, take_over

STATISTICS = 512
"""Training images that first statistics of batch normalisation come from."""


@dataclass(frozen=True)
class Checkpoint:
    """A module with trained weights, the ``normalisation`` of the pixels that it was trained on, and what became of
    the operators of a file."""

    module: nn.Module
    normalisation: Normalisation
    steps: list[Step] = field(default_factory=list)


def read_checkpoint(
    name: str,
    shape: tuple[int, int, int],
    classes: int,
    weights: Path | None = None,
    normalisation: Normalisation | None = None,
    usual: Normalisation = USUAL,
) -> Checkpoint:
    """The network of a ``.tflite`` or ``.onnx`` file, of ``FILE.py:CALLABLE`` or of a built-in name, for images of
    ``shape`` (height, width, channels) and so many ``classes``.

    ``weights``: a state dictionary of the module (``.pt``, ``.safetensors``). ``normalisation`` replaces the ``usual``
    one, or that of the file. Raises :class:`SysmolError`, one line.
    """
    if Path(name).suffix.lower() in SUFFIXES:
        if weights is not None:
            raise SysmolError(f"{name} holds its weights: --weights belongs to a module, FILE.py:CALLABLE")
        imported = _read_for(name, shape)
        return Checkpoint(imported.module, normalisation or imported.normalisation, imported.table())
    if not classes:
        raise SysmolError(f"{name} is made for a number of classes, which images without labels do not tell: --classes")
    module = build(name, shape[2], classes)
    if weights is not None:
        load_weights(module, weights)
    return Checkpoint(module.eval(), normalisation or usual)


def _read_for(path: str | Path, shape: tuple[int, int, int]) -> Imported:
    """The network of a file that reads images of ``shape`` (height, width, channels)."""
    imported = read_model(path)
    height, width, channels = shape
    if imported.shape != (channels, height, width):
        wanted, found = (" x ".join(map(str, each)) for each in (imported.shape, (channels, height, width)))
        raise SysmolError(f"{path} reads images of {wanted} (channels, height, width), the data's have {found}")
    return imported


def start_from(module: nn.Module, path: Path, data: Dataset, stated: Normalisation | None = None) -> Normalisation:
    """Put trained weights into a module, and return what pixels stand for: as ``stated``, else as the weights need it.

    ``path`` is a state dictionary of the module (``.pt``, ``.safetensors``), or another tool's file of a network of the
    same shape (:mod:`sysmol.train.frontend.takeover`). Raises :class:`SysmolError`, one line.
    """
    if path.suffix.lower() not in SUFFIXES:
        load_weights(module, path)
        return stated or data.normalisation
    imported = _read_for(path, data.shape)
    normalisation = stated or file_normalisation(imported.normalisation, data.normalisation)
    pixels = torch.from_numpy(data.train_images[:STATISTICS]).permute(0, 3, 1, 2).float()
    take_over(module, imported, normalisation, pixels.contiguous())
    return normalisation


def load_weights(module: nn.Module, path: Path) -> None:
    """Load a state dictionary into a module; :class:`SysmolError` where it is damaged or another module's."""
    state = _read_state(path)
    # Trainings often save the state beside others' under this name.
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise SysmolError(f"{path} holds a {type(state).__name__}, not the weights of a module: save its state_dict()")
    try:
        found = module.load_state_dict(state, strict=False)
    except (RuntimeError, TypeError, AttributeError) as error:  # sizes, or no tensors
        what = " ".join(str(error).split(":", 1)[-1].split())[:160]
        raise SysmolError(f"{path} holds no weights of this module: {what}") from None
    if found.missing_keys or found.unexpected_keys:
        lacks, has = _first(found.missing_keys), _first(found.unexpected_keys)
        what = f"it lacks {lacks}" if lacks else f"it has {has}, which the module lacks"
        raise SysmolError(f"{path} holds no weights of this module: {what}")


def _first(names: list[str]) -> str:
    return " and ".join([*names[:1], *([f"{len(names) - 1} more"] if names[1:] else [])])


def _read_state(path: Path) -> Any:
    check_file(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise SysmolError(f"cannot read {path}: {error.strerror or error}") from None
    except Exception:  # both raise many kinds, and the pickle's say little
        raise SysmolError(
            f"{path} is no file of weights, or damaged, or holds more than tensors: save the module's state_dict() "
            "by torch.save, or as .safetensors"
        ) from None
