"""The machines that kernels are generated for: one folder each, with its header and what its operations cost."""

from sysmol.kernels_c.targets import arm, host, riscv
from sysmol.kernels_c.targets.target import KERNELS, Target

TARGETS = {target.name: target for target in (host.TARGET, arm.TARGET, riscv.TARGET)}

__all__ = ["KERNELS", "TARGETS", "Target"]
