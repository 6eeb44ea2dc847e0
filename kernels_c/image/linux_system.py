"""A small Linux for AArch64 inside gem5: the kernel from a user's source tree, and an initramfs with our own init.

A folder that holds ``vmlinux`` and ``initramfs.cpio`` is what ``boot_linux.py`` and ``run_net.py --mode linux`` take.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from sysmol.errors import SysmolError
from sysmol.files import atomic_write_bytes, make_folder, temporary_folder
from sysmol.kernels_c.image import cpio
from sysmol.kernels_c.targets import KERNELS, TARGETS
from sysmol.kernels_c.toolchain import compile_c, find_compiler

KERNEL, INITRAMFS = "vmlinux", "initramfs.cpio"
FOLDER = KERNELS / "image" / "linux"
FRAGMENT = FOLDER / "kernel.config"
CROSS_COMPILE = "aarch64-linux-gnu-"


def build_initramfs(folder: str | Path, cc: str | None = None) -> Path:
    """Compile init and pack ``folder/initramfs.cpio``; returns its path."""
    target = TARGETS["arm"]
    with temporary_folder() as scratch:
        init = scratch / "init"
        compile_c(find_compiler(target, cc), target, [FOLDER / "init.c"], [], init)
        entries = [
            cpio.folder("dev"),
            cpio.character_device("dev/console", 5, 1),
            cpio.program("init", init.read_bytes()),
        ]
        return atomic_write_bytes(make_folder(folder) / INITRAMFS, cpio.archive(entries))


def build_kernel(
    source: str | Path,
    folder: str | Path,
    jobs: int = 1,
    cross_compile: str = CROSS_COMPILE,
    say: Callable[[str], None] = print,
) -> Path:
    """Configure and compile a kernel from the source tree ``source`` (6.1 or later); returns ``folder/vmlinux``.

    Products go to ``folder/build``; the source tree is only read. Needs make, flex, bison, bc and a cross compiler.
    Raises :class:`SysmolError` with make's last words.
    """
    tree, out = Path(source).resolve(), make_folder(folder).resolve()
    if not (tree / "scripts" / "kconfig" / "merge_config.sh").is_file():
        raise SysmolError(f"{source} is no Linux source tree: unpack one (Debian: linux-source) and name its folder")
    for tool, package in (("make", "make"), ("flex", "flex"), ("bison", "bison"), ("bc", "bc")):
        if shutil.which(tool) is None:
            raise SysmolError(f"a kernel build needs {tool}: install the package {package}")
    if shutil.which(f"{cross_compile}gcc") is None:
        raise SysmolError(f"there is no {cross_compile}gcc: install gcc-aarch64-linux-gnu, or name another prefix")
    build = make_folder(out / "build")
    make = ["make", "-s", f"-j{jobs}", "ARCH=arm64", f"CROSS_COMPILE={cross_compile}", f"O={build}"]
    merge = [str(tree / "scripts" / "kconfig" / "merge_config.sh"), "-m", "-O", str(build)]
    steps = [
        ("base configuration", [*make, "tinyconfig"], tree),
        ("configuration", [*merge, str(build / ".config"), str(FRAGMENT)], build),
        ("configuration", [*make, "olddefconfig"], tree),
        ("kernel, some minutes", [*make, "vmlinux"], tree),
    ]
    for what, command, where in steps:
        say(f"{what}: {' '.join(command)}")
        _run(what, command, where)
    missing = refused_options(FRAGMENT.read_text(), (build / ".config").read_text())
    if missing:
        raise SysmolError(f"this kernel does not take {', '.join(missing)}: use a source tree of Linux 6.1 or later")
    return atomic_write_bytes(out / KERNEL, (build / KERNEL).read_bytes())


def refused_options(fragment: str, config: str) -> list[str]:
    """Options of the fragment (``CONFIG_X=value``) that did not make it into the kernel's configuration."""
    taken = set(config.splitlines())
    return [line for line in fragment.splitlines() if line.startswith("CONFIG_") and line not in taken]


def _run(what: str, command: Sequence[str], where: Path) -> None:
    stamp = {"TIMESTAMP": "1970-01-01", "USER": "sysmol", "HOST": "sysmol"}
    environment = {**os.environ, **{f"KBUILD_BUILD_{key}": value for key, value in stamp.items()}}
    try:
        done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise SysmolError(f"cannot run {command[0]}: {error.strerror}") from None
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        first = next((line for line in lines if "error" in line.lower()), lines[-1])
        raise SysmolError(f"the kernel's {what.split(',')[0]} failed: {first}")
