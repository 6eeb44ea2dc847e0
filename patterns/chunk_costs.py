"""What each chunk of the array costs by the precisions that it can have: fitted to a cost table.

The arrays of one stage in the table differ in their pattern sets alone. Their logic areas are taken as sums of what
their chunks cost and of a decoder that grows with the patterns; how far the sums are from the areas says how far the
costs really add up.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sysmol.errors import SysmolError
from sysmol.hwcost import MAIN_SCRIPT
from sysmol.machine import pattern_set
from sysmol.patterns.area_budget import SUBSETS, ChunkArea, precisions_of

STAGES = 1
"""Depth of the arrays that the costs come from: pipeline registers would blur them."""


@dataclass(frozen=True)
class Fit:
    """Costs, and by how much of it the area of the array with each set of patterns differs from their sum."""

    area: ChunkArea
    differences: dict[str, float]

    @property
    def worst(self) -> float:
        """The largest difference, as a share of the area."""
        return max(map(abs, self.differences.values()))


def fitted(table: dict[str, Any], script: str = MAIN_SCRIPT) -> Fit:
    """Costs in um2 by least squares of the relative differences. :class:`SysmolError` where the table has too few
    arrays to tell the costs apart."""
    rows = [r for r in table["points"] if (r["unit"], r["stages"], r["script"]) == ("array", STAGES, script)]
    sets = [tuple(sorted(pattern_set(row["patterns"]))) for row in rows]
    areas = np.array([row["logic_um2"] for row in rows])
    counts = np.array([[*(precisions_of(s).count(p) for p in SUBSETS), len(s)] for s in sets], dtype=np.float64)
    if np.linalg.matrix_rank(counts) < counts.shape[1]:
        raise SysmolError(f"the cost table has too few arrays of {STAGES} stage by the script {script} for a fit")
    costs, *_ = np.linalg.lstsq(counts / areas[:, None], np.ones(len(rows)), rcond=None)
    differences = 1 - counts @ costs / areas
    area = ChunkArea({p: float(c) for p, c in zip(SUBSETS, costs, strict=False)}, float(costs[-1]))
    return Fit(area, {row["patterns"]: float(d) for row, d in zip(rows, differences, strict=True)})
