"""Cycles per layer of an executable, simulated in gem5 unless the store holds the simulation."""

from pathlib import Path

from sysmol.analysis.runs import load_run
from sysmol.configs_gem5.launch import find_gem5, why_no_gem5
from sysmol.errors import SysmolError
from sysmol.manifest import load_manifest
from sysmol.workbench.steps import simulate
from sysmol.workbench.store import Store


def simulated(store: Store, manifest: Path, machine: str, images: int, named: Path | None = None) -> Path:
    """The run folder of an executable on gem5's out-of-order core, of at most as many images as the network's samples.
    ``named``: the gem5 binary (default: the newest with the plug-in).

    Raises :class:`SysmolError` without gem5, :class:`~sysmol.errors.CheckFailed` where logits differ.
    """
    facts = load_manifest(manifest)
    if facts["reference"] is None:
        raise SysmolError(f"{manifest}: the network file has no sample images to simulate")
    gem5 = named or find_gem5(facts["isa"])
    if gem5 is None:
        raise SysmolError(why_no_gem5(facts["isa"]))
    count = min(images, int(facts["reference"]["count"]))
    return store.make(simulate.task(manifest, gem5, machine, images=count)).folder


def measured_cycles(
    store: Store, manifest: Path, machine: str, images: int, gem5: Path | None = None
) -> tuple[dict[str, float], str]:
    """``(cycles by layer, who measured)`` of :func:`simulated`; of several images the first warms the caches and is
    left out."""
    layers = load_run(simulated(store, manifest, machine, images, gem5))
    return dict(zip(layers["layer"], layers["cycles"], strict=True)), str(layers["source"].iloc[0])
