"""Images a second through the three evaluations of a network on this machine, measured side by side in one run::

    python -m sysmol.benchmarks.evaluation_rates build/demo/mixed.network.safetensors

NumPy's reference, PyTorch's integers and onnxruntime take turns, and all must give the same logits; a rate is the
median of the turns. The extra ``onnx`` is needed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np

from sysmol.errors import CheckFailed
from sysmol.interchange.evaluation import Evaluator
from sysmol.network import Network, load, reference
from sysmol.train.quantise import integer

TURNS = 3


def rates(net: Network, images: np.ndarray, turns: int = TURNS) -> dict[str, float]:
    """Images a second by evaluation, on images uint8 ``[n, H, W, C]``; the reference takes an eighth of them.

    Raises :class:`CheckFailed` where logits differ.
    """
    few = images[: max(1, len(images) // 8)]
    faster = Evaluator(net)
    ways: dict[str, tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]] = {
        "NumPy reference": (lambda some: reference.evaluate(net, some), few),
        "PyTorch integers": (lambda some: integer.evaluate(net, some), images),
        "onnxruntime": (faster.logits, images),
    }
    wanted = ways["NumPy reference"][0](few)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, (evaluate, some) in ways.items():
            start = time.perf_counter()
            found = evaluate(some)
            seconds[name].append(time.perf_counter() - start)
            if not net.is_float and not np.array_equal(found[: len(few)], wanted):
                raise CheckFailed(f"{name} gives other logits than the reference for {net.name}")
    return {name: len(some) / median(seconds[name]) for name, (_, some) in ways.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", help=".network.safetensors files")
    parser.add_argument("--images", type=int, default=256, help="random images (default 256)")
    arguments = parser.parse_args()
    for path in arguments.networks:
        net = load(path)
        shape = (arguments.images, *net.tensors[net.input].shape)
        found = rates(net, np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8))
        slowest = found["NumPy reference"]
        for name, rate in found.items():
            print(f"{net.name}: {name}: {rate:,.1f} images/s, {rate / slowest:,.1f} times the reference")


if __name__ == "__main__":
    main()
