"""``python -m sysmol.benchmarks.pattern_choice``: how good and how fast the choice of patterns is (docs/patterns.md).

Every instance has a network's worth of random demands, as unlike as trained ones: widths of common CNNs, shares of 4, 2
and 1 bits drawn from a Dirichlet distribution for each, cycles of a vector as 3x3 and 1x1 convolutions have on images
of 32, 16 and 8 pixels. Seeds count up from the first one, which is printed. Besides the methods of
:func:`sysmol.patterns.selection.choose` there are the named sets (P4, P8), which stand where they have as many patterns
as asked.
"""

import argparse
import csv
import math
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sysmol.errors import SysmolError
from sysmol.machine import PATTERN_SETS
from sysmol.pattern import pattern_name
from sysmol.patterns.selection import Choice, Demand, choose

WIDTHS = (16, 24, 32, 48, 64, 96, 128, 144, 192, 256, 384, 512)
COLUMNS = ("seed", "layers", "count", "method", "cycles", "vectors", "over_best", "optimal", "gap", "seconds",
           "processor_seconds", "patterns")  # fmt: skip


def demands(seed: int, layers: int) -> list[Demand]:
    """One instance: as many demands as layers."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(layers):
        c4, c2, c1 = rng.multinomial(rng.choice(WIDTHS), rng.dirichlet([1, 1, 1]))
        side, kernel, outputs = rng.choice([32, 16, 8]), rng.choice([3, 1]), rng.choice(WIDTHS)
        # two units take the multiply-accumulates of one vector, tap, pixel and output channel
        cycles = float(side * side * kernel * kernel * outputs / 2)
        found.append(Demand(f"layer{number}", (int(c4), int(c2), int(c1)), cycles))
    return found


def measure(asked: list[Demand], count: int, method: str, time_limit: float) -> tuple[Choice, float]:
    """A choice, and the processor time that it took in seconds."""
    began = time.process_time()
    if method in PATTERN_SETS:
        found = replace(choose(asked, count, "greedy", PATTERN_SETS[method]), method=method, bound=math.nan)
    else:
        found = choose(asked, count, method, time_limit=time_limit)
    return found, time.process_time() - began


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0; 1 where the programme was worse than another method; 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m sysmol.benchmarks.pattern_choice", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--instances", type=int, default=10)
    parser.add_argument("--layers", type=int, default=50)
    parser.add_argument("--count", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--methods", nargs="+", default=["P4", "P8", "greedy", "milp"])
    parser.add_argument("--time-limit", type=float, default=60.0, help="wall-clock seconds for each programme")
    parser.add_argument("--out", type=Path, default=Path("build/bench/pattern_choice.csv"))
    options = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    worse = 0
    print(f"{options.instances} instances of {options.layers} layers from seed {options.seed}", flush=True)
    try:
        for seed in range(options.seed, options.seed + options.instances):
            asked = demands(seed, options.layers)
            for count in options.count:
                methods = [m for m in options.methods if len(PATTERN_SETS.get(m, range(count))) == count]
                results = [measure(asked, count, method, options.time_limit) for method in methods]
                best = min(found.cycles for found, _ in results)
                for found, processor in results:
                    over = found.cycles / best - 1
                    worse += found.optimal and over > 1e-6
                    patterns = " ".join(map(pattern_name, found.patterns))
                    facts = (seed, options.layers, count, found.method, round(found.cycles), sum(found.vectors),
                             f"{over:.6f}", found.optimal, f"{found.gap:.6f}", round(found.seconds, 3),
                             round(processor, 3), patterns)  # fmt: skip
                    rows.append(dict(zip(COLUMNS, facts, strict=True)))
                    print(*facts, flush=True)
    except SysmolError as error:
        print(f"pattern_choice: {error}", file=sys.stderr)
        return 2
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    for count in options.count:
        for method in options.methods:
            own = [row for row in rows if (row["count"], row["method"]) == (count, method)]
            if not own:
                continue
            overs = [float(row["over_best"]) for row in own]
            seconds = [row["processor_seconds"] for row in own]
            print(
                f"N={count} {method}: {statistics.mean(overs):.3%} over the best on average, {max(overs):.3%} at most, "
                f"best in {sum(o < 1e-6 for o in overs)} of {len(own)}; proven in "
                f"{sum(bool(row['optimal']) for row in own)}; processor seconds {statistics.median(seconds):.2f} "
                f"(median), {max(seconds):.2f} (most)"
            )
    print(f"wrote {options.out}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
