"""What a target is: headers, compiler flags, costs of operations, and what its instructions can do."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sysmol.files import PACKAGE
from sysmol.isa import ACCESSES, Capabilities

KERNELS = PACKAGE / "kernels_c"


@dataclass(frozen=True)
class Target:
    """A machine that C is generated for.

    ``costs``: instructions of every operation of its ``header`` by class. ``width``: bits of a vector register.
    ``scalar_operand``: multiply-accumulates take the activation from a scalar register (RVV) instead of a lane of a
    vector (NEON). ``vector_type``: vector instructions depend on a state that kernels set themselves; kernels that the
    compiler changed it in are compiled again so that this cannot matter. ``machine``: the ELF header's, where a
    compiler could make another one. ``triple``: of cross compilers, none on the host. ``baremetal_flags``: for programs
    without an operating system. ``accesses``: other costs where the hardware has SMOL loads and stores. ``defines``:
    macros that generated C defines for the header. ``narrowing_rounds``: its narrowing shift rounds to the nearest.
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
    accesses: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    defines: tuple[str, ...] = ()
    narrowing_rounds: bool = False

    def on(self, has: Capabilities) -> "Target":
        """The target with hardware of these SMOL instructions."""
        if not self.accesses or not all(has.has(access.name) for access in ACCESSES):
            return self
        return replace(self, costs={**self.costs, **self.accesses}, accesses={}, defines=("SMOL_ACCESSES",))

    @property
    def include(self) -> tuple[Path, ...]:
        """Folders of the headers that generated C includes: those of every target, then this one's."""
        return KERNELS / "include", KERNELS / "targets" / self.name

    @property
    def is_host(self) -> bool:
        """Whether this is the computer at hand, which nothing simulates."""
        return not self.triple
