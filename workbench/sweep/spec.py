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
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sysmol.errors import SysmolError
from sysmol.machine import Machine, load_machine, pattern_set

ISAS = ("arm", "riscv")
CPUS = ("o3", "minor", "timing", "atomic")
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


def load_spec(path: str | Path) -> Spec:
    """Read and check a spec; :class:`SysmolError` names the field that is wrong."""
    file = Path(path)
    data = _read(file)
    unknown = set(data) - {
        "networks",
        "isas",
        "machines",
        "patterns",
        "cpus",
        "images",
        "seed",
        "time_limit",
        "layers_once",
    }
    if unknown:
        raise SysmolError(f"{path}: unknown field {sorted(unknown)[0]!r}")
    folder = file.resolve().parent
    machines = tuple(_machine(name, folder, path) for name in _texts(data, "machines", ["o3-n1"], path))
    patterns = _texts(data, "patterns", [OWN_PATTERNS], path)
    for text in patterns:
        if text != OWN_PATTERNS:
            pattern_set(text)
    images = data.get("images", 2)
    return Spec(
        path=file,
        networks=_networks(_texts(data, "networks", [], path), folder, path),
        isas=_chosen(data, "isas", ISAS, ISAS, path),
        machines=machines,
        patterns=patterns,
        cpus=_chosen(data, "cpus", CPUS, ("o3",), path),
        images=tuple(_number(n, "images", path) for n in (images if isinstance(images, list) else [images])),
        seed=_number(data.get("seed", 0), "seed", path, least=0),
        time_limit=float(_number(data.get("time_limit", 3600), "time_limit", path)),
        layers_once=_truth(data.get("layers_once", False), "layers_once", path),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise SysmolError(f"cannot read the spec {path}: {error.strerror}") from None
    except ValueError as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise SysmolError(f"{path} is no {kind}: {error}") from None
    if not isinstance(data, dict):
        raise SysmolError(f"{path}: a spec is a table of fields, see docs/sweeps.md")
    return data


def _texts(data: dict[str, Any], name: str, default: list[str], path: str | Path) -> tuple[str, ...]:
    values = data.get(name, default)
    values = [values] if isinstance(values, str) else values
    if not isinstance(values, list) or not values or not all(isinstance(v, str) for v in values):
        raise SysmolError(f"{path}: {name} must be a list of texts with at least one entry")
    return tuple(dict.fromkeys(values))


def _chosen(
    data: dict[str, Any], name: str, known: tuple[str, ...], default: tuple[str, ...], path: str | Path
) -> tuple[str, ...]:
    values = _texts(data, name, list(default), path)
    for value in values:
        if value not in known:
            raise SysmolError(f"{path}: {name}: {value!r} is none of {', '.join(known)}")
    return values


def _number(value: Any, name: str, path: str | Path, least: int = 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SysmolError(f"{path}: {name} must be a whole number, {least} or more, not {value!r}")
    return value


def _truth(value: Any, name: str, path: str | Path) -> bool:
    if not isinstance(value, bool):
        raise SysmolError(f"{path}: {name} must be true or false, not {value!r}")
    return value


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
        matches = sorted(folder.glob(name)) if not Path(name).is_absolute() else [Path(name)]
        matches = [match for match in matches if match.is_file()]
        if not matches:
            raise SysmolError(f"{path}: networks: no file matches {name!r} in {folder}")
        found.update(dict.fromkeys(matches))
    return tuple(found)
