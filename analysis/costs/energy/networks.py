"""Energies of all networks of a table of layers, and how tables write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sysmol.analysis.costs.energy.model import Energies, Interval, network_energy
from sysmol.analysis.costs.quantity import Absent
from sysmol.analysis.page.values import microjoules, percent
from sysmol.machine import Machine

KEYS = ["isa", "variant", "cpu", "machine", "source"]
"""What tells the networks of a table apart."""

Key = tuple[str, ...]


def energies_of(layers: pd.DataFrame, machines: Mapping[str, Machine]) -> dict[Key, Energies | Absent]:
    """By network, in the order of the table (columns of :mod:`sysmol.analysis.runs`); ``machines`` by name."""
    found: dict[Key, Energies | Absent] = {}
    for key, rows in layers.groupby(KEYS, sort=False):
        names: Key = tuple(map(str, key))
        found[names] = network_energy(rows.to_dict("records"), machines[names[KEYS.index("machine")]])
    return found


def record(found: Energies | Absent) -> dict[str, Any]:
    """For JSON: value and ends in pJ, and the shares' medians; or the reason why there is none."""
    if isinstance(found, Absent):
        return {"reason": found.reason}
    total = Interval.of(found.total)
    shares = {part: round(share.value, 4) for part, share in found.shares().items()}
    return {"value": total.value, "low": total.low, "high": total.high, "unit": "pJ", "kind": "estimate",
            "constants": found.core.name, "shares": shares}  # fmt: skip


def written(found: Interval) -> str:
    """An energy with its interval."""
    return microjoules(found.value, found.low, found.high)


def shares_written(found: Energies) -> dict[str, str]:
    """Share of every part, with its interval."""
    return {
        part: f"{percent(share.value, 0)} ({percent(share.low, 0)} to {percent(share.high, 0)})"
        for part, share in found.shares().items()
    }
