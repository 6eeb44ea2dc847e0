"""From a trained network to cycles: export, C, executable, a check on the host, gem5 or the estimate, layer costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sysmol.analysis.costs.vectors import Costs, layer_costs
from sysmol.isas import HOST
from sysmol.search.codesign.settings import Settings
from sysmol.workbench.key import Task
from sysmol.workbench.measured_cycles import simulated
from sysmol.workbench.steps import check, compile
from sysmol.workbench.store import Entry, Store
from sysmol.workbench.view import View


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
        if note := first_build([settings.isa]):
            say(note)
        for isa in (HOST, settings.isa):  # better missing now than after the training
            find_compiler(TARGETS[isa], None)
        self.gem5 = (gem5 or find_gem5(settings.isa)) if settings.use_gem5 else None
        if self.gem5 is None:
            why = why_no_gem5(settings.isa) if settings.use_gem5 else "gem5 is not wanted"
            say(f"cycles come from the built-in estimate: {why}")

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
        return layer_costs(manifest, self.machine, run)

    def _make(self, name: str, task: Task) -> Entry:
        """An entry, shown in the run's folder; says so in a line."""
        entry = self.store.make(task)
        self.say(f"{name}: {entry.how}")
        self.view.show(entry)
        return entry
