"""Network files as what to measure: those that are kept beside the table of trained networks, without samples.

Product of the step: ``bench.network.safetensors``.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sysmol.benchmarks.steps import FILE
from sysmol.errors import SysmolError
from sysmol.files import PACKAGE
from sysmol.network import Samples, load, save
from sysmol.network.reference import evaluate
from sysmol.workbench.key import Step, Task
from sysmol.workbench.steps.compile import SUFFIX

FOLDER = PACKAGE.parent / "results" / "networks"
GIVEN = Step("benchmark-given", 1, f"{__name__}:run_given")


@dataclass(frozen=True)
class NetworkFile:
    """A network file in the place of a :class:`~sysmol.benchmarks.shapes.NetworkShape`: ``name`` is the file's, without
    its suffix; every layer is of interest."""

    name: str
    path: Path
    probes: frozenset[str] = frozenset()


def network_files(folder: Path) -> list[NetworkFile]:
    """The network files of a folder, by name; :class:`SysmolError` where it holds none."""
    found = [NetworkFile(path.name.removesuffix(SUFFIX), path) for path in sorted(folder.glob(f"*{SUFFIX}"))]
    if not found:
        raise SysmolError(f"there is no *{SUFFIX} in {folder}")
    return found


def network(path: Path, seed: int, images: int) -> Task:
    """Take a network file, with random images and the reference's logits where it has fewer samples than ``images``."""
    return Task(GIVEN, options={"seed": seed, "images": images}, files={"path": path})


def run_given(folder: Path, path: Path, seed: int, images: int) -> None:
    """Fill ``folder``."""
    net = load(path)
    if net.samples is None or len(net.samples.images) < images:
        drawn = np.random.default_rng(seed).integers(0, 256, (images, *net.tensors[net.input].shape)).astype(np.uint8)
        net.samples = Samples(drawn, np.zeros(images, dtype=np.int64), evaluate(net, drawn))
    save(folder / FILE, net)
