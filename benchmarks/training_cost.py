"""What training costs: seconds per epoch of full precision, plain quantisation-aware training and both SMOL phases.

    python -m sysmol.benchmarks.training_cost --model resnet8 --dataset cifar10

All four take turns on the same machine, ``--repeats`` times; an epoch's time is that of ``--images`` training images
scaled to all of them, and a ratio is the median of the ratios within a turn.
"""

import argparse
import datetime
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import pandas as pd
import torch
from torch import nn

from sysmol.errors import SysmolError
from sysmol.files import atomic_write_text
from sysmol.train.frontend.data import Dataset, load, to_real
from sysmol.train.frontend.models import build
from sysmol.train.quantise.prepared import prepare
from sysmol.train.quantise.trainer import Phase, Trainer

KINDS = {
    "fp32": "full precision",
    "w4": "plain quantisation-aware training, 4 bits",
    "noise": "SMOL, phase 1: noise",
    "tune": "SMOL, phase 2: fine-tuning in patterns",
}
BASIS = "w4"
COLUMNS = (
    "network", "dataset", "kind", "what", "seconds_per_epoch", "over_w4", "images", "batch", "repeats", "threads",
    "torch", "date",
)  # fmt: skip


def modules(model: str, data: Dataset) -> dict[str, nn.Module]:
    """One module per kind, with first weights and in the state in which it is trained."""
    torch.manual_seed(0)
    plain = build(model, data.shape[2], len(data.classes))
    images = to_real(data.train_images[:256])
    made: dict[str, nn.Module] = {"fp32": plain}
    for kind in ("w4", "noise", "tune"):
        prepared = prepare(plain, images[:1], "w4" if kind == "w4" else "mixed")
        prepared.calibrate(images)
        if kind == "noise":
            prepared.start_noise()
        elif kind == "tune":
            # Layers as they are behind phase 1: every precision occurs.
            with torch.no_grad():
                for domain in prepared.learned_domains().values():
                    domain.s.copy_(torch.linspace(-3, 3, len(domain.s)))
        if kind != "noise":
            prepared.freeze()
            prepared.calibrate(images)
        made[kind] = prepared
    return made


def measure(model: str, data: Dataset, images: int, batch: int, repeats: int) -> pd.DataFrame:
    """A row per kind and turn: ``kind``, ``turn``, ``seconds`` per epoch over all training images."""
    trainer = Trainer(data, quiet=True)
    made = modules(model, data)
    base = Phase("cost", epochs=1, batch=batch, shift=4, flip=True, limit=images)
    rows = []
    for turn in range(-1, repeats):
        for kind, module in made.items():
            phase = replace(base, size_weight=1.0 if kind == "noise" else 0.0)
            seconds = trainer.fit(module, phase)[-1]["seconds"] * len(data.train_images) / images
            if turn >= 0:  # the first turn warms up
                rows.append({"kind": kind, "turn": turn, "seconds": seconds})
    return pd.DataFrame(rows)


def summary(turns: pd.DataFrame) -> pd.DataFrame:
    """Median seconds per epoch of every kind, and the median of its ratios to plain quantisation-aware training."""
    wide = turns.pivot(index="turn", columns="kind", values="seconds")
    return pd.DataFrame([
        {"kind": kind, "what": what, "seconds_per_epoch": round(median(wide[kind]), 2),
         "over_w4": round(median(wide[kind] / wide[BASIS]), 3)}
        for kind, what in KINDS.items()
    ])  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0; 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m sysmol.benchmarks.training_cost", description=__doc__)
    parser.add_argument("--model", default="resnet8")
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--images", type=int, default=2048, help="training images per turn and kind (2048)")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=7, help="turns (7)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of PyTorch (all processors)")
    parser.add_argument("--out", type=Path, default=Path("build/bench/training_cost.csv"))
    options = parser.parse_args(arguments)
    try:
        for name in ("images", "batch", "repeats", "threads"):
            if getattr(options, name) < 1:
                raise SysmolError(f"--{name} {getattr(options, name)}: at least 1")
        torch.set_num_threads(options.threads)
        data = load(options.dataset)
        images = min(options.images, len(data.train_images))
        table = summary(measure(options.model, data, images, options.batch, options.repeats))
        facts = {
            "network": options.model, "dataset": data.name, "images": images, "batch": options.batch,
            "repeats": options.repeats, "threads": options.threads, "torch": torch.__version__,
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        }  # fmt: skip
        table = table.assign(**facts)[list(COLUMNS)]
        atomic_write_text(options.out, table.to_csv(index=False))
    except SysmolError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    print(table[["kind", "what", "seconds_per_epoch", "over_w4"]].to_string(index=False))
    print(f"wrote {options.out}: {options.model} on {data.name}, {options.threads} threads, {options.repeats} turns")
    return 0


if __name__ == "__main__":
    sys.exit(main())
