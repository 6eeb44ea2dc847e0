"""Step ``experiment``: one variant of one network with one seed, trained, exported, its figures as a row.

Products: ``VARIANT.network.safetensors`` (of variants that can be exported), ``VARIANT.row.json``, and in ``phases/``
the end of every phase of its training (:mod:`sysmol.train.quantise.phase_file`). Variants share what they have in
common through the folder of unfinished work; a killed training goes on from there.
"""

import datetime
import functools
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sysmol.files import atomic_write_json, make_folder, sha256_file
from sysmol.network import save
from sysmol.pattern import pattern_name
from sysmol.train.frontend.data import Dataset, load, source_files
from sysmol.train.quantise import phase_file
from sysmol.train.recipes.pipeline import Pipeline, Schedule, Trained, build_pipeline
from sysmol.train.recipes.variants import Variant
from sysmol.workbench.key import Step, Task, digest
from sysmol.workbench.steps.train import start_files, subject_options, users_code

STEP = Step("experiment", 1, f"{__name__}:run", resumes=("variant",))
PHASES = "phases"
Row = dict[str, Any]


def task(
    dataset: str, model: str, schedule: Schedule, variant: Variant, seed: int, command: str = "",
    starts: Path | None = None, quiet: bool = False, device: str = "auto", weights: Path | None = None,
) -> Task:  # fmt: skip
    """Train and export a variant. ``starts``: ends of phases that were made elsewhere, to go on from; ``weights``:
    where full precision starts."""
    own = sorted(starts.glob(f"*{phase_file.SUFFIX}")) if starts is not None else []
    return Task(
        STEP,
        options={
            "variant": variant, "seed": seed, "schedule": schedule, **subject_options(dataset, model, device),
            "starts_at": {path.name: digest(path) for path in own},
        },
        files=start_files(weights),
        reads=source_files(dataset),
        code=users_code(model),
        given={"dataset": dataset, "model": model, "command": command, "starts": starts, "quiet": quiet},
    )  # fmt: skip


@functools.lru_cache(maxsize=1)
def _data(name: str, *_: str) -> Dataset:
    return load(name)


@functools.lru_cache(maxsize=1)
def pipeline_of(
    dataset: str, model: str, schedule: Schedule, seed: int, resume: Path, starts: Path | None, quiet: bool,
    device: str = "auto", weights: Path | None = None,
) -> Pipeline:  # fmt: skip
    """The pipeline whose unfinished work is in ``resume``; kept for the next variant."""
    contents = [digest(path) for path in source_files(dataset)]
    data = _data(dataset, *contents)
    pipeline = build_pipeline(data, model, schedule, seed, resume, quiet=quiet, device=device, weights=weights)
    pipeline.ends, pipeline.starts = resume / PHASES, starts
    return pipeline


def run(
    folder: Path, dataset: str, model: str, schedule: Schedule, variant: Variant, seed: int, command: str, resume: Path,
    starts: Path | None, quiet: bool, device: str, weights: Path | None = None, **_: Any,
) -> None:  # fmt: skip
    """Fill ``folder``."""
    pipeline = pipeline_of(dataset, model, schedule, seed, resume, starts, quiet, device, weights)
    trained = pipeline.train(variant)
    row = _row(pipeline, trained, folder, seed, command)
    atomic_write_json(folder / f"{variant.name}.row.json", row)
    ends = make_folder(folder / PHASES)
    for phase in trained.phases:
        shutil.copyfile(phase_file.path_of(resume / PHASES, phase["name"]), phase_file.path_of(ends, phase["name"]))


def _row(pipeline: Pipeline, trained: Trained, folder: Path, seed: int, command: str) -> Row:
    """All figures of a variant (columns: :mod:`sysmol.workbench.experiments.table`)."""
    chosen = trained.variant
    facts: Row = {"network": pipeline.facts["model"], "dataset": pipeline.data.name, "variant": chosen.name}
    facts |= {"seed": seed, "source": pipeline.data.source, "command": command, "patterns": _patterns(trained)}
    facts |= {"epochs": sum(trained.epochs), "seconds": trained.seconds}
    facts |= {"date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")}
    facts |= {"threads": torch.get_num_threads(), "torch": torch.__version__}
    metrics: Mapping[str, Any]
    if chosen.exported:
        network = pipeline.export(trained)
        metrics = network.metrics
        facts["network_sha256"] = sha256_file(save(folder / f"{chosen.name}.network.safetensors", network))
    else:
        metrics = pipeline.measure(trained)
    return dict(metrics) | facts


def _patterns(trained: Trained) -> str:
    """Names of the patterns that hardware must support for a network's vectors."""
    domains = trained.prepared.learned_domains().values() if trained.variant.shared else ()
    used = sorted({number for domain in domains for number in domain.patterns})
    return " ".join(pattern_name(number) for number in used)
