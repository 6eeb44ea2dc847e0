"""``search.json``: what a finished search found, as its comparison reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sysmol.errors import SysmolError
from sysmol.files import atomic_write_json, read_json
from sysmol.search.joint.modes import MODES
from sysmol.typed import anything, entries, many, number, one_of, or_null, table, text, whole

if TYPE_CHECKING:
    from sysmol.search.joint.modes import Result
    from sysmol.search.joint.search import Measured, Problem
    from sysmol.search.joint.spec import Spec

FORMAT, VERSION, FIRST = "sysmol-search-result", 2, 2
NAME = "search.json"
ACCURACY_SOURCE = "supernet, rounded activations and weights, validation images"
TIME_SOURCE = "estimate of the tile (closed form)"
BASELINES = ("best", "default", "median")
"""Hardware of the baselines, all the largest network's (docs/search.md)."""
_POINT = {
    "network": entries(anything),
    "tile": entries(anything),
    "accuracy": number(0, 1),
    "microseconds": or_null(number(0)),
    "cycles": or_null(number(0)),
    "kibibytes": number(0),
}
_RUN = {"mode": one_of(*MODES), "seed": whole(), "measurements": whole(), "best": or_null(table(_POINT))}
_UNIFORM = {"bits": whole(1, 8), "hardware": one_of("default", "best"), **_POINT}
_FIELDS = table(
    {
        "spec": table({"networks": text, "tiles": text, "dataset": text, "drop": number(0, 100)}),
        "accuracy_source": text,
        "time_source": text,
        "validation_images": whole(1),
        "goal": number(-1, 1),
        "baselines": table(dict.fromkeys(BASELINES, table(_POINT))),
        "uniform": many(table(_UNIFORM)),
        "modes": many(table(_RUN)),
    }
)


def record(
    spec: Spec, problem: Problem, baselines: Mapping[str, Measured], goal: float, results: Sequence[Result],
    validation_images: int,
) -> dict[str, Any]:  # fmt: skip
    """What :func:`write_search` writes: of every mode and seed the fastest point that reaches the goal."""
    from sysmol.search.joint.workload import tile_of

    def row(each: Measured) -> dict[str, Any]:
        known = bool(np.isfinite(each.nanoseconds))
        clock = tile_of(problem.tiles, each.tile).clock_ghz
        return {
            "network": dict(each.network),
            "tile": dict(each.tile),
            "accuracy": each.accuracy,
            "microseconds": each.nanoseconds / 1000 if known else None,
            "cycles": each.nanoseconds * clock if known else None,
            "kibibytes": each.kibibytes,
        }

    modes = []
    for each in results:
        best = each.best(goal)
        facts = {"mode": each.mode, "seed": each.seed, "measurements": len(each.measured)}
        modes.append(facts | {"best": None if best is None else row(best)})
    uniform = [
        {"bits": bits, "hardware": hardware} | row(each)
        for bits, by_hardware in problem.uniform().items()
        for hardware, each in by_hardware.items()
    ]
    return {
        "format": FORMAT,
        "version": VERSION,
        "spec": spec.model_dump(mode="json"),
        "accuracy_source": ACCURACY_SOURCE,
        "time_source": TIME_SOURCE,
        "validation_images": validation_images,
        "goal": goal,
        "baselines": {name: row(each) for name, each in baselines.items()},
        "uniform": uniform,
        "modes": modes,
    }


def write_search(folder: Path, found: Mapping[str, Any]) -> Path:
    """Write ``search.json``, atomically."""
    return atomic_write_json(folder / NAME, found)


def read_search(path: str | Path) -> dict[str, Any]:
    """A folder's ``search.json``, or that file; :class:`SysmolError` where the search has not come to its end, or the
    file is wrong or of a version that lacks what is compared."""
    path = Path(path)
    if path.is_dir():
        path /= NAME
        if not path.is_file():
            raise SysmolError(f"{path.parent} holds no {NAME}: its search has not come to its end")
    data = read_json(path, FORMAT, VERSION)
    if data["version"] < FIRST:
        raise SysmolError(f"{path} is of version {data['version']}, which lacks cycles: search again in its folder")
    return read_json(path, FORMAT, VERSION, _FIELDS)
