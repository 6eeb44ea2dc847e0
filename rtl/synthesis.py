"""Synthesis: SystemVerilog to a netlist of the library's cells, by Yosys and its ABC (package ``pyosys``).

Multipliers and long sums are compressor trees in the source already, so Yosys only flattens, optimises and maps; what
is left to ABC is given by one of several scripts in ``abc/``, since the script alone moves areas by a tenth and more.
"""

import importlib.metadata
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sysmol.errors import SysmolError
from sysmol.files import atomic_write_text
from sysmol.rtl.liberty import Library
from sysmol.rtl.netlist import Netlist, read

ABC = Path(__file__).resolve().parent / "abc"
SCRIPTS = tuple(sorted(path.stem for path in ABC.glob("*.abc")))
DELAY_TARGET = 300
"""ps, for ABC's sizing of gates: below what any of these units reaches in a stage, so that all are sized for speed."""
LONGEST = 900
"""Seconds after which a synthesis is given up."""

PASSES = """
proc -norom
flatten
opt -full
wreduce
opt_clean
alumacc
opt
techmap
opt -full
dfflibmap -liberty {library}
opt_clean -purge
abc -liberty {library} -script {script} -D {target} -constr {constraints}
opt_clean -purge
write_json {netlist}
"""
"""Yosys passes after elaboration. ``-norom``: decoders stay logic."""

CONSTRAINTS = "set_driving_cell BUFx2_ASAP7_75t_R\nset_load 0.56 [all_outputs]\n"
"""What drives the inputs, and what the outputs drive (fF: a flip-flop's data pin): without it ABC takes flip-flops for
infinitely strong and buffers nothing behind them."""

_WORKER = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for line in open(sys.argv[1]):
    libyosys.run_pass("tee -q -a " + sys.argv[2] + " " + line.strip(), design)
"""


def missing() -> str:
    """What is missing for a synthesis, empty where all is there."""
    return "" if importlib.util.find_spec("pyosys") else "pyosys is not installed (pip install 'sysmol[rtl]')"


def version() -> str:
    """Version of Yosys's package."""
    return importlib.metadata.version("pyosys")


@dataclass(frozen=True)
class Job:
    """A module to synthesise: source files (package first), its name, its parameters."""

    files: tuple[Path, ...]
    top: str
    parameters: Mapping[str, int]


def netlist_text(job: Job, library: Library, script: str, folder: Path) -> str:
    """Netlist in Yosys's JSON; :class:`SysmolError` with the tool's own line where it fails."""
    if missing():
        raise SysmolError(missing())
    if script not in SCRIPTS:
        raise SysmolError(f"there is no ABC script {script!r}: there are {', '.join(SCRIPTS)}")
    with tempfile.TemporaryDirectory(dir=folder) as name:
        scratch = Path(name)
        atomic_write_text(scratch / "cells.lib", library.text)
        atomic_write_text(scratch / "constraints", CONSTRAINTS)
        lines = ["read_verilog -sv " + " ".join(str(path.absolute()) for path in job.files)]
        if job.parameters:
            settings = " ".join(f"-set {key} {value}" for key, value in job.parameters.items())
            lines.append(f"chparam {settings} {job.top}")
        lines.append(f"hierarchy -check -top {job.top}")
        lines += (
            PASSES.strip()
            .format(
                library=scratch / "cells.lib",
                script=ABC / f"{script}.abc",
                target=DELAY_TARGET,
                constraints=scratch / "constraints",
                netlist=scratch / "netlist.json",
            )
            .splitlines()
        )
        atomic_write_text(scratch / "passes", "\n".join(lines) + "\n")
        log = scratch / "log"
        command = [sys.executable, "-c", _WORKER, str(scratch / "passes"), str(log)]
        try:
            subprocess.run(command, capture_output=True, timeout=LONGEST, check=True)
        except subprocess.TimeoutExpired:
            raise SysmolError(f"synthesis of {job.top} by {script} took more than {LONGEST} s") from None
        except subprocess.CalledProcessError:
            said = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
            errors = [line for line in said if "ERROR" in line] or said[-1:] or ["it said nothing"]
            raise SysmolError(f"synthesis of {job.top} by {script} failed: {errors[0]}") from None
        return (scratch / "netlist.json").read_text()


def synthesise(job: Job, library: Library, script: str, folder: Path) -> Netlist:
    """The mapped netlist of a module."""
    return read(netlist_text(job, library, script, folder), job.top, library)


def sources_of(files: Sequence[Path]) -> tuple[Path, ...]:
    """Files in the order in which Yosys must read them: packages before what uses them."""
    return tuple(sorted(files, key=lambda path: not path.stem.endswith("_pkg")))
