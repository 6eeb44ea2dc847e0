"""Cycles of layers where nothing is simulated: who can calculate them, and who does unless another is named.

============ ==========================================================================================================
``twin``     :mod:`sysmol.analysis.costs.twin`: bounds of the instructions, and the lines that caches do not hold, with
             numbers fitted to gem5's cycles of other networks; a prediction
``estimate`` :mod:`sysmol.analysis.costs.estimate`: bounds of the instructions, with nothing fitted
============ ==========================================================================================================

Figures of both have intervals and are labelled with their kind, and neither is mixed with measured ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from sysmol.analysis.costs import estimate, twin
from sysmol.analysis.costs.quantity import Kind
from sysmol.analysis.costs.workload import Workload
from sysmol.errors import SysmolError
from sysmol.machine import Machine
from sysmol.network import Network

TABLES: Mapping[str, Callable[[Workload, Machine], pd.DataFrame]] = {
    twin.NAME: twin.table_of,
    estimate.SOURCE: estimate.table_of,
}
"""What gives the layers of an executable, in the columns of :mod:`sysmol.analysis.runs`, by its name."""
DEFAULT = twin.NAME
"""The one with the smaller errors on networks that it has not seen (docs/search.md)."""
KINDS: Mapping[str, Kind] = {twin.SOURCE: Kind.PREDICTION, estimate.SOURCE: Kind.ESTIMATE}
"""How the figures of a source are known; all others are measured."""
FORMULAS: Mapping[Kind, str] = {Kind.PREDICTION: twin.FORMULA, Kind.ESTIMATE: estimate.FORMULA}
"""What a figure of a kind is, for people."""


def check_name(name: str) -> str:
    """The name; :class:`SysmolError` where nobody has it."""
    if name not in TABLES:
        raise SysmolError(f"{name!r} calculates no cycles: choose {' or '.join(TABLES)}")
    return name


def source_of(by: str) -> str:
    """What figures say where they come from."""
    return {twin.NAME: twin.SOURCE}.get(check_name(by), by)


def kind_of(source: str) -> Kind:
    """How cycles with that source are known."""
    return KINDS.get(source, Kind.MEASURED)


def layers(workload: Workload, machine: Machine, by: str = DEFAULT) -> pd.DataFrame:
    """The table of an executable on a machine, a row per region."""
    return TABLES[check_name(by)](workload, machine)


def usable(workload: Workload, by: str = DEFAULT) -> tuple[str, list[str]]:
    """The name, and a line where another has to serve: without its network file a program has an estimate alone."""
    if check_name(by) == twin.NAME:
        try:
            _ = workload.network
        except SysmolError as error:
            return estimate.SOURCE, [f"{error}; its cycles are the estimate's"]
    return by, []


def notes(workloads: Iterable[Workload], machine: Machine, by: str = DEFAULT) -> list[str]:
    """What the figures are less certain for, a line each."""
    if check_name(by) != twin.NAME:
        return []
    kinds = [twin.kinds_of(each.network, each.manifest["regions"], each.isa) for each in workloads]
    return twin.notes(set().union(*kinds), machine)


def notes_of(
    net: Network, regions: Sequence[Mapping[str, Any]], isa: str, machine: Machine, by: str = DEFAULT
) -> list[str]:
    """:func:`notes` of a program that is not compiled yet."""
    return twin.notes(twin.kinds_of(net, regions, isa), machine) if check_name(by) == twin.NAME else []


def rate(
    net: Network, regions: Iterable[Mapping[str, Any]], isa: str, machine: Machine, by: str = DEFAULT
) -> Callable[[Mapping[str, Any]], float]:
    """What gives the cycles of a region that is not compiled yet; ``regions``: those of the whole network as it stands,
    which share the caches."""
    if check_name(by) == twin.NAME:
        return twin.rate(net, list(regions), isa, machine)
    return lambda region: max(estimate.bounds(region, machine).values())
