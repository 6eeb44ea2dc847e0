"""Networks trained once below a folder (``sysmol train``)."""

from pathlib import Path
from typing import Any

from sysmol.network import load
from sysmol.workbench.key import Task
from sysmol.workbench.store import Store
from sysmol.workbench.view import View


def train_into(out: Path, what: Task) -> dict[str, dict[str, Any]]:
    """Make a task of :mod:`sysmol.workbench.steps.train` with the store below a folder, and show its networks there;
    returns the metrics by variant."""
    store = Store(out / "store")
    with store.alone(out):
        entry = store.make(what)
        view = View(store, out)
        view.show(entry)
        view.finish()
    return {name: dict(load(out / f"{name}.network.safetensors").metrics) for name in what.options["variants"]}
