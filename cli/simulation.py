"""Commands that simulate in gem5 and prepare what it needs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sysmol.cli.file_kinds import expect
from sysmol.cli.options import (
    DEFAULT_MACHINE,
    MOST_SEED,
    PROCESSORS,
    ClusterAddress,
    Cpu,
    Cpus,
    Gem5,
    Isa,
    Isas,
    Jobs,
    MachineName,
    ManifestFile,
    Patterns,
    Seed,
    SmolUnit,
    out_option,
)
from sysmol.cli.tables import AsJson, say, show_layers, show_table
from sysmol.configs_gem5.request import HELP
from sysmol.errors import CheckFailed, SysmolError
from sysmol.isas import ISAS

if TYPE_CHECKING:
    from sysmol.configs_gem5.request import Simulation

Mode = Literal["se", "baremetal", "linux"]

PANEL = "Simulate in gem5"
commands = typer.Typer()


@commands.command("run", rich_help_panel=PANEL)
def run_(
    manifest: ManifestFile,
    isa: Annotated[Isa | None, typer.Option(help=HELP["isa"])] = None,
    cpu: Annotated[Cpu, typer.Option(help=HELP["cpu"])] = "o3",
    machine: MachineName = DEFAULT_MACHINE,
    patterns: Patterns = "",
    smol: SmolUnit = "",
    out: Annotated[Path | None, out_option("Run folder (default: build/runs/<executable>-<cpu>).")] = None,
    images: Annotated[int, typer.Option(min=1, help=HELP["images"])] = 1,
    images_file: Annotated[Path | None, typer.Option(help=HELP["images_file"])] = None,
    seed: Seed = 0,
    no_roi: Annotated[bool, typer.Option("--no-roi", help=HELP["no_roi"])] = False,
    stock_decoder: Annotated[bool, typer.Option("--stock-decoder", help=HELP["stock_decoder"])] = False,
    mode: Annotated[Mode | None, typer.Option(help=HELP["mode"])] = None,
    boot: Annotated[Path | None, typer.Option(metavar="FOLDER", help=HELP["boot"], callback=expect("boot"))] = None,
    linux: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", callback=expect("linux folder"),
            help="Run under the Linux of this folder (`sysmol linux`), booted where needed: --mode and --boot in one.",
        ),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help=HELP["processes"])] = 1,
    gem5: Gem5 = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Simulate an executable in gem5 and compare its logits; leaves a run folder."""
    from sysmol.configs_gem5.launch import boot_linux, run_gem5
    from sysmol.configs_gem5.request import Simulation
    from sysmol.manifest import load_manifest

    if linux and (boot or mode not in (None, "linux")):
        raise SysmolError("--linux stands for --mode linux and --boot: leave these out")
    facts = load_manifest(manifest)
    target = isa or facts["isa"]
    if target not in ISAS:
        raise SysmolError(
            f"{manifest} is built for {target}, which gem5 does not simulate: compile it for arm or riscv"
        )
    beneath = "linux" if linux else mode or str(facts.get("mode", "se"))
    name = f"{facts['variant']}-{target}{'' if beneath == 'se' else '-' + beneath}-{cpu}"
    folder = out or Path("build/runs") / name
    if linux:
        boot = boot_linux(linux, machine=machine, gem5=gem5)
    simulation = Simulation(
        isa=target, cpu=cpu, machine=machine, patterns=patterns or None, smol=smol or None, images=images,
        images_file=images_file, seed=seed, roi=not no_roi, stock_decoder=stock_decoder, mode=beneath, boot=boot,
        processes=processes,
    )  # fmt: skip
    show_run(folder, run_gem5(manifest, folder, simulation, gem5=gem5), simulation)


def show_run(folder: Path, found: dict[str, Any], simulation: Simulation) -> None:
    """What a finished simulation measured: its layers, its processes, or the program as a whole."""
    from sysmol.analysis.runs import load_run, totals

    agree = "no reference logits" if found["logits_match"] is None else "logits as expected"
    if simulation.processes > 1:
        rows = [[number, *process.values()] for number, process in enumerate(found["processes"])]
        show_table(["process", *(key.replace("_", " ") for key in found["processes"][0])], rows)
        say(f"{folder}: {agree}, in all {simulation.processes} processes")
    elif not simulation.roi:
        say(f"{folder}: {agree}; {found['sim_insts']:,} instructions of the whole program, statistics in stats.txt")
    else:
        layers = load_run(folder)
        show_layers(layers)
        cycles = totals(layers)["cycles"].iloc[0]
        what = "no cycles: this CPU does not model time" if cycles != cycles else f"{cycles:,.0f} cycles per image"
        say(f"{folder}: {agree}; {what} ({layers['source'].iloc[0]})")


@commands.command("sweep", rich_help_panel=PANEL)
def sweep_(
    spec: Annotated[
        Path, typer.Argument(metavar="SPEC", help="A TOML or JSON file (docs/sweeps.md).", callback=expect("sweep"))
    ],
    out: Annotated[
        Path | None, out_option("Folder of the ledger and all products (default: build/sweeps/<spec>).")
    ] = None,
    jobs: Jobs = PROCESSORS,
    retry: Annotated[bool, typer.Option("--retry", help="Run points again that did not end well.")] = False,
    gem5: Gem5 = None,
    cluster: ClusterAddress = "",
    as_json: AsJson = False,
) -> None:
    """Simulate networks x ISAs x machines x pattern sets; runs only what the ledger lacks, goes on after a kill."""
    from sysmol.analysis.page import render
    from sysmol.analysis.sweep_page import sweep_page
    from sysmol.files import atomic_write_text
    from sysmol.workbench.sweep.ledger import LAYER, Ledger
    from sysmol.workbench.sweep.runner import run_sweep
    from sysmol.workbench.sweep.show import Display
    from sysmol.workbench.sweep.spec import load_spec

    checked = load_spec(spec)
    folder = out or Path("build/sweeps") / spec.stem
    with Display() as progress:
        tally = run_sweep(checked, folder, jobs, progress, retry=retry, gem5=gem5, cluster=cluster)
    table = Ledger(folder).frame()
    table = table[table["kind"] != LAYER]
    columns = ["variant", "isa", "machine", "patterns", "cpu", "images", "status", "cycles", "macs_per_cycle", "kind"]
    show_table(columns, table[columns].astype(object).to_numpy().tolist())
    if checked.layers_once:
        say("networks are sums over their layers: every different layer ran alone, equal ones once")
    page = sweep_page(table, f"Sweep {spec.stem}", shlex.join(["sysmol", *sys.argv[1:]]))
    atomic_write_text(folder / "sweep.html", render(page))
    ended = ", ".join(f"{count} {status}" for status, count in tally.ended.items()) or "nothing"
    written = f"{folder / 'ledger.csv'}, {folder / 'sweep.html'}"
    say(f"{tally.points} points: {tally.known} known before; ran {tally.ran}: {ended}; wrote {written}")


@commands.command("verify-gem5", rich_help_panel=PANEL)
def verify_gem5(
    isa: Isas = None,
    cpu: Cpus = None,
    seed: Annotated[
        int, typer.Option(min=0, max=MOST_SEED, help="Seed of the first batch of programs; the next ones count up.")
    ] = 1,
    instructions: Annotated[int, typer.Option(min=1, help="SMOL instructions per ISA over all core models.")] = 100_000,
    batches: Annotated[int, typer.Option(min=0, help="That many batches instead (0: by --instructions).")] = 0,
    programs: Annotated[int, typer.Option(min=1, help="Programs per batch.")] = 40,
    machine: MachineName = DEFAULT_MACHINE,
    gem5: Gem5 = None,
    jobs: Jobs = 2,
    out: Annotated[Path, out_option("Folder for programs, runs and verify.json.")] = Path("build/verify"),
    as_json: AsJson = False,
) -> None:
    """Random programs in gem5 against the Python model, whole state; exit status 1 where a core model differs."""
    from sysmol.verify.campaign import CPUS, ISAS, Settings, run_campaign, summary, totals

    settings = Settings(
        isas=tuple(isa or ISAS),
        cpus=tuple(cpu or CPUS),
        seed=seed,
        instructions=instructions,
        batches=batches or None,
        programs=programs,
        machine=machine,
        jobs=jobs,
        gem5=gem5,
    )
    rows = run_campaign(settings, out, say)
    columns = ["ISA", "core model", "programs", "instructions", "SMOL instructions", "words", "differences", "seconds"]
    show_table(columns, summary(rows))
    say("SMOL instructions: " + ", ".join(f"{name} {count:,}" for name, count in totals(rows).items()))
    found = [difference for row in rows for difference in row.differences]
    if found:
        raise CheckFailed(f"{len(found)} of the batches differ from the Python model: {found[0].text()}")


@commands.command("linux", rich_help_panel=PANEL)
def linux_(
    folder: Annotated[Path, typer.Argument(help="Where vmlinux and initramfs.cpio go.")],
    source: Annotated[
        Path | None, typer.Option(help="Linux source tree to build the kernel from (default: initramfs only).")
    ] = None,
    jobs: Jobs = 1,
    cross: Annotated[str, typer.Option(help="Prefix of the cross compiler.")] = "aarch64-linux-gnu-",
) -> None:
    """Build a small Linux for AArch64 that runs networks in gem5: `sysmol run --linux FOLDER`."""
    from sysmol.kernels_c.image.linux_system import build_initramfs, build_kernel

    say(str(build_initramfs(folder)))
    if source is not None:
        say(str(build_kernel(source, folder, jobs, cross, say)))


@commands.command(rich_help_panel=PANEL)
def patch(
    action: Annotated[str, typer.Argument(help="apply, check, revert or diff.")],
    tree: Annotated[Path, typer.Argument(metavar="GEM5_TREE", help="gem5's source tree.")],
    only: Annotated[
        list[str] | None, typer.Option("--patch", help="Only this patch; may be repeated (default: all).")
    ] = None,
) -> None:
    """Optional edits inside gem5's own tree: named operation classes, stock decoding, small RISC-V vectors."""
    from sysmol.isa_patches.command import run as run_patches

    run_patches(action, tree, only or [], say)
