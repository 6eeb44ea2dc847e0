"""What a sweep covers: a small TOML or JSON file.

===============  ======================================================================================================
field            meaning (all but ``networks`` may be left out)
===============  ======================================================================================================
``networks``     network files, or patterns of names (``*.network.safetensors``), relative to the spec's folder
``isas``         ``arm``, ``riscv``; default both
``machines``     names of machines, or JSON files relative to the spec's folder; default ``o3-n1``
``patterns``     pattern sets of the hardware (``P1``, ``P4``, ``P8``, ``P45``, a list of ids), or ``machine``, the
                 default: the machine's own
``cpus``         ``o3``, ``minor``, ``timing``, ``atomic``; default ``o3``
``images``       test images per simulation, a number or a list; default 2 (the first one is cold)
``seed``         of gem5's random numbers; default 0
``time_limit``   seconds that one simulation may take; default 3600
``layers_once``  true: every different layer is simulated alone, equal ones once, and a network's figures are sums
===============  ======================================================================================================
"""

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sysmol.configs_gem5.request import CPUS
from sysmol.errors import SysmolError
from sysmol.isas import ISAS
from sysmol.machine import Machine, load_machine, pattern_set
from sysmol.workbench.spec_file import SEVERAL, Counts, Table, Texts, checked, each, one_of, read

OWN_PATTERNS = "machine"


@dataclass(frozen=True)
class Point:
    """One simulation of a sweep. ``machine``: a name, or the path of a JSON file."""

    network: Path
    isa: str
    machine: str
    patterns: str
    cpu: str
    images: int
    seed: int

    @property
    def variant(self) -> str:
        """The network file's name without its suffixes."""
        return self.network.name.removesuffix(".safetensors").removesuffix(".network")

    @property
    def title(self) -> str:
        """For progress and messages."""
        own = "" if self.patterns == OWN_PATTERNS else f" {self.patterns}"
        return f"{self.variant} {self.isa} {Path(self.machine).stem}{own} {self.cpu}"

    def hardware(self) -> Machine:
        """The machine with the point's pattern set."""
        machine = load_machine(self.machine)
        return machine if self.patterns == OWN_PATTERNS else machine.with_patterns(pattern_set(self.patterns))


@dataclass(frozen=True)
class Spec:
    """A checked spec. Fields as in the file; paths are absolute."""

    path: Path
    networks: tuple[Path, ...]
    isas: tuple[str, ...]
    machines: tuple[str, ...]
    patterns: tuple[str, ...]
    cpus: tuple[str, ...]
    images: tuple[int, ...]
    seed: int
    time_limit: float
    layers_once: bool = False

    def points(self) -> list[Point]:
        """All combinations, in the order of the fields."""
        combinations = itertools.product(self.networks, self.isas, self.machines, self.patterns, self.cpus, self.images)
        return [Point(*combination, self.seed) for combination in combinations]


class SpecFile(Table):
    """The fields as they stand in the file."""

    networks: Texts
    isas: Annotated[tuple[Annotated[str, one_of(ISAS)], ...], *SEVERAL] = ISAS
    machines: Texts = ("o3-n1",)
    patterns: Texts = (OWN_PATTERNS,)
    cpus: Annotated[tuple[Annotated[str, one_of(CPUS)], ...], *SEVERAL] = ("o3",)
    images: Counts = (2,)
    seed: int = Field(0, ge=0)
    time_limit: int = Field(3600, ge=1)
    layers_once: bool = False


def load_spec(path: str | Path) -> Spec:
    """Read and check a spec; :class:`SysmolError` names the field that is wrong."""
    file = Path(path)
    found = checked(SpecFile, read(path, "docs/sweeps.md"), str(path))
    folder = file.resolve().parent
    each(pattern_set, (text for text in found.patterns if text != OWN_PATTERNS), f"{path}: patterns")
    return Spec(
        path=file,
        networks=_networks(_distinct(found.networks), folder, path),
        isas=_distinct(found.isas),
        machines=tuple(_machine(name, folder, path) for name in _distinct(found.machines)),
        patterns=_distinct(found.patterns),
        cpus=_distinct(found.cpus),
        images=tuple(dict.fromkeys(found.images)),
        seed=found.seed,
        time_limit=float(found.time_limit),
        layers_once=found.layers_once,
    )


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _machine(name: str, folder: Path, path: str | Path) -> str:
    """A name as it is; a file as an absolute path. The machine is loaded once to check it."""
    found = str(folder / name) if name.endswith(".json") else name
    try:
        load_machine(found)
    except SysmolError as error:
        raise SysmolError(f"{path}: machines: {error}") from None
    return found


def _networks(names: tuple[str, ...], folder: Path, path: str | Path) -> tuple[Path, ...]:
    found: dict[Path, None] = {}
    for name in names:
        try:
            matches = sorted(folder.glob(name)) if not Path(name).is_absolute() else [Path(name)]
        except (ValueError, OSError, IndexError, NotImplementedError):  # of '', '**a', names too long
            matches = []
        matches = [match for match in matches if os.path.isfile(match)]
        if not matches:
            raise SysmolError(f"{path}: networks: no file matches {name!r} in {folder}")
        found.update(dict.fromkeys(matches))
    return tuple(found)
