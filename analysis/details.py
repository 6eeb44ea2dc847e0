"""The parts of a report that are folded away: all figures as tables, the machines, and where everything comes from."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from sysmol.analysis import runs
from sysmol.analysis.costs.energy.model import PARTS, Energies, Interval, ratio
from sysmol.analysis.costs.energy.networks import KEYS, shares_written, written
from sysmol.analysis.costs.estimate_errors import estimate_errors
from sysmol.analysis.costs.quantity import Absent, Kind
from sysmol.analysis.figures import isa_name, panels
from sysmol.analysis.headline import BASELINES
from sysmol.analysis.page import Block, Column, Details, Table, Text
from sysmol.analysis.page.values import percent, size, text, times
from sysmol.analysis.products import Results
from sysmol.analysis.summary import agreement

Form = Callable[[float], str] | None  # how a value is written; None: as it is

METRICS: Mapping[str, tuple[str, Form]] = {
    "accuracy_integer": ("accuracy of the integers", percent),
    "accuracy_float": ("accuracy in floating point", percent),
    "accuracy_fp32": ("accuracy of the full-precision original", percent),
    "test_images": ("test images", None),
    "parameters": ("parameters", None),
    "bits_per_parameter": ("stored bits per weight", None),
    "mean_smol_bits": ("mean precision of the channels, bits", None),
    "file_bytes": ("size of the file", size),
    "compression": ("smaller than fp32 parameters", times),
    "weight_bytes": ("weights in registers", size),
    "register_bits": ("bits per weight in registers", None),
}
"""Titles of what network files say of themselves, and how it is written."""

LAYER_COLUMNS: Mapping[str, Column] = {
    "layer": Column("layer"),
    "op": Column("operation", minor=True),
    "cycles": Column("cycles", number=True),
    "interval": Column("between", number=True, minor=True),
    "macs": Column("multiply-accumulates", number=True, minor=True),
    "macs_per_cycle": Column("MACs per cycle", number=True),
    "energy": Column("energy, estimate", number=True, minor=True),
    "ipc": Column("instructions per cycle", number=True, minor=True),
    "insts": Column("instructions", number=True, minor=True),
    "smol": Column("SMOL", number=True),
    "simd": Column("other vector", number=True, minor=True),
    "load": Column("loads", number=True, minor=True),
    "store": Column("stores", number=True, minor=True),
    "vset": Column("vector set-up", number=True, minor=True),
    "scalar": Column("scalar", number=True, minor=True),
    "branch": Column("branches", number=True, minor=True),
    "fu_busy": Column("waits for a unit", number=True, minor=True),
    "mispredicts": Column("mispredictions", number=True, minor=True),
    "l1d_misses": Column("L1 data misses", number=True, minor=True),
    "l2_misses": Column("L2 misses", number=True, minor=True),
    "bytes": Column("bytes touched", number=True, minor=True),
    "limit": Column("limited by", minor=True),
}


def networks_table(results: Results) -> Table:
    """A row per figure of the network files, a column per network."""
    metrics = results.metrics
    keys = [key for key in METRICS if any(key in values for values in metrics.values())]
    keys += [key for values in metrics.values() for key in values if key not in keys and key not in METRICS]
    rows = []
    for key in dict.fromkeys(keys):
        title, form = METRICS.get(key, (key.replace("_", " "), None))
        cells = [values.get(key) for values in metrics.values()]
        rows.append([title, *(form(v) if form and isinstance(v, int | float) else text(v) for v in cells)])
    return Table.of(["", *(Column(variant, number=True) for variant in metrics)], rows)


def totals_table(results: Results) -> Table:
    """Whole networks on every ISA, source and machine, with full precision's and int8's cycles over theirs."""
    table = runs.totals(results.layers.dropna(subset=["cycles"]))
    energies = results.energies()
    same = ["isa", "source", "machine"]
    rows = []
    for row in table.to_dict("records"):
        peers = table[(table[same] == pd.Series({key: row[key] for key in same})).all(axis=1)].set_index("variant")
        ratios = [
            peers["cycles"].get(base, math.nan) / row["cycles"] if results.ratios_to(base, row["isa"]) else math.nan
            for base in BASELINES
        ]
        cells = [isa_name(row["isa"]), row["variant"], row["source"], row["machine"], row["images"] or None]
        cells += [row[key] for key in ("cycles", "cycles_cold", "macs_per_cycle", "ipc")]
        found = energies[tuple(str(row[key]) for key in KEYS)]
        cells.append(None if isinstance(found, Absent) else written(Interval.of(found.total)))
        rows.append([*cells, *map(times, ratios)])
    columns = [
        Column("ISA"), Column("network"), Column("source"), Column("machine", minor=True),
        Column("images", number=True, minor=True), Column("cycles per image", number=True),
        Column("first image", number=True, minor=True), Column("MACs per cycle", number=True, minor=True),
        Column("instructions per cycle", number=True, minor=True), Column("energy, estimate", number=True),
        Column("cycles of fp32 over it", number=True), Column("of int8", number=True),
    ]  # fmt: skip
    return Table.of(columns, rows)


def layer_tables(results: Results) -> list[Block]:
    """A table per run and estimate."""
    tables: list[Block] = []
    energies = results.energies()
    for key, rows in results.layers.groupby(KEYS, sort=False):
        isa, variant, _, machine, source = key
        found = energies[tuple(map(str, key))]
        energy = None if isinstance(found, Absent) else [written(Interval.of(values)) for values in found.layers]
        rows = rows.assign(interval=rows.apply(_between, axis=1), energy=energy)
        names = [name for name in LAYER_COLUMNS if name in rows and not rows[name].isin([None, math.nan, 0]).all()]
        table = Table.of([LAYER_COLUMNS[name] for name in names], rows[names].itertuples(index=False))
        tables.append(Details(f"{variant}, {isa_name(str(isa))}: {source}, machine {machine}", [table]))
    return tables


def _between(row: pd.Series) -> str | None:
    """The interval of a layer's cycles, where it is not a point."""
    low, high = row["cycles_low"], row["cycles_high"]
    return f"{low:,.0f} to {high:,.0f}" if low < high else None


def energy_table(results: Results) -> Table | None:
    """Where the energy of every network goes, and how many times it full precision's and int8's are."""
    known = {key: found for key, found in results.energies().items() if not isinstance(found, Absent)}
    if not known:
        return None
    rows = []
    for key, found in known.items():
        isa, variant, cpu, machine, source = key
        peers = [known.get((isa, base, cpu, machine, source)) for base in BASELINES]
        named = zip(BASELINES, peers, strict=True)
        gains = [_gain(peer, found) if peer and base != variant else None for base, peer in named]
        shares = shares_written(found)
        rows.append([isa_name(isa), variant, source, written(Interval.of(found.total)), *gains, *shares.values()])
    columns = [Column("ISA"), Column("network"), Column("events", minor=True), Column("energy per image", number=True)]
    columns += [Column(f"{base} over it", number=True) for base in BASELINES]
    return Table.of([*columns, *(Column(part, number=True, minor=True) for part in PARTS)], rows)


def _gain(base: Energies, own: Energies) -> str:
    found = ratio(base, own)
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def errors_table(results: Results) -> Table | None:
    """Calculated cycles against gem5, where both exist on one machine."""
    errors = estimate_errors(results.layers)
    if errors.empty:
        return None
    rows = [
        [isa_name(row["isa"]), row["variant"], row["machine"], row["measured"], row["estimated"],
         percent(row["ratio"], 0), row["worst_layer"], percent(row["worst_ratio"], 0)]
        for row in errors.to_dict("records")
    ]  # fmt: skip
    columns = [
        Column("ISA"), Column("network"), Column("machine", minor=True), Column("measured cycles", number=True),
        Column("calculated", number=True), Column("calculated of measured", number=True),
        Column("farthest layer", minor=True), Column("there", number=True, minor=True),
    ]  # fmt: skip
    return Table.of(columns, rows)


def agreement_table(results: Results) -> Table:
    """Who computed the logits of how many images, and whether they are the network file's."""
    rows = []
    for row in agreement(results):
        verdict = "equal" if row["mismatches"] == 0 else f"{row['mismatches']} DIFFER"
        terms = "bit for bit" if not row["tolerance"] else f"within {row['tolerance']:g} relative"
        rows.append((row["what"], row["variant"], row["isa"], row["images"], verdict, terms))
    columns = [
        Column("computed by"), Column("network"), Column("ISA", minor=True), Column("images", number=True),
        Column("logits"), Column("equal means", minor=True),
    ]  # fmt: skip
    return Table.of(columns, rows)


def machine_details(machine: Mapping[str, Any]) -> Details:
    """A machine description (its JSON): latencies with their sources, units, and the rest."""
    functions = [
        (f"{name} ({row['class']})", row["cycles"], row["pipelined"], row["source"], row.get("note", ""))
        for name, row in machine["smol"]["functions"].items()
    ]
    latencies = [
        (", ".join(row["classes"]), row["cycles"], row["pipelined"], row["source"], row.get("note", ""))
        for row in machine["latencies"]
    ]
    smol = {key: value for key, value in machine["smol"].items() if key != "functions"}
    rest = {"smol": smol} | {key: machine[key] for key in ("core", "caches", "memory", "clock_ghz", "sources")}
    rows = [
        (part, key, str(value))
        for part, content in rest.items()
        for key, value in (content.items() if isinstance(content, dict) else [("", content)])
    ]
    units = [(unit["name"], unit["count"], ", ".join(unit["classes"])) for unit in machine["units"]]
    cycles = Column("cycles", number=True)
    return Details(
        f"Machine {machine['name']}",
        [
            Text(machine["description"]),
            Table.of(
                ["operation class", cycles, Column("pipelined", minor=True), "source", Column("note", minor=True)],
                functions + latencies,
            ),
            Table.of(["part", "field", "value"], rows),
            Table.of(["unit", Column("count", number=True), "operation classes"], units),
        ],
    )


def provenance_table(results: Results, facts: Mapping[str, Any]) -> Table:
    """What everything on the page was made from."""
    rows: list[tuple[str, str]] = [
        ("made", f"{facts['created']} by sysmol {facts['sysmol']} on {facts['host']}"),
        ("command", facts["command"]),
    ]
    for variant in results.variants:
        rows.append((f"network {variant}", f"sha256 {results.network_hashes[variant]}"))
    for manifest in results.manifests:
        parts = (f"sha256 {manifest['elf']['sha256']}", manifest["compiler"]["version"], manifest["dataflow"])
        rows.append((f"executable {manifest['variant']} {manifest['isa']}", "; ".join(parts)))
    for run in results.runs:
        made = f"{runs.run_source(run)}, seed {run['seed']}, instruction table {run['isa_fingerprint']}"
        rows.append((f"run {run['folder']}", f"{made}: {shlex.join(run['command'])}"))
    if results.stale:
        rows.append(("left out, made from other networks or executables", ", ".join(results.stale)))
    return Table.of(["what", "from"], rows)


def calculated_kinds(results: Results) -> list[Kind]:
    """How cycles that were not measured are known."""
    kinds = {str(kind) for rows in panels(results.layers) for kind in rows["kind"]}
    return [kind for kind in Kind if kind is not Kind.MEASURED and kind in kinds]
