"""Tables of docs/hardware-cost.md and docs/energy.md that need results: pattern sets by area, energy of networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from sysmol import hwcost
from sysmol.analysis.costs.energy.constants import cores
from sysmol.analysis.costs.energy.model import PARTS, Energies, Interval, network_energy, ratio
from sysmol.analysis.costs.quantity import Absent
from sysmol.analysis.markdown import number
from sysmol.analysis.markdown import table as markdown
from sysmol.analysis.page.values import microjoules, percent
from sysmol.benchmarks.plan import MACHINE, MATRIX_MACHINE
from sysmol.machine import load_machine
from sysmol.pattern import pattern_name

Frame = pd.DataFrame
NETWORKS = ("resnet8", "mobilenetv2_stem2")
BASE = "int8"
BASELINES = ("fp32", "int8", "int8-mmla")
STAGES = 3
"""Of the arrays beside each other: the depth at sdot's clock."""


def pattern_area(data: dict[str, Frame]) -> str:
    """The named sets and the best ones, by area: cycles, what a chunk can hold, measured area."""
    rows = []
    costs = hwcost.read()
    for row in data["pattern_area"].query("kind != 'front'").to_dict("records"):
        ids = tuple(map(int, str(row["patterns"]).split()))
        patterns = " ".join(map(pattern_name, ids)) if len(ids) <= 8 else f"{len(ids)} patterns"
        chunks = " ".join(str(held).replace("/", "") for held in row["chunks"].split())
        measured = _measured(costs, str(row["name"]), ids)
        rows.append([row["name"], patterns, chunks, f"{row['area_um2']:.0f}", measured, f"{row['over_p45']:+.1%}"])
    head = ["set", "patterns", "what chunks 0 to 7 hold", "um2, sum of chunks", "um2, synthesised", "cycles over P45's"]
    return markdown(head, rows)


def _measured(costs: dict[str, Any], name: str, ids: tuple[int, ...]) -> str:
    """Logic of the one-stage array with these patterns, where the table has it."""
    for key in (name, ",".join(map(str, ids))):
        for row in costs["points"]:
            if hwcost.key(row) == ("array", key, 1, hwcost.MAIN_SCRIPT):
                return f"{row['logic_um2']:.0f}"
    return ""


def energies(table: Frame, name: str = MACHINE) -> dict[tuple[str, str, str], Energies]:
    """Energies by network, variant and ISA, of what ran to the end on a machine."""
    found = {}
    machine = load_machine(name)
    good = table[(table["status"] == "ok") & (table["layer"] != "total") & (table["machine"] == machine.name)]
    for key, rows in good.groupby(["network", "variant", "isa"], sort=False):
        records = [row | {"cpu": "o3", "source": f"gem5 {row['gem5']} o3"} for row in rows.to_dict("records")]
        each = network_energy(records, machine)
        if not isinstance(each, Absent):
            found[str(key[0]), str(key[1]), str(key[2])] = each
    return found


def _energy_table(table: Frame, networks: Sequence[str]) -> str:
    """Energy per image of these networks, how many times it int8's is, and where it goes."""
    known = energies(table)
    cycles = table.query("layer != 'total'").groupby(["network", "variant", "isa"])["cycles"].sum()
    rows = []
    for (network, variant, isa), each in known.items():
        if network not in networks:
            continue
        gain = _gain(known.get((network, BASE, isa)) if variant != BASE else None, each)
        faster = cycles.get((network, BASE, isa), math.nan) / cycles.get((network, variant, isa), math.nan)
        rows.append([network, variant, isa, _joules(each), gain, f"{faster:.2f}", *_shares(each)])
    head = ["network", "variant", "ISA", "energy per image", "energy of int8 over it", "cycles of int8 over it"]
    return markdown([*head, *PARTS], rows)


def _gain(base: Energies | None, own: Energies) -> str:
    """How many times ``own`` the energy of ``base`` is, with its interval."""
    if base is None:
        return "–"
    found = ratio(base, own)
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def _joules(found: Energies) -> str:
    """Energy with its interval."""
    total = Interval.of(found.total)
    return microjoules(total.value, total.low, total.high)


def _shares(found: Energies) -> list[str]:
    """Share of every part, medians."""
    return [percent(share.value, 1) for share in found.shares().values()]


def energy(data: dict[str, Frame]) -> str:
    """Of whole networks."""
    return _energy_table(data["kernels"], NETWORKS)


def energy_convolutions(data: dict[str, Frame]) -> str:
    """Of the networks that are one kind of layer."""
    table = data["kernels"]
    return _energy_table(table, [name for name in table["network"].unique() if name not in NETWORKS])


def energy_networks(data: dict[str, Frame]) -> str:
    """Of the network files of results/networks."""
    table = data["networks"]
    cycles = _totals(table)
    rows = [
        [network, isa, number(cycles[network, variant, isa, MACHINE]), _joules(each), *_shares(each)]
        for (network, variant, isa), each in energies(table).items()
    ]
    return markdown(["network file", "ISA", "cycles per image", "energy per image", *PARTS], rows)


def energy_matrix(data: dict[str, Frame]) -> str:
    """Of the networks that were measured with both pages of instructions, with what it is of the same core's int8."""
    base = energies(data["kernels"])
    table = data["matrix"]
    cycles = _totals(table)
    rows = []
    for (network, variant, isa), each in energies(table, MATRIX_MACHINE).items():
        gain = _gain(base.get((network, BASE, isa)), each)
        spent = number(cycles[network, variant, isa, MATRIX_MACHINE])
        rows.append([network, variant, isa, spent, _joules(each), gain, *_shares(each)])
    head = ["network", "variant", "ISA", "cycles per image", "energy per image", "energy of int8 over it"]
    return markdown([*head, *PARTS], rows)


def energy_constants(_: dict[str, Frame]) -> str:
    """Every constant with its range and source."""
    rows: list[Sequence[Any]] = []
    for core in cores():
        for name, constant in core.constants.items():
            between = f"{constant['low']:,g} to {constant['high']:,g} {constant['unit']}"
            rows.append([core.name, name, between, f"{constant['source']}. {constant['note']}"])
        if core.power is not None:
            between = f"{core.power['low']:,g} to {core.power['high']:,g} {core.power['unit']}"
            rows.append([core.name, "power", between, f"{core.power['source']}. {core.power['note']}"])
    return markdown(["core", "constant", "range", "source"], rows)


def latencies(data: dict[str, Frame]) -> str:
    """Cycles of networks by the SMOL latencies of the machine, what the baselines take over them, and how far such
    ratios are from those on the first machine. Baselines, which have no SMOL instructions, are those of the kernels."""
    table = _totals(data["latencies"])
    machines = list(dict.fromkeys(machine for *_, machine in table))
    kernels = {key[:3]: cycles for key, cycles in _totals(data["kernels"]).items() if key[3] == machines[0]}
    rows = []
    for network, variant, isa in dict.fromkeys(key[:3] for key in table):
        own = [table.get((network, variant, isa, machine), math.nan) for machine in machines]
        base = [kernels.get((network, name, isa), math.nan) for name in BASELINES]
        ratios = [" / ".join(number(other / each, "{:.2f}") for other in base) for each in own]
        changes = [number(own[0] / each - 1, "{:+.1%}") for each in own[1:]]
        rows.append([network, variant, isa, *map(number, own), *ratios, *changes])
    names = [f"`{machine}`" for machine in machines]
    head = [f"cycles, {name}" for name in names] + [f"{' / '.join(BASELINES)} over it, {name}" for name in names]
    head += [f"ratios against those on {names[0]}, {name}" for name in names[1:]]
    return markdown(["network", "variant", "ISA", *head], rows)


def _totals(table: Frame) -> dict[Any, float]:
    """Cycles by (network, variant, ISA, machine), of what ran to the end."""
    rows = table.query("layer != 'total' and status == 'ok'")
    return rows.groupby(["network", "variant", "isa", "machine"], sort=False)["cycles"].sum().to_dict()


TABLES = {
    "latencies": ("latencies", latencies),
    "pattern-area": ("pattern_area", pattern_area),
    "energy": ("kernels", energy),
    "energy-convolutions": ("kernels", energy_convolutions),
    "energy-networks": ("networks", energy_networks),
    "energy-matrix": ("matrix", energy_matrix),
    "energy-constants": ("kernels", energy_constants),
}
