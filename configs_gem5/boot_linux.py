"""Boot a Linux kernel in gem5 up to a checkpoint that ``run_net.py --mode linux`` restores.

    gem5.opt configs_gem5/boot_linux.py --linux FOLDER --outdir BOOT [--machine NAME|FILE] [--limit SECONDS]

FOLDER holds vmlinux and initramfs.cpio (docs/fullsystem.md). BOOT receives the checkpoint, the device tree, what the
kernel printed (simout) and, written last, boot.json. A kernel that does not come up within ``--limit`` simulated
seconds, or panics, ends with one line and status 1.

This file runs inside gem5: nothing but m5, the standard library and the part of sysmol that needs no more.
"""

import argparse
import atexit
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(next(p for p in Path(__file__).resolve().parents if (p / "sysmol" / "__init__.py").is_file())))

import _m5.core
import m5
from m5.defines import buildEnv

from sysmol.configs_gem5.fullsystem import keep_console
from sysmol.configs_gem5.linux import BOOT_FORMAT, BOOT_VERSION, CHECKPOINT, MEMORY_MIB, build_boot
from sysmol.configs_gem5.simulation import last_lines, redirect, report_errors
from sysmol.errors import CheckFailed, SysmolError
from sysmol.files import atomic_write_json, make_folder, sha256_file
from sysmol.machine import load_machine


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Boot Linux up to a checkpoint", allow_abbrev=False)
    parser.add_argument("--linux", required=True, metavar="FOLDER", help="folder with vmlinux and initramfs.cpio")
    parser.add_argument("--outdir", required=True, metavar="BOOT", help="folder for the checkpoint")
    parser.add_argument("--machine", default="o3-n1", help="name or JSON file (default o3-n1): clock and memory model")
    parser.add_argument("--limit", type=float, default=20.0, help="simulated seconds (default 20)")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    folder = Path(arguments.linux).resolve()
    kernel, initramfs = folder / "vmlinux", folder / "initramfs.cpio"
    for path in (kernel, initramfs):
        if not path.is_file():
            raise SysmolError(f"there is no {path}: make one with 'sysmol linux' (docs/fullsystem.md)")
    if not buildEnv["USE_ARM_ISA"]:
        raise SysmolError("this gem5 was built without arm: build one with USE_ARM_ISA=y")
    machine = load_machine(arguments.machine)
    outdir = make_folder(Path(arguments.outdir).resolve())
    (outdir / "boot.json").unlink(missing_ok=True)
    shutil.rmtree(outdir / CHECKPOINT, ignore_errors=True)
    redirect(outdir)
    m5.disableAllListeners()
    # The root must stay referenced for as long as the simulation lives.
    root = build_boot(machine, kernel, initramfs, outdir)
    m5.instantiate()
    started = time.time()
    event = m5.simulate(int(arguments.limit * 1e12))
    keep_console(outdir)
    atexit.unregister(m5.stats.dump)
    if event.getCause() != "checkpoint":
        said = last_lines(outdir / "simout")
        raise CheckFailed(f"the kernel did not come up: {event.getCause()}; {said[-1] if said else 'it said nothing'}")
    m5.checkpoint(str(outdir / CHECKPOINT))
    atomic_write_json(
        outdir / "boot.json",
        {
            "format": BOOT_FORMAT,
            "version": BOOT_VERSION,
            "kernel": {"path": str(kernel), "sha256": sha256_file(kernel)},
            "initramfs": {"path": str(initramfs), "sha256": sha256_file(initramfs)},
            "machine": machine.name,
            "memory_mib": MEMORY_MIB,
            "gem5": {"version": str(_m5.core.gem5Version), "compiled": str(_m5.core.compileDate)},
            "sim_insts": int(root.system.cpu.totalInsts()),
            "sim_ticks": int(m5.curTick()),
            "host_seconds": round(time.time() - started, 3),
        },
    )
    print(f"{kernel.name} is up after {int(m5.curTick()) / 1e12:.3f} simulated seconds; {outdir}/boot.json")


if __name__ == "__m5_main__":
    sys.exit(report_errors(main, "boot_linux.py"))
