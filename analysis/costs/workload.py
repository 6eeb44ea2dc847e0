"""What is to be run: a network, and the executable that was generated for it where there is one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sysmol.errors import SysmolError
from sysmol.isas import ISAS
from sysmol.machine import Machine
from sysmol.manifest import load_counted, load_manifest, network_of
from sysmol.network import Network, load
from sysmol.schedule import style_of


@dataclass(frozen=True)
class Workload:
    """A network file for an ISA, or (:meth:`compiled`) an executable of one; files are read when they are asked for."""

    isa: str
    network_path: Path | None = None
    manifest_path: Path | None = None

    @classmethod
    def compiled(cls, manifest_path: str | Path) -> Workload:
        """The executable that a manifest describes."""
        path = Path(manifest_path)
        return cls(str(load_manifest(path)["isa"]), manifest_path=path)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The executable's manifest; :class:`SysmolError` where nothing has been compiled."""
        if self.manifest_path is None:
            raise SysmolError(f"{self.network_path} is not compiled yet: run `sysmol compile` first, give its manifest")
        return load_counted(self.manifest_path, mix=True)

    @cached_property
    def network(self) -> Network:
        """The network; :class:`SysmolError` where its file is gone or is not the one that was compiled."""
        if self.manifest_path is None:
            assert self.network_path is not None
            return load(self.network_path)
        return load(network_of(self.manifest_path, self.manifest))

    def check_runs_on(self, machine: Machine) -> None:
        """:class:`SysmolError` where the executable's ISA has no machines, or this one lacks a pattern that it uses."""
        if self.isa not in ISAS:
            raise SysmolError(
                f"{self.manifest_path} is built for {self.isa}, which has no machine: compile it for arm or riscv"
            )
        on_tile = [region["name"] for region in self.manifest["regions"] if region.get("unit") == "tile"]
        if on_tile:
            raise SysmolError(
                f"{self.manifest_path}: a tile computes {', '.join(on_tile)}; the core's instructions do not say what "
                "that takes: simulate it"
            )
        used = {style.smol for region in self.manifest["regions"] if (style := style_of(region["schedule"]))} - {""}
        if lacking := sorted(used - set(machine.smol.instructions)):
            raise SysmolError(
                f"{self.manifest_path} uses {', '.join(lacking)}, which the machine {machine.name} lacks: compile it "
                "for that machine"
            )
        unsupported = sorted(set(self.manifest["patterns"]) - set(machine.smol.patterns))
        if unsupported:
            raise SysmolError(
                f"{self.manifest_path} uses the patterns {unsupported}, which the machine {machine.name} does not "
                "support: train for its set, or choose another machine"
            )
