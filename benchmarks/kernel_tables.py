"""The tables of docs/results.md: kernels, data flows, schedules (:mod:`sysmol.benchmarks.tables` writes them)."""

import re
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import pandas as pd

from sysmol.analysis.accuracy import TITLES
from sysmol.analysis.markdown import number
from sysmol.analysis.markdown import table as markdown
from sysmol.benchmarks.measure import TOTAL
from sysmol.machine import load_machine

SMOL = ("w4", "w2", "w1", "mixP4")
SLOT_GOALS = {"3x3": 0.90, "1x1": 0.75}
"""Share of the issue slots that SMOL instructions should fill in convolutions of 64 channels and more."""
PEAK_GOAL = 0.75
"""Share of their own peak that the fp32 and int8 baselines should reach on 3x3 convolutions."""
SPEED_GOALS = {"w4": (7.0, 1.9), "mixP4": (15.0, 4.0)}
"""Cycles of fp32, and of int8 with sdot, over those of the variant."""
NETWORKS = ("resnet8", "mobilenetv2_stem2")
YFLOWS_MEDIANS = {("os", "int8"): 1.60, ("os", "binary"): 1.49, ("is", "int8"): 1.73, ("is", "binary"): 1.69,
                  ("ws", "int8"): 1.08, ("ws", "binary"): 1.08}  # fmt: skip
"""Extended over basic, stride 1: medians recomputed from the authors' published measurements."""
YFLOWS_OVER_OS = {"is": 3.24, "ws": 3.94}
"""Time of the extended IS and WS kernels over the extended OS kernels', from the same source (128-bit registers)."""

Frame = pd.DataFrame


def percent(value: float | None, goal: float | None = None) -> str:
    """A share; in italics where it misses its goal."""
    if value is None or pd.isna(value):
        return "–"
    text = f"{100 * value:.0f}%"
    return text if goal is None or value >= goal else f"*{text}*"


def ratio(value: float | None, goal: float | None = None) -> str:
    """A factor; in italics where it misses its goal."""
    if value is None or pd.isna(value):
        return "–"
    text = f"{value:.2f}" if value < 10 else f"{value:.1f}"
    return text if goal is None or value >= goal else f"*{text}*"


class Kernels:
    """Lookups in kernels.csv."""

    def __init__(self, rows: Frame) -> None:
        self.rows = rows
        self.good = rows[rows["status"] == "ok"]

    def value(self, column: str, network: str, layer: str, isa: str, variant: str) -> float | None:
        """A figure of one row; None where it is not there. ``network`` may be the beginning of a name."""
        t = self.good
        chosen = t[
            t["network"].str.startswith(network) & (t["layer"] == layer) & (t["isa"] == isa) & (t["variant"] == variant)
        ]
        if chosen.empty or pd.isna(chosen[column].iloc[0]):
            return None
        return float(chosen[column].iloc[0])

    def cycles(self, network: str, isa: str, variant: str, layer: str = TOTAL) -> float | None:
        """Cycles per image."""
        return self.value("cycles", network, layer, isa, variant)

    def speed(self, network: str, isa: str, variant: str, base: str, layer: str = TOTAL) -> float | None:
        """Cycles of ``base`` over those of ``variant``."""
        a, b = self.cycles(network, isa, base, layer), self.cycles(network, isa, variant, layer)
        return a / b if a and b else None

    def variants(self, network: str) -> list[str]:
        """Variants in the file's order."""
        return list(dict.fromkeys(self.good[self.good["network"].str.startswith(network)]["variant"]))

    def layers(self, network: str) -> list[str]:
        """Layers in execution order, without the total."""
        names = dict.fromkeys(self.good[self.good["network"].str.startswith(network)]["layer"])
        return [name for name in names if name != TOTAL]


CONVOLUTIONS = "convolutions"


def slots_table(data: dict[str, Frame]) -> str:
    """Issue slots that SMOL instructions fill in single layers."""
    k = Kernels(data["kernels"])
    layers = [name for name in k.layers(CONVOLUTIONS) if name.startswith("conv")]
    variants = [name for name in k.variants(CONVOLUTIONS) if name.removesuffix("-vmac") in SMOL]
    rows = []
    for layer in sorted(layers, key=lambda name: (not name.startswith("conv3x3"), layers.index(name))):
        goal = SLOT_GOALS[layer[4:7]]
        for isa, title in TITLES.items():
            found = [k.value("slot_share", CONVOLUTIONS, layer, isa, variant) for variant in variants]
            every = [k.value("slot_share_all", CONVOLUTIONS, layer, isa, variant) for variant in variants]
            cells = [
                percent(own, goal) + ("" if percent(own) == percent(all_) else f" ({percent(all_)})")
                for own, all_ in zip(found, every, strict=True)
            ]
            rows.append([layer, title, percent(goal), *cells])
    return markdown(["layer", "ISA", "goal", *variants], rows)


def baselines_table(data: dict[str, Frame]) -> str:
    """Shares of their own peak in single layers."""
    k = Kernels(data["kernels"])
    layers = [name for name in k.layers(CONVOLUTIONS) if name.startswith("conv")]
    variants = [name for name in k.variants(CONVOLUTIONS) if name.removesuffix("-vmac") not in SMOL]
    rows = []
    for layer in sorted(layers, key=lambda name: (not name.startswith("conv3x3"), layers.index(name))):
        for isa, title in TITLES.items():
            cells = []
            for variant in variants:
                share = k.value("own_peak_share", CONVOLUTIONS, layer, isa, variant)
                rate = k.value("macs_per_cycle", CONVOLUTIONS, layer, isa, variant)
                goal = (
                    PEAK_GOAL if variant in ("fp32", "int8", "int8-positive") and layer.startswith("conv3x3") else None
                )
                cells.append("–" if rate is None else f"{percent(share, goal)} ({rate:.1f})")
            rows.append([layer, title, *cells])
    return markdown(["layer", "ISA", *variants], rows)


def networks_table(data: dict[str, Frame]) -> str:
    """End to end: cycles and factors over fp32 and int8, with the goals."""
    k = Kernels(data["kernels"])
    rows = []
    for network in NETWORKS:
        for variant in k.variants(network):
            if variant.endswith("-simdpack"):
                continue
            bits = k.value("weight_bits", network, TOTAL, "arm", variant)
            row: list[Any] = [network, variant, number(bits, "{:.2f}")]
            over_fp32, over_sdot = SPEED_GOALS.get(variant, (None, None))
            for isa in TITLES:
                row.append(number(k.cycles(network, isa, variant)))
                row.append(ratio(k.speed(network, isa, variant, "fp32"), over_fp32))
                row.append(ratio(k.speed(network, isa, variant, "int8"), over_sdot if isa == "arm" else None))
            row.append(ratio(k.speed(network, "arm", variant, "int8-mmla")))
            rows.append(row)
    head = ["network", "variant", "bits per weight"]
    for title in TITLES.values():
        head += [f"{title} cycles", "fp32 / it", "int8 / it"]
    return markdown([*head, "smmla / it (AArch64)"], rows)


def verdicts(data: dict[str, Frame]) -> str:
    """The goals of the end-to-end comparison in sentences."""
    k = Kernels(data["kernels"])
    lines = []
    for network in NETWORKS:
        for variant, goals in SPEED_GOALS.items():
            parts = []
            for base, goal, isa in (("fp32", goals[0], "arm"), ("fp32", goals[0], "riscv"), ("int8", goals[1], "arm")):
                found = k.speed(network, isa, variant, base)
                name = "int8 with sdot" if base == "int8" else base
                if found is not None:
                    verdict = "reached" if found >= goal else "missed"
                    parts.append(f"{goal:g}x over {name} on {TITLES[isa]} {verdict} ({ratio(found)}x)")
            if parts:
                more = behind(k, network, variant, goals[0]) + ceiling(k, network, variant)
                lines.append(f"- {network}, {variant}: " + "; ".join(parts) + f".{more}")
    return "\n".join(lines)


def behind(k: Kernels, network: str, variant: str, goal: float, count: int = 4) -> str:
    """The layers that cost the most cycles beyond fp32's divided by the goal, on AArch64, as a sentence."""
    excess = []
    for layer in k.layers(network):
        own, base = k.cycles(network, "arm", variant, layer), k.cycles(network, "arm", "fp32", layer)
        if own and base and own > base / goal:
            excess.append((own - base / goal, layer, own, base))
    if not excess:
        return ""
    worst = sorted(excess, reverse=True)[:count]
    listed = ", ".join(f"{layer} ({own:,.0f} cycles, {base / own:.1f}x)" for _, layer, own, base in worst)
    return f" Furthest behind {goal:g}x on AArch64: {listed}."


def ceiling(k: Kernels, network: str, variant: str) -> str:
    """What the network would reach if its SMOL layers ran at their peak and the others as measured, as a sentence."""
    parts = []
    for isa, title in TITLES.items():
        least = 0.0
        for layer in k.layers(network):
            cycles = k.cycles(network, isa, variant, layer) or 0.0
            smol = k.value("slot_share", network, layer, isa, variant)
            share = k.value("own_peak_share", network, layer, isa, variant)
            least += cycles * share if smol and share else cycles
        base = k.cycles(network, isa, "fp32")
        if base and least:
            parts.append(f"{base / least:.1f}x on {title}")
    if not parts:
        return ""
    return (
        " Were the SMOL layers at their peak (full registers, nothing but multiply-accumulates), the others as they "
        f"are: {', '.join(parts)} over fp32."
    )


def _slots(k: Kernels, network: str, layer: str, isa: str, variant: str) -> list[str]:
    """What fills the slots of the vector pipes: accumulating SMOL, other SMOL, other vector operations, nothing."""
    machine = load_machine("o3-n1")
    cycles = k.cycles(network, isa, variant, layer)
    if not cycles:
        return ["–"] * 4
    slots = machine.smol_count * cycles
    own = (k.value("smol", network, layer, isa, variant) or 0) / slots
    every = (k.value("smol_all", network, layer, isa, variant) or 0) / slots
    simd = (k.value("simd", network, layer, isa, variant) or 0) / slots
    return [percent(own), percent(every - own), percent(simd), percent(max(0.0, 1 - every - simd))]


def where_table(network: str, variants: Sequence[str], isa: str) -> Callable[[dict[str, Frame]], str]:
    """Layer by layer: cycles, factors, and what fills the vector pipes."""

    def table(data: dict[str, Frame]) -> str:
        k = Kernels(data["kernels"])
        rows = []
        for layer in [*k.layers(network), TOTAL]:
            row: list[Any] = [layer, *(number(k.cycles(network, isa, base, layer)) for base in ("fp32", "int8"))]
            for variant in variants:
                cycles, whole = k.cycles(network, isa, variant, layer), k.cycles(network, isa, variant)
                row.append(number(cycles))
                row.append(percent(cycles / whole if cycles and whole else None))
                row.append(ratio(k.speed(network, isa, variant, "fp32", layer)))
                row.append(" / ".join(_slots(k, network, layer, isa, variant)))
            rows.append(row)
        head = ["layer", "fp32 cycles", "int8 cycles"]
        for variant in variants:
            head += [f"{variant} cycles", "share", "fp32 / it", "slots: MAC / vqpk / other / empty"]
        return markdown(head, rows)

    return table


KINDS = (
    ("stem", r"stem"),
    ("1x1, expanding", r".*_expand|head"),
    ("depthwise 3x3", r".*_depthwise"),
    ("1x1, projecting", r".*_project"),
    ("pooling, classifier, image", r"pool|classifier|image_scaled"),
)
"""Layers of MobileNetV2 by kind."""


def kinds_table(network: str, variants: Sequence[str]) -> Callable[[dict[str, Frame]], str]:
    """Cycles by kind of layer."""

    def table(data: dict[str, Frame]) -> str:
        k = Kernels(data["kernels"])
        rows = []
        for isa, title in TITLES.items():
            for kind, expression in KINDS:
                names = [name for name in k.layers(network) if re.fullmatch(expression, name)]

                def cycles(variant: str, names: list[str] = names, isa: str = isa) -> float:
                    return sum(k.cycles(network, isa, variant, name) or 0.0 for name in names)

                row: list[Any] = [title, kind]
                for variant in variants:
                    own, whole = cycles(variant), k.cycles(network, isa, variant)
                    row.append(number(own) if own else "–")
                    row.append(percent(own / whole if whole else None))
                    if variant != "fp32":
                        row.append(ratio(cycles("fp32") / own if own else None))
                rows.append(row)
        head = ["ISA", "layers"]
        for variant in variants:
            head += [f"{variant} cycles", "share", *(["fp32 / it"] if variant != "fp32" else [])]
        return markdown(head, rows)

    return table


def pack_table(data: dict[str, Frame]) -> str:
    """What the instruction vqpk brings."""
    k = Kernels(data["kernels"])
    rows = []
    for network in NETWORKS:
        for variant in SMOL:
            without = f"{variant}-simdpack"
            if without in k.variants(network):
                for isa, title in TITLES.items():
                    a, b = k.cycles(network, isa, without), k.cycles(network, isa, variant)
                    rows.append([network, variant, title, number(a), number(b), ratio(a / b if a and b else None)])
    return markdown(["network", "variant", "ISA", "cycles without vqpk", "cycles with", "without / with"], rows)


def sizes_table(data: dict[str, Frame]) -> str:
    """Code, generation time, memory."""
    k = Kernels(data["kernels"])
    rows = []
    for network in NETWORKS:
        for variant in ("fp32", "int8", *SMOL):
            for isa, title in TITLES.items():
                if k.cycles(network, isa, variant) is None:
                    continue
                found = [
                    k.value(column, network, TOTAL, isa, variant)
                    for column in ("code_bytes", "weight_bytes", "arena_bytes", "unplanned_bytes", "generation_seconds")
                ]
                seconds = number(found[-1], "{:.2f}")
                rows.append([network, variant, title, len(k.layers(network)), *map(number, found[:-1]), seconds])
    head = ["network", "variant", "ISA", "layers", "code, bytes", "weights, bytes", "activations, bytes"]
    return markdown([*head, "one buffer per tensor, bytes", "generation, s"], rows)


def schedules_table(data: dict[str, Frame]) -> str:
    """The heuristic against the best measured schedule."""
    t = data["schedules"]
    rows = []
    for (network, variant, isa), group in t.groupby(["network", "variant", "isa"], sort=False):
        excess = group["heuristic_cycles"] / group["best_cycles"] - 1
        weighted = (group["heuristic_cycles"] * group["layers"]).sum() / (group["best_cycles"] * group["layers"]).sum()
        worst = group.iloc[int(excess.to_numpy().argmax())]
        rows.append(
            [
                network,
                variant,
                TITLES[str(isa)],
                len(group),
                int(group["candidates"].sum()),
                percent(float((excess == 0).mean())),
                f"{100 * median(excess):.1f}%",
                f"{100 * (weighted - 1):.1f}%",
                f"{100 * excess.max():.1f}% ({worst['layer']}: {worst['heuristic']}, best {worst['best']})",
            ]
        )
    head = ["network", "variant", "ISA", "shapes", "measured", "heuristic is best", "median over best"]
    return markdown([*head, "all convolutions over best", "largest"], rows)


def yflows_frame(rows: Frame) -> Frame:
    """Cycles of every layer and data flow: columns operands, flow, layer, stride, cycles."""
    good = rows[(rows["status"] == "ok") & rows["layer"].str.match(r"f\ds\d_")].copy()
    good["operands"] = good["variant"].str.split("-").str[0]
    good["flow"] = good["variant"].str.split("-", n=1).str[1]
    good["stride"] = good["layer"].str.extract(r"f\ds(\d)_")[0].astype(int)
    return good[["operands", "flow", "layer", "stride", "cycles"]]


def yflows_ratios(t: Frame, operands: str, stride: int) -> dict[str, list[float]]:
    """Factors per layer: ``<anchor>`` basic over the better extended kernel, ``is/os`` and ``ws/os`` of the extended
    kernels, ``os/tile`` of the extended OS kernel over the generator's own tile."""
    wanted = t[(t["operands"] == operands) & (t["stride"] == stride)]
    wide = wanted.pivot_table(index="layer", columns="flow", values="cycles")
    result: dict[str, list[float]] = {}
    best = {}
    for anchor in ("os", "is", "ws"):
        extended = [c for c in wide.columns if c.startswith(f"{anchor}-") and not c.endswith("basic")]
        if extended and f"{anchor}-basic" in wide:
            best[anchor] = wide[extended].min(axis=1)
            result[anchor] = (wide[f"{anchor}-basic"] / best[anchor]).dropna().tolist()
    for anchor in ("is", "ws"):
        if anchor in best and "os" in best:
            result[f"{anchor}/os"] = (best[anchor] / best["os"]).dropna().tolist()
    if "tile" in wide and "os" in best:
        result["os/tile"] = (best["os"] / wide["tile"]).dropna().tolist()
    return result


def middle(values: Sequence[float]) -> str:
    """Median and range."""
    return f"{median(values):.2f} ({min(values):.2f}–{max(values):.2f})" if values else "–"


def yflows_table(data: dict[str, Frame]) -> str:
    """Extended over basic by anchor and operands."""
    t = yflows_frame(data["yflows"])
    rows = []
    for operands in ("int8", "binary", "smol1"):
        for stride in (1, 2):
            found = yflows_ratios(t, operands, stride)
            row = [operands, stride]
            for anchor in ("os", "is", "ws"):
                theirs = YFLOWS_MEDIANS.get((anchor, operands)) if stride == 1 else None
                row += [middle(found.get(anchor, [])), "–" if theirs is None else f"{theirs:.2f}"]
            rows.append(row)
    head = ["operands", "stride"]
    for anchor in ("OS", "IS", "WS"):
        head += [f"{anchor}: basic / extended", "theirs"]
    return markdown(head, rows)


def yflows_winner_table(data: dict[str, Frame]) -> str:
    """Which stationarity wins among the extended kernels."""
    t = yflows_frame(data["yflows"])
    rows = []
    for operands in ("int8", "binary", "smol1"):
        for stride in (1, 2):
            found = yflows_ratios(t, operands, stride)
            over = found.get("is/os", []), found.get("ws/os", [])
            wins = sum(1 for pair in zip(*over, strict=False) if min(pair) >= 1)
            own = stride == 1 and operands == "int8"
            rows.append(
                [
                    operands,
                    stride,
                    middle(over[0]),
                    f"{YFLOWS_OVER_OS['is']:.2f}" if own else "–",
                    middle(over[1]),
                    f"{YFLOWS_OVER_OS['ws']:.2f}" if own else "–",
                    f"{wins} of {len(over[0])}",
                    middle(found.get("os/tile", [])),
                ]
            )
    head = ["operands", "stride", "IS / OS", "theirs", "WS / OS", "theirs", "layers where OS wins"]
    return markdown([*head, "OS / register tile"], rows)


def provenance(data: dict[str, Frame]) -> str:
    """Where the figures come from."""
    good = data["kernels"][data["kernels"]["status"] == "ok"]
    parts = [
        f"gem5 {', '.join(sorted(set(good['gem5'])))} (binary {', '.join(sorted(set(good['gem5_sha256'])))})",
        f"machine {', '.join(sorted(set(good['machine'])))} ({', '.join(sorted(set(good['machine_sha256'])))})",
        f"{int(good['images'].max())} images, seed {int(good['seed'].max())}",
    ]
    bad = data["kernels"][data["kernels"]["status"] != "ok"]
    lines = ["; ".join(parts) + ". Figures in italics miss their goal."]
    lines += [f"- not measured: {r.network} {r.variant} {r.isa}: {r.status}" for r in bad.itertuples()]
    return "\n".join(lines)


TABLES: dict[str, tuple[str, Callable[[dict[str, Frame]], str]]] = {
    "provenance": ("kernels", provenance),
    "slots": ("kernels", slots_table),
    "baselines": ("kernels", baselines_table),
    "networks": ("kernels", networks_table),
    "verdicts": ("kernels", verdicts),
    "resnet8-arm": ("kernels", where_table("resnet8", ("w4", "mixP4"), "arm")),
    "resnet8-riscv": ("kernels", where_table("resnet8", ("w4", "mixP4"), "riscv")),
    "mobilenetv2-kinds": ("kernels", kinds_table("mobilenetv2_stem2", ("fp32", "int8", "w4", "mixP4"))),
    "pack": ("kernels", pack_table),
    "sizes": ("kernels", sizes_table),
    "schedules": ("schedules", schedules_table),
    "yflows": ("yflows", yflows_table),
    "yflows-winner": ("yflows", yflows_winner_table),
}
"""File and function of every table."""
