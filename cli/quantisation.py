"""The command that quantises a trained network without training it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sysmol.cli.interchange import show_steps
from sysmol.cli.options import (
    Deviation,
    Device,
    Mean,
    Patterns,
    Seed,
    Threads,
    check_dataset,
    normalisation_of,
    out_option,
    use_threads,
)
from sysmol.cli.tables import AsJson, say, share, show_table
from sysmol.errors import SysmolError

if TYPE_CHECKING:
    from sysmol.train.frontend.readers.imported import Step

PANEL = "Train"
commands = typer.Typer()


@commands.command(rich_help_panel=PANEL)
def quantise(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A trained network: FILE.tflite, FILE.onnx, or FILE.py:CALLABLE."),
    ],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="DATA",
            callback=check_dataset,
            help="Images: digits, mnist, cifar10, or FILE.npz, with images alone or with labels (docs/training.md).",
        ),
    ],
    out: Annotated[Path, out_option("The network file.")],
    bits: Annotated[
        float,
        typer.Option(
            min=0.5, max=8, help="8, 4, 2 or 1 in all layers but the first and last; any other: at most per parameter."
        ),
    ] = 4,
    images: Annotated[int, typer.Option(min=2, max=65_536, help="How many images to use; labels are not read.")] = 512,
    steps: Annotated[
        int, typer.Option(min=0, max=100_000, help="Steps that refit scales, offsets and biases together.")
    ] = 300,
    epochs: Annotated[int, typer.Option(min=0, max=10_000, help="Fine-tune so long on the labelled images.")] = 0,
    classes: Annotated[
        int, typer.Option(min=0, max=65_536, help="Of a module, where the data has no labels (0: as the data).")
    ] = 0,
    weights: Annotated[Path | None, typer.Option(help="State dictionary of the module, .pt or .safetensors.")] = None,
    mean: Mean = "",
    std: Deviation = "",
    patterns: Patterns = "P4",
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = 0,
    as_json: AsJson = False,
) -> None:
    """Round a trained network with a few hundred images and no labels (docs/interchange.md)."""
    from sysmol.network import save
    from sysmol.train.frontend.checkpoint import read_checkpoint
    from sysmol.train.frontend.data import to_real
    from sysmol.train.recipes import quantisation as recipe

    use_threads(threads)
    found = recipe.load_images(data, images, seed)
    if epochs and found.data is None:
        raise SysmolError(f"{data} has no labels: fine-tuning needs them")
    stated = normalisation_of(mean, std)
    checkpoint = read_checkpoint(
        model, found.shape, classes or found.classes, weights, stated, usual=found.normalisation
    )
    real = to_real(found.images, checkpoint.normalisation)
    request = recipe.Request(bits, patterns or "P4", seed, recipe.Refit(steps=steps))
    quantised = recipe.quantise(checkpoint.module, real, request, checkpoint.normalisation, say)
    if epochs and found.data is not None:
        recipe.fine_tune(quantised, found.data, epochs, seed, device, say)
    name = out.name.split(".")[0] or "network"
    net = recipe.network_of(quantised, name, real, found.data, f"{Path(model).name} quantised with {len(real)} images")
    net.provenance |= {"model": Path(model).name, "dataset": Path(data).name, "seed": seed, "images": len(real)}
    net.provenance |= {"bits": bits, "steps": steps, "epochs": epochs}
    path = save(out, net)
    show_steps(model, requantised(checkpoint.steps, recipe.layer_bits(quantised.prepared)))
    values = net.metrics
    shares = [share(values.get(key)) for key in ("accuracy_fp32", "accuracy_integer", "same_class")]
    row = [net.name, *shares, values["bits_per_parameter"], values["compression"]]
    columns = ["network", "accuracy (fp32)", "accuracy (integers)", "same class", "bits/parameter", "times smaller"]
    show_table(columns, [row])
    say(f"wrote {path}: {path.stat().st_size:,} bytes")


def requantised(steps: list[Step], bits: dict[str, str]) -> list[Step]:
    """What became of every operator of a file, or of every layer of a module: ``bits`` of the rounded ones by name."""
    from sysmol.train.frontend.readers.imported import Step

    if not steps:
        return [Step("layer", name, "requantised", name, words) for name, words in bits.items()]
    return [
        replace(step, how="requantised", note=", ".join(filter(None, (step.note, bits[step.layer]))))
        if step.layer in bits and step.how == "kept"
        else step
        for step in steps
    ]
