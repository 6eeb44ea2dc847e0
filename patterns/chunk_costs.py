"""What each chunk of the array costs by the precisions that it can have: fitted to a cost table.

The arrays of one stage in the table differ in their pattern sets alone. Their logic areas are taken as sums of what
their chunks cost and of a decoder that grows with the patterns; how far the sums are from the areas says how far the
costs really add up. The best sets under area budgets, which are chosen by the sums, are left out of the fit: how far
their sums are from their areas says how well sums foretell a set that was never synthesised.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sysmol.errors import SysmolError
from sysmol.hwcost import BEST_SETS, MAIN_SCRIPT, Row
from sysmol.machine import pattern_set
from sysmol.patterns.area_budget import SUBSETS, ChunkArea, precisions_of

STAGES = 1
"""Depth of the arrays that the costs come from: pipeline registers would blur them."""


@dataclass(frozen=True)
class Fit:
    """Costs, and by how much of it the area of the array with each set of patterns differs from their sum: of the
    arrays of the fit, and of those that are left out of it."""

    area: ChunkArea
    differences: dict[str, float]
    left_out: dict[str, float]

    @property
    def worst(self) -> float:
        """The largest difference of any array, as a share of its area."""
        return max(map(abs, (*self.differences.values(), *self.left_out.values())))


def fitted(table: dict[str, Any], script: str = MAIN_SCRIPT) -> Fit:
    """Costs in um2 by least squares of the relative differences. :class:`SysmolError` where the table has too few
    arrays to tell the costs apart."""
    arrays = [r for r in table["points"] if (r["unit"], r["stages"], r["script"]) == ("array", STAGES, script)]
    rows = [row for row in arrays if row["patterns"] not in BEST_SETS.values()]
    counts, areas = _counts(rows), _areas(rows)
    if np.linalg.matrix_rank(counts) < counts.shape[1]:
        raise SysmolError(f"the cost table has too few arrays of {STAGES} stage by the script {script} for a fit")
    costs, *_ = np.linalg.lstsq(counts / areas[:, None], np.ones(len(rows)), rcond=None)
    area = ChunkArea({p: float(c) for p, c in zip(SUBSETS, costs, strict=False)}, float(costs[-1]))

    def differences(of: Sequence[Row]) -> dict[str, float]:
        found = 1 - _counts(of) @ costs / _areas(of) if of else ()
        return {row["patterns"]: float(d) for row, d in zip(of, found, strict=True)}

    return Fit(area, differences(rows), differences([row for row in arrays if row not in rows]))


def _counts(rows: Sequence[Row]) -> npt.NDArray[np.float64]:
    """How many chunks of each kind an array has, and how many patterns."""
    sets = [tuple(sorted(pattern_set(row["patterns"]))) for row in rows]
    return np.array([[*(precisions_of(s).count(p) for p in SUBSETS), len(s)] for s in sets], dtype=np.float64)


def _areas(rows: Sequence[Row]) -> npt.NDArray[np.float64]:
    return np.array([row["logic_um2"] for row in rows], dtype=np.float64)
