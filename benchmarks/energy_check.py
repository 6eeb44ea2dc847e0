"""``python -m sysmol.benchmarks.energy_check``: what the energy model predicts for a public measurement.

The measurement: the average active power of HiSilicon's Kirin 980 in the Mate 20 (one Cortex-A76 at 2.6 GHz, TSMC 7 nm,
LPDDR4X) over SPECint2006, of the whole platform with memory, less its idle power (AnandTech 13503, November 2018). The
N1 is the A76's sibling, so its constants stand for the core; how many instructions and misses SPECint2006 has per cycle
is not published with the power and enters as ranges. The prediction was committed before the measured value was looked
up (docs/energy.md).
"""

import sys

import numpy as np

from sysmol.analysis.costs.energy.constants import CYCLE, DRAWS, SEED, cores, draw
from sysmol.analysis.costs.energy.model import Interval

CLOCK_GHZ = 2.6
RATES = {
    "instruction": (1.0, 2.2),
    "l1d_access": (0.35, 0.9),
    "l2_access": (0.01, 0.06),
    "dram_line": (0.0005, 0.008),
}
"""Events per cycle of SPECint2006 on an A76: instructions as cores of this width have; 0.35 to 0.4 loads and stores per
instruction; 10 to 30 misses of the first level and 0.5 to 4 of the last per thousand instructions."""


def predicted() -> Interval:
    """Watts."""
    core = next(each for each in cores() if each.power is not None)
    drawn, rng = draw(core), np.random.default_rng(SEED + 2)
    power = drawn[CYCLE].copy()
    for name, (low, high) in RATES.items():
        power += np.exp(rng.uniform(np.log(low), np.log(high), DRAWS)) * drawn[name]
    return Interval.of(power * CLOCK_GHZ * 1e-3)


def main() -> int:
    """Print it."""
    found = predicted()
    print(f"predicted: {found.value:.2f} W ({found.low:.2f} to {found.high:.2f} W)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
