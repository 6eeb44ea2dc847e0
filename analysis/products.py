"""Everything that a folder of products says, gathered from the files alone: networks, executables, checks, runs.

The layout that :func:`collect` reads (``sysmol demo`` writes it):

| path | what |
|---|---|
| ``<variant>.network.safetensors`` | the networks; the variant is the file's name |
| ``bin/<variant>.<isa>.json`` | manifests of the executables |
| ``runs/*/run.json`` | gem5 run folders |
| ``checks/*.json`` | verifications made outside gem5 (:func:`sysmol.analysis.checks.write_check`) |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from sysmol.analysis.checks import read_check
from sysmol.analysis.costs import calculated
from sysmol.analysis.costs.energy.model import Energies
from sysmol.analysis.costs.energy.networks import Key, energies_of
from sysmol.analysis.costs.estimate import SOURCE as ESTIMATE
from sysmol.analysis.costs.quantity import Absent, Kind
from sysmol.analysis.costs.workload import Workload
from sysmol.analysis.runs import load_run, read_record
from sysmol.errors import SysmolError
from sysmol.files import sha256_file
from sysmol.isas import ISAS
from sysmol.machine import load_machine, parse_machine
from sysmol.manifest import load_shown, measures_compiler
from sysmol.network import Network, load

SUFFIX = ".network.safetensors"
FEWEST = ["variant", "isa", "cpu", "machine", "source", "kind", "cycles"]
"""Columns of the layers where there are none."""
USUAL_ORDER = ("fp32", "int8", "w4", "mixed")


@dataclass
class Results:
    """What :func:`collect` found. ``layers`` has the columns of :mod:`sysmol.analysis.runs`, measured and
    calculated rows; ``notes``: what the calculated ones are less certain for; ``stale`` names run folders and checks of
    executables and networks that are no longer there, which are left out."""

    folder: Path
    networks: dict[str, Network]
    network_hashes: dict[str, str]
    manifests: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    checks: list[dict[str, Any]]
    layers: pd.DataFrame
    stale: list[str]
    machines: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def variants(self) -> list[str]:
        """The variants, the usual ones first and in their usual order."""
        return sort_variants(self.networks)

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Each network's own figures (accuracy, size), by variant."""
        return {variant: dict(self.networks[variant].metrics) for variant in self.variants}

    def ratios_to(self, variant: str, isa: str) -> bool:
        """Whether ratios to the cycles of a program mean something (:func:`sysmol.manifest.measures_compiler`)."""
        own = [each for each in self.manifests if (each["variant"], each["isa"]) == (variant, isa)]
        return not any(map(measures_compiler, own))

    def energies(self) -> dict[Key, Energies | Absent]:
        """Energies of every network on every ISA and machine, by source of its events."""
        machines = {name: parse_machine(data, name) for name, data in self.machines.items()}
        return energies_of(self.layers, machines) if len(self.layers) else {}

    def cycles(self) -> pd.DataFrame:
        """The best figures there are, per ISA: gem5's O3 where it ran, else its other timed CPUs, else what was
        calculated."""
        timed = self.layers.dropna(subset=["cycles"])
        best = []
        for _, rows in timed.groupby("isa", sort=False):
            for cpu in ("o3", "minor", "timing", Kind.PREDICTION, Kind.ESTIMATE):
                chosen = rows[rows["cpu"] == cpu]
                if len(chosen):
                    best.append(chosen)
                    break
        return pd.concat(best, ignore_index=True) if best else timed


def sort_variants(names: Mapping[str, Any] | Sequence[str]) -> list[str]:
    """fp32, int8, w4, mixed, then the others by name."""
    return sorted(names, key=lambda name: (USUAL_ORDER.index(name) if name in USUAL_ORDER else len(USUAL_ORDER), name))


def network_files(folder: str | Path) -> dict[str, Path]:
    """The network files of a folder by variant, the usual variants first; :class:`SysmolError` where there are none."""
    files = {path.name.removesuffix(SUFFIX): path for path in sorted(Path(folder).glob(f"*{SUFFIX}"))}
    if not files:
        raise SysmolError(f"{folder} holds no *{SUFFIX}: name a folder that `sysmol demo` or `sysmol train` wrote")
    return {variant: files[variant] for variant in sort_variants(files)}


def collect(folder: str | Path, machine: str | None = None, by: str = ESTIMATE) -> Results:
    """Read all products under ``folder``; with ``machine``, also calculate the cycles of the executables on it, as
    ``by`` does (:mod:`sysmol.analysis.costs.calculated`)."""
    folder = Path(folder)
    files = network_files(folder)
    hashes = {variant: sha256_file(path) for variant, path in files.items()}
    manifest_paths = sorted(folder.glob("bin/*.json"))
    manifests = [load_shown(path) for path in manifest_paths]
    executables = {str(manifest["elf"]["sha256"]) for manifest in manifests}
    runs, tables, stale = [], [], []
    notes: list[str] = []
    for path in sorted(folder.glob("runs/*/run.json")):
        run = read_record(path, shown=True)
        if run["elf_sha256"] in executables:
            parse_machine(run["machine"], str(path))
            runs.append(run | {"folder": path.parent.name})
            tables.append(load_run(path.parent))
        else:
            stale.append(path.parent.relative_to(folder).as_posix())
    checks = []
    for path in sorted(folder.glob("checks/*.json")):
        check = read_check(path)
        if check["network_sha256"] in hashes.values() and check["elf_sha256"] in executables | {""}:
            checks.append(check)
        else:
            stale.append(path.relative_to(folder).as_posix())
    machines = {str(run["machine"]["name"]): dict(run["machine"]) for run in runs}
    if machine is not None:
        design = load_machine(machine)
        machines.setdefault(design.name, design.to_json())
        pairs = zip(manifest_paths, manifests, strict=True)
        workloads = [Workload.compiled(path) for path, manifest in pairs if manifest["isa"] in ISAS]
        asked = [(workload, *calculated.usable(workload, by)) for workload in workloads]
        tables += [calculated.layers(workload, design, name) for workload, name, _ in asked]
        notes = [note for _, _, found in asked for note in found]
        notes += calculated.notes([each for each, name, _ in asked if name == by], design, by)
    layers = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=FEWEST)
    if len(layers):
        rank = {variant: place for place, variant in enumerate(sort_variants(list(layers["variant"].unique())))}
        layers = layers.assign(rank=layers["variant"].map(rank)).sort_values(
            ["isa", "cpu", "rank", "index"], ignore_index=True
        )
        layers = layers.drop(columns="rank")
    return Results(
        folder=folder,
        networks={variant: load(path) for variant, path in files.items()},
        network_hashes=hashes,
        manifests=manifests,
        runs=runs,
        checks=checks,
        layers=layers,
        stale=stale,
        machines=machines,
        notes=notes,
    )
