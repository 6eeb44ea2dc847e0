"""A network as processes of a Linux system on AArch64. Imports m5.

A kernel is booted once, on the Atomic core (boot_linux.py), up to a checkpoint that its init makes before it asks for
work. A run restores the checkpoint into any core model and hands init the executable and the images, so that one
checkpoint serves every network.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _m5.core
import m5.objects as sim
from m5.util.fdthelper import Fdt, FdtNode, FdtProperty, FdtPropertyStrings, FdtPropertyWords, FdtState

from sysmol.configs_gem5.fullsystem import MEMORY_START, build_board
from sysmol.configs_gem5.inputs import Job
from sysmol.errors import CheckFailed, SysmolError
from sysmol.files import atomic_write_bytes, read_json, sha256_file
from sysmol.machine import Machine

MEMORY_MIB = 256
DEVICE_TREE_AT = MEMORY_START + (64 << 20)
INITRAMFS_AT = DEVICE_TREE_AT + (2 << 20)
COMMAND_LINE = "console=ttyAMA0 earlycon=pl011,0x1c090000 norandmaps nokaslr rdinit=/init"
CHECKPOINT = "checkpoint"
BOOT_FORMAT, BOOT_VERSION = "sysmol-boot", 1
MOST_PROCESSES = 8
WAKE_NS = 20_000
"""Interval of init's wake-ups while several processes run: each makes the kernel save and restore their registers."""


@dataclass(frozen=True)
class Boot:
    """A folder that boot_linux.py left: the kernel that was booted and the checkpoint behind the boot."""

    folder: Path
    kernel: Path

    @property
    def checkpoint(self) -> Path:
        return self.folder / CHECKPOINT


def build_linux_machine(machine: Machine, cpu: str, kernel: Path, plugin: bool) -> Any:
    """A system whose workload is the kernel; files for its boot are not named yet."""
    system = build_board(machine, "arm", cpu, plugin, MEMORY_MIB)
    system.workload = sim.ArmFsLinux(
        object_file=str(kernel),
        load_addr_offset=MEMORY_START,
        dtb_addr=DEVICE_TREE_AT,
        command_line=COMMAND_LINE,
    )
    return system


def build_boot(machine: Machine, kernel: Path, initramfs: Path, outdir: Path) -> Any:
    """Root of a system that boots the kernel on the Atomic core. Without a boot loader gem5 starts the kernel itself,
    at exception level 1, with the address of the device tree in x0, as the kernel's boot protocol wants."""
    system = build_linux_machine(machine, "atomic", kernel, plugin=False)
    tree = outdir / "system.dtb"
    write_device_tree(system, tree)
    system.workload.dtb_filename = str(tree)
    system.workload.initrd_filename = str(initramfs)
    system.workload.initrd_addr = INITRAMFS_AT
    return sim.Root(full_system=True, system=system)


def write_device_tree(system: Any, path: Path) -> None:
    """What of the platform the kernel needs: core, memory, interrupt controller, timer, one serial port."""
    board, state = system.realview, FdtState(addr_cells=2, size_cells=2, cpu_cells=1)

    def node(name: str, compatible: str, **words: list[int]) -> Any:
        made = FdtNode(name)
        made.appendCompatible(compatible.split())
        for key, values in words.items():
            made.append(FdtPropertyWords(key.replace("_", "-"), values))
        return made

    def place(address: Any, size: int) -> list[int]:
        return [*state.addrCells(address), *state.sizeCells(size)]

    root = FdtNode("/")
    root.append([state.addrCellsProperty(), state.sizeCellsProperty()])
    root.appendCompatible(["arm,vexpress"])
    root.append(FdtPropertyWords("interrupt-parent", [state.phandle("gic")]))
    root.append(FdtNode("chosen"))

    (memory_range,) = system.mem_ranges
    memory = FdtNode(f"memory@{MEMORY_START:x}")
    memory.append(FdtPropertyStrings("device_type", ["memory"]))
    memory.append(FdtPropertyWords("reg", place(memory_range.start, memory_range.size())))
    root.append(memory)

    cpus = FdtNode("cpus")
    cpus.append([state.CPUCellsProperty(), FdtPropertyWords("#size-cells", [0])])
    cpu = node("cpu@0", "arm,armv8", reg=[0])
    cpu.append(FdtPropertyStrings("device_type", ["cpu"]))
    cpus.append(cpu)
    root.append(cpus)

    gic = node("interrupt-controller", "arm,gic-400")
    gic.append(FdtPropertyWords("#interrupt-cells", [3]))
    gic.append(FdtProperty("interrupt-controller"))
    gic.append(FdtPropertyWords("reg", place(board.gic.dist_addr, 0x1000) + place(board.gic.cpu_addr, 0x2000)))
    gic.append(FdtPropertyWords("phandle", [state.phandle("gic")]))
    root.append(gic)

    # Private interrupts, active low: secure, non-secure, virtual, hypervisor timer; numbers count from 16.
    timers = board.generic_timer
    pins = (timers.int_el3_phys, timers.int_el1_phys, timers.int_el1_virt, timers.int_el2_ns_phys)
    root.append(node("timer", "arm,armv8-timer", interrupts=[w for pin in pins for w in (1, int(pin.num) - 16, 0x108)]))

    clock = node("clock", "fixed-clock", clock_frequency=[24_000_000], phandle=[state.phandle("clock")])
    clock.append(FdtPropertyWords("#clock-cells", [0]))
    root.append(clock)
    port = board.uart[0]
    serial = node(f"serial@{int(port.pio_addr):x}", "arm,pl011 arm,primecell", reg=place(port.pio_addr, 0x1000))
    serial.append(FdtPropertyWords("interrupts", [0, int(port.interrupt.num) - 32, 4]))
    serial.append(FdtPropertyWords("clocks", [state.phandle("clock"), state.phandle("clock")]))
    serial.append(FdtPropertyStrings("clock-names", ["uartclk", "apb_pclk"]))
    root.append(serial)

    tree = Fdt()
    tree.add_rootnode(root)
    tree.writeDtbFile(str(path))


def load_boot(folder: str) -> Boot:
    """A checked boot folder. :class:`SysmolError` where it is none, or of other files or another gem5 by now."""
    path = Path(folder).resolve()
    facts = read_json(path / "boot.json", BOOT_FORMAT, BOOT_VERSION)
    again = "boot again with boot_linux.py"
    try:
        kernel, digest = Path(facts["kernel"]["path"]), facts["kernel"]["sha256"]
        memory, version = facts["memory_mib"], facts["gem5"]["version"]
    except (KeyError, TypeError) as error:
        raise SysmolError(f"{path}/boot.json is incomplete ({error!r}): {again}") from None
    if memory != MEMORY_MIB or sha256_file(kernel) != digest:
        raise SysmolError(f"{path} is of another kernel than {kernel} or of other memory: {again}")
    if version != str(_m5.core.gem5Version):
        raise SysmolError(f"{path} is of gem5 {version}, not of this one ({_m5.core.gem5Version}): {again}")
    return Boot(path, kernel)


def build_linux_run(
    machine: Machine, cpu: str, boot: Boot, job: Job, images: int, processes: int, regions: bool, outdir: Path,
    plugin: bool,
) -> Any:  # fmt: skip
    """Root of a system that goes on behind the boot and runs ``processes`` instances of the network."""
    work = atomic_write_bytes(outdir / "work.bin", work_file(job, images, processes, regions))
    system = build_linux_machine(machine, cpu, boot.kernel, plugin)
    system.readfile = str(work)
    return sim.Root(full_system=True, system=system)


def work_file(job: Job, images: int, processes: int, regions: bool) -> bytes:
    """What init (kernels_c/image/linux/init.c) reads: a header, the executable, the images of every process."""
    size = int(job.data["input"]["bytes"])
    content, program = job.images.read_bytes(), job.elf.read_bytes()
    rows = [
        b"".join(content[n * size : (n + 1) * size] for n in job.image_numbers(images, process))
        for process in range(processes)
    ]
    wake = WAKE_NS if processes > 1 else 0
    header = struct.pack("<8s6Q", b"SMOLWORK", processes, len(program), images * size, images, regions, wake)
    return header + program + b"".join(rows)


def collect_processes(outdir: Path) -> list[dict[str, int]]:
    """What became of the processes: exit status, signal, voluntary and involuntary context switches.

    The first one's logits become ``logits.bin``, as in other modes; the work file goes.
    """
    path = outdir / "processes.txt"
    if not path.exists():
        raise CheckFailed(f"init left no {path.name}: see {outdir}/simout")
    keys = ("status", "signal", "voluntary_switches", "involuntary_switches")
    lines = path.read_text(encoding="ascii").splitlines()
    (outdir / "logits.0.bin").replace(outdir / "logits.bin")
    for done_with in (path, outdir / "work.bin"):
        done_with.unlink()
    return [dict(zip(keys, map(int, line.split()), strict=True)) for line in lines]
