"""Commands that turn networks into programs."""

import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sysmol.cli.file_kinds import expect
from sysmol.cli.options import (
    DEFAULT_COST,
    DEFAULT_MACHINE,
    CalculatedBy,
    Gem5,
    Isas,
    MachineName,
    ManifestFile,
    NetworkFile,
    NoGem5,
    Targets,
    moved,
    out_option,
)
from sysmol.cli.tables import AsJson, Share, say, show_table
from sysmol.isas import ISAS, TARGETS

PANEL = "Generate kernels"
commands = typer.Typer()


@commands.command("compile", rich_help_panel=PANEL)
def compile_(
    network: NetworkFile,
    isa: Targets = None,
    out: Annotated[Path, out_option("Folder for C, executables and manifests.")] = Path("build/bin"),
    name: Annotated[str, typer.Option(help="Name of the products (default: from the file's name).")] = "",
    cc: Annotated[str, typer.Option(help="Cross compiler command to use instead of ziglang's.")] = "",
    mode: Annotated[
        Literal["se", "baremetal"], typer.Option(help="se: programs for Linux; baremetal: programs without a system.")
    ] = "se",
    schedule: Annotated[
        list[str] | None, typer.Option(metavar="LAYER=NAME", help="Schedule of a layer; may be repeated.")
    ] = None,
    style: Annotated[
        list[str] | None,
        typer.Option(metavar="FORMAT=STYLE", help="Multiply-accumulate for smol, s8 or f32 inputs; may be repeated."),
    ] = None,
    schedules: Annotated[
        Path | None, typer.Option(help="Schedules that `sysmol tune` stored.", callback=expect("schedules"))
    ] = None,
    pack: Annotated[
        Literal["vqpk", "simd"], typer.Option(help="How codes are stored: by the instruction, or by vector code.")
    ] = "vqpk",
    machine: MachineName = DEFAULT_MACHINE,
    variant: Annotated[str | None, moved("--variant", "--name VALUE")] = None,
    as_json: AsJson = False,
) -> None:
    """Generate C for a network and compile it; writes a manifest beside each executable and shows its layers."""
    from sysmol.analysis.costs.estimate import estimate
    from sysmol.kernels_c.build import compile_network
    from sysmol.kernels_c.plan.heuristic import core_of
    from sysmol.kernels_c.plan.options import Options, parse_schedules, parse_styles
    from sysmol.kernels_c.plan.schedule_file import stored
    from sysmol.kernels_c.toolchain import KEEPS_VTYPE, first_build
    from sysmol.machine import load_machine
    from sysmol.manifest import load_manifest, measures_compiler
    from sysmol.network import load

    name = name or network.name.removesuffix(".safetensors").removesuffix(".network")
    described = load_machine(machine)
    targets: list[Any] = list(isa or (ISAS if mode == "baremetal" else TARGETS))
    if note := first_build(targets, cc or None):
        say(note)
    for target in targets:
        say(f"compiling {name} for {target} ...")
        begin = time.perf_counter()
        chosen = stored(schedules, load(network), target, described.name) if schedules else {}
        has = described.smol.capabilities
        schedules_of = chosen | parse_schedules(schedule or [])
        options = Options(schedules_of, parse_styles(style or []), pack=pack, core=core_of(described), has=has)
        manifest = compile_network(network, target, out, variant=name, cc=cc or None, options=options, mode=mode)
        say(f"compiled {name} for {target} in {time.perf_counter() - begin:.1f} s")
        if measures_compiler(load_manifest(manifest)):
            say(
                "this compiler sets vtype in the kernels, which gem5 v24.0 mispredicts: results are right, cycles no "
                f"measure; take clang {KEEPS_VTYPE} or newer, or leave --cc and SYSMOL_CC_RISCV out"
            )
        show_regions(manifest, None if target == "host" else estimate(manifest, described), machine)
        say(str(manifest))


@commands.command(rich_help_panel=PANEL)
def tune(
    network: NetworkFile,
    isa: Isas = None,
    machine: MachineName = DEFAULT_MACHINE,
    out: Annotated[Path, out_option("JSON file to which the chosen schedules are added.")] = Path(
        "build/schedules.json"
    ),
    folder: Annotated[Path, typer.Option(help="Folder for executables and runs; finished runs are reused.")] = Path(
        "build/tune"
    ),
    candidates: Annotated[int, typer.Option(min=1, help="Candidates per layer to simulate.")] = 6,
    images: Annotated[int, typer.Option(min=1, help="Images per simulation; the first warms the caches.")] = 2,
    gem5: Gem5 = None,
    no_gem5: NoGem5 = False,
    cost: CalculatedBy = DEFAULT_COST,
    count: Annotated[str | None, moved("--count", "--candidates VALUE")] = None,
    as_json: AsJson = False,
) -> None:
    """Find the best schedule of every convolution: ranked by calculated cycles, the best few measured in gem5."""
    from sysmol.analysis.costs import calculated
    from sysmol.kernels_c.plan import schedule_file as store
    from sysmol.kernels_c.plan.heuristic import core_of
    from sysmol.kernels_c.plan.options import Options
    from sysmol.kernels_c.program import generate
    from sysmol.kernels_c.targets import TARGETS as GENERATED
    from sysmol.kernels_c.tune import search
    from sysmol.machine import load_machine
    from sysmol.network import load
    from sysmol.workbench.measured_cycles import measured_cycles
    from sysmol.workbench.store import Store

    described, store_of_runs = load_machine(machine), Store(folder / "store")

    def measure(manifest: Path, _: Any) -> tuple[dict[str, float], str]:
        return measured_cycles(store_of_runs, manifest, machine, images, gem5)

    name = network.name.removesuffix(".safetensors").removesuffix(".network")
    options = Options(core=core_of(described), has=described.smol.capabilities)
    net = load(network)
    for target in isa or ISAS:
        regions = [vars(each) for each in generate(net, GENERATED[target], name, "sysmol tune", options).regions]
        for note in calculated.notes_of(net, regions, target, described, cost):
            say(note)
        results = search(
            network,
            target,
            described.name,
            folder / f"{name}-{target}-{described.name}",
            calculated.rate(net, regions, target, described, cost),
            None if no_gem5 else measure,
            candidates,
            options,
            say,
            calculated.source_of(cost),
        )
        store.write(out, {store.key(result.facts): result.entry() for result in results})
        rows: list[list[Any]] = []
        for result in results:
            own, best = result.cycles(result.heuristic), result.cycles(result.best)
            rows.append([", ".join(result.layers), result.heuristic, own, result.best, best, Share(own / best - 1)])
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
