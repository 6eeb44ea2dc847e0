"""Options that several commands share, and how all of them speak."""

import sys
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_MACHINE = "o3-n1"
GEM5_HELP = "Simulate where a gem5 with the plug-in is found."

NetworkFile = Annotated[Path, typer.Argument(metavar="NETWORK", help="A .network.safetensors file.")]
ManifestFile = Annotated[
    Path, typer.Argument(metavar="MANIFEST", help="The .json beside an executable of `sysmol compile`.")
]
MODEL_HELP = (
    "digits_net, mnist_net, resnet8, resnet20, mobilenetv2, mobilenetv2_stem2 or _small; or FILE.py:CALLABLE, yours."
)
DATASET_HELP = "digits; mnist or cifar10 from $SYSMOL_DATA; or FILE.npz, yours (docs/training.md)."
PRESET_HELP = "Training schedule: demo, quick, mnist, cifar10 or cifar10-short"
SMOL_HELP = "Another SMOL unit than the machine's, e.g. units=2,vdot=4,share=no (docs/machines.md)."
ClusterAddress = Annotated[
    str, typer.Option(help="Dask scheduler: tcp://HOST:PORT, its JSON file, or local (docs/cluster.md).")
]
MachineName = Annotated[str, typer.Option("--machine", "-m", help="A name from `sysmol machines`, or a JSON file.")]


def say(line: str) -> None:
    """One line of progress, whole where several threads speak."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
