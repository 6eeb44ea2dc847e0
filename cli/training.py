"""Commands that train networks."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sysmol.cli.file_kinds import expect
from sysmol.cli.options import (
    DATASET_HELP,
    MOST_SEED,
    PRESET_HELP,
    ClusterAddress,
    Deviation,
    Device,
    Edges,
    LayerBits,
    Mean,
    ModelName,
    Seed,
    Threads,
    check_dataset,
    normalisation_of,
    out_option,
    use_threads,
)
from sysmol.cli.tables import AsJson, say, share, show_table

PANEL = "Train"
commands = typer.Typer()


@commands.command(rich_help_panel=PANEL)
def train(
    dataset: Annotated[str, typer.Argument(help=DATASET_HELP, callback=check_dataset)] = "digits",
    model: ModelName = "digits_net",
    out: Annotated[Path, out_option("Folder for networks and checkpoints.")] = Path("build/train"),
    preset: Annotated[str, typer.Option(help=f"{PRESET_HELP}.")] = "demo",
    seed: Seed = 0,
    variant: Annotated[
        list[str] | None,
        typer.Option(help="What to make, such as w2 or P4-1.5; may be repeated (default: fp32, int8, w4, mixed)."),
    ] = None,
    edges: Edges = "8",
    layer: LayerBits = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Trained weights to start from: .tflite or .onnx, or a state dictionary (docs/training.md)."),
    ] = None,
    mean: Mean = "",
    std: Deviation = "",
    device: Device = "auto",
    threads: Threads = 0,
    as_json: AsJson = False,
) -> None:
    """Train a network in full precision and, from there, in other variants; export each."""
    from sysmol.train.frontend.policy import layer_bits
    from sysmol.train.recipes.pipeline import VARIANTS
    from sysmol.workbench.steps import train as step
    from sysmol.workbench.training import train_into

    use_threads(threads)
    normalisation = normalisation_of(mean, std)
    bits = layer_bits(edges, layer or ())
    task = step.task(dataset, model, preset, seed, variant or VARIANTS, device, bits, normalisation, weights)
    metrics = train_into(out, task)
    columns = ["network", "accuracy (fp32)", "accuracy (float)", "accuracy (integers)", "bits/parameter"]
    accuracies = ("accuracy_fp32", "accuracy_float", "accuracy_integer")
    rows = [
        [
            name,
            *(share(values.get(key)) for key in accuracies),
            values.get("bits_per_parameter"),
            values.get("compression"),
        ]
        for name, values in metrics.items()
    ]
    show_table([*columns, "times smaller"], rows)


@commands.command(rich_help_panel=PANEL)
def experiments(
    spec: Annotated[
        Path, typer.Argument(metavar="SPEC", help="A TOML file (docs/training.md).", callback=expect("experiments"))
    ],
    out: Annotated[Path, out_option("Folder of all products.")] = Path("build/experiments"),
    seed: Annotated[
        list[int] | None, typer.Option(min=0, max=MOST_SEED, help="Only this seed; may be repeated.")
    ] = None,
    only: Annotated[str, typer.Option(help="Only variants whose name this regular expression finds.")] = "",
    device: Device = "auto",
    threads: Threads = 0,
    again: Annotated[bool, typer.Option("--again", help="Export and measure anew, from the checkpoints.")] = False,
    take: Annotated[Path | None, typer.Option(help="Train nothing: put the finished rows into this CSV file.")] = None,
    table: Annotated[bool, typer.Option("--table", help="Train nothing: print means over seeds in Markdown.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Train nothing: draw accuracy over size into this SVG.")] = None,
    rows: Annotated[Path | None, typer.Option(help="With --table and --plot: the rows of this CSV file.")] = None,
    start: Annotated[
        Path | None, typer.Option(help="Folder like --out of another computer: go on from its ends of phases.")
    ] = None,
    cluster: ClusterAddress = "",
) -> None:
    """Train the variants of a network over several seeds; only what is missing, goes on after a kill."""
    from sysmol.workbench.experiments.run import row_name, run_experiments, take_networks
    from sysmol.workbench.experiments.spec import load_spec
    from sysmol.workbench.experiments.table import take as take_rows

    checked = load_spec(spec)
    if take is not None:
        finished = finished_rows(checked, out, start)
        networks = take_networks(checked, out, finished, take, start)
        finished = [
            row | {"network_file": networks[name].name if (name := row_name(row)) in networks else None}
            for row in finished
        ]
        say(
            f"{take_rows(finished, take)}: {len(finished)} rows of {checked.network} on {checked.data_name}, "
            f"{len(networks)} networks"
        )
    if table or plot is not None:
        show_accuracy(checked, out, rows, plot, table, start)
    if take is not None or table or plot is not None:
        return
    use_threads(threads)
    command = " ".join(["sysmol", *sys.argv[1:]])
    made = run_experiments(
        checked,
        out,
        say,
        command,
        seeds=seed or (),
        only=only,
        again=again,
        cluster=cluster,
        starts=start,
        device=device,
    )
    say(f"{len(made)} new rows below {out}")


def finished_rows(spec: Any, out: Path, start: Path | None) -> list[dict[str, Any]]:
    """A spec's finished rows, with what simulations of their networks say (`sysmol evaluate` on a seed's folder)."""
    from sysmol.analysis.accuracy import measured
    from sysmol.workbench.experiments.run import find_rows, seed_folder

    return [
        row | measured(row, seed_folder(spec, out, row["seed"]) / "summary.json") for row in find_rows(spec, out, start)
    ]


def show_accuracy(
    spec: Any, out: Path, source: Path | None, plot: Path | None, table: bool, start: Path | None
) -> None:
    """Means over seeds of a spec's finished rows, or of its rows in a CSV file, as a table and as a figure."""
    from sysmol.analysis.accuracy import by_variant, draw, markdown
    from sysmol.files import atomic_write_text
    from sysmol.workbench.experiments.table import read_table

    found: list[dict[str, Any]] = list(read_table(source)) if source else finished_rows(spec, out, start)
    means = by_variant(row for row in found if (row["network"], row["dataset"]) == (spec.network, spec.data_name))
    if table:
        say(markdown(means))
    if plot is not None:
        say(f"wrote {atomic_write_text(plot, draw(means))}")
