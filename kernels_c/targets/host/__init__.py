"""The computer at hand, in portable C that emulates all instructions (smol_vec_host.h): AArch64's operations."""

from sysmol.kernels_c.targets.arm import COSTS
from sysmol.kernels_c.targets.target import Target

TARGET = Target("host", "smol_vec_host.h", COSTS)
