"""Find a gem5 with the SMOL plug-in and run ``run_net.py`` in it, from ordinary Python."""

import ctypes
import functools
import json
import mmap
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from sysmol import environment
from sysmol.configs_gem5.request import Simulation
from sysmol.errors import CheckFailed, SysmolError
from sysmol.files import PACKAGE, making, sha256_file, temporary_folder
from sysmol.places import BUILD_GEM5

RUN_NET = PACKAGE / "configs_gem5" / "run_net.py"
BOOT_LINUX = PACKAGE / "configs_gem5" / "boot_linux.py"
PRCTL = getattr(ctypes.CDLL(None), "prctl", None)
PR_SET_PDEATHSIG = 1
DEFAULT = Simulation()
DECODERS = {"arm": b"SmolArmDecoder", "riscv": b"SmolRiscvDecoder"}
"""A class name that stands in a gem5 binary exactly where the plug-in was built for the ISA."""


def gem5_root() -> Path:
    """gem5's source tree: the environment variable GEM5_ROOT, by default ``~/gem5``."""
    return Path(environment.read("GEM5_ROOT", str(Path.home() / "gem5"))).expanduser()


def gem5_binaries() -> list[Path]:
    """Every ``build/*/gem5.{opt,fast,debug}`` of gem5's tree that may be executed, the newest first."""
    found = [path for kind in ("opt", "fast", "debug") for path in gem5_root().glob(f"build/*/gem5.{kind}")]
    found = [path for path in found if os.access(path, os.X_OK)]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def find_gem5(isa: str | None = None) -> Path | None:
    """The newest gem5 that carries the plug-in (for ``isa``, or for any)."""
    for path in gem5_binaries():
        isas = plugin_isas(path, path.stat().st_mtime_ns)
        if isa in isas or (isa is None and isas):
            return path
    return None


def why_no_gem5(isa: str | None = None) -> str:
    """One line for users and skipped tests where :func:`find_gem5` finds nothing."""
    wanted = f" for {isa}" if isa else ""
    place = f"{gem5_root()}/build"
    return f"no gem5 with the SMOL plug-in{wanted} under {place}: {BUILD_GEM5}, or name gem5's tree in GEM5_ROOT"


@functools.cache
def plugin_isas(binary: Path, _modified: int) -> frozenset[str]:
    """ISAs whose SMOL decoder is in a gem5 binary."""
    with open(binary, "rb") as stream:
        if os.fstat(stream.fileno()).st_size == 0:
            return frozenset()
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return frozenset(isa for isa, name in DECODERS.items() if content.find(name) >= 0)


def run_gem5(
    manifest: str | os.PathLike[str],
    out: str | os.PathLike[str],
    simulation: Simulation = DEFAULT,
    *,
    gem5: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
) -> dict[str, Any]:
    """Run a compiled network in gem5 and return what its ``run.json`` says; the run folder is ``out``.

    ``gem5``: the binary, by default the newest with the plug-in. Raises :class:`SysmolError` on bad input or without
    gem5, :class:`CheckFailed` where the simulated program failed, gave other logits than the reference's, or took more
    than ``timeout`` seconds.
    """
    binary = Path(gem5) if gem5 is not None else find_gem5(simulation.isa)
    if binary is None:
        raise SysmolError(why_no_gem5(simulation.isa))
    folder = Path(out).resolve()
    options = ["--net", str(Path(manifest).resolve()), "--outdir", str(folder), *simulation.arguments()]
    run_script(binary, RUN_NET, options, Path(manifest).name, timeout)
    return dict(json.loads((folder / "run.json").read_text(encoding="utf-8")))


def end_with_parent() -> None:
    """In the child, before it becomes gem5: the kernel ends it when we end, even by a signal that cannot be caught."""
    if PRCTL is not None:
        PRCTL(PR_SET_PDEATHSIG, signal.SIGKILL)


def run_script(binary: Path, script: Path, options: list[str], what: str, timeout: float | None) -> None:
    """Run one of our scripts in gem5; its one line of error becomes :class:`SysmolError` or :class:`CheckFailed`."""
    # gem5 brings its own Python: what points at the caller's would confuse it.
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    with temporary_folder() as scratch:
        command = [str(binary), "-d", str(scratch), str(script), *options]
        try:
            done = subprocess.run(
                command,
                env=variables,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
                preexec_fn=end_with_parent,
            )
        except OSError as error:
            raise SysmolError(f"cannot run {binary}: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise CheckFailed(f"gem5 took more than {timeout:g} s on {what} and was stopped") from None
    if done.returncode == 0:
        return
    message = last_words(done.stderr) or last_words(done.stdout) or f"gem5 ended with status {done.returncode}"
    raise (SysmolError if done.returncode == 2 else CheckFailed)(message)


def boot_linux(
    linux: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    machine: str | os.PathLike[str] = "o3-n1",
    *,
    gem5: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
) -> Path:
    """Boot the kernel in the folder ``linux`` (vmlinux, initramfs.cpio) up to a checkpoint; the folder to give
    :func:`run_gem5` as ``boot``, by default ``linux/boot``. A checkpoint of the same files is taken as it is.

    Raises :class:`SysmolError` on missing files or without gem5, :class:`CheckFailed` where the kernel does not start.
    """
    binary = Path(gem5) if gem5 is not None else find_gem5("arm")
    if binary is None:
        raise SysmolError(why_no_gem5("arm"))
    source = Path(linux).resolve()
    folder = Path(out).resolve() if out is not None else source / "boot"
    if is_booted(source, folder):
        return folder
    shutil.rmtree(folder, ignore_errors=True)  # another Linux, or no whole boot
    with making(folder) as scratch:
        options = ["--linux", str(source), "--outdir", str(scratch), "--machine", str(machine)]
        run_script(binary, BOOT_LINUX, options, str(source), timeout)
    return folder


def is_booted(source: Path, folder: Path) -> bool:
    """Whether the checkpoint in ``folder`` is of the kernel and the initramfs that ``source`` holds now."""
    try:
        facts = json.loads((folder / "boot.json").read_text(encoding="utf-8"))
        files = {"kernel": source / "vmlinux", "initramfs": source / "initramfs.cpio"}
        return all(facts[key] == {"path": str(path), "sha256": sha256_file(path)} for key, path in files.items())
    except (OSError, ValueError, KeyError, TypeError, SysmolError):
        return False


def last_words(output: str) -> str:
    """The line that tells what went wrong: run_net.py's own, else gem5's panic or fatal, else the last."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for mark in ("run_net.py: ", "boot_linux.py: ", "panic: ", "fatal: "):
        for line in reversed(lines):
            if mark in line:
                return line.split(mark, 1)[1] if ".py" in mark else f"gem5: {line[line.index(mark) :]}"
    return f"gem5: {lines[-1]}" if lines else ""
