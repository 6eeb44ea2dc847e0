"""The tables of docs/trained.md and docs/training.md: accuracy, size and cycles of trained networks, the co-design
loop, what training and rounding cost (:mod:`sysmol.benchmarks.tables` writes them)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from sysmol.analysis.accuracy import FULL, ISAS, TITLES, by_variant, simulated
from sysmol.analysis.accuracy import markdown as variants_table
from sysmol.analysis.markdown import number
from sysmol.analysis.markdown import table as markdown
from sysmol.analysis.products import USUAL_ORDER
from sysmol.analysis.summary import SUMMARY_FORMAT, SUMMARY_VERSION
from sysmol.files import read_json
from sysmol.pattern import pattern_name
from sysmol.search.codesign.page import COLUMNS, shown

Frame = pd.DataFrame
DATASETS = {"mnist": "MNIST", "cifar10": "CIFAR-10 (JPEG)"}


def network_table(source: str, network: str, dataset: str) -> Callable[[dict[str, Frame]], str]:
    """The variants of one network: full precision first, then from many bits to few."""

    def table(data: dict[str, Frame]) -> str:
        rows = data[source]
        means = by_variant(rows[(rows["network"] == network) & (rows["dataset"] == dataset)])
        # Targets stay together, whatever each variant makes of them.
        keys = {"quantised": ~means["variant"].isin(FULL), "size": means["bits_per_parameter"].round(1)}
        return variants_table(
            means.assign(**keys).sort_values(["quantised", "size"], ascending=[True, False], kind="stable")
        )

    return table


HEADLINES = (
    ("mnist_net", "P4-1.5"), ("resnet8", "w4"), ("resnet8", "P4-3.0-longer"), ("resnet8", "P4-2.0"),
    ("resnet20", "P4-3.0"), ("resnet20", "P4-1.8"), ("resnet20", "P4-1.8-longer-longer"), ("mobilenetv2_small", "w4"),
    ("mobilenetv2_small", "P4-3.0"),
)  # fmt: skip
"""What the project's front page shows."""


def headline_table(data: dict[str, Frame]) -> str:
    """Accuracy of the integers, size and cycles of some variants against their full precision."""
    means = {(row["network"], row["variant"]): row for row in by_variant(data["training"]).to_dict("records")}
    rows = []
    for network, variant in HEADLINES:
        if (network, variant) not in means:
            continue
        row, full = means[network, variant], means[network, "fp32"]
        rows.append(
            [
                f"{network}, {DATASETS[row['dataset']]}",
                variant,
                f"{row['bits_per_parameter']:.2f}",
                f"{row['accuracy_fp32']:.2%}",
                f"{row['accuracy_integer']:.2%}",
                f"{row['compression']:.1f}x",
                *(number(full[f"cycles_{isa}"] / row[f"cycles_{isa}"], "{:.1f}x") for isa in ISAS),
                row["seeds"],
            ]
        )
    head = ["network", "variant", "bits per weight", "fp32", "integers", "smaller file"]
    return markdown([*head, *(f"fewer cycles, {title}" for title in TITLES.values()), "seeds"], rows)


DEMO = (
    "accuracy_fp32",
    "accuracy_float",
    "accuracy_integer",
    "test_images",
    "bits_per_parameter",
    "file_bytes",
    "compression",
)
"""What a row of demo.csv holds of a network's metrics."""


def demo_rows(summary: Path) -> list[dict[str, Any]]:
    """The networks of the demo as rows like those of training, from the ``summary.json`` that it wrote."""
    found = read_json(summary, SUMMARY_FORMAT, SUMMARY_VERSION)
    same = {"network": "digits_net", "dataset": "digits"} | {key: found[key] for key in ("command", "created")}
    return [
        same | {"variant": name} | {key: found["networks"][name][key] for key in DEMO} | simulated(found, name, summary)
        for name in USUAL_ORDER
    ]


def codesign_table(data: dict[str, Frame]) -> str:
    """The rounds of the loop and the designs beside them."""
    patterns = [_patterns(str(numbers).split()) for numbers in data["codesign"]["patterns"].fillna("")]
    rows = [[*row, used] for row, used in zip(shown(data["codesign"]), patterns, strict=True)]
    return markdown([*COLUMNS, "patterns"], rows)


def _patterns(numbers: list[str]) -> str:
    return " ".join(pattern_name(int(n)) for n in numbers) if len(numbers) <= 8 else f"{len(numbers)} patterns"


def cost_table(data: dict[str, Frame]) -> str:
    """Time of an epoch over that of plain quantisation-aware training."""
    rows = data["training_cost"]
    return markdown(["", *rows["what"]], [["time over plain", *(f"{ratio:.2f}" for ratio in rows["over_w4"])]])


def int8_error_table(data: dict[str, Frame]) -> str:
    """What rounding the constants of an int8 network costs."""
    rows = [
        [f"{row['s']:.1f}", f"{row['real']:.2%}", f"{row['integers']:.2%}", f"{row['ratio']:.3f}",
         f"{row['high_products']} of {row['outputs']}"]
        for row in data["int8_error"].to_dict("records")
    ]  # fmt: skip
    return markdown(["s", "real constants", "integers", "ratio", "outputs with high products"], rows)


TABLES: dict[str, tuple[str, Callable[[dict[str, Frame]], str]]] = {
    "mnist": ("training", network_table("training", "mnist_net", "mnist")),
    "mnist-ablations": ("training_ablations", network_table("training_ablations", "mnist_net", "mnist")),
    "resnet8": ("training", network_table("training", "resnet8", "cifar10")),
    "resnet8_large": ("training", network_table("training", "resnet8_large", "cifar10")),
    "resnet20": ("training", network_table("training", "resnet20", "cifar10")),
    "mobilenetv2": ("training", network_table("training", "mobilenetv2_small", "cifar10")),
    "headline": ("training", headline_table),
    "digits": ("demo", network_table("demo", "digits_net", "digits")),
    "codesign": ("codesign", codesign_table),
    "training-cost": ("training_cost", cost_table),
    "int8-error": ("int8_error", int8_error_table),
}
"""File and function of every table."""
