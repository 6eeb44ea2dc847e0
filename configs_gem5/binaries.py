"""What the gem5 binaries at hand are: asked of each by a script that runs in it."""

import json
from dataclasses import dataclass
from pathlib import Path

from sysmol import isa
from sysmol.configs_gem5.launch import gem5_binaries, plugin_isas, run_script
from sysmol.errors import SysmolError
from sysmol.files import PACKAGE, temporary_folder
from sysmol.places import BUILD_GEM5

SHOW_GEM5 = PACKAGE / "configs_gem5" / "show_gem5.py"
SECONDS = 120.0
"""How long a gem5 may take to start."""


@dataclass(frozen=True)
class Gem5:
    """A gem5 binary. ``isas`` are those with a SMOL decoder; ``fingerprint`` is of the plug-in's instruction table,
    empty without the plug-in; ``problem`` says why it cannot run networks, empty where it can.
    """

    path: Path
    isas: tuple[str, ...]
    version: str = ""
    fingerprint: str = ""
    problem: str = ""


def describe(binary: Path) -> Gem5:
    """Ask a binary for its version and its plug-in's instruction table."""
    isas = tuple(sorted(plugin_isas(binary, binary.stat().st_mtime_ns)))
    with temporary_folder() as scratch:
        answer = scratch / "gem5.json"
        try:
            run_script(binary, SHOW_GEM5, [str(answer)], binary.name, SECONDS)
            facts = json.loads(answer.read_text(encoding="utf-8"))
        except (SysmolError, OSError, ValueError) as error:
            return Gem5(binary, isas, problem=f"does not start ({error})")
    version, fingerprint = str(facts["version"]), facts["fingerprint"] or ""
    return Gem5(binary, isas, version, fingerprint, problem_of(isas, fingerprint))


def problem_of(isas: tuple[str, ...], fingerprint: str) -> str:
    """Why a gem5 with these SMOL decoders and this table cannot run networks; empty where it can."""
    if not isas or not fingerprint:
        return f"lacks the plug-in: {BUILD_GEM5}"
    if fingerprint != isa.FINGERPRINT:
        return f"has instruction table {fingerprint}, sysmol has {isa.FINGERPRINT}: {BUILD_GEM5}"
    return ""


def all_binaries() -> list[Gem5]:
    """Every gem5 below GEM5_ROOT, the newest first."""
    return [describe(binary) for binary in gem5_binaries()]
