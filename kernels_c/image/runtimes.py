"""What a generated network is linked with: a program for Linux (or system-call emulation), or one without a system."""

from dataclasses import dataclass
from pathlib import Path

from sysmol.errors import SysmolError
from sysmol.kernels_c.targets import KERNELS, Target


@dataclass(frozen=True)
class Runtime:
    """Sources beside the network's, and compiler options."""

    mode: str
    sources: tuple[Path, ...]
    flags: tuple[str, ...]

    def stem(self, variant: str, isa: str) -> str:
        """Products' names: the modes do not overwrite each other."""
        return f"{variant}.{isa}" + ("" if self.mode == "se" else f"-{self.mode}")


def runtime_for(mode: str, target: Target) -> Runtime:
    """The runtime ``se`` (any target) or ``baremetal`` (arm, riscv); :class:`SysmolError` for any other.

    Both are compiled for the same target, so that the kernels' code is the same: compilers treat a freestanding
    target's memory functions as unknown and would not expand them in place.
    """
    if mode == "se":
        return Runtime(mode, (KERNELS / "runtime" / "main.c",), ())
    if mode != "baremetal":
        raise SysmolError(f"there is no mode {mode!r} to compile for: choose se or baremetal")
    if target.is_host:
        raise SysmolError(f"bare-metal programs run in gem5: compile for arm or riscv, not {target.name}")
    folder = KERNELS / "image" / "baremetal"
    sources = tuple(folder / name for name in (f"start_{target.name}.S", "main.c", "console.c", "memory.c"))
    script = f"-Wl,-T,{folder / 'program.ld'}"
    headers = f"-I{folder / 'include'}"
    return Runtime(
        mode, sources, ("-nostdlib", "-fno-pic", "-fno-stack-protector", headers, script, *target.baremetal_flags)
    )
