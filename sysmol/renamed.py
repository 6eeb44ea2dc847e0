"""Modules that had other names: an import of an old one ends in a line that says the new one."""

from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

RENAMED = {
    "sysmol.design": "sysmol.machine",
    "sysmol.compose": "sysmol.machine.parts",
    "sysmol.machine_parts": "sysmol.machine.parts",
    "sysmol.demo": "sysmol.workbench.demo",
    "sysmol.measuring": "sysmol.workbench.measured_cycles",
    "sysmol.codesign": "sysmol.search.codesign",
    "sysmol.builder": "sysmol.network.builder",
    "sysmol.network_check": "sysmol.network.checks",
    "sysmol.network_file": "sysmol.network.file",
    "sysmol.reference": "sysmol.network.reference",
    "sysmol.machine_table": "sysmol.cli.machine_table",
    "sysmol.train.allocate": "sysmol.train.quantise.allocate",
    "sysmol.train.calibration": "sysmol.train.quantise.calibration",
    "sysmol.train.choice": "sysmol.patterns.selection",
    "sysmol.train.choice_milp": "sysmol.patterns.selection_milp",
    "sysmol.train.cover": "sysmol.patterns.slots",
    "sysmol.train.data": "sysmol.train.frontend.data",
    "sysmol.train.demands": "sysmol.patterns.demands",
    "sysmol.train.experiments": "sysmol.workbench.experiments.run",
    "sysmol.train.recipes.experiments": "sysmol.workbench.experiments.run",
    "sysmol.train.export": "sysmol.train.quantise.export",
    "sysmol.train.graph": "sysmol.train.frontend.graph",
    "sysmol.train.integer": "sysmol.train.quantise.integer",
    "sysmol.train.layouts": "sysmol.patterns.layouts",
    "sysmol.train.models": "sysmol.train.frontend.models",
    "sysmol.train.modes": "sysmol.train.quantise.modes",
    "sysmol.train.modules": "sysmol.train.quantise.modules",
    "sysmol.train.own": "sysmol.train.frontend.user_files",
    "sysmol.train.pipeline": "sysmol.train.recipes.pipeline",
    "sysmol.train.policy": "sysmol.train.frontend.policy",
    "sysmol.train.prepared": "sysmol.train.quantise.prepared",
    "sysmol.train.quantiser": "sysmol.train.quantise.quantiser",
    "sysmol.train.reach": "sysmol.patterns.chunk_totals",
    "sysmol.train.separate": "sysmol.train.quantise.untied",
    "sysmol.train.trace": "sysmol.train.frontend.trace",
    "sysmol.train.trainer": "sysmol.train.quantise.trainer",
    "sysmol.train.variants": "sysmol.train.recipes.variants",
    "sysmol.analysis.estimate": "sysmol.analysis.costs.estimate",
    "sysmol.analysis.sweep": "sysmol.workbench.sweep",
    "sysmol.configs_gem5.verify": "sysmol.verify",
    "sysmol.kernels_c.codegen": "sysmol.kernels_c",
    "sysmol.kernels_c.cpio": "sysmol.kernels_c.image.cpio",
    "sysmol.kernels_c.linux_system": "sysmol.kernels_c.image.linux_system",
    "sysmol.kernels_c.runtimes": "sysmol.kernels_c.image.runtimes",
    "sysmol.kernels_c.plan.schedule": "sysmol.schedule",
    "sysmol.kernels_c.schedules": "sysmol.kernels_c.plan.schedule_file",
    "sysmol.benchmarks.layout_harm": "sysmol.benchmarks.predicted_loss",
}
"""Old name: new name. The rooms' old modules stand with the ``sysmol.`` that their users put before them first."""

ROOMS = ("train", "analysis", "kernels_c", "configs_gem5", "isa_patches", "benchmarks")
"""Rooms that were packages of their own at top level."""


class Renamed(MetaPathFinder):
    """Asked last, for names that nothing else provides."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Raises :class:`ModuleNotFoundError` with the new name where ``name`` is an old one."""
        new = RENAMED.get(name)
        if new is not None:
            raise ModuleNotFoundError(f"{name} is now {new}", name=name)


def table() -> str:
    """Old and new names in Markdown, as in CHANGELOG.md."""
    rows = [("old", "new"), ("---", "---"), *((f"`{old}`", f"`{new}`") for old, new in RENAMED.items())]
    return "\n".join("|" + "|".join(row) + "|" if row[0] == "---" else f"| {row[0]} | {row[1]} |" for row in rows)
