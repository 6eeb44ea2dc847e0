"""Commands that simulate in gem5 and prepare what it needs."""

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from sysmol.cli.options import DEFAULT_MACHINE, SMOL_HELP, ClusterAddress, MachineName, ManifestFile, say
from sysmol.cli.tables import show_layers, show_table
from sysmol.errors import CheckFailed, SysmolError

PANEL = "Simulate in gem5"
commands = typer.Typer()


@commands.command("run", rich_help_panel=PANEL)
def run_(
    manifest: ManifestFile,
    isa: Annotated[str, typer.Option(help="arm or riscv (default: the manifest's).")] = "",
    cpu: Annotated[str, typer.Option(help="o3, timing, minor or atomic.")] = "o3",
    machine: MachineName = DEFAULT_MACHINE,
    out: Annotated[Path | None, typer.Option(help="Run folder (default: build/runs/<executable>-<cpu>).")] = None,
    images: Annotated[int, typer.Option(min=1, help="Test images.")] = 1,
    patterns: Annotated[str, typer.Option(help="P4, P8, P45 or a list of patterns (default: the machine's).")] = "",
    smol: Annotated[str, typer.Option(help=SMOL_HELP)] = "",
    linux: Annotated[
        Path | None, typer.Option(help="Run under the Linux of this folder (`sysmol linux`), booted where needed.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="With --linux: how many run at the same time.")] = 1,
) -> None:
    """Simulate an executable in gem5 and compare its logits; leaves a run folder."""
    from sysmol.analysis.runs import load_run, totals
    from sysmol.configs_gem5.launch import boot_linux, run_gem5
    from sysmol.configs_gem5.request import Simulation
    from sysmol.manifest import load_manifest

    facts = load_manifest(manifest)
    target = isa or facts["isa"]
    if target not in ("arm", "riscv"):
        raise SysmolError(
            f"{manifest} is built for {target}, which gem5 does not simulate: compile it for arm or riscv"
        )
    mode = "linux" if linux else str(facts.get("mode", "se"))
    folder = out or Path("build/runs") / f"{facts['variant']}-{target}{'' if mode == 'se' else '-' + mode}-{cpu}"
    boot = boot_linux(linux, machine=machine) if linux else None
    simulation = Simulation(
        target, cpu, machine, patterns or None, smol or None, images=images, mode=mode, boot=boot, processes=processes
    )
    found = run_gem5(manifest, folder, simulation)
    if processes > 1:
        rows = [[number, *process.values()] for number, process in enumerate(found["processes"])]
        show_table(["process", *(key.replace("_", " ") for key in found["processes"][0])], rows)
        say(f"{folder}: logits of all {processes} processes as expected")
        return
    layers = load_run(folder)
    show_layers(layers)
    cycles = totals(layers)["cycles"].iloc[0]
    what = "no cycles: this CPU does not model time" if cycles != cycles else f"{cycles:,.0f} cycles per image"
    say(f"{folder}: logits as expected; {what} ({layers['source'].iloc[0]})")


@commands.command("sweep", rich_help_panel=PANEL)
def sweep_(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="A TOML or JSON file (docs/sweeps.md).")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the ledger and all products (default: build/sweeps/<spec>).")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Simulations at a time (default: all processors).")] = (
        os.cpu_count() or 1
    ),
    retry: Annotated[bool, typer.Option("--retry", help="Run points again that did not end well.")] = False,
    gem5: Annotated[Path | None, typer.Option(help="A gem5 binary (default: the newest with the plug-in).")] = None,
    cluster: ClusterAddress = "",
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
    isa: Annotated[list[str] | None, typer.Option(help="arm or riscv; may be repeated (default: both).")] = None,
    cpu: Annotated[
        list[str] | None, typer.Option(help="atomic, timing, minor or o3; may be repeated (default: all four).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the first batch of programs; the next ones count up.")] = 1,
    instructions: Annotated[int, typer.Option(min=1, help="SMOL instructions per ISA over all core models.")] = 100_000,
    batches: Annotated[int, typer.Option(min=0, help="That many batches instead (0: by --instructions).")] = 0,
    programs: Annotated[int, typer.Option(min=1, help="Programs per batch.")] = 40,
    machine: MachineName = DEFAULT_MACHINE,
    gem5: Annotated[Path | None, typer.Option(help="A gem5 binary (default: the newest with the plug-in).")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="ISAs checked at once.")] = 2,
    out: Annotated[Path, typer.Option(help="Folder for programs, runs and verify.json.")] = Path("build/verify"),
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
    columns = ["ISA", "core model", "programs", "instructions", "SMOL instructions", "differences", "seconds"]
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
    jobs: Annotated[int, typer.Option(min=1, help="Compiler processes.")] = 1,
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
