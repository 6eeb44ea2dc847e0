"""The tables of the second page of instructions in docs/results.md, from results/matrix.csv and levers.csv."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from sysmol.analysis.accuracy import TITLES
from sysmol.analysis.markdown import number
from sysmol.analysis.markdown import table as markdown
from sysmol.benchmarks.kernel_tables import percent, ratio
from sysmol.benchmarks.machines import DERIVED, ONE_MULTIPLIER, SLOW_VDOTS
from sysmol.benchmarks.measure import TOTAL
from sysmol.benchmarks.plan import LEAN, LEVERS, MACHINE, MATRIX_MACHINE, WITHOUT
from sysmol.machine import load_machine

Frame = pd.DataFrame
FILE = "matrix"
GOALS = {"resnet20": 20.0, "resnet8": 11.0, "resnet8_large": 20.0, "mobilenetv2_small": 9.0, "mobilenetv2_stem2": 10.0}
"""Cycles of fp32 over those of the variants."""
GOAL_OVER = {("resnet20", "w2"): ("int8", 5.0), ("resnet8", "w2"): ("int8-mmla", 3.0)}
"""Of the 8-bit baselines on AArch64, by network and precision."""
SLOT_GOALS = {"w4": (0.95, 0.93), "w2": (0.95, 0.90), "w1": (0.95, 0.84)}
"""Shares of the vector slots that are not empty, and that multiply and accumulate."""


class Matrix:
    """Cycles of whole networks by ISA, variant and machine.

    Those of the first page of instructions, and of baselines, come from kernels.csv and training.csv where matrix.csv
    lacks them: the generated code is the same, and fp32's cycles do not depend on weights.
    """

    def __init__(self, data: dict[str, Frame]) -> None:
        rows = data[FILE]
        self.good = rows[rows["status"] == "ok"]
        self.others = {name: data[name] for name in ("kernels", "training") if name in data}

    def rows(self, **chosen: str) -> Frame:
        """The rows of matrix.csv with these values."""
        found = self.good
        for column, value in chosen.items():
            found = found[found[column] == value]
        return found

    def found(self, network: str, isa: str, variant: str, machine: str) -> tuple[float, str] | None:
        """Cycles per image of a whole network, and the file that has them; None where it was not measured."""
        own = self.rows(network=network, isa=isa, variant=variant, machine=machine, layer=TOTAL)
        if len(own):
            return float(own["cycles"].iloc[0]), FILE
        for name, table in self.others.items() if machine == MACHINE else ():
            cycles = _elsewhere(name, table, network, isa, variant)
            if cycles is not None:
                return cycles, name
        return None

    def cycles(self, network: str, isa: str, variant: str, machine: str) -> float | None:
        """Cycles per image of a whole network; None where it was not measured."""
        own = self.found(network, isa, variant, machine)
        return None if own is None else own[0]

    def baseline(self, network: str, isa: str, name: str) -> float | None:
        """Cycles of a baseline: with prefetches where it was measured with them and that is faster."""
        found = [self.cycles(network, isa, each, MACHINE) for each in (name, f"{name}-prefetch")]
        known = [each for each in found if each is not None]
        return min(known) if known else None

    def networks(self) -> list[str]:
        """Networks in the file's order."""
        return list(dict.fromkeys(self.good[self.good["layer"] == TOTAL]["network"]))

    def variants(self, network: str, machine: str) -> list[str]:
        """Variants of codes of a network on a machine: with all instructions of it, without prefetches."""
        names = list(dict.fromkeys(self.rows(network=network, layer=TOTAL)["variant"]))
        codes = [n for n in names if n.startswith(("w", "mix")) and "-no-" not in n and not n.endswith("-prefetch")]
        codes += [n.split("-")[0] for n in codes if machine == MACHINE]
        return [n for n in dict.fromkeys(codes) if any(self.found(network, isa, n, machine) for isa in TITLES)]


def _elsewhere(name: str, table: Frame, network: str, isa: str, variant: str) -> float | None:
    """Cycles of a network on o3-n1 in another file of results."""
    rows = table[(table["network"] == network) & (table["variant"] == variant)]
    if name == "kernels":
        rows = rows[(rows["isa"] == isa) & (rows["layer"] == TOTAL) & (rows["status"] == "ok")]
    else:
        rows = rows[rows["dataset"] == "cifar10"]
    values = rows["cycles" if name == "kernels" else f"cycles_{isa}"].dropna()
    return float(values.iloc[0]) if len(values) else None


def over(base: float | None, own: float | None, goal: float | None = None) -> str:
    """How many times ``base`` takes as long, in italics where that misses its goal."""
    return ratio(base / own if base and own else None, goal)


def networks_table(data: dict[str, Frame]) -> str:
    """Whole networks on the machine with both pages, and on that of the first page alone."""
    k = Matrix(data)
    lines = []
    for network in k.networks():
        for machine in (MATRIX_MACHINE, MACHINE):
            for variant in k.variants(network, machine):
                goal = GOALS.get(network) if machine == MATRIX_MACHINE else None
                row: list[Any] = [network, variant, "both" if machine == MATRIX_MACHINE else "first"]
                for isa in TITLES:
                    own = k.cycles(network, isa, variant, machine)
                    row += [number(own), over(k.baseline(network, isa, "fp32"), own, goal)]
                own = k.cycles(network, "arm", variant, machine)
                base, least = GOAL_OVER.get((network, variant.split("-")[0]), ("", None))
                for name in ("int8", "int8-mmla"):
                    wanted = least if name == base and machine == MATRIX_MACHINE else None
                    row.append(over(k.baseline(network, "arm", name), own, wanted))
                lines.append(row)
    head = ["network", "variant", "pages"]
    for title in TITLES.values():
        head += [f"{title} cycles", "fp32 / it"]
    return markdown([*head, "sdot / it (AArch64)", "smmla / it (AArch64)"], lines)


def baselines_table(data: dict[str, Frame]) -> str:
    """Cycles of the baselines that the ratios are over, and the file of results that has them."""
    k = Matrix(data)
    lines = []
    for network in k.networks():
        for name in ("fp32", "fp32-prefetch", "int8", "int8-mmla"):
            found = [k.found(network, isa, name, MACHINE) for isa in TITLES]
            files = dict.fromkeys(each[1] for each in found if each is not None)
            if files:
                cycles = [number(None if each is None else each[0]) for each in found]
                lines.append([network, name, *cycles, ", ".join(f"{each}.csv" for each in files)])
    return markdown(["network", "baseline", *(f"{title} cycles" for title in TITLES.values()), "file"], lines)


def slots(row: dict[str, Any], machine: str) -> tuple[float, float]:
    """Shares of the vector pipes' slots of one row that are not empty, and that multiply and accumulate."""
    count = load_machine(machine).smol_count * row["cycles"]
    return (row["smol_all"] + row["simd"]) / count, row["smol"] / count


def slots_table(data: dict[str, Frame]) -> str:
    """Single 3x3 layers with the matrix form: what fills the vector slots, and what keeps the rest empty."""
    k = Matrix(data)
    lines = []
    for layer in ("conv3x3_64", "conv3x3_128"):
        for isa, title in TITLES.items():
            for variant, goals in SLOT_GOALS.items():
                found = k.rows(layer=layer, isa=isa, variant=variant, machine=MATRIX_MACHINE)
                if not len(found):
                    continue
                row = {str(key): value for key, value in found.iloc[0].to_dict().items()}
                shares = [percent(share, goal) for share, goal in zip(slots(row, MATRIX_MACHINE), goals, strict=True)]
                counters = [number(row[name]) for name in ("mispredicts", "l1d_misses", "l2_misses")]
                per_cycle = f"{row['insts'] / row['cycles']:.2f}"
                lines.append(
                    [layer, title, variant, row["schedule"], number(row["cycles"]), *shares, per_cycle, *counters]
                )
    head = ["layer", "ISA", "codes", "schedule", "cycles", "not empty", "multiply-accumulate", "instructions per cycle"]
    return markdown([*head, "mispredictions", "L1D misses", "L2 misses"], lines)


LEVER_NAMES = {
    "vmm.h": "without `vmm.h`: `vmm.w` alone, sums of 32 bits",
    "vqpk.h": "without `vqpk.h` and `vunp.h`: codes made of 32 bits",
    "vqpk.s": "without `vqpk.s`",
    "lq": "without the 128-bit loads and stores with immediate",
    "vmm": "without the matrix form",
    "vdw": "without `vdw`: depthwise layers by `vmul` and `vmla`",
}


def lever_cases(network: str, variant: str) -> list[tuple[str, str, str]]:
    """Variant, machine, and what it lacks, or has instead."""
    bare = variant.split("-")[0]
    cases = [
        (variant, MATRIX_MACHINE, "everything"),
        (bare, MATRIX_MACHINE, "a stem with weights of 8 bits"),
        (bare + LEAN, MATRIX_MACHINE, "residuals in codes, a classifier with weights of 4 bits"),
        *((f"{variant}-no-{name}", MATRIX_MACHINE, LEVER_NAMES[name]) for name in WITHOUT),
        (variant, MACHINE, f"the first page alone, `vdot` of {load_machine(MACHINE).smol_latency('vdot')} cycles"),
    ]
    if (network, variant) == LEVERS[0]:
        cases += [
            *((variant, name, f"the first page alone, `vdot` of {n} cycles") for n, name in SLOW_VDOTS.items()),
            (variant, ONE_MULTIPLIER, "everything, integer multiplication in one pipe only"),
        ]
    return cases


def levers_table(data: dict[str, Frame]) -> str:
    """One thing taken away at a time: estimated cycles, how many more they are, and what gem5 measured."""
    estimates = {
        (str(row["network"]), str(row["variant"]), str(row["isa"]), str(row["machine"])): float(row["estimate"])
        for row in data["levers"].to_dict("records")
    }
    k = Matrix(data) if FILE in data else None
    lines = []
    for network, variant in LEVERS:
        for name, machine, what in lever_cases(network, variant):
            row: list[Any] = [network, what]
            for isa in TITLES:
                own = estimates.get((network, name, isa, machine))
                whole = estimates.get((network, variant, isa, MATRIX_MACHINE), math.nan)
                measured = k.cycles(network, isa, name, machine) if k is not None else None
                row += [number(own), "–" if own is None else f"{own / whole - 1:+.1%}", number(measured)]
            if any(cell != "–" for cell in row[2:]):
                lines.append(row)
    head = ["network", "levers"]
    for title in TITLES.values():
        head += [f"{title}, estimate", "more", "gem5"]
    return markdown(head, lines)


def sizes_table(data: dict[str, Frame]) -> str:
    """Time to generate C, code and weights of whole networks."""
    k = Matrix(data)
    lines = []
    for network in k.networks():
        for variant in k.variants(network, MATRIX_MACHINE):
            for isa, title in TITLES.items():
                found = k.rows(network=network, isa=isa, variant=variant, machine=MATRIX_MACHINE, layer=TOTAL)
                if len(found):
                    row = found.iloc[0]
                    seconds = number(row["generation_seconds"], "{:.1f}")
                    lines.append(
                        [network, variant, title, number(row["code_bytes"]), number(row["weight_bytes"]), seconds]
                    )
    return markdown(["network", "variant", "ISA", "code, bytes", "weights, bytes", "generation, s"], lines)


def provenance(data: dict[str, Frame]) -> str:
    """Where the figures come from."""
    good = data[FILE][data[FILE]["status"] == "ok"]
    machines = sorted(set(good["machine"]))
    made = [f"{name} of {DERIVED[name][0]}" for name in machines if name in DERIVED]
    parts = [
        f"gem5 {', '.join(sorted(set(good['gem5'])))} (binary {', '.join(sorted(set(good['gem5_sha256'])))})",
        f"machines {', '.join(machines)}" + (f" ({'; '.join(made)})" if made else ""),
        f"{int(good['images'].max())} images, seed {int(good['seed'].max())}",
    ]
    return "; ".join(parts) + ". Figures in italics miss their goal."


TABLES: dict[str, tuple[str, Callable[[dict[str, Frame]], str]]] = {
    "matrix-provenance": (FILE, provenance),
    "matrix-networks": (FILE, networks_table),
    "matrix-baselines": (FILE, baselines_table),
    "matrix-slots": (FILE, slots_table),
    "matrix-levers": ("levers", levers_table),
    "matrix-sizes": (FILE, sizes_table),
}
"""File and function of every table."""
