"""Measured costs: the cycles that gem5 counted, from the run folder of an executable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sysmol.analysis.costs.layers import network_cost
from sysmol.analysis.costs.protocol import NetworkCost
from sysmol.analysis.costs.quantity import Kind
from sysmol.analysis.costs.workload import Workload
from sysmol.analysis.runs import load_run, read_run
from sysmol.errors import SysmolError
from sysmol.machine import Machine


@dataclass(frozen=True)
class Gem5:
    """One run folder as a :class:`~sysmol.analysis.costs.protocol.CostModel`: cycles, nothing else. Intervals reach
    from the fewest to the most cycles that an image took, the first of several left out.
    """

    run: Path
    name = "gem5"
    kind = Kind.MEASURED

    def cost(self, workload: Workload, machine: Machine) -> NetworkCost:
        """:class:`SysmolError` where the run is of another executable or machine, or of a core model without time."""
        run, path = self.run, workload.manifest_path
        facts, _ = read_run(run)
        if facts["elf_sha256"] != workload.manifest["elf"]["sha256"]:
            raise SysmolError(f"{run} simulated another executable than {path}'s: name its own run, or simulate again")
        simulated = facts["machine"]["name"]
        if simulated != machine.name:
            raise SysmolError(f"{run} simulated the machine {simulated}, not {machine.name}: name that one")
        layers = load_run(run)
        if layers["cycles"].isna().any():
            raise SysmolError(
                f"{run} has no cycles (core model {facts['cpu']}): simulate with --cpu o3, minor or timing"
            )
        return network_cost(layers)
