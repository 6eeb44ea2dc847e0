"""Modules that had other names: an import of an old one ends in a line that says the new one."""

from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

RENAMED = {
    "sysmol.design": "sysmol.machine",
    "sysmol.compose": "sysmol.machine_parts",
    "sysmol.demo": "sysmol.workbench.demo",
    "sysmol.measuring": "sysmol.workbench.measured_cycles",
    "sysmol.codesign": "sysmol.search.codesign",
    "sysmol.machine_table": "sysmol.cli.machine_table",
}
ROOMS = ("train", "analysis", "kernels_c", "configs_gem5", "isa_patches", "benchmarks")
"""Rooms that were packages of their own at top level."""


class Renamed(MetaPathFinder):
    """Asked last, for names that nothing else provides."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Raises :class:`ModuleNotFoundError` with the new name where ``name`` is an old one."""
        new = RENAMED.get(name)
        if new is not None:
            raise ModuleNotFoundError(f"{name} is now {new}", name=name)
