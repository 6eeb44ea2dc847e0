"""Commands that turn networks into programs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sysmol.cli.options import DEFAULT_MACHINE, MachineName, ManifestFile, NetworkFile, say
from sysmol.cli.tables import show_table
from sysmol.errors import SysmolError

PANEL = "Generate kernels"
commands = typer.Typer()


@commands.command("compile", rich_help_panel=PANEL)
def compile_(
    network: NetworkFile,
    isa: Annotated[
        list[str] | None, typer.Option(help="host, arm or riscv; may be repeated (default: all three).")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for C, executables and manifests.")] = Path("build/bin"),
    variant: Annotated[str, typer.Option(help="Name of the products (default: from the file's name).")] = "",
    cc: Annotated[str, typer.Option(help="Cross compiler command to use instead of ziglang's.")] = "",
    mode: Annotated[str, typer.Option(help="se: programs for Linux; baremetal: programs without a system.")] = "se",
    schedule: Annotated[
        list[str] | None, typer.Option(metavar="LAYER=NAME", help="Schedule of a layer; may be repeated.")
    ] = None,
    style: Annotated[
        list[str] | None,
        typer.Option(metavar="FORMAT=STYLE", help="Multiply-accumulate for smol, s8 or f32 inputs; may be repeated."),
    ] = None,
    schedules: Annotated[Path | None, typer.Option(help="Schedules that `sysmol tune` stored.")] = None,
    pack: Annotated[str, typer.Option(help="How codes are stored: vqpk (the instruction) or simd.")] = "vqpk",
    machine: MachineName = DEFAULT_MACHINE,
) -> None:
    """Generate C for a network and compile it; writes a manifest beside each executable and shows its layers."""
    from sysmol.analysis.costs.estimate import estimate
    from sysmol.kernels_c.build import compile_network
    from sysmol.kernels_c.plan.heuristic import core_of
    from sysmol.kernels_c.plan.options import Options, parse_schedules, parse_styles
    from sysmol.kernels_c.plan.schedule_file import stored
    from sysmol.machine import load_machine
    from sysmol.network import load

    name = variant or network.name.removesuffix(".safetensors").removesuffix(".network")
    described = load_machine(machine)
    for target in isa or (["arm", "riscv"] if mode == "baremetal" else ["host", "arm", "riscv"]):
        if target not in ("host", "arm", "riscv"):
            raise SysmolError(f"there is no target {target!r}: choose host, arm or riscv")
        chosen = stored(schedules, load(network), target, described.name) if schedules else {}
        schedules_of = chosen | parse_schedules(schedule or [])
        options = Options(schedules_of, parse_styles(style or []), pack=pack, core=core_of(described))
        manifest = compile_network(network, target, out, variant=name, cc=cc or None, options=options, mode=mode)
        show_regions(manifest, None if target == "host" else estimate(manifest, described), machine)
        say(str(manifest))


@commands.command(rich_help_panel=PANEL)
def tune(
    network: NetworkFile,
    isa: Annotated[list[str] | None, typer.Option(help="arm or riscv; may be repeated (default: both).")] = None,
    machine: MachineName = DEFAULT_MACHINE,
    out: Annotated[Path, typer.Option(help="JSON file to which the chosen schedules are added.")] = Path(
        "build/schedules.json"
    ),
    folder: Annotated[Path, typer.Option(help="Folder for executables and runs; finished runs are reused.")] = Path(
        "build/tune"
    ),
    count: Annotated[int, typer.Option(min=1, help="Candidates per layer to simulate.")] = 6,
    images: Annotated[int, typer.Option(min=1, help="Images per simulation; the first warms the caches.")] = 2,
    gem5: Annotated[bool, typer.Option("--gem5/--no-gem5", help="Simulate, or choose by the estimate.")] = True,
) -> None:
    """Find the best schedule of every convolution: ranked by the estimate, the best few measured in gem5."""
    from sysmol.analysis.costs.estimate import bounds
    from sysmol.kernels_c.plan import schedule_file as store
    from sysmol.kernels_c.plan.heuristic import core_of
    from sysmol.kernels_c.plan.options import Options
    from sysmol.kernels_c.tune import search
    from sysmol.machine import load_machine
    from sysmol.workbench.measured_cycles import measured_cycles
    from sysmol.workbench.store import Store

    described, store_of_runs = load_machine(machine), Store(folder / "store")
    name = network.name.removesuffix(".safetensors").removesuffix(".network")
    for target in isa or ["arm", "riscv"]:
        if target not in ("arm", "riscv"):
            raise SysmolError(f"gem5 simulates arm and riscv, not {target!r}")
        results = search(
            network,
            target,
            described.name,
            folder / f"{name}-{target}-{described.name}",
            lambda region: max(bounds(region, described).values()),
            (lambda manifest, _: measured_cycles(store_of_runs, manifest, machine, images)) if gem5 else None,
            count,
            Options(core=core_of(described)),
            say,
        )
        store.write(out, {store.key(result.facts): result.entry() for result in results})
        rows: list[list[Any]] = []
        for result in results:
            own, best = result.cycles(result.heuristic), result.cycles(result.best)
            rows.append([", ".join(result.layers), result.heuristic, own, result.best, best, f"{own / best - 1:.1%}"])
        columns = ["layers", "heuristic", "cycles", "best", "cycles of best", "heuristic over best"]
        source = results[0].source if results else "no convolutions"
        show_table(columns, rows, title=f"{name} on {target}, {described.name} ({source})")
    say(f"wrote {out}")


@commands.command(rich_help_panel=PANEL)
def verify(manifest: ManifestFile) -> None:
    """Run a host executable on the network's sample images; exit status 1 where a logit differs."""
    from sysmol.workbench.steps.check import verify_on_host

    record = manifest.with_suffix(".check.json")
    verify_on_host(manifest, record)
    say(f"{manifest}: all sample images have the stored logits ({record})")


def show_regions(manifest: Path, estimated: Any, machine: str) -> None:
    """The layers of an executable: schedules, bytes, instructions, and estimated cycles where there is a machine."""
    from sysmol.manifest import load_manifest

    rows: list[list[Any]] = []
    kinds = ("smol", "vload", "vstore", "simd", "scalar", "branch")
    for index, region in enumerate(load_manifest(manifest)["regions"]):
        cycles = None if estimated is None else estimated["cycles"].iloc[index]
        limit = None if estimated is None else estimated["limit"].iloc[index]
        data = region["bytes_in"] + region["bytes_out"]
        instructions = sum(region["mix"][kind] for kind in kinds)
        sizes = [region["bytes_weights"], data, region["bytes_code"], instructions]
        rows.append([region["name"], region["op"], region["schedule"] or "–", *sizes, cycles, limit or "–"])
    if estimated is not None:
        sums = [sum(row[column] for row in rows) for column in range(3, 8)]
        rows.append(["total", "", "", *sums, ""])
    columns = ["layer", "op", "schedule", "weight bytes", "data bytes", "code bytes", "instructions"]
    title = f"{manifest.name}" + ("" if estimated is None else f": cycles are an estimate for {machine}")
    show_table([*columns, "cycles", "bound"], rows, title=title)
