"""How far the built-in estimate is from gem5: analysis/costs/estimate_errors.csv, from results/kernels.csv.

    python -m sysmol.benchmarks.estimate_errors           # write it anew
    python -m sysmol.benchmarks.estimate_errors --check   # exit status 1 where it is not what the results give

A row per ISA and operation: the interval that holds all but :data:`TAILS` of the measured over the estimated cycles of
its layers. The row ``any`` is that of all layers together, for operations that were not measured, and ``network`` that
of whole networks.
"""

import argparse
import sys

import pandas as pd

from sysmol.analysis.costs.estimate_errors import ERRORS, NETWORK
from sysmol.benchmarks.measure import TOTAL
from sysmol.benchmarks.tables import RESULTS
from sysmol.files import atomic_write_text

TAILS = 0.05
"""Share of the layers that may lie outside, half of it on either side."""


def errors(kernels: pd.DataFrame) -> str:
    """The rows as CSV text: isa, op, layers (their number), low and high (measured over estimated cycles)."""
    rows = kernels[(kernels["status"] == "ok") & kernels["estimate"].notna()]
    ratios = rows.assign(ratio=rows["cycles"] / rows["estimate"])
    layers, networks = ratios[ratios["layer"] != TOTAL], ratios[ratios["layer"] == TOTAL]
    groups = [(isa, op, found["ratio"]) for (isa, op), found in layers.groupby(["isa", "op"])]
    groups += [(isa, "any", found["ratio"]) for isa, found in layers.groupby("isa")]
    groups += [(isa, NETWORK, found["ratio"]) for isa, found in networks.groupby("isa")]
    table = [
        {
            "isa": isa,
            "op": op,
            "layers": len(found),
            "low": round(min(float(found.quantile(TAILS / 2)), 1.0), 3),
            "high": round(max(float(found.quantile(1 - TAILS / 2)), 1.0), 3),
        }
        for isa, op, found in groups
    ]
    return pd.DataFrame(table).to_csv(index=False, lineterminator="\n")


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0; 1 where ``--check`` finds a difference."""
    parser = argparse.ArgumentParser(prog="python -m sysmol.benchmarks.estimate_errors", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    options = parser.parse_args(arguments)
    text = errors(pd.read_csv(RESULTS / "kernels.csv"))
    if not options.check:
        atomic_write_text(ERRORS, text)
    elif ERRORS.read_text(encoding="utf-8") != text:
        print(f"{ERRORS} is not what results/kernels.csv gives: write it anew", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
