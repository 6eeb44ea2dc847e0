"""A network as the only program of a machine: no operating system, no system-call emulation. Imports m5."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import m5.objects as sim

from sysmol.configs_gem5.fullsystem import build_board
from sysmol.machine import Machine

MEMORY_MIB = 256
"""What the linker script (kernels_c/image/baremetal/program.ld) counts on."""


def build_bare_machine(
    machine: Machine,
    isa: str,
    cpu: str,
    elf: Path,
    images: Path,
    count: int,
    regions: bool,
    plugin: bool,
    tile: Mapping[str, Any] | None = None,
) -> Any:
    """Root of a system that runs ``elf`` on the first ``count`` images of a file, with statistics per layer or not;
    ``tile``: parameters of the tile that the program was compiled for."""
    system = build_board(machine, isa, cpu, plugin, MEMORY_MIB, tile)
    if isa == "arm":
        system.workload = sim.ArmFsWorkload(object_file=str(elf), dtb_addr=0)
    else:
        system.workload = sim.RiscvBareMetal(bootloader=str(elf))
    system.readfile = str(images)
    system.init_param = count | regions << 32
    return sim.Root(full_system=True, system=system)
