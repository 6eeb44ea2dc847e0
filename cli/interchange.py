"""Commands that bring networks in from other formats and out to them."""

from pathlib import Path
from typing import Annotated

import typer

from sysmol.cli.options import NetworkFile, say
from sysmol.errors import SysmolError

PANEL = "Other formats"
commands = typer.Typer()


@commands.command(rich_help_panel=PANEL)
def export(
    network: NetworkFile,
    onnx: Annotated[Path | None, typer.Option(metavar="FILE", help="Write plain ONNX operators, exact.")] = None,
) -> None:
    """Write a network file in another format (docs/interchange.md)."""
    from sysmol.network import load

    if onnx is None:
        raise SysmolError("say what to write: sysmol export NETWORK --onnx FILE")
    net = load(network)
    from sysmol.interchange import onnx_out

    path = onnx_out.write(onnx, net)
    say(f"wrote {path}: {path.stat().st_size:,} bytes, the same logits as {network} in integers")
