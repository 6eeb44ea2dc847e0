"""Names that were in other modules of this room: an import from an old place ends in a line that says the new one."""

from collections.abc import Callable
from typing import NoReturn

MOVED = {
    "sysmol.analysis.stats": dict.fromkeys(
        ("load_run", "read_run", "run_source", "region_bytes", "smol_breakdown", "totals"), "sysmol.analysis.runs"
    )
    | {"load_manifest": "sysmol.manifest"},
    "sysmol.analysis.summary": dict.fromkeys(
        ("collect", "network_files", "sort_variants", "USUAL_ORDER"), "sysmol.analysis.products"
    )
    | {"write_check": "sysmol.analysis.checks", "estimate_errors": "sysmol.analysis.costs.estimate_errors"},
    "sysmol.analysis.report": {
        "page": "sysmol.analysis.page",
        "table": "sysmol.analysis.page",
        "image": "sysmol.analysis.page",
    },
    "sysmol.analysis.front": {"OBJECTIVES": "sysmol.analysis.costs.objectives"},
    "sysmol.analysis.costs.vectors": {"LayerCost": "sysmol.analysis.costs.vectors, where it is VectorCost"},
}
"""Old module, name, new module."""


def moved_from(module: str) -> Callable[[str], NoReturn]:
    """The ``__getattr__`` of a module that had these names."""

    def missing(name: str) -> NoReturn:
        if name in MOVED[module]:
            raise ImportError(f"{module}.{name} is now in {MOVED[module][name]}")
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return missing
