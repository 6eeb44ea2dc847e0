"""Whether networks differ in accuracy by more than chance, on the same test images.

    python -m sysmol.benchmarks.paired cifar10 ONE.network.safetensors OTHER.network.safetensors ...

Every network is computed on all test images, as its file says; each other one is compared with the first by McNemar's
exact test (:func:`sysmol.analysis.intervals.paired_p`).
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sysmol.analysis.intervals import paired_p
from sysmol.analysis.markdown import table
from sysmol.errors import CheckFailed, SysmolError
from sysmol.network import load
from sysmol.train.frontend.data import Dataset
from sysmol.train.frontend.data import load as load_data
from sysmol.train.recipes.pipeline import all_logits

SAMPLES = 2
"""Images that PyTorch computes as well."""
HEAD = ("network", "accuracy", "right here alone", "right in the first alone", "points more", "p")


@dataclass(frozen=True)
class Pair:
    """Two networks on the same images: how many are right in the first alone, in the other alone, of how many."""

    only_one: int
    only_other: int
    images: int

    @property
    def points(self) -> float:
        """What the other has more, in percentage points."""
        return 100 * (self.only_other - self.only_one) / self.images

    @property
    def p(self) -> float:
        """Of McNemar's exact test."""
        return paired_p(self.only_one, self.only_other)


def right(path: Path, data: Dataset) -> np.ndarray:
    """Whether a network's class is the label's, bool ``[n]``, for all test images of ``data``."""
    network = load(path)
    height, width, channels = data.shape
    image = network.tensors[network.input]
    if (image.height, image.width, image.channels) != (height, width, channels):
        raise SysmolError(f"{path} reads images of another size than {data.name} has")
    found: np.ndarray = all_logits(network, data.test_images, SAMPLES).argmax(1) == data.test_labels
    return found


def compare(one: np.ndarray, other: np.ndarray) -> Pair:
    """Two networks by what each gets right, bool ``[n]``."""
    return Pair(int((one & ~other).sum()), int((other & ~one).sum()), len(one))


def report(paths: Sequence[Path], data: Dataset) -> str:
    """A table in Markdown: each network against the first."""
    first = right(paths[0], data)
    rows = [[paths[0].name.split(".network")[0], f"{first.mean():.2%}", "", "", "", ""]]
    for path in paths[1:]:
        other = right(path, data)
        pair = compare(first, other)
        rows.append(
            [
                path.name.split(".network")[0],
                f"{other.mean():.2%}",
                str(pair.only_other),
                str(pair.only_one),
                f"{pair.points:+.2f}",
                f"{pair.p:.2g}",
            ]
        )
    return table(list(HEAD), rows)


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0; 1 where two implementations differ; 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m sysmol.benchmarks.paired", description=__doc__.split("\n")[0])
    parser.add_argument("dataset", help="digits, mnist, cifar10 or FILE.npz")
    parser.add_argument("networks", type=Path, nargs="+", metavar="NETWORK")
    options = parser.parse_args(arguments)
    try:
        if len(options.networks) < 2:
            raise SysmolError("at least two networks are compared")
        print(report(options.networks, load_data(options.dataset)))
    except SysmolError as error:
        print(f"paired: {error}", file=sys.stderr)
        return 1 if isinstance(error, CheckFailed) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
