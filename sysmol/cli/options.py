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
SMOL_HELP = "Another SMOL unit than the machine's, e.g. units=2,vdot=4,share=no (docs/machines.md)."
MachineName = Annotated[str, typer.Option("--machine", "-m", help="A name from `sysmol machines`, or a JSON file.")]


def say(line: str) -> None:
    """One line of progress, whole where several threads speak."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
