"""``python -m sysmol.benchmarks.pattern_area``: which pattern sets are worth their area (docs/hardware-cost.md).

The demands are those of :mod:`sysmol.benchmarks.pattern_choice`, ten networks of 50 layers, taken together: hardware is
built once for all of them. Areas are sums of what the chunks cost (:mod:`sysmol.patterns.chunk_costs`, from the
committed cost table). Rows of ``results/pattern_area.csv``: the named sets; four and eight patterns, chosen greedily by
their number; the exact front of area and cycles; on it, the best set under each of three budgets.
"""

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sysmol import hwcost
from sysmol.benchmarks.pattern_choice import demands
from sysmol.errors import SysmolError
from sysmol.files import PACKAGE
from sysmol.machine import pattern_set
from sysmol.patterns.area_budget import Front, precisions_of
from sysmol.patterns.chunk_costs import fitted
from sysmol.patterns.selection import choose
from sysmol.workbench import provenance
from sysmol.workbench.key import Inputs, digest

INSTANCES, LAYERS = 10, 50
BUDGETS = (380, 420, 470)
"""um2: a tenth less than uniform 4-bit's, uniform 4-bit's own, and a tenth less than that of all 45 patterns."""
COUNTS = (4, 8)
COLUMNS = ("name", "kind", "budget_um2", "area_um2", "over_p45", "patterns", "chunks")
OUT = PACKAGE.parent / "results" / "pattern_area.csv"


def inputs() -> Inputs:
    """What the rows depend on: the cost table, and the code of the choice."""
    clone = PACKAGE.parent
    names = (
        "patterns/area_budget.py",
        "patterns/chunk_costs.py",
        "patterns/selection.py",
        "benchmarks/pattern_choice.py",
    )
    code = {f"sysmol/{name}": digest(PACKAGE / name) for name in names}
    return {"code": code, "files": {str(hwcost.COMMITTED.relative_to(clone)): digest(hwcost.COMMITTED)}}


def rows() -> Iterator[dict[str, Any]]:
    """One after the other."""
    asked = [demand for seed in range(1, INSTANCES + 1) for demand in demands(seed, LAYERS)]
    front = Front(asked, fitted(hwcost.read()).area)
    base = front.values.of(pattern_set("P45"))

    def row(name: str, kind: str, patterns: tuple[int, ...], budget: float | str = "") -> dict[str, Any]:
        chunks = " ".join("/".join(map(str, held)) for held in precisions_of(patterns))
        over = front.values.of(patterns) / base - 1
        facts = (name, kind, budget, round(front.area.of(patterns), 1), round(over, 6))
        return dict(zip(COLUMNS, (*facts, " ".join(map(str, patterns)), chunks), strict=True))

    for name in hwcost.SETS:
        yield row(name, "named", tuple(sorted(pattern_set(name))))
    for count in COUNTS:
        yield row(f"{count} by number", "number", choose(asked, count, "greedy").patterns)
    points = [patterns for _, patterns in front.points()]
    for budget in BUDGETS:
        yield row(f"best in {budget} um2", "budget", [p for p in points if front.area.of(p) <= budget][-1], budget)
    for patterns in points:
        yield row("", "front", patterns)


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0; 2 where the table cannot be made."""
    parser = argparse.ArgumentParser(prog="python -m sysmol.benchmarks.pattern_area", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    try:
        found = list(rows())
    except SysmolError as error:
        print(f"pattern_area: {error}", file=sys.stderr)
        return 2
    with options.out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    provenance.write(options.out, [inputs()])
    for each in found:
        print(*each.values(), sep="  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
