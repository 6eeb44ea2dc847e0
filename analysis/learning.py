"""Learning curves, from what a network file keeps of its training."""

from __future__ import annotations

import math

import pandas as pd

from sysmol.network import Network

COLUMNS = ("epoch", "phase", "loss", "accuracy", "bits")


def learning_curve(network: Network) -> pd.DataFrame:
    """A row per epoch of all phases, counted on from phase to phase: columns :data:`COLUMNS`; loss and accuracy (a
    share) on the training images, bits the mean of the learned precisions (NaN where none are learned).

    Empty where the file does not hold every epoch.
    """
    rows: list[tuple[int, str, float, float, float]] = []
    for phase in network.provenance.get("phases", []):
        log = phase.get("log", [])
        if len(log) != phase.get("epochs"):
            return pd.DataFrame(columns=list(COLUMNS))
        for row in log:
            loss, accuracy, bits = (float(row.get(name, math.nan)) for name in ("loss", "accuracy", "bits"))
            rows.append((len(rows) + 1, str(phase["name"]), loss, accuracy, bits))
    return pd.DataFrame(rows, columns=list(COLUMNS))
