"""Commands of the whole chain, from training to the report."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sysmol.cli.options import (
    DATASET_HELP,
    DEFAULT_MACHINE,
    GEM5_HELP,
    MODEL_HELP,
    PRESET_HELP,
    ClusterAddress,
    MachineName,
    say,
)
from sysmol.cli.tables import show_table

PANEL = "The whole chain"
commands = typer.Typer()


@commands.command(rich_help_panel=PANEL)
def demo(
    out: Annotated[Path, typer.Option(help="Folder for all products.")] = Path("build/demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Shorter training: the chain in about a minute, lower accuracy.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the training.")] = 0,
    machine: MachineName = DEFAULT_MACHINE,
    gem5: Annotated[bool, typer.Option("--gem5/--no-gem5", help=GEM5_HELP)] = True,
    images: Annotated[int, typer.Option(min=1, help="Test images per simulation.")] = 20,
    jobs: Annotated[int, typer.Option(min=1, help="Steps at a time (default: all processors).")] = os.cpu_count() or 1,
    cluster: ClusterAddress = "",
) -> None:
    """Train on digits, export, generate C, compile, verify, simulate or estimate, report. Resumes where it stopped."""
    from sysmol.workbench.demo import Chain

    chain = Chain(out, seed=seed, machine=machine, use_gem5=gem5, images=images, say=say, jobs=jobs, cluster=cluster)
    show_summary(chain.demo("quick" if quick else "demo"))
    say(f"wrote {out / 'summary.json'} and {out / 'report.html'}")


@commands.command(rich_help_panel=PANEL)
def evaluate(
    folder: Annotated[Path, typer.Argument(help="A folder with *.network.safetensors files.")],
    machine: MachineName = DEFAULT_MACHINE,
    gem5: Annotated[bool, typer.Option("--gem5/--no-gem5", help=GEM5_HELP)] = True,
    images: Annotated[int, typer.Option(min=1, help="Test images per simulation.")] = 2,
    seed: Annotated[int, typer.Option(help="Seed of the simulations.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Steps at a time (default: all processors).")] = os.cpu_count() or 1,
    cluster: ClusterAddress = "",
) -> None:
    """All that `demo` does behind the training, for the networks in a folder: bin/, runs/, checks/, the report."""
    from sysmol.analysis.products import network_files
    from sysmol.workbench.demo import Chain

    variants = list(network_files(folder))
    chain = Chain(folder, seed=seed, machine=machine, use_gem5=gem5, images=images, say=say, jobs=jobs, cluster=cluster)
    show_summary(chain.evaluate(variants))
    say(f"wrote {folder / 'summary.json'} and {folder / 'report.html'}")


@commands.command(rich_help_panel=PANEL)
def codesign(
    out: Annotated[Path, typer.Option(help="Folder for all products.")] = Path("build/codesign"),
    dataset: Annotated[str, typer.Option(help=DATASET_HELP)] = "digits",
    model: Annotated[str, typer.Option(help=MODEL_HELP)] = "digits_net",
    preset: Annotated[
        str, typer.Option(help=f"{PRESET_HELP}; of full precision and uniform networks (default: the data set's).")
    ] = "",
    isa: Annotated[str, typer.Option(help="arm or riscv.")] = "arm",
    machine: MachineName = DEFAULT_MACHINE,
    patterns: Annotated[int, typer.Option(min=1, max=45, help="How many patterns the hardware has.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds at most.")] = 6,
    drop: Annotated[float, typer.Option(min=0, help="Points of accuracy that may be lost against fp32.")] = 1.5,
    noise_epochs: Annotated[int, typer.Option(min=1, help="Epochs with noise, each round.")] = 6,
    tune_epochs: Annotated[int, typer.Option(min=1, help="Epochs under the patterns, each round.")] = 10,
    gem5: Annotated[bool, typer.Option("--gem5/--no-gem5", help=GEM5_HELP)] = True,
    seed: Annotated[int, typer.Option(help="Seed of the training.")] = 0,
) -> None:
    """Alternate training, choice of patterns, code and measurement until the trade-off stops improving. Resumes."""
    from sysmol.search.codesign import page
    from sysmol.search.codesign.loop import Loop, Row
    from sysmol.search.codesign.settings import Settings

    settings = Settings(
        dataset=dataset, model=model, preset=preset, isa=isa, machine=machine, patterns=patterns, rounds=rounds,
        drop=drop, seed=seed, noise_epochs=noise_epochs, tune_epochs=tune_epochs, use_gem5=gem5,
    )  # fmt: skip
    rows: list[Row] = []
    for row in Loop(out, settings, say).rows():
        rows.append(row)
        page.write(out, settings, rows, finished=False)
    show_table(list(page.COLUMNS), page.shown(page.write(out, settings, rows, finished=True)))
    say(f"wrote {out / 'rounds.csv'} and {out / 'codesign.html'}")


@commands.command(rich_help_panel=PANEL)
def report(
    folder: Annotated[
        Path, typer.Argument(help="A folder with networks, bin/, runs/ and checks/ (as `sysmol demo` leaves it).")
    ] = Path("build/demo"),
    out: Annotated[Path | None, typer.Option(help="Where to write (default: into the folder itself).")] = None,
    machine: MachineName = DEFAULT_MACHINE,
    network: Annotated[str, typer.Option(help="The network that the summary is about.")] = "mixed",
) -> None:
    """Write report.html, summary.json, layers.csv and cycles.svg from the products in a folder."""
    from sysmol.analysis.products import collect
    from sysmol.analysis.report import write_report

    target = out or folder
    show_summary(write_report(collect(folder, machine), target, " ".join(["sysmol", *sys.argv[1:]]), network))
    say(f"wrote {target / 'summary.json'} and {target / 'report.html'}")


def show_summary(facts: dict[str, Any]) -> None:
    """The summary's accuracy, size and total cycles."""
    networks = [
        [
            name,
            *(values.get(key) for key in ("accuracy_float", "accuracy_integer", "bits_per_parameter", "compression")),
        ]
        for name, values in facts["networks"].items()
    ]
    show_table(["network", "accuracy (float)", "accuracy (integers)", "bits/parameter", "compression"], networks)
    cycles = [[row["isa"], row["variant"], row["source"], row["machine"], row["cycles"]] for row in facts["cycles"]]
    if cycles:
        show_table(["ISA", "network", "source", "machine", "cycles/image"], cycles)
    if facts["left_out_as_stale"]:
        say(f"left out, made from other networks or executables: {', '.join(facts['left_out_as_stale'])}")
    if facts["agreement"]:
        equal = sum(1 for row in facts["agreement"] if row["mismatches"] == 0)
        say(f"logits: {equal} of {len(facts['agreement'])} comparisons are equal on every image")
