"""From a table of layers (the columns of :mod:`sysmol.analysis.runs`) to a network's cost."""

import math
from dataclasses import replace
from typing import Any

import pandas as pd

from sysmol.analysis.costs.estimate_errors import NETWORK, interval
from sysmol.analysis.costs.protocol import LayerCost, NetworkCost, absent
from sysmol.analysis.costs.quantity import Absent, Figure, Kind, Quantity
from sysmol.analysis.costs.twin_parameters import network_interval


def network_cost(layers: pd.DataFrame) -> NetworkCost:
    """Costs of one run's or estimate's layers; cycles are absent where the core model does not model time.

    What is calculated of a network is closer than of its layers: errors cancel, as was measured for whole networks.
    """
    first = layers.iloc[0]
    costs = tuple(
        LayerCost(str(row["layer"]), str(row["op"]), cycles=_cycles(row)) for row in layers.to_dict("records")
    )
    name, variant, isa, machine = (str(first[key]) for key in ("name", "variant", "isa", "machine"))
    cost = NetworkCost(name, variant, isa, machine, costs)
    total = cost.cycles
    if isinstance(total, Absent) or total.kind is Kind.MEASURED:
        return cost
    low, high = network_interval(isa) if total.kind is Kind.PREDICTION else interval(isa, NETWORK)
    return replace(cost, whole_cycles=replace(total, low=low * total.value, high=high * total.value))


def _cycles(row: dict[Any, Any]) -> Figure:
    if math.isnan(row["cycles"]):
        return Absent(absent("cycles").unit, f"{row['source']} does not model time")
    value, low, high = (float(row[key]) for key in ("cycles", "cycles_low", "cycles_high"))
    return Quantity(value, low, high, absent("cycles").unit, Kind(row["kind"]), str(row["source"]))
