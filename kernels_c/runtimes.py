"""What a generated network is linked with: a program for Linux (or system-call emulation), or one without a system."""

from dataclasses import dataclass, replace
from pathlib import Path

from kernels_c.codegen.targets import Target
from sysmol.errors import SysmolError
from sysmol.files import REPO_ROOT

FOLDER = REPO_ROOT / "kernels_c" / "runtime"


@dataclass(frozen=True)
class Runtime:
    """Sources beside the network's, folders of headers, compiler options, and the target as the compiler names it."""

    mode: str
    sources: tuple[Path, ...]
    include: tuple[Path, ...]
    flags: tuple[str, ...]
    target: Target

    def stem(self, variant: str) -> str:
        """Products' names: the modes do not overwrite each other."""
        return f"{variant}.{self.target.name}" + ("" if self.mode == "se" else f"-{self.mode}")


def runtime_for(mode: str, target: Target) -> Runtime:
    """The runtime ``se`` (any target) or ``baremetal`` (arm, riscv); :class:`SysmolError` for any other."""
    if mode == "se":
        return Runtime(mode, (FOLDER / "main.c",), (), (), target)
    if mode != "baremetal":
        raise SysmolError(f"there is no mode {mode!r} to compile for: choose se or baremetal")
    if not target.triple:
        raise SysmolError(f"bare-metal programs run in gem5: compile for arm or riscv, not {target.name}")
    folder = FOLDER / "baremetal"
    sources = tuple(folder / name for name in (f"start_{target.name}.S", "main.c", "console.c", "memory.c"))
    script = f"-Wl,-T,{folder / 'program.ld'}"
    # Memory lies beyond what 32-bit signed addresses reach, RISC-V's default.
    model = ("-mcmodel=medany",) if target.name == "riscv" else ()
    flags = ("-nostdlib", "-fno-pic", "-fno-stack-protector", "-fno-asynchronous-unwind-tables", script, *model)
    triple = target.triple.split("-")[0] + "-freestanding-none"
    return Runtime(mode, sources, (folder / "include",), flags, replace(target, triple=triple))
