"""Step ``train``: the variants of one network, trained and exported.

Products: ``VARIANT.network.safetensors`` of every variant. A killed training goes on from its checkpoints.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from sysmol.errors import SysmolError
from sysmol.network import Normalisation
from sysmol.train.frontend.data import source_files
from sysmol.train.frontend.policy import USUAL_LAYERS, LayerBits
from sysmol.train.frontend.user_files import is_data, is_module, label
from sysmol.train.quantise.trainer import device_named
from sysmol.train.recipes import pipeline
from sysmol.train.recipes.variants import exportable, variant
from sysmol.workbench.key import Step, Task

STEP = Step("train", 1, f"{__name__}:run", resumes=())


def task(
    dataset: str, model: str, preset: str, seed: int, variants: Sequence[str] = pipeline.VARIANTS, device: str = "auto",
    layer_bits: LayerBits = USUAL_LAYERS, normalisation: Normalisation | None = None, weights: Path | None = None,
) -> Task:  # fmt: skip
    """Train the variants of a network; arguments as in :func:`sysmol.train.recipes.pipeline.run`. Raises
    :class:`~sysmol.errors.SysmolError` for variants that cannot be exported."""
    for name in variants:
        exportable(variant(name))
    schedule = replace(pipeline.schedule_of(preset), layer_bits=layer_bits, normalisation=normalisation)
    options = {"schedule": asdict(schedule), "seed": seed, "variants": list(variants)}
    return Task(
        STEP,
        options=options | subject_options(dataset, model, device),
        files=start_files(weights),
        reads=source_files(dataset),
        code=users_code(model),
        given={
            "dataset": dataset,
            "model": model,
            "preset": preset,
            "layer_bits": layer_bits,
            "normalisation": normalisation,
        },
    )


def subject_options(dataset: str, model: str, device: str = "auto") -> dict[str, Any]:
    """What counts of data and network beside their files, and the device and number of threads, on which sums depend.

    Raises :class:`~sysmol.errors.SysmolError` where PyTorch lacks the device.
    """
    return {
        "dataset_name": dataset if not is_data(dataset) else "own",
        "model_name": model if not is_module(model) else label(model),
        "device": str(device_named(device)),
        "threads": torch.get_num_threads(),
    }


def start_files(weights: Path | None) -> dict[str, Path]:
    """Trained weights to start from, if any; :class:`~sysmol.errors.SysmolError` where there is no such file."""
    if weights is None:
        return {}
    if not weights.is_file():
        raise SysmolError(f"there is no file {weights}")
    return {"weights": weights}


def users_code(model: str) -> tuple[Path, ...]:
    """The user's file in ``FILE.py:CALLABLE``."""
    return (Path(model.partition(".py:")[0] + ".py"),) if is_module(model) else ()


def run(
    folder: Path, dataset: str, model: str, preset: str, seed: int, variants: Sequence[str], device: str, resume: Path,
    layer_bits: LayerBits, normalisation: Normalisation | None, weights: Path | None = None, **_: Any,
) -> None:  # fmt: skip
    """Fill ``folder``."""
    pipeline.run(
        dataset=dataset, model=model, out_dir=folder, preset=preset, seed=seed, variants=variants, checkpoints=resume,
        device=device, layer_bits=layer_bits, normalisation=normalisation, weights=weights,
    )  # fmt: skip
