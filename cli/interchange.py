"""Commands that bring networks in from other formats and out to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sysmol.cli.file_kinds import expect
from sysmol.cli.options import NetworkFile, out_option
from sysmol.cli.tables import AsJson, say, show_table
from sysmol.errors import SysmolError

if TYPE_CHECKING:
    from sysmol.train.frontend.readers import Imported

PANEL = "Other formats"
commands = typer.Typer()


@commands.command(rich_help_panel=PANEL)
def export(
    network: NetworkFile,
    onnx: Annotated[Path | None, typer.Option(metavar="FILE", help="Write plain ONNX operators.")] = None,
    qonnx: Annotated[Path | None, typer.Option(metavar="FILE", help="Write ONNX with QONNX's Quant nodes.")] = None,
) -> None:
    """Write a network file in another format, exact to the bit (docs/interchange.md)."""
    from sysmol.network import load

    if onnx is None and qonnx is None:
        raise SysmolError("say what to write: sysmol export NETWORK --onnx FILE, or --qonnx FILE")
    net = load(network)
    if onnx is not None:
        from sysmol.interchange import onnx_out

        path = onnx_out.write(onnx, net)
        say(f"wrote {path}: {path.stat().st_size:,} bytes of ONNX")
    if qonnx is not None:
        from sysmol.interchange import qonnx_out

        path = qonnx_out.write(qonnx, net)
        say(f"wrote {path}: {path.stat().st_size:,} bytes of QONNX, for one image at a time")


@commands.command("import", rich_help_panel=PANEL)
def import_network(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .tflite or .onnx file.", callback=expect("foreign"))],
    out: Annotated[Path | None, out_option("Of a QONNX model: write the network file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read another tool's network and tell what became of every operator (docs/interchange.md)."""
    if out is not None:
        import_integers(file, out)
        return
    from sysmol.train.frontend.readers import read_model

    network = read_model(file)
    rows = [[step.operator, step.name, step.how, step.layer, step.note] for step in network.table()]
    units = list(network.graph().units.values())
    channels, height, width = network.shape
    show_table(["operator", "result in the file", "here", "layer", "note"], rows, title=str(file))
    weights = sum(unit.weight.numel() for unit in units if unit.weight is not None)
    say(f"input: {channels} x {height} x {width}, {describe_input(network)}")
    say(f"layers: {len(units) - 1} with {weights:,} weights, {units[-1].shape[0]} logits")


def import_integers(file: Path, out: Path) -> None:
    """A QONNX model as a network file."""
    from sysmol.interchange.qonnx_in import read_qonnx
    from sysmol.network import save

    net = read_qonnx(file)
    path = save(out, net)
    rows = []
    for layer in net.layers:
        x, written = net.tensors[layer.input], net.tensors[layer.targets[0]]
        bits = " ".join(map(str, sorted(set(x.precisions)))) if x.format == "smol" else "8"
        rows.append([layer.name, layer.op, x.channels, written.channels, bits, layer.residual or None])
    columns = ["layer", "operation", "input channels", "outputs", "bits of input and weights", "adds"]
    show_table(columns, rows, title=str(file))
    say(f"wrote {path}: {path.stat().st_size:,} bytes, the model's integers")


def describe_input(network: Imported) -> str:
    """What the file does to its input before the first layer."""
    grid, normalisation = network.input_grid, network.normalisation
    stored = f", stored as {grid.scale:g} * (q {-grid.zero_point:+d})" if grid is not None else ""
    if set(normalisation.mean) == {0.0} and set(normalisation.scale) == {1.0}:
        return f"as it is{stored}"
    means, scales = (" ".join(f"{value:g}" for value in each) for each in (normalisation.mean, normalisation.scale))
    return f"(x - mean) * scale with mean {means}, scale {scales}{stored}"
