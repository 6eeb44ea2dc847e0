"""From a trained network to cycles: export, C, executable, a check on the host, gem5 or the estimate, layer costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sysmol.analysis.costs.vectors import Costs, layer_costs
from sysmol.files import sha256_file
from sysmol.search.codesign.settings import Settings
from sysmol.workbench.stages import PROGRAM_SOURCES, Stages, source_digest
from sysmol.workbench.steps.check import verify_on_host


class Bench:
    """Measures network files in ``folder/bin`` and ``folder/runs``; whatever stands there already is not done again."""

    def __init__(self, folder: Path, settings: Settings, say: Callable[[str], None]) -> None:
        from sysmol.configs_gem5.launch import find_gem5, why_no_gem5
        from sysmol.kernels_c.targets import TARGETS
        from sysmol.kernels_c.toolchain import find_compiler
        from sysmol.machine import load_machine

        self.folder, self.settings = folder, settings
        self.stages = Stages(folder, say)
        self.machine = load_machine(settings.machine)
        for isa in ("host", settings.isa):  # better missing now than after the training
            find_compiler(TARGETS[isa], None)
        self.gem5 = find_gem5(settings.isa) if settings.use_gem5 else None
        if self.gem5 is None:
            why = why_no_gem5(settings.isa) if settings.use_gem5 else "gem5 is not wanted"
            say(f"cycles come from the built-in estimate: {why}")

    def measure(self, network: Path, variant: str) -> Costs:
        """Compile, check on the host (:class:`~sysmol.errors.CheckFailed` where logits differ), simulate."""
        from sysmol.workbench.measured_cycles import measured_cycles

        for isa in ("host", self.settings.isa):
            self._compile(network, variant, isa)
        host, manifest = (self.folder / "bin" / f"{variant}.{isa}.json" for isa in ("host", self.settings.isa))
        check = self.folder / "checks" / f"{variant}-host.json"

        def compare() -> list[Path]:
            verify_on_host(host, check)
            return [check]

        self.stages.run(f"check-{variant}", {"manifest": sha256_file(host)}, compare)
        run = None
        if self.gem5 is not None:
            run = self.folder / "runs" / f"{variant}-{self.settings.isa}-o3"
            measured_cycles(manifest, self.settings.machine, run, self.settings.images)
        return layer_costs(manifest, self.machine, run)

    def _compile(self, network: Path, variant: str, isa: str) -> None:
        from sysmol.kernels_c.build import compile_network

        def action() -> list[Path]:
            manifest = compile_network(network, isa, self.folder / "bin", variant=variant)
            return [manifest, manifest.with_suffix("")]

        inputs = {"network": sha256_file(network), "sources": source_digest(*PROGRAM_SOURCES)}
        self.stages.run(f"compile-{variant}-{isa}", inputs, action)
