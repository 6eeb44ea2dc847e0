"""Compilers: the host's, and cross compilers for static Linux executables of AArch64 and RISC-V.

Cross compilers, in this order: the ``cc`` argument, the environment variable ``SYSMOL_CC_ARM`` or
``SYSMOL_CC_RISCV`` (a command with its options), the clang in the Python package ``ziglang``.
The host's: the ``cc`` argument, ``SYSMOL_CC_HOST``, ``cc``, ``gcc``, ``clang``.
"""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sysmol import environment
from sysmol.errors import SysmolError
from sysmol.files import temporary_folder
from sysmol.kernels_c.targets import TARGETS, Target

WARNINGS = ("-Wall", "-Wextra", "-Werror=implicit-function-declaration")
COMMON = ("-std=gnu11", "-O2", "-ffp-contract=off", "-fno-math-errno")
# The kernels are vectorised by hand and set vtype themselves; a compiler that adds vector code of its own would set
# it behind their back. clang in the zig driver adds checks that trap, unless told not to.
CLANG = ("-fno-vectorize", "-fno-slp-vectorize", "-fno-sanitize=all")
# clang sets vtype before it copies a register group, lest an earlier setting be illegal. The kernels' own is legal, and
# another one would change what their next instructions do.
KEEP_VTYPE = ("-mllvm", "-riscv-insert-vsetvli-whole-vector-register-move-valid-vtype=false")
KEEPS_VTYPE = 20
"""The first version of clang that knows this."""
PLACE, CLANG_PLACE = "-ffile-prefix-map=", "-fdebug-compilation-dir=."
"""Options by which a program does not hold the place of its source: wherever it is compiled, it is the same."""


@dataclass(frozen=True)
class Compiler:
    """A command that compiles C for one target, and its version in one line."""

    command: tuple[str, ...]
    version: str


def _version(command: Sequence[str]) -> str:
    try:
        found = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SysmolError(f"the compiler {shlex.join(command)!r} does not run ({error}); name another one") from None
    if found.returncode:
        line = (found.stderr.strip().splitlines() or ["no message"])[-1]
        raise SysmolError(f"the compiler {shlex.join(command)!r} does not run: {line}")
    return found.stdout.splitlines()[0].strip() if found.stdout else "unknown"


def find_compiler(target: Target, cc: str | None = None) -> Compiler:
    """Compiler for ``target``; :class:`SysmolError` says how to get one where none is found."""
    command = compiler_command(target, cc)
    return Compiler(command, _version(command))


def compiler_command(target: Target, cc: str | None = None) -> tuple[str, ...]:
    """The command that :func:`find_compiler` finds, not run yet."""
    variable = f"SYSMOL_CC_{target.name.upper()}"
    text = cc or environment.read(variable)
    if text:
        named = shlex.split(text)
        if not named or shutil.which(named[0]) is None:
            where = "cc" if cc else variable
            raise SysmolError(f"there is no compiler {text!r} (from {where}); name one that runs, or leave it out")
        return tuple(named)
    if target.is_host:
        for name in ("cc", "gcc", "clang"):
            if shutil.which(name):
                return (name,)
        raise SysmolError("there is no C compiler (cc, gcc or clang); install one or name it in SYSMOL_CC_HOST")
    if importlib.util.find_spec("ziglang") is None:
        raise SysmolError(
            f"there is no cross compiler for {target.name}: 'pip install ziglang', or name a cross gcc or clang "
            f"in {variable}"
        )
    return sys.executable, "-m", "ziglang", "cc", "-target", target.triple


def first_build(targets: Sequence[str], cc: str | None = None) -> str:
    """One line of patience where a compiler of the package ziglang has yet to build its C library for a target of
    these; empty where its cache holds something."""
    cross = [TARGETS[name] for name in targets if not TARGETS[name].is_host]
    if not any("ziglang" in compiler_command(target, cc) for target in cross):
        return ""
    cache = Path(environment.read("ZIG_GLOBAL_CACHE_DIR", str(Path.home() / ".cache" / "zig")))
    if (cache / "o").is_dir():
        return ""
    return "the compiler builds its C library for each instruction set first: minutes, once"


def is_zig(compiler: Compiler) -> bool:
    """Whether it is the package ziglang's."""
    return "ziglang" in compiler.command


def flags(target: Target, compiler: Compiler) -> list[str]:
    """Options for ``target`` that this compiler understands."""
    result = [*COMMON, *WARNINGS]
    zig = is_zig(compiler)
    if zig or "clang" in compiler.version:
        result += [*CLANG, CLANG_PLACE]
    else:
        result += [] if target.is_host else ["-fno-tree-vectorize"]
    result += target.zig_flags if zig else target.flags
    if target.vector_type and (clang_version(compiler) or 0) >= KEEPS_VTYPE:
        result += KEEP_VTYPE
    return result


def clang_version(compiler: Compiler) -> int | None:
    """The major version of a clang; None for other compilers."""
    found = re.search(r"clang version (\d+)", compiler.version)
    return int(found.group(1)) if found else None


def compile_c(
    compiler: Compiler,
    target: Target,
    sources: Sequence[Path],
    include: Sequence[Path],
    out: Path,
    extra: Sequence[str] = (),
) -> list[str]:
    """Compile and link ``sources`` to the executable ``out``; static for cross targets. Returns the command.

    Raises :class:`SysmolError` with the compiler's first error.
    """
    command = [
        *compiler.command,
        *flags(target, compiler),
        *([] if target.is_host else ["-static"]),
        *extra,
        f"{PLACE}{sources[0].parent.absolute()}=.",
        *[f"-I{folder.absolute()}" for folder in include],
        "-o",
        str(out.absolute()),
        *[str(source.absolute()) for source in sources],
    ]
    # zig writes paths of its C library relative to a folder that holds it.
    folder = out.parent if is_zig(compiler) else None
    with temporary_folder() as scratch:  # a killed compiler leaves its files there
        environ = os.environ | {"TMPDIR": str(scratch)}
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environ)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        first = next((line for line in lines if "error" in line), lines[-1] if lines else "no message")
        raise SysmolError(
            f"{Path(compiler.command[0]).name} cannot compile {sources[0].name} for {target.name}: {first}"
        )
    return command
