"""The documents' figures that show results, drawn from the committed files, each with a file beside it that says so.

    python -m sysmol.benchmarks.figures                   # draw those anew whose numbers or drawing are others
    python -m sysmol.benchmarks.figures --demo build/demo # take the demo's cycles per layer to results/ first
    python -m sysmol.benchmarks.figures --check           # exit status 1 where one is not what today's files give

The check compares the hashes of what the figures were drawn from (:mod:`sysmol.workbench.provenance`), not their text:
Matplotlib's versions write other text for the same figure. (The figure of docs/hardware-cost.md is plain text, which
``python -m sysmol.rtl.page --check`` compares.)
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sysmol.errors import CheckFailed, SysmolError
from sysmol.files import PACKAGE, atomic_write_text
from sysmol.workbench import provenance
from sysmol.workbench.key import Inputs, digest

CLONE = PACKAGE.parent
FIGURES = CLONE / "docs" / "figures"
DEMO_LAYERS = "results/demo_layers.csv"
TRAINED = {"resnet8": "resnet8", "resnet20": "resnet20", "mobilenetv2": "mobilenetv2_small"}
"""Networks on CIFAR-10 by the name of their figure."""


@dataclass(frozen=True)
class Drawn:
    """A figure: the file below the clone that it shows, the module that draws it, and how."""

    shows: str
    module: str
    draw: Callable[[Path], str]

    @property
    def inputs(self) -> Inputs:
        """What is noted: the numbers that it shows, and the module that draws it without those that this one uses."""
        code = self.module.replace(".", "/") + ".py"
        return {"code": {code: digest(CLONE / code)}, "files": {self.shows: digest(CLONE / self.shows)}}


def cycles(path: Path) -> str:
    """Cycles of the demo's networks, whole and by layer, as in its report."""
    from sysmol.analysis.figures import cycles_figure

    layers = pd.read_csv(path)
    return cycles_figure(layers, list(dict.fromkeys(layers["variant"])))


def trained(network: str) -> Callable[[Path], str]:
    """Accuracy over size and cycles of a network's trained variants."""

    def draw(path: Path) -> str:
        from sysmol.analysis.accuracy import by_variant
        from sysmol.analysis.accuracy import draw as front
        from sysmol.workbench.experiments.table import read_table

        chosen = (network, "cifar10")
        return front(by_variant(row for row in read_table(path) if (row["network"], row["dataset"]) == chosen))

    return draw


def fronts(path: Path) -> str:
    """Accuracy over size and over cycles of all trained networks on CIFAR-10."""
    from sysmol.analysis.fronts import draw
    from sysmol.workbench.experiments.table import read_table

    return draw(row for row in read_table(path) if row["dataset"] == "cifar10")


def matrix(path: Path) -> str:
    """How many times as long fp32 and sdot take, with today's instructions and with the second page."""
    from sysmol.benchmarks.matrix_figure import draw

    return draw(path)


DRAWN = {
    "fronts": Drawn("results/training.csv", "sysmol.analysis.fronts", fronts),
    **{
        f"trained-{name}": Drawn("results/training.csv", "sysmol.analysis.accuracy", trained(network))
        for name, network in TRAINED.items()
    },
    "matrix": Drawn("results/matrix.csv", "sysmol.benchmarks.matrix_figure", matrix),
    "cycles": Drawn(DEMO_LAYERS, "sysmol.analysis.figures", cycles),
}


def stale(folder: Path = FIGURES) -> Iterator[tuple[str, str]]:
    """Name and verdict of every figure that today's code and files would draw otherwise, or of unknown origin."""
    for name in DRAWN:
        _, said = provenance.noted(provenance.read(folder / f"{name}.svg"))
        if said != "match":
            yield name, said


def redraw(names: list[str], folder: Path = FIGURES) -> None:
    """Draw figures anew."""
    for name in names:
        figure, target = DRAWN[name], folder / f"{name}.svg"
        if not (CLONE / figure.shows).is_file():
            raise SysmolError(f"{name}.svg shows {figure.shows}, which is missing: take it with --demo build/demo")
        atomic_write_text(target, figure.draw(CLONE / figure.shows))
        provenance.write(target, [figure.inputs])
        print(f"drew {target.name}")


def take_demo(folder: Path) -> None:
    """Copy the rows of the demo that have cycles, measured ones where there are any, to :data:`DEMO_LAYERS`."""
    from sysmol.analysis.products import collect

    rows = collect(folder).cycles()
    if not len(rows):
        raise SysmolError(f"{folder} holds no cycles: run `sysmol demo --out {folder}` with gem5")
    atomic_write_text(CLONE / DEMO_LAYERS, rows.to_csv(index=False, lineterminator="\n"))


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0; 1 where ``--check`` finds a figure of other files; 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m sysmol.benchmarks.figures", description=__doc__.split("\n")[0])
    parser.add_argument("--demo", type=Path, metavar="FOLDER", help="take the demo's cycles per layer first")
    parser.add_argument("--check", action="store_true", help="compare instead of drawing")
    options = parser.parse_args(arguments)
    try:
        if options.demo is not None:
            take_demo(options.demo)
        old = dict(stale())
        if options.check and old:
            raise CheckFailed("; ".join(f"{name}.svg: {said}" for name, said in old.items()))
        if not options.check:
            redraw(list(old))
    except SysmolError as error:
        print(f"figures: {error}", file=sys.stderr)
        return 1 if isinstance(error, CheckFailed) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
