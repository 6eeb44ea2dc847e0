"""Cycles per layer of an executable, simulated in gem5 unless a finished run of the same executable is there."""

import json
from pathlib import Path

from sysmol.errors import SysmolError
from sysmol.files import sha256_file


def measured_cycles(manifest: Path, machine: str, folder: Path, images: int) -> tuple[dict[str, float], str]:
    """``(cycles by layer, who measured)`` on gem5's out-of-order core; leaves, or reuses, the run folder.

    Of several images the first warms the caches and is left out; there are at most as many as the network's samples.
    Raises :class:`SysmolError` without gem5, :class:`~sysmol.errors.CheckFailed` where logits differ.
    """
    from sysmol.analysis.runs import load_run
    from sysmol.configs_gem5.launch import run_gem5
    from sysmol.configs_gem5.request import Simulation
    from sysmol.machine import load_machine
    from sysmol.manifest import load_manifest

    facts = load_manifest(manifest)
    if facts["reference"] is None:
        raise SysmolError(f"{manifest}: the network file has no sample images to simulate")
    count = min(images, int(facts["reference"]["count"]))
    if not _finished(folder, manifest, load_machine(machine).to_json(), count):
        run_gem5(manifest, folder, Simulation(facts["isa"], "o3", machine, images=count))
    layers = load_run(folder)
    return dict(zip(layers["layer"], layers["cycles"], strict=True)), str(layers["source"].iloc[0])


def _finished(folder: Path, manifest: Path, machine: object, images: int) -> bool:
    """Whether ``folder`` holds this very simulation."""
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        elf = manifest.parent / json.loads(manifest.read_text(encoding="utf-8"))["elf"]["path"]
        same = run["elf_sha256"] == sha256_file(elf) and run["images"] == images and run["cpu"] == "o3"
        return bool(same and run["machine"] == machine and run["logits_match"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
