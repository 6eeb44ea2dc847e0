"""Steps of the benchmarks alone: networks of given shapes, and how long the generator takes for one.

Products: ``bench.network.safetensors``; ``made.json`` with ``generation_seconds`` (processor time).
"""

import time
from pathlib import Path

from sysmol.benchmarks.networks import make_network
from sysmol.benchmarks.shapes import NetworkShape
from sysmol.files import atomic_write_json
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.network import load, save
from sysmol.workbench.key import Step, Task

NETWORK = Step("benchmark-network", 1, f"{__name__}:run_network")
GENERATION = Step("benchmark-generation", 1, f"{__name__}:run_generation")
FILE, MADE = "bench.network.safetensors", "made.json"


def network(shape: NetworkShape, variant: str, seed: int, images: int) -> Task:
    """Make a network of a shape (:func:`sysmol.benchmarks.networks.make_network`)."""
    return Task(NETWORK, options={"shape": shape, "variant": variant, "seed": seed, "images": images})


def run_network(folder: Path, shape: NetworkShape, variant: str, seed: int, images: int) -> None:
    """Fill ``folder``."""
    save(folder / FILE, make_network(shape, variant, seed, images))


def generation(path: Path, isa: str, options: Options) -> Task:
    """Time the generation of C for a network file."""
    return Task(GENERATION, options={"isa": isa, "options": options}, files={"path": path})


def run_generation(folder: Path, path: Path, isa: str, options: Options) -> None:
    """Fill ``folder``."""
    net = load(path)
    start = time.thread_time()
    generate(net, TARGETS[isa], f"bench.{isa}", "a benchmark", options)
    atomic_write_json(folder / MADE, {"generation_seconds": round(time.thread_time() - start, 3)})
