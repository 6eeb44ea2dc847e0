"""Commands that bring networks in from other formats and out to them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sysmol.cli.file_kinds import expect
from sysmol.cli.options import NetworkFile, out_option
from sysmol.cli.tables import AsJson, say, show_table
from sysmol.errors import SysmolError

if TYPE_CHECKING:
    from sysmol.network import Network, Samples
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
    out: Annotated[Path | None, out_option("Of a QONNX or an int8 file: write its integers as a network file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read another tool's network and tell what became of every operator (docs/interchange.md)."""
    if out is not None:
        write_integers(file, out)
        return
    from sysmol.train.frontend.readers import read_model

    network = read_model(file)
    show_steps(file, network.table())
    units = list(network.graph().units.values())
    channels, height, width = network.shape
    weights = sum(unit.weight.numel() for unit in units if unit.weight is not None)
    say(f"input: {channels} x {height} x {width}, {describe_input(network)}")
    say(f"layers: {len(units) - 1} with {weights:,} weights, {units[-1].shape[0]} logits")


def show_steps(name: Path | str, steps: Iterable[Any]) -> None:
    """The table of what became of a network's operators."""
    rows = [[step.operator, step.name, step.how, step.layer, step.note] for step in steps]
    show_table(["operator", "its result", "here", "layer", "note"], rows, title=str(name))


def write_integers(file: Path, out: Path) -> None:
    """The integers of a file as a network file."""
    from sysmol.network import save

    if file.suffix.lower() == ".tflite":
        from sysmol.train.quantise.eight_bits import import_eight_bits

        net, integers = import_eight_bits(file)
        show_steps(file, integers.steps)
    else:
        from sysmol.interchange.qonnx_in import import_qonnx

        net, done = import_qonnx(file)
        show_steps(file, done)
    net.samples = random_samples(net)
    path = save(out, net)
    rows = []
    for layer in net.layers:
        x, written = net.tensors[layer.input], net.tensors[layer.targets[0]]
        bits = " ".join(map(str, sorted(set(x.precisions)))) if x.format == "smol" else "8"
        rows.append([layer.name, layer.op, x.channels, written.channels, bits, layer.residual or None])
    columns = ["layer", "operation", "input channels", "outputs", "bits of input and weights", "adds"]
    show_table(columns, rows, title=str(path))
    say(f"wrote {path}: {path.stat().st_size:,} bytes, the file's integers")


SAMPLES = 8
"""Random images in an imported network file, which `sysmol verify` compares by."""


def random_samples(net: Network) -> Samples:
    """Random images with the network's own logits and classes."""
    import numpy as np

    from sysmol.interchange.evaluation import evaluate
    from sysmol.network import Samples

    shape = net.tensors[net.input].shape
    images = np.random.default_rng(0).integers(0, 256, (SAMPLES, *shape)).astype(np.uint8)
    logits = evaluate(net, images)
    net.provenance["samples"] = "random images; labels are the network's own classes"
    return Samples(images, logits.argmax(1), logits)


def describe_input(network: Imported) -> str:
    """What the file does to its input before the first layer."""
    grid, normalisation = network.input_grid, network.normalisation
    stored = f", stored as {grid.scale:g} * (q {-grid.zero_point:+d})" if grid is not None else ""
    if set(normalisation.mean) == {0.0} and set(normalisation.scale) == {1.0}:
        return f"as it is{stored}"
    means, scales = (" ".join(f"{value:g}" for value in each) for each in (normalisation.mean, normalisation.scale))
    return f"(x - mean) * scale with mean {means}, scale {scales}{stored}"
