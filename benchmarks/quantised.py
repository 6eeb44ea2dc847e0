"""Rows of results/quantised.csv: what `sysmol quantise` made, with the accuracies that its network files hold::

    sysmol quantise mlperf_tiny_resnet8_fp32.tflite --data cifar10 --bits 4 --out q/resnet8-4.network.safetensors
    python -m sysmol.benchmarks.quantised q/*.network.safetensors --out build/bench/quantised.csv

A row of the same model, bits, steps and epochs in the file is replaced. ``--keep`` puts the networks themselves beside
the table, without samples.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sysmol.analysis.markdown import table as markdown
from sysmol.errors import SysmolError
from sysmol.files import atomic_write_text, make_folder
from sysmol.network import Network, load, save
from sysmol.workbench.experiments.table import NETWORKS
from sysmol.workbench.steps.compile import SUFFIX

Frame = pd.DataFrame
MADE = ("model", "dataset", "bits", "images", "steps", "epochs", "seed")
"""Of a network file's provenance."""
FOUND = (
    "accuracy_fp32",
    "accuracy_integer",
    "same_class",
    "test_images",
    "bits_per_parameter",
    "file_bytes",
    "compression",
)
"""Of its metrics."""
KEY = ["model", "dataset", "bits", "steps", "epochs"]


def row_of(path: Path, net: Network) -> dict[str, Any]:
    """What a network file says of how it was made and of how well it does."""
    missing = [name for name in MADE if name not in net.provenance] + [n for n in FOUND if n not in net.metrics]
    if missing:
        raise SysmolError(f"{path} was not made by sysmol quantise on labelled data: it has no {', '.join(missing)}")
    made = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
    return (
        {name: net.provenance[name] for name in MADE}
        | {name: net.metrics[name] for name in FOUND}
        | {"command": command_of(net), "date": made.strftime("%Y-%m-%d")}
    )


def command_of(net: Network) -> str:
    """The command that makes such a file."""
    said = net.provenance
    options = [f"--{name} {said[name]:g}" for name in ("bits", "images", "steps", "epochs", "seed")]
    return f"sysmol quantise {said['model']} --data {said['dataset']} {' '.join(options)}"


def keep(net: Network, out: Path) -> str:
    """Put a network, without samples, into the folder beside the table ``out``; the file's name there."""
    said = net.provenance
    name = f"{Path(said['model']).stem}-{said['dataset']}-{said['bits']:g}bit-{said['epochs']}epochs{SUFFIX}"
    save(make_folder(out.parent / NETWORKS) / name, net, deploy=True)
    return name


def merged(old: Frame | None, rows: Sequence[dict[str, Any]]) -> Frame:
    """Old rows but for those that are new, and the new ones, in order."""
    table = pd.concat([each for each in (old, pd.DataFrame(rows)) if each is not None])
    table = table.drop_duplicates(KEY, keep="last")
    return table.sort_values(KEY, ascending=[True, True, False, True, True])


def table(data: dict[str, Frame]) -> str:
    """Accuracy without training, and with a few epochs, by model and bits."""
    rows = [
        [
            row["model"],
            f"{row['bits']:g}",
            f"{row['bits_per_parameter']:.2f}",
            f"{row['compression']:.1f}x",
            row["steps"],
            row["epochs"] or "none",
            f"{row['accuracy_fp32']:.2%}",
            f"{row['accuracy_integer']:.2%}",
            f"{100 * (row['accuracy_integer'] - row['accuracy_fp32']):+.2f}",
            f"{row['same_class']:.1%}",
        ]
        for row in data["quantised"].to_dict("records")
    ]
    head = ["file", "--bits", "bits per parameter", "smaller file", "steps", "epochs of training"]
    return markdown([*head, "full precision", "integers", "points", "same class"], rows)


TABLES = {"quantised": ("quantised", table)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0; 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m sysmol.benchmarks.quantised",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("networks", nargs="+", type=Path, help=".network.safetensors files")
    parser.add_argument("--out", type=Path, default=Path("build/bench/quantised.csv"))
    parser.add_argument("--keep", action="store_true", help="keep the networks in the folder networks beside the table")
    options = parser.parse_args(arguments)
    try:
        nets = [load(path) for path in options.networks]
        rows = [row_of(path, net) for path, net in zip(options.networks, nets, strict=True)]
        if options.keep:
            rows = [row | {"network_file": keep(net, options.out)} for row, net in zip(rows, nets, strict=True)]
        old = pd.read_csv(options.out) if options.out.is_file() else None
        atomic_write_text(options.out, merged(old, rows).to_csv(index=False, lineterminator="\n"))
    except SysmolError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    print(f"wrote {options.out}: {len(rows)} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
