"""Commands of the whole chain, from training to the report."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sysmol.cli.file_kinds import expect
from sysmol.cli.options import (
    COUNT_HELP,
    DATASET_HELP,
    DEFAULT_COST,
    DEFAULT_MACHINE,
    PRESET_HELP,
    PROCESSORS,
    CalculatedBy,
    ClusterAddress,
    Deviation,
    Device,
    Edges,
    Gem5,
    Isa,
    Jobs,
    LayerBits,
    MachineName,
    Mean,
    ModelName,
    NoGem5,
    Seed,
    Threads,
    check_dataset,
    moved,
    normalisation_of,
    out_option,
    use_threads,
)
from sysmol.cli.tables import AsJson, say, share, show_table

PANEL = "The whole chain"
commands = typer.Typer()


@commands.command(rich_help_panel=PANEL)
def demo(
    out: Annotated[Path, out_option("Folder for all products.")] = Path("build/demo"),
    quick: Annotated[bool, typer.Option("--quick", help="13 epochs of training, not 58; lower accuracy.")] = False,
    seed: Seed = 0,
    machine: MachineName = DEFAULT_MACHINE,
    gem5: Gem5 = None,
    no_gem5: NoGem5 = False,
    images: Annotated[int, typer.Option(min=1, help="Test images per simulation.")] = 20,
    device: Device = "auto",
    threads: Threads = 0,
    jobs: Jobs = PROCESSORS,
    cluster: ClusterAddress = "",
    as_json: AsJson = False,
) -> None:
    """Train on digits, export, generate C, compile, verify, simulate or estimate, report. Resumes where it stopped.

    Takes about ten minutes on two cores, with --quick about two.
    """
    from sysmol.workbench.demo import Chain

    use_threads(threads)
    chain = Chain(
        out, seed=seed, machine=machine, use_gem5=not no_gem5, gem5=gem5, images=images, say=say, jobs=jobs,
        cluster=cluster,
    )  # fmt: skip
    show_summary(chain.demo("quick" if quick else "demo", device))
    say(f"wrote {out / 'summary.json'} and {out / 'report.html'}")


@commands.command(rich_help_panel=PANEL)
def evaluate(
    folder: Annotated[
        Path, typer.Argument(help="A folder with *.network.safetensors files.", callback=expect("products"))
    ],
    machine: MachineName = DEFAULT_MACHINE,
    gem5: Gem5 = None,
    no_gem5: NoGem5 = False,
    images: Annotated[int, typer.Option(min=1, help="Test images per simulation.")] = 2,
    seed: Seed = 0,
    jobs: Jobs = PROCESSORS,
    cluster: ClusterAddress = "",
    as_json: AsJson = False,
) -> None:
    """All that `demo` does behind the training, for the networks in a folder: bin/, runs/, checks/, the report."""
    from sysmol.analysis.products import network_files
    from sysmol.workbench.demo import Chain

    variants = list(network_files(folder))
    chain = Chain(
        folder, seed=seed, machine=machine, use_gem5=not no_gem5, gem5=gem5, images=images, say=say, jobs=jobs,
        cluster=cluster,
    )  # fmt: skip
    show_summary(chain.evaluate(variants))
    say(f"wrote {folder / 'summary.json'} and {folder / 'report.html'}")


@commands.command(rich_help_panel=PANEL)
def codesign(
    out: Annotated[Path, out_option("Folder for all products.")] = Path("build/codesign"),
    dataset: Annotated[str, typer.Option(help=DATASET_HELP, callback=check_dataset)] = "digits",
    model: ModelName = "digits_net",
    preset: Annotated[
        str, typer.Option(help=f"{PRESET_HELP}; of full precision and uniform networks (default: the data set's).")
    ] = "",
    isa: Annotated[Isa, typer.Option(help="Instruction set that is measured.")] = "arm",
    machine: MachineName = DEFAULT_MACHINE,
    count: Annotated[int, typer.Option(min=1, max=45, help=f"{COUNT_HELP}.")] = 4,
    objective: Annotated[str, typer.Option(help="What limits are of: cycles or energy.")] = "cycles",
    area: Annotated[
        float | None, typer.Option(min=0, help="um2 that a SMOL unit may take, instead of a number of patterns.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds at most.")] = 6,
    drop: Annotated[
        float, typer.Option(min=0, max=100, help="Points of accuracy that may be lost against fp32.")
    ] = 1.5,
    noise_epochs: Annotated[int, typer.Option(min=1, help="Epochs with noise, each round.")] = 6,
    tune_epochs: Annotated[int, typer.Option(min=1, help="Epochs under the patterns, each round.")] = 10,
    gem5: Gem5 = None,
    no_gem5: NoGem5 = False,
    cost: CalculatedBy = DEFAULT_COST,
    seed: Seed = 0,
    edges: Edges = "8",
    layer: LayerBits = None,
    mean: Mean = "",
    std: Deviation = "",
    device: Device = "auto",
    threads: Threads = 0,
    patterns: Annotated[str | None, moved("--patterns", "--count VALUE: the number of patterns to choose")] = None,
    as_json: AsJson = False,
) -> None:
    """Alternate training, choice of patterns, code and measurement until the trade-off stops improving. Resumes."""
    from sysmol.search.codesign import page
    from sysmol.search.codesign.loop import Loop, Row
    from sysmol.search.codesign.settings import Settings
    from sysmol.train.frontend.policy import layer_bits

    use_threads(threads)
    settings = Settings(
        dataset=dataset, model=model, preset=preset, isa=isa, machine=machine, patterns=count,
        objective=objective, area=area, rounds=rounds, drop=drop, seed=seed, noise_epochs=noise_epochs,
        tune_epochs=tune_epochs, use_gem5=not no_gem5, cost=cost, device=device,
        layer_bits=layer_bits(edges, layer or ()), normalisation=normalisation_of(mean, std),
    )  # fmt: skip
    rows: list[Row] = []
    for row in Loop(out, settings, say, gem5=gem5).rows():
        rows.append(row)
        page.write(out, settings, rows, finished=False)
    written = page.write(out, settings, rows, finished=True)
    show_table(page.columns(written), page.shown(written))
    say(f"wrote {out / 'rounds.csv'} and {out / 'codesign.html'}")


@commands.command(rich_help_panel=PANEL)
def report(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A folder with networks, bin/, runs/ and checks/ (as `sysmol demo` leaves it).",
            callback=expect("products"),
        ),
    ] = Path("build/demo"),
    out: Annotated[Path | None, out_option("Where to write (default: into the folder itself).")] = None,
    machine: MachineName = DEFAULT_MACHINE,
    network: Annotated[str, typer.Option(help="The network that the summary is about.")] = "mixed",
    cost: CalculatedBy = DEFAULT_COST,
    as_json: AsJson = False,
) -> None:
    """Write report.html, summary.json, layers.csv and cycles.svg from the products in a folder."""
    from sysmol.analysis.products import collect
    from sysmol.analysis.report import write_report

    target = out or folder
    results = collect(folder, machine, cost)
    show_summary(write_report(results, target, " ".join(["sysmol", *sys.argv[1:]]), network))
    for note in results.notes:
        say(note)
    say(f"wrote {target / 'summary.json'} and {target / 'report.html'}")


def show_summary(facts: dict[str, Any]) -> None:
    """The summary's accuracy, size and total cycles."""
    networks = [
        [
            name,
            *(share(values.get(key)) for key in ("accuracy_float", "accuracy_integer")),
            *(values.get(key) for key in ("bits_per_parameter", "compression")),
        ]
        for name, values in facts["networks"].items()
    ]
    show_table(["network", "accuracy (float)", "accuracy (integers)", "bits/parameter", "times smaller"], networks)
    cycles = [[row["isa"], row["variant"], row["source"], row["machine"], row["cycles"]] for row in facts["cycles"]]
    if cycles:
        show_table(["ISA", "network", "source", "machine", "cycles/image"], cycles)
    if facts["left_out_as_stale"]:
        say(f"left out, made from other networks or executables: {', '.join(facts['left_out_as_stale'])}")
    if facts["agreement"]:
        equal = sum(1 for row in facts["agreement"] if row["mismatches"] == 0)
        say(f"logits: {equal} of {len(facts['agreement'])} comparisons are equal on every image")
