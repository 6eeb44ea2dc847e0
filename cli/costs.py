"""Commands that tell what layers cost without gem5, and what hardware that asks for."""

import itertools
from pathlib import Path
from typing import Annotated, Any

import typer

from sysmol.cli.file_kinds import expect
from sysmol.cli.options import (
    COUNT_HELP,
    DEFAULT_COST,
    DEFAULT_MACHINE,
    CalculatedBy,
    MachineName,
    ManifestFile,
    NetworkFiles,
    SmolUnit,
    out_option,
    some_of,
)
from sysmol.cli.tables import AsJson, say, show_layers, show_table
from sysmol.errors import SysmolError

PANEL = "Estimate and choose"
commands = typer.Typer()
METHODS = ("milp", "greedy", "exhaustive")


@commands.command("estimate", rich_help_panel=PANEL)
def estimate_(
    manifest: ManifestFile,
    machine: MachineName = DEFAULT_MACHINE,
    smol: SmolUnit = "",
    cost: CalculatedBy = DEFAULT_COST,
    as_json: AsJson = False,
) -> None:
    """Cycles per layer without gem5: predicted by the core's twin, or estimated."""
    from sysmol.analysis.costs import calculated
    from sysmol.analysis.costs.models import every_cost
    from sysmol.analysis.costs.workload import Workload
    from sysmol.analysis.runs import totals
    from sysmol.machine import load_machine

    described = load_machine(machine).with_smol(smol) if smol else load_machine(machine)
    workload = Workload.compiled(manifest)
    cost, notes = calculated.usable(workload, cost)
    layers = calculated.layers(workload, described, cost)
    show_layers(layers)
    cycles, source = totals(layers)["cycles"].iloc[0], layers["source"].iloc[0]
    say(f"{source}: {cycles:,.0f} cycles per image on {described.name}; not simulated")
    for note in [*notes, *calculated.notes([workload], described, cost)]:
        say(note)
    found = every_cost(workload, described, by=cost)
    say(f"energy: {found.energy}")
    say(f"area of the SMOL units: {found.area}")


@commands.command(rich_help_panel=PANEL)
def costs(
    manifest: ManifestFile,
    machine: MachineName = DEFAULT_MACHINE,
    run: Annotated[
        Path | None,
        typer.Option(help="gem5's run folder of it (default: as --cost says).", callback=expect("run folder")),
    ] = None,
    cost: CalculatedBy = DEFAULT_COST,
    out: Annotated[Path | None, out_option("JSON file to write.")] = None,
    as_json: AsJson = False,
) -> None:
    """What a 128-bit vector of every layer's input costs in cycles (docs/patterns.md)."""
    from sysmol.analysis.costs import calculated
    from sysmol.analysis.costs.vectors import layer_costs
    from sysmol.analysis.costs.workload import Workload
    from sysmol.machine import load_machine

    described = load_machine(machine)
    found = layer_costs(manifest, described, run, cost)
    for note in calculated.notes([Workload.compiled(manifest)], described, cost) if run is None else []:
        say(note)
    rows = [[name, each.cycles, each.vectors or None, each.cycles_per_vector] for name, each in found.layers.items()]
    rows.append(["total", found.cycles, None, None])
    title = f"{found.name} ({found.variant}) on {found.isa}, {found.machine}; cycles from: {found.source}"
    show_table(["layer", "cycles", "vectors", "cycles per vector"], rows, title=title)
    if out is not None:
        say(f"wrote {found.write(out)}")


@commands.command(rich_help_panel=PANEL)
def patterns(
    networks: NetworkFiles,
    costs: Annotated[
        list[Path] | None,
        typer.Option(
            help="What `sysmol costs` wrote, once per network (default: SMOL instructions).", callback=expect("costs")
        ),
    ] = None,
    count: Annotated[list[int] | None, typer.Option(min=1, max=45, help=f"{COUNT_HELP}; may be repeated.")] = None,
    area: Annotated[
        list[float] | None,
        typer.Option(min=0, metavar="UM2", help="The best patterns within this array area instead; may be repeated."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[milp|greedy|exhaustive]",
            callback=some_of(*METHODS),
            help="May be repeated (default: the first two).",
        ),
    ] = None,
    time_limit: Annotated[float, typer.Option(min=0, help="Seconds for each programme.")] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Choose the best of the 45 precision patterns for trained networks (docs/patterns.md)."""
    from sysmol.analysis.costs.area import chunk_area
    from sysmol.analysis.costs.vectors import read_costs
    from sysmol.network import load
    from sysmol.pattern import pattern_name
    from sysmol.patterns.area_budget import choose_within_area
    from sysmol.patterns.demands import network_demands
    from sysmol.patterns.selection import choose

    if costs and len(costs) != len(networks):
        raise SysmolError(f"{len(networks)} networks and {len(costs)} costs: give --costs once per network, in order")
    known = [read_costs(path) for path in costs or []]
    demands = [
        demand
        for path, own in itertools.zip_longest(networks, known)
        for demand in network_demands(load(path), own.per_vector if own else None)
    ]
    rows: list[list[Any]] = []
    chunks = chunk_area()
    for budget in area or []:
        found = choose_within_area(demands, chunks, budget)
        chosen = " ".join(pattern_name(i) for i in found.patterns)
        size, figures = (
            chunks.of(found.patterns),
            [sum(found.vectors), found.cycles, "optimal", round(found.seconds, 2)],
        )
        rows.append([len(found.patterns), f"{budget:g} um2", chosen, size, *figures])
    for number in count or ([] if area else [4, 8, 45]):
        for name in method or ["milp", "greedy"]:
            found = choose(demands, number, name, time_limit=time_limit)
            chosen = " ".join(pattern_name(i) for i in found.patterns)
            proof = "optimal" if found.optimal else f"within {found.gap:.2%}"
            size, figures = (
                chunks.of(found.patterns),
                [sum(found.vectors), found.cycles, proof, round(found.seconds, 2)],
            )
            rows.append([number, name, chosen, size, *figures])
    unit = "cycles" if known else "SMOL instructions"
    sources = ", ".join(f"{found.source} on {found.machine}" for found in known) or "no costs given"
    columns = ["N", "method", "patterns", "array, um2", "vectors", unit, "proof", "seconds"]
    show_table(columns, rows, title=f"{len(demands)} channel orders; {unit} that depend on vectors ({sources})")
