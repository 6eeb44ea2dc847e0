"""The figure of the second page of instructions: how many times as long fp32 and sdot take, network by network."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from sysmol.analysis.figures import WIDTH, isa_name, styled, svg_of
from sysmol.benchmarks.matrix_tables import Matrix
from sysmol.benchmarks.plan import MACHINE, MATRIX_MACHINE

SERIES = (
    ("arm", "fp32", MACHINE, "#56B4E9"),
    ("arm", "fp32", MATRIX_MACHINE, "#0072B2"),
    ("riscv", "fp32", MACHINE, "#E69F00"),
    ("riscv", "fp32", MATRIX_MACHINE, "#D55E00"),
    ("arm", "int8", MACHINE, "#B3B3B3"),
    ("arm", "int8", MATRIX_MACHINE, "#666666"),
)
"""ISA, baseline, machine and colour of a bar."""
OTHERS = ("kernels", "training")
"""Files of results that have what is not measured anew."""
PAGES = {MACHINE: "first page", MATRIX_MACHINE: "both pages"}
BASES = {"fp32": "fp32", "int8": "sdot"}


def cases(k: Matrix) -> list[tuple[str, str]]:
    """Networks and variants of codes that were measured with both pages of instructions."""
    return [(network, variant) for network in k.networks() for variant in k.variants(network, MATRIX_MACHINE)]


@styled
def draw(path: Path) -> str:
    """Horizontal bars, a group for each network and variant."""
    k = Matrix({each.stem: pd.read_csv(each) for each in (path, *(path.with_name(f"{name}.csv") for name in OTHERS))})
    own = cases(k)
    figure = Figure(figsize=(WIDTH, 1.3 + 0.75 * len(own)), layout="constrained")
    axes = figure.add_subplot()
    height = 0.8 / len(SERIES)
    for number, (isa, base, machine, colour) in enumerate(SERIES):
        label = f"{isa_name(isa)}, {BASES[base]} / it, {PAGES[machine]}"
        for at, (network, variant) in enumerate(own):
            name = variant if machine == MATRIX_MACHINE else variant.split("-")[0]
            cycles, slow = k.cycles(network, isa, name, machine), k.baseline(network, isa, base)
            if not cycles or not slow:
                continue
            place = at + number * height - 0.4 + height / 2
            axes.barh(place, slow / cycles, height, color=colour, label=label)
            axes.text(slow / cycles, place, f" {slow / cycles:.1f}", va="center", fontsize=6.5)
            label = "_nolegend_"
    axes.set_yticks(range(len(own)), [f"{network}\n{variant}" for network, variant in own])
    axes.invert_yaxis()
    axes.set_xlabel("times as long")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=1, frameon=False)
    return svg_of(figure, "fp32 and sdot over codes, with one page of instructions and with both")
