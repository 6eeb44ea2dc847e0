"""From a trained network to cycles: export, C, executable, a check on the host, gem5 or a calculation, layer costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sysmol.analysis.costs import calculated
from sysmol.analysis.costs.area import unit_area
from sysmol.analysis.costs.energy.constants import core_of
from sysmol.analysis.costs.vectors import Costs, layer_costs
from sysmol.analysis.costs.workload import Workload
from sysmol.errors import SysmolError
from sysmol.isas import HOST
from sysmol.machine import Machine
from sysmol.pattern import CHUNKS, pattern_id
from sysmol.search.codesign.settings import Settings
from sysmol.workbench.key import Task
from sysmol.workbench.measured_cycles import simulated
from sysmol.workbench.steps import check, compile
from sysmol.workbench.store import Entry, Store
from sysmol.workbench.view import View

CORE_MODEL = "o3"
"""Core model of gem5 that measures."""
SMALLEST = (pattern_id(1, 0, CHUNKS - 1),)
"""Patterns of the smallest unit that holds channels of 4 bits."""


def check_objectives(settings: Settings, machine: Machine) -> None:
    """:class:`SysmolError` where the machine has no energy, or no unit has so little area: better before training."""
    if settings.objective == "energy" and core_of(CORE_MODEL, machine) is None:
        raise SysmolError(f"there are no constants for the energy of {machine.name}: choose o3-n1, or cycles")
    least = unit_area(SMALLEST).value
    if settings.area is not None and settings.area < least:
        raise SysmolError(f"no SMOL unit has {settings.area:,.0f} um2: the smallest with 4 bits has {least:,.0f}")


class Bench:
    """Measures network files; whatever stands in the store is not done again."""

    def __init__(
        self, store: Store, view: View, settings: Settings, say: Callable[[str], None], gem5: Path | None = None
    ) -> None:
        from sysmol.configs_gem5.launch import find_gem5, why_no_gem5
        from sysmol.kernels_c.targets import TARGETS
        from sysmol.kernels_c.toolchain import find_compiler, first_build
        from sysmol.machine import load_machine

        self.store, self.view, self.settings, self.say = store, view, settings, say
        self.machine = load_machine(settings.machine)
        check_objectives(settings, self.machine)
        if note := first_build([settings.isa]):
            say(note)
        for isa in (HOST, settings.isa):  # better missing now than after the training
            find_compiler(TARGETS[isa], None)
        self.gem5 = (gem5 or find_gem5(settings.isa)) if settings.use_gem5 else None
        if self.gem5 is None:
            why = why_no_gem5(settings.isa) if settings.use_gem5 else "gem5 is not wanted"
            say(f"cycles are calculated: {calculated.source_of(settings.cost)}; {why}")
        self.noted: set[str] = set()

    def measure(self, network: Path, variant: str) -> Costs:
        """Compile, check on the host (:class:`~sysmol.errors.CheckFailed` where logits differ), simulate."""
        manifests = {}
        for isa in (HOST, self.settings.isa):
            entry = self._make(f"compile-{variant}-{isa}", compile.task(network, isa, variant))
            manifests[isa] = compile.manifest_of(entry.folder, isa, variant)
        self._make(f"check-{variant}", check.on_host(manifests[HOST]))
        manifest, run = manifests[self.settings.isa], None
        if self.gem5 is not None:
            run = simulated(self.store, manifest, self.settings.machine, self.settings.images, self.gem5)
        else:
            self._note(manifest)
        return layer_costs(manifest, self.machine, run, self.settings.cost)

    def _note(self, manifest: Path) -> None:
        """Say once what calculated cycles are less certain for."""
        for note in calculated.notes([Workload.compiled(manifest)], self.machine, self.settings.cost):
            if note not in self.noted:
                self.noted.add(note)
                self.say(note)

    def _make(self, name: str, task: Task) -> Entry:
        """An entry, shown in the run's folder; says so in a line."""
        entry = self.store.make(task)
        self.say(f"{name}: {entry.how}")
        self.view.show(entry)
        return entry
