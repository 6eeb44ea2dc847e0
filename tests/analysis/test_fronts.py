"""Both fronts of trained networks: which rows they show, and as what."""

import re
from typing import Any

import pytest

from sysmol.analysis.fronts import draw, family_of, points
from sysmol.errors import SysmolError


def row(variant: str, accuracy: float | None, size: int, cycles: int | None = None, seed: int = 0) -> dict[str, Any]:
    return {
        "network": "net", "dataset": "cifar10", "variant": variant, "seed": seed, "accuracy_integer": accuracy,
        "test_images": 10_000, "file_bytes": size, "cycles_arm": cycles, "cycles_riscv": None,
    }  # fmt: skip


def test_families() -> None:
    names = (
        "w4",
        "w1",
        "P4-2.0",
        "P4-2.0-c40",
        "P4-c40-longer",
        "P45-1.5",
        "fp32",
        "fp32-longer",
        "fp32-longer-longer",
    )
    assert [family_of(name) for name in names] == [
        "uniform", "uniform", "P4", "P4", "P4", "P45", "fp32", "fp32-longer", "fp32-longer"
    ]  # fmt: skip
    assert family_of("P4-2.0-random") == "P4-random" and family_of("w2-clamp") == "w2-clamp"


def test_what_is_there_for_comparison_and_what_has_no_file_is_left_out() -> None:
    rows = [row("w2", 0.8, 10), row("w2", 0.82, 10, seed=1), row("P4-2.0-random", 0.7, 9), row("P4-2.0", None, 9)]
    assert list(points(rows)["seed"]) == [0, 1]
    with pytest.raises(SysmolError, match="no row is of a network"):
        points(rows[2:])
    with pytest.raises(SysmolError, match="no rows yet"):
        points([])


def test_the_figure_names_families_and_what_measured() -> None:
    rows = [row("fp32", 0.9, 100, 1000), row("w2", 0.8, 10, 70), row("P4-2.0", 0.85, 9, 60), row("int8", 0.9, 25, 300)]
    text = draw(rows)
    assert text == draw(rows) and text.count("<svg") == 1
    shown = set(re.findall(r">([^<>]+)</text>", text))
    assert {"uniform", "P4", "fp32", "bytes of the file", "cycles per image in gem5, AArch64"} <= shown
    assert "P8" not in shown and "fp32-longer" not in shown
