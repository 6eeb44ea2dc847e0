"""A whole machine: one core with caches, memory, and the platform's devices, for programs with nothing beneath them.

AArch64: gem5's VExpress_GEM5_V1 (PL011 serial port, GICv2, generic timer), the core starts at exception level 1.
RISC-V: gem5's HiFive (8250 serial port, CLINT, PLIC), the core starts in machine mode. Memory begins at 2 GiB on both.
Imports m5.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import m5.objects as sim

from sysmol.configs_gem5.system import add_caches, add_memory, build_cpu, check_classes
from sysmol.configs_gem5.tile import attach_tile, tile_ranges
from sysmol.errors import SysmolError
from sysmol.machine import Machine

MEMORY_START = 0x80000000
CONSOLE = "simout"

EXTENSIONS = ("LPAE", "FEAT_CRC32", "FEAT_LSE", "FEAT_RDM", "FEAT_DOTPROD", "FEAT_I8MM")
"""What the AArch64 core has beyond Armv8.0: neither EL2 nor EL3 (software starts at EL1), and no SVE or SME, whose
registers an operating system would have to manage."""


def build_board(
    machine: Machine, isa: str, cpu: str, plugin: bool, memory_mib: int, tile: Mapping[str, Any] | None = None
) -> Any:
    """A system with core, caches, memory and devices, and a compute-in-memory tile with the parameters ``tile``; the
    caller adds ``workload`` and makes the root.

    Raises :class:`SysmolError` where the machine has less memory than ``memory_mib``.
    """
    check_classes(machine)
    if machine.memory.size_mib < memory_mib:
        raise SysmolError(
            f"machine {machine.name} has {machine.memory.size_mib} MiB of memory; programs without system-call "
            f"emulation need {memory_mib}"
        )
    system = sim.ArmSystem(release=sim.ArmRelease(extensions=EXTENSIONS)) if isa == "arm" else sim.System()
    system.voltage_domain = sim.VoltageDomain()
    system.clk_domain = sim.SrcClockDomain(clock=f"{machine.clock_ghz}GHz", voltage_domain=system.voltage_domain)
    system.cache_line_size = machine.line_bytes
    system.mem_mode = "atomic" if cpu == "atomic" else "timing"
    system.mem_ranges = [sim.AddrRange(MEMORY_START, size=f"{memory_mib}MiB")]
    system.membus = sim.SystemXBar()
    # Out-of-order cores look at addresses on wrong paths too: where nothing is, an error answers.
    system.membus.badaddr_responder = sim.BadAddr()
    system.membus.default = system.membus.badaddr_responder.pio
    system.system_port = system.membus.cpu_side_ports
    add_memory(system, machine)
    system.iobus = sim.IOXBar()
    system.bridge = sim.Bridge(delay="50ns")
    system.bridge.cpu_side_port = system.membus.mem_side_ports
    system.bridge.mem_side_port = system.iobus.cpu_side_ports

    attach_arm_devices(system) if isa == "arm" else attach_riscv_devices(system)

    system.cpu = build_cpu(machine, isa, cpu, plugin)
    system.cpu.createThreads()
    if tile is not None:
        attach_tile(system, tile)
    if isa == "riscv":
        devices = [*system.platform._on_chip_ranges(), *system.platform._off_chip_ranges(), *tile_ranges(tile)]
        # The kernels' target allows misaligned scalar accesses to memory, as system-call emulation does.
        system.cpu.mmu.pma_checker = sim.PMAChecker(uncacheable=devices, misaligned=system.mem_ranges)
    add_caches(system, machine)
    return system


def attach_arm_devices(system: Any) -> None:
    system.realview = sim.VExpress_GEM5_V1()
    system.terminal = sim.Terminal(outfile="file")
    system.vncserver = sim.VncServer()
    for port in system.realview.uart[1:]:
        port.device = sim.SerialNullDevice()
    system.gic_cpu_addr = system.realview.gic.cpu_addr
    system.realview.attachOnChipIO(system.membus, system.bridge)
    system.realview.attachIO(system.iobus)


def attach_riscv_devices(system: Any) -> None:
    system.platform = sim.HiFive()
    system.platform.rtc = sim.RiscvRTC(frequency="1MHz")  # nothing here reads it, and every tick costs host time
    system.platform.clint.int_pin = system.platform.rtc.int_pin
    system.platform.pci_host.pio = system.iobus.mem_side_ports
    system.bridge.ranges = system.platform._off_chip_ranges()
    system.platform.attachOnChipIO(system.membus)
    system.platform.attachOffChipIO(system.iobus)
    system.platform.attachPlic()
    system.platform.setNumCores(1)


def keep_console(outdir: Path) -> None:
    """What the serial port printed becomes ``simout``, as under system-call emulation."""
    for terminal in sorted(outdir.glob("system*terminal")):
        terminal.replace(outdir / CONSOLE)
