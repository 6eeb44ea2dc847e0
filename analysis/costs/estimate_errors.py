"""How far the estimate is from gem5: intervals from the project's own measurements, and a comparison where both exist.

``estimate_errors.csv`` holds, by ISA and operation, what gem5's out-of-order core ``o3-n1`` gave over what the estimate
gives: the interval of 19 of 20 layers of results/kernels.csv. ``any`` stands for operations that were not measured,
``network`` for whole networks. ``python -m sysmol.benchmarks.estimate_errors`` writes it.
"""

import math
from functools import cache
from pathlib import Path

import pandas as pd

from sysmol.analysis.costs.quantity import Kind

ERRORS = Path(__file__).with_suffix(".csv")
NETWORK = "network"


@cache
def _errors() -> dict[tuple[str, str], tuple[float, float]]:
    """Measured over estimated cycles by ISA and operation: the interval's ends."""
    rows = pd.read_csv(ERRORS).to_dict("records")
    return {(row["isa"], row["op"]): (row["low"], row["high"]) for row in rows}


def interval(isa: str, op: str) -> tuple[float, float]:
    """What the cycles of a layer may be, over the estimated ones: ``(low, high)``, low <= 1 <= high."""
    return _errors().get((isa, op)) or _errors()[isa, "any"]


def estimate_errors(layers: pd.DataFrame) -> pd.DataFrame:
    """How far calculated cycles, estimates or predictions, are from gem5's O3, where both exist on one machine: isa,
    variant, machine, measured, estimated (cycles per image), ratio (estimated / measured), worst_layer, its ratio."""
    keys = ["isa", "variant", "machine", "layer"]
    timed = layers.dropna(subset=["cycles"])[[*keys, "cpu", "cycles"]]
    measured, estimated = timed[timed["cpu"] == "o3"], timed[timed["cpu"].isin((Kind.ESTIMATE, Kind.PREDICTION))]
    pairs = measured.merge(estimated, on=keys, suffixes=("", "_estimated"))
    pairs["ratio"] = pairs["cycles_estimated"] / pairs["cycles"]
    rows = []
    for (isa, variant, machine), group in pairs.groupby(keys[:3], sort=False):
        total, guess = float(group["cycles"].sum()), float(group["cycles_estimated"].sum())
        ratios = group["ratio"].tolist()
        worst = max(range(len(ratios)), key=lambda place: abs(math.log(ratios[place])))
        row = {"isa": isa, "variant": variant, "machine": machine, "measured": total, "estimated": guess}
        rows.append(
            row | {"ratio": guess / total, "worst_layer": group["layer"].iloc[worst], "worst_ratio": ratios[worst]}
        )
    return pd.DataFrame(rows)
