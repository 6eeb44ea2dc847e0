"""What this machine has of all that sysmol can use, a finding per thing, each with the way to mend it."""

import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

from sysmol import __version__, environment, isa
from sysmol.errors import SysmolError
from sysmol.files import PACKAGE, temporary_folder

OK, OPTIONAL, MISSING = "ok", "optional", "missing"
"""States of a finding: there; not there, and the chain runs without it; not there, and the chain does not run."""

OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Finding:
    """One line of ``sysmol doctor``: what was looked for, its state, what was found and, unless ok, how to mend it."""

    part: str
    state: str
    found: str
    fix: str = ""

    @property
    def line(self) -> str:
        return f"{self.state:<9}{self.part}: {self.found}" + (f"; {self.fix}" if self.fix else "")


def findings() -> Iterator[Finding]:
    """Everything, in the order in which it is worth mending."""
    yield sysmol()
    yield python()
    yield packages()
    for part, look in (("compilers", compilers), ("gem5", gem5), ("data", data), ("extras", extras)):
        try:
            yield from look()
        except metadata.PackageNotFoundError:
            continue  # found above
        except ImportError as error:
            yield Finding(part, MISSING, f"cannot be looked for ({error})", "install the missing packages first")


def sysmol() -> Finding:
    kind = "a clone" if (PACKAGE / "train").is_symlink() else "an installed wheel"
    return Finding("sysmol", OK, f"{__version__}, {kind} in {PACKAGE}, instruction table {isa.FINGERPRINT}")


def python() -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        return Finding(
            "Python", MISSING, found, f"make an environment with Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]}"
        )
    if platform.system() != "Linux":
        return Finding("Python", MISSING, found, "sysmol runs on Linux")
    return Finding("Python", OK, found)


def requirements(extra: str = "") -> dict[str, str]:
    """Packages that sysmol (with an extra: the extra alone) asks for and that are absent or of another version, each
    with what is wrong.

    Raises :class:`SysmolError` where sysmol was put on the path without being installed.
    """
    from packaging.requirements import Requirement

    try:
        texts = metadata.requires("sysmol") or []
    except metadata.PackageNotFoundError:
        raise SysmolError("sysmol is on the path but not installed: pip install it") from None
    wrong: dict[str, str] = {}
    for requirement in map(Requirement, texts):
        marker = requirement.marker
        always = marker is None or marker.evaluate({"extra": ""})
        if always if extra else not always:
            continue
        if extra and marker is not None and not marker.evaluate({"extra": extra}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong[requirement.name] = "absent"
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong[requirement.name] = f"{version}, not {requirement.specifier}"
    return wrong


def packages() -> Finding:
    """The packages that sysmol cannot do without."""
    try:
        wrong = requirements()
    except SysmolError as error:
        return Finding("packages", MISSING, str(error))
    if wrong:
        names = " ".join(f"'{name}'" for name in wrong)
        text = ", ".join(f"{name} {what}" for name, what in wrong.items())
        return Finding("packages", MISSING, text, f"pip install --upgrade {names}")
    return Finding(
        "packages", OK, ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "numpy", "scipy"))
    )


def compilers() -> Iterator[Finding]:
    """One finding per target; the host's compiler also has to make a program."""
    from sysmol.kernels_c.targets import TARGETS
    from sysmol.kernels_c.toolchain import compile_c, find_compiler

    for name, target in TARGETS.items():
        part = f"compiler for {name}"
        try:
            compiler = find_compiler(target)
            if not target.triple:
                with temporary_folder() as folder:
                    source = folder / "program.c"
                    source.write_text('#include <stdio.h>\nint main(void) { return puts("") < 0; }\n')
                    compile_c(compiler, target, [source], [], folder / "program")
        except SysmolError as error:
            found, _, fix = str(error).partition("; ")
            yield Finding(part, MISSING, found, fix)
            continue
        own = environment.read(f"SYSMOL_CC_{name.upper()}")
        zig = "ziglang" in compiler.command
        command = own or (f"clang of ziglang {metadata.version('ziglang')}" if zig else compiler.command[0])
        yield Finding(part, OK, f"{command}, {compiler.version}")


def gem5() -> Iterator[Finding]:
    """One finding per gem5 binary; one where there is none."""
    from sysmol.configs_gem5.binaries import all_binaries
    from sysmol.configs_gem5.launch import why_no_gem5

    binaries = all_binaries()
    if not binaries:
        yield Finding("gem5", OPTIONAL, "none: cycles are estimated", why_no_gem5())
    for binary in binaries:
        plugin = f"SMOL for {' and '.join(binary.isas) or 'no ISA'}"
        table = f", instruction table {binary.fingerprint}" if binary.fingerprint else ""
        found = f"{binary.path}, version {binary.version or 'unknown'}, {plugin}{table}"
        yield Finding("gem5", OPTIONAL if binary.problem else OK, found, binary.problem)


def data() -> Iterator[Finding]:
    """One finding per data set that sysmol does not bring along."""
    from sysmol.train.frontend.data import MARKERS, data_folder

    for name in MARKERS:
        try:
            yield Finding(f"data set {name}", OK, str(data_folder(name)))
        except SysmolError as error:
            found, _, fix = str(error).partition(": ")
            yield Finding(f"data set {name}", OPTIONAL, found, fix)


def extras() -> Iterator[Finding]:
    """One finding per extra of the package; none where sysmol is not installed."""
    for name in metadata.metadata("sysmol").get_all("Provides-Extra") or []:
        wrong = requirements(name)
        if wrong:
            text = ", ".join(f"{package} {what}" for package, what in wrong.items())
            yield Finding(f"extra {name}", OPTIONAL, text, f"pip install 'sysmol[{name}]'")
        else:
            yield Finding(f"extra {name}", OK, "installed")
