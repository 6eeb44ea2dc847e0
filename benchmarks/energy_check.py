"""``python -m sysmol.benchmarks.energy_check``: what the energy model predicts for public measurements.

Both are of a Cortex-A76 or a core derived from it in TSMC's 7 nm, the N1's sibling, so the N1's constants stand for the
core. How many instructions and accesses the code has per cycle was not published with the power and enters as ranges.
Each prediction was committed before the measured value was looked up; docs/energy.md has those predictions, and what
followed from the outcome.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sysmol.analysis.costs.energy.constants import CYCLE, DRAWS, SEED, cores, draw
from sysmol.analysis.costs.energy.model import Interval


@dataclass(frozen=True)
class Check:
    """A public measurement: what was measured where, at which clock, the code's events per cycle as ranges, and the
    measured watts of each run; none where they could not be read."""

    name: str
    clock_ghz: float
    rates: Mapping[str, tuple[float, float]]
    measured: tuple[float, ...] = ()

    def predicted(self) -> Interval:
        """Watts."""
        core = next(each for each in cores() if each.power is not None)
        drawn, rng = draw(core), np.random.default_rng(SEED + 2)
        power = drawn[CYCLE].copy()
        for name, (low, high) in self.rates.items():
            power += np.exp(rng.uniform(np.log(low), np.log(high), DRAWS)) * drawn[name]
        return Interval.of(power * self.clock_ghz * 1e-3)


CHECKS = (
    Check(
        "SPECint2006, one Cortex-A76 of a Kirin 980 (AnandTech 13503)",
        2.6,
        {
            "instruction": (1.0, 2.2),
            "l1d_access": (0.35, 0.9),
            "l2_access": (0.01, 0.06),
            "dram_line": (0.0005, 0.008),
        },
    ),
    Check(
        "CoreMark, prime core of a Snapdragon 855 at 2.65 GHz (freqbench, results/sm8150)",
        2.65,
        {"instruction": (2.0, 3.2), "l1d_access": (0.5, 1.2)},
        (0.882, 0.917),
    ),
)
"""Of whole devices with memory, less their idle power. SPECint2006: instructions as cores of this width have; 0.35 to
0.4 loads and stores per instruction; 10 to 30 misses of the first level and 0.5 to 4 of the last per thousand
instructions. CoreMark: more instructions per cycle than general code, a quarter to almost two fifths of them loads and
stores; all data in the first level."""


def main() -> int:
    """Print them."""
    for check in CHECKS:
        found = check.predicted()
        watts = " and ".join(f"{each:.2f} W" for each in check.measured) or "not read"
        print(f"{check.name}: predicted {found.value:.2f} W ({found.low:.2f} to {found.high:.2f} W); measured {watts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
