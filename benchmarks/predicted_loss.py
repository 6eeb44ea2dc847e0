"""How well the predicted loss that layouts are chosen by (docs/training.md, Freezing) matches the loss itself.

    python -m sysmol.benchmarks.predicted_loss benchmarks/training/cifar10-resnet20.toml --seed 0

A network after phase 1, trained or read from the checkpoints of ``sysmol experiments``, is laid out under many limits
and in three sets of patterns, with uniform codes and with random precisions. Of every layout: its predicted loss, from
the learned precisions, over that of uniform 2-bit codes, and the cross entropy on training images before any
fine-tuning, after calibration alone.
"""

import argparse
import copy
import datetime
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr

from sysmol.errors import SysmolError
from sysmol.files import atomic_write_text
from sysmol.pattern import UNIFORM
from sysmol.patterns.slots import Cover
from sysmol.train.quantise.allocate import (
    allocate,
    learned_scores,
    predicted_loss,
    random_scores,
    stored_bits,
    uniform_cost,
    uniform_covers,
    vector_cost,
)
from sysmol.train.quantise.calibration import batch_statistics
from sysmol.train.quantise.prepared import Prepared, resolve_patterns
from sysmol.train.recipes.pipeline import Pipeline
from sysmol.workbench.experiments.run import resume_folder
from sysmol.workbench.experiments.spec import load_spec
from sysmol.workbench.steps.experiment import pipeline_of

BITS = (3.0, 2.5, 2.0, 1.8, 1.5, None)
SHARES = (None, 0.8, 0.6, 0.5, 0.4, 0.3)
SETS = ("P4", "P8", "P45")
COLUMNS = ("network", "dataset", "seed", "layout", "bits_limit", "cycles_limit", "bits_per_parameter", "cycles_share",
           "predicted_over_w2", "loss", "images", "torch", "date")  # fmt: skip

Named = tuple[str, float | None, float | None, Mapping[str, Cover]]


def layouts(prepared: Prepared, seed: int) -> Iterator[Named]:
    """Name, limits of bits and of cycles (a share of uniform 4-bit's), covers; limits that cannot be met are left
    out."""
    scores, whole = learned_scores(prepared), uniform_cost(prepared)
    for precision, pattern in UNIFORM.items():
        yield f"w{precision}", None, None, uniform_covers(prepared, [pattern], precision)
    for name, source in [*((name, scores) for name in SETS), ("P4-random", random_scores(prepared, seed))]:
        for bits, share in ((bits, share) for bits in BITS for share in SHARES if bits or share):
            cost = None if share is None else share * whole
            try:
                yield name, bits, share, allocate(prepared, resolve_patterns(name.split("-")[0]), source, bits, cost)
            except SysmolError:
                continue


def loss_of(
    prepared: Prepared,
    covers: Mapping[str, Cover],
    calibration: torch.Tensor,
    images: torch.Tensor,
    labels: torch.Tensor,
) -> float:
    """Cross entropy of a layout on real ``images [n, C, H, W]``, batch normalisation by each batch's own statistics."""
    frozen = copy.deepcopy(prepared)
    frozen.lay_out(covers)
    frozen.calibrate(calibration)
    frozen.eval()
    with torch.no_grad(), batch_statistics(frozen):
        logits = torch.cat([frozen(images[first : first + 500]) for first in range(0, len(images), 500)])
    return float(F.cross_entropy(logits, labels))


def measure(pipeline: Pipeline, count: int, say: Any = print) -> pd.DataFrame:
    """A row per layout that differs from those before it."""
    pipeline.fp32()
    prepared, _ = pipeline.noise()
    scores = learned_scores(prepared)
    basis, whole = predicted_loss(prepared, scores, uniform_covers(prepared, [UNIFORM[2]], 2)), uniform_cost(prepared)
    images = pipeline.data.real(pipeline.data.train_images[-count:])
    labels = torch.from_numpy(pipeline.data.train_labels[-count:])
    rows: list[dict[str, Any]] = []
    seen = set()
    for name, bits, share, covers in layouts(prepared, pipeline.trainer.seed):
        content = tuple(np.concatenate([found.precisions, found.slots]).tobytes() for found in covers.values())
        if content in seen:
            continue
        seen.add(content)
        loss = loss_of(prepared, covers, pipeline.calibration, images, labels)
        rows.append({
            "layout": name, "bits_limit": bits, "cycles_limit": share,
            "bits_per_parameter": round(stored_bits(prepared, covers), 4),
            "cycles_share": round(vector_cost(prepared, covers) / whole, 4),
            "predicted_over_w2": round(predicted_loss(prepared, scores, covers) / basis, 4), "loss": round(loss, 4),
        })  # fmt: skip
        say(" ".join(str(value) for value in rows[-1].values()))
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0; 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m sysmol.benchmarks.predicted_loss", description=__doc__)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=2000, help="training images, the last ones (2000)")
    parser.add_argument("--experiments", type=Path, default=Path("build/experiments"))
    parser.add_argument("--out", type=Path, default=Path("build/bench/predicted_loss.csv"))
    options = parser.parse_args(arguments)
    try:
        if options.images < 1:
            raise SysmolError(f"--images {options.images}: at least 1")
        spec = load_spec(options.spec)
        resume = resume_folder(spec, options.experiments, options.seed)
        pipeline = pipeline_of(
            spec.dataset, spec.model, spec.schedule, options.seed, resume, None, False, weights=spec.weights
        )
        table = measure(pipeline, options.images)
        facts = {
            "network": pipeline.facts["model"], "dataset": pipeline.data.name, "seed": options.seed,
            "images": options.images, "torch": torch.__version__,
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        }  # fmt: skip
        atomic_write_text(options.out, table.assign(**facts)[list(COLUMNS)].to_csv(index=False))
    except SysmolError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    rank = spearmanr(table["predicted_over_w2"], table["loss"]).statistic
    print(f"{len(table)} layouts, rank correlation of predicted and measured loss {rank:.3f}; wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
