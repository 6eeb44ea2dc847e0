"""The report: one page from :class:`sysmol.analysis.products.Results`, complete in itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sysmol.analysis import details, figures
from sysmol.analysis.costs.calculated import FORMULAS
from sysmol.analysis.costs.energy.model import quantity
from sysmol.analysis.costs.energy.networks import KEYS
from sysmol.analysis.costs.objectives import objective
from sysmol.analysis.costs.quantity import Absent, Kind, Quantity
from sysmol.analysis.front import trade_off_figure
from sysmol.analysis.headline import designs, points, tiles, totals
from sysmol.analysis.learning import learning_curve
from sysmol.analysis.moved import moved_from
from sysmol.analysis.page import Block, Details, Figure, Figures, Page, Section, Table, Text, render
from sysmol.analysis.precisions import precision_table
from sysmol.analysis.products import Results
from sysmol.analysis.summary import summary
from sysmol.files import atomic_write_json, atomic_write_text

ENERGY_SOURCE = "energy of counted events"
ENERGY_NOTE = (
    "Estimates: events that were counted, times constants that are drawn from ranges with sources; the median between "
    "the 5% and the 95% quantile. Ratios are formed with the same constants on both sides, so they are narrower than "
    "the energies. Background: cycles. Nothing but the core, its caches and the memory's lines is in it."
)
FOLDED_LAYERS = 40
"""Networks with more layers than this have their figures per layer folded away."""


def page_of(results: Results, facts: Mapping[str, Any]) -> Page:
    """The page. ``facts`` is what :func:`sysmol.analysis.summary.summary` gives, so that page and JSON agree."""
    main = results.networks[facts["network"]]
    sections = [
        _trade_offs(results),
        _layers(results, facts["network"]),
        _learning(results),
        Section("Details", _details(results, facts)),
    ]
    return Page(
        title=main.name if facts["network"] in main.name else f"{main.name}: {facts['network']}",
        subtitle=main.description,
        tiles=tiles(results, facts),
        sections=[section for section in sections if section and section.blocks],
        foot=f"{facts['command']} (sysmol {facts['sysmol']}, {facts['created']})",
    )


def _trade_offs(results: Results) -> Section:
    """Accuracy over cycles and over size."""
    known = designs(results)
    colours = {name: figures.variant_colour(name, results.variants) for name in results.variants}
    found = []
    for rows in figures.panels(results.cycles()):
        costs = totals(rows)
        shown = points(known, costs)
        if len(shown):
            kind = next(iter(costs.values())).kind
            word = "" if kind is Kind.MEASURED else f" ({kind})"
            label = f"{objective('cycles').title}, {figures.isa_name(rows['isa'].iloc[0])}{word}"
            caption = f"Accuracy over {label}; {rows['source'].iloc[0]}, machine {rows['machine'].iloc[0]}."
            found.append(Figure(trade_off_figure(shown, label, colours), caption))
        shown = points(known, _energies(results, rows))
        if len(shown):
            label = f"{objective('energy').title}, {figures.isa_name(rows['isa'].iloc[0])} ({Kind.ESTIMATE})"
            found.append(Figure(trade_off_figure(shown, label, colours), f"Accuracy over {label}."))
    sizes = {
        name: Quantity.exact(design.file_bytes, "bytes", Kind.MEASURED, "network file")
        for name, design in known.items()
        if design.file_bytes is not None
    }
    shown = points(known, sizes)
    if len(shown):
        label = objective("size").title
        found.append(Figure(trade_off_figure(shown, label, colours), f"Accuracy over {label}."))
    note = "Bars: 95% intervals of the accuracies (Wilson); points are labelled with the network."
    if details.calculated_kinds(results):
        note += " Hollow points and hatched bars were not measured but calculated; their bars hold 19 of 20 networks."
    return Section("Accuracy, cycles and size", [Figures(found), Text(note, note=True)] if found else [])


def _energies(results: Results, rows: pd.DataFrame) -> dict[str, Quantity]:
    """Energies of a panel's networks, of those that have one."""
    energies = results.energies()
    keys = [tuple(map(str, key)) for key in rows[KEYS].drop_duplicates().itertuples(index=False)]
    return {
        key[KEYS.index("variant")]: quantity(found.total, ENERGY_SOURCE)
        for key in keys
        if not isinstance(found := energies[key], Absent)
    }


def _layers(results: Results, main: str) -> Section:
    """Cycles per layer, and precisions of the input channels: the main network's, and of others that mix them."""
    groups = figures.panels(results.cycles())
    found = [
        Figure(figures.layers_figure(rows, results.variants), f"{figures.panel_title(rows)}. Cycles for one image.")
        for rows in groups
    ]
    for variant in [main, *(name for name in results.variants if name != main)]:
        table = precision_table(results.networks[variant])
        if len(table) and (variant == main or len(set(table["bits"]) - {8}) > 1):
            caption = f"Precision of the input channels, network {variant}."
            found.append(Figure(figures.precision_figure(table), caption))
    blocks: list[Block] = [Figures(found)] if found else []
    if max((rows["layer"].nunique() for rows in groups), default=0) > FOLDED_LAYERS:
        blocks = [Details("Figures per layer", blocks)]
    for kind in details.calculated_kinds(results):
        blocks.append(Text(f"What is called “{kind}” was not simulated: {FORMULAS[kind]}", note=True))
    blocks += [Text(f"{note}.", note=True) for note in results.notes]
    patterns = precision_table(results.networks[main]).query("patterns != ''").drop_duplicates("layer")
    if len(patterns):
        columns = ("layer", "4-, 2- and 1-bit chunks of each register")
        rows = patterns[["layer", "patterns"]].itertuples(index=False)
        blocks.append(Details(f"Patterns of {main}", [Table.of(columns, rows)]))
    return Section("Layer by layer", blocks)


def _learning(results: Results) -> Section:
    """Learning curves, where the files hold them."""
    curves = {variant: learning_curve(results.networks[variant]) for variant in results.variants}
    curves = {variant: rows for variant, rows in curves.items() if len(rows) > 1}
    if not curves:
        return Section("Learning", [])
    found = [
        Figure(figures.learning_figure(curves, column, label, scale), caption)
        for column, label, scale, caption in (
            ("accuracy", "training accuracy, %", 100, "Accuracy on the training images, as training distorts them."),
            ("loss", "training loss", 1, "Loss on the training images. A mark stands where a phase ends."),
        )
    ]
    learned = {variant: rows for variant, rows in curves.items() if rows["bits"].nunique() > 1}
    if learned:
        caption = "Mean precision of the channels by epoch."
        found.append(Figure(figures.learning_figure(learned, "bits", "mean bits of a channel"), caption))
    return Section("Learning", [Figures(found)])


def _details(results: Results, facts: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = [Details("Networks", [details.networks_table(results)])]
    if len(results.cycles()):
        note = (
            "Cycles per image: the mean over the images after the first one, where there are several. First image: "
            "with cold caches and predictors."
        )
        blocks.append(Details("Cycles of whole networks", [details.totals_table(results), Text(note, note=True)]))
        energy = details.energy_table(results)
        if energy:
            blocks.append(Details("Energy of whole networks", [energy, Text(ENERGY_NOTE, note=True)]))
        errors = details.errors_table(results)
        if errors:
            blocks.append(Details("Calculated cycles against gem5", [errors]))
        blocks.append(Details("Layers", details.layer_tables(results)))
    if facts["agreement"]:
        blocks.append(Details("Logits: who computed them", [details.agreement_table(results)]))
    blocks += [details.machine_details(machine) for machine in results.machines.values()]
    return [*blocks, Details("Provenance", [details.provenance_table(results, facts)])]


def write_report(results: Results, out: str | Path, command: str, main_variant: str = "mixed") -> dict[str, Any]:
    """Write report.html, summary.json, layers.csv and cycles.svg into the folder ``out``; returns the summary."""
    out = Path(out)
    facts = summary(results, command, main_variant)
    page = render(page_of(results, facts))
    best = results.cycles()
    if len(best):
        atomic_write_text(out / "cycles.svg", figures.cycles_figure(best, results.variants))
        atomic_write_text(out / "layers.csv", results.layers.to_csv(index=False))
    atomic_write_text(out / "report.html", page)
    atomic_write_json(out / "summary.json", facts)
    return facts


if not TYPE_CHECKING:  # type checkers would take every name for defined
    __getattr__ = moved_from(__name__)
