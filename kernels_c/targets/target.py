"""What a target is: headers, compiler flags, costs of operations, and what its instructions can do."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sysmol.files import PACKAGE

KERNELS = PACKAGE / "kernels_c"


@dataclass(frozen=True)
class Target:
    """A machine that C is generated for.

    ``costs``: instructions of every operation of its ``header`` by class. ``width``: bits of a vector register.
    ``scalar_operand``: multiply-accumulates take the activation from a scalar register (RVV) instead of a lane of a
    vector (NEON). ``vector_type``: vector instructions depend on a state that kernels set themselves; kernels that the
    compiler changed it in are compiled again so that this cannot matter. ``machine``: the ELF header's, where a
    compiler could make another one. ``triple``: of cross compilers, none on the host. ``baremetal_flags``: for programs
    without an operating system.
    """

    name: str
    header: str
    costs: Mapping[str, Mapping[str, int]]
    width: int = 128
    scalar_operand: bool = False
    vector_type: bool = False
    machine: str = ""
    triple: str = ""
    flags: tuple[str, ...] = ()
    zig_flags: tuple[str, ...] = ()
    baremetal_flags: tuple[str, ...] = ()

    @property
    def include(self) -> tuple[Path, ...]:
        """Folders of the headers that generated C includes: those of every target, then this one's."""
        return KERNELS / "include", KERNELS / "targets" / self.name

    @property
    def is_host(self) -> bool:
        """Whether this is the computer at hand, which nothing simulates."""
        return not self.triple
