"""One self-contained HTML page from :class:`sysmol.analysis.products.Results`: no scripts, styles or images from
elsewhere.
"""

import base64
import html
import math
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sysmol.analysis import figures, runs
from sysmol.analysis.costs.estimate import FORMULA
from sysmol.analysis.costs.estimate import SOURCE as ESTIMATE
from sysmol.analysis.costs.estimate_errors import estimate_errors
from sysmol.analysis.products import Results
from sysmol.analysis.summary import agreement, summary
from sysmol.files import atomic_write_json, atomic_write_text
from sysmol.grid import PRECISIONS
from sysmol.network import Network
from sysmol.pattern import pattern_name

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1a1a1a;background:#fff}
body{max-width:1180px;margin:2em auto;padding:0 1.2em}
h1{font-size:1.7em;margin-bottom:.2em}
h2{font-size:1.2em;margin-top:2em;border-bottom:1px solid #ddd;padding-bottom:.2em}
p.note,figcaption{color:#555;font-size:.9em}figure{margin:1em 0}img{max-width:100%}
table{border-collapse:collapse;font-size:.88em;font-variant-numeric:tabular-nums;margin:.6em 0}
th{cursor:pointer;text-align:left;white-space:nowrap;background:#f4f6f8;padding:.3em .7em}
th{border-bottom:2px solid #cfd6dd}
td{padding:.22em .7em;border-bottom:1px solid #eee}td.n{text-align:right}tbody tr:hover{background:#f8fafc}
.wide{overflow-x:auto}.tiles{display:flex;flex-wrap:wrap;gap:.8em;margin:1em 0}
.tile{border:1px solid #dde3e9;border-radius:6px;padding:.6em 1em;min-width:8.5em}
.tile b{display:block;font-size:1.35em}.tile span{color:#555;font-size:.85em}
.bad{color:#b00020;font-weight:600}.good{color:#00695c}
details{margin:.6em 0}
"""

# Click on a column's head sorts by it; data-v carries the unformatted value.
SORT = """
for(const th of document.querySelectorAll('th'))th.onclick=()=>{
 const body=th.closest('table').tBodies[0],i=th.cellIndex,up=th.dataset.up!=='1';th.dataset.up=up?'1':'0';
 const key=r=>{const c=r.cells[i],v=c.dataset.v;return v===undefined?c.textContent:(v===''?-Infinity:+v)};
 [...body.rows].sort((a,b)=>{const x=key(a),y=key(b);return (x<y?-1:x>y?1:0)*(up?1:-1)}).forEach(r=>body.append(r))};
"""


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.4g}" if abs(value) < 100 else f"{value:,.1f}"
    if isinstance(value, int | float):
        return f"{int(value):,}"
    return html.escape(str(value))


def _cell(value: Any) -> str:
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, int | float) and not isinstance(value, bool):
        raw = "" if isinstance(value, float) and math.isnan(value) else repr(value)
        return f'<td class="n" data-v="{raw}">{_text(value)}</td>'
    return f"<td>{_text(value)}</td>"


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A sortable HTML table; numbers are set to the right, absent values are a dash, text is escaped."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "\n".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def image(svg: str, caption: str) -> str:
    """A figure inside the page."""
    data = base64.b64encode(svg.encode()).decode()
    return (
        f'<figure><img alt="{html.escape(caption)}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def page(title: str, parts: Iterable[str]) -> str:
    """The whole page around its parts (HTML)."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head>"
        f"<body>{''.join(parts)}<script>{SORT}</script></body></html>\n"
    )


def _tiles(pairs: Iterable[tuple[str, str]]) -> str:
    return (
        '<div class="tiles">'
        + "".join(f'<div class="tile"><b>{value}</b><span>{html.escape(name)}</span></div>' for name, value in pairs)
        + "</div>"
    )


def _percent(value: Any) -> str:
    return "–" if value is None else f"{100 * float(value):.2f} %"


def precision_table(network: Network) -> pd.DataFrame:
    """Input channels per convolution and precision: columns layer, bits, channels, patterns (of each vector)."""
    rows = []
    for layer in network.layers:
        tensor = network.tensors[layer.input]
        if layer.op not in ("conv2d", "depthwise"):
            continue
        if tensor.format == "smol":
            patterns = " ".join(pattern_name(pattern) for pattern in tensor.patterns)
            counts = Counter(tensor.precisions.tolist())
            rows += [(layer.name, bits, counts[bits], patterns) for bits in PRECISIONS if counts[bits]]
        elif tensor.format == "s8":
            rows.append((layer.name, 8, tensor.channels, ""))
    return pd.DataFrame(rows, columns=["layer", "bits", "channels", "patterns"])


def _totals_table(results: Results) -> str:
    totals = runs.totals(results.layers.dropna(subset=["cycles"]))
    rows = []
    for _, row in totals.iterrows():
        peers = totals[
            (totals["isa"] == row["isa"]) & (totals["source"] == row["source"]) & (totals["machine"] == row["machine"])
        ]
        speed = [
            float(peers.loc[peers["variant"] == base, "cycles"].iloc[0] / row["cycles"])
            if base in set(peers["variant"])
            else math.nan
            for base in ("fp32", "int8")
        ]
        rows.append(
            [
                row[key]
                for key in (
                    "isa",
                    "variant",
                    "source",
                    "machine",
                    "images",
                    "cycles",
                    "cycles_cold",
                    "macs_per_cycle",
                    "ipc",
                )
            ]
            + speed
        )
    columns = (
        "ISA",
        "network",
        "source",
        "machine",
        "images",
        "cycles/image",
        "first image",
        "MAC/cycle",
        "IPC",
        "x fp32",
        "x int8",
    )
    return table(columns, rows)


def _layers_table(results: Results) -> str:
    names = "isa variant source layer op cycles macs macs_per_cycle ipc insts smol simd load store vset scalar branch"
    names += " fu_busy mispredicts l1d_misses l2_misses bytes limit"
    columns = [name for name in names.split() if name in results.layers]
    return table(columns, results.layers[columns].itertuples(index=False))


def _machine_section(machine: dict[str, Any]) -> str:
    """A machine description (its JSON): every latency with its source, the SMOL unit, and the rest folded away."""
    latencies = [
        (", ".join(row["classes"]), row["cycles"], row["pipelined"], row["source"], row.get("note", ""))
        for row in machine["latencies"]
    ]
    functions = [
        (f"{name} ({row['class']})", row["cycles"], row["pipelined"], row["source"], row.get("note", ""))
        for name, row in machine["smol"]["functions"].items()
    ]
    smol = {key: value for key, value in machine["smol"].items() if key != "functions"}
    rest = {"smol": smol} | {key: machine[key] for key in ("core", "caches", "memory", "clock_ghz", "sources")}
    rows = [
        (part, key, str(value))
        for part, content in rest.items()
        for key, value in (content.items() if isinstance(content, dict) else [("", content)])
    ]
    units = [(unit["name"], unit["count"], ", ".join(unit["classes"])) for unit in machine["units"]]
    return (
        f"<h3>{html.escape(machine['name'])}</h3><p>{html.escape(machine['description'])}</p>"
        + table(("operation class", "cycles", "pipelined", "source", "note"), functions + latencies)
        + "<details><summary>core, units, caches, memory, sources</summary>"
        + table(("part", "field", "value"), rows)
        + table(("unit", "count", "operation classes"), units)
        + "</details>"
    )


def _agreement_table(results: Results) -> str:
    rows = []
    for row in agreement(results):
        verdict = "equal" if row["mismatches"] == 0 else f"{row['mismatches']} differ"
        terms = "bit for bit" if not row["tolerance"] else f"within {row['tolerance']:g} relative"
        rows.append((row["what"], row["variant"], row["isa"], row["images"], verdict, terms))
    return table(("computed by", "network", "ISA", "images", "all logits", "equal means"), rows)


def _provenance(results: Results, facts: dict[str, Any]) -> str:
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
    return table(("what", "from"), rows)


def render(results: Results, facts: dict[str, Any], title: str) -> str:
    """The page. ``facts`` is what :func:`sysmol.analysis.summary.summary` gives, so that page and JSON agree."""
    main = results.networks[facts["network"]]
    best = results.cycles()
    agree = facts["logits_agree"]
    parts = [f"<h1>{html.escape(title)}</h1><p>{html.escape(main.description)}</p>"]
    tiles = [
        ("accuracy, fp32", _percent(facts["accuracy"]["fp32"])),
        (f"accuracy, {facts['network']}, float", _percent(facts["accuracy"]["float"])),
        (f"accuracy, {facts['network']}, integers", _percent(facts["accuracy"]["integer"])),
        ("bits per parameter", _text(facts["bits_per_parameter"])),
        ("compression against fp32", f"{_text(facts['compression'])}x"),
    ]
    if facts["agreement"]:
        tiles.append(
            ("logits equal on every path", '<span class="good">yes</span>' if agree else '<span class="bad">NO</span>')
        )
    parts.append(_tiles(tiles))

    keys = list(dict.fromkeys(key for values in results.metrics.values() for key in values))
    parts.append(
        "<h2>Networks</h2>"
        + table(["network", *keys], [[v, *(m.get(key) for key in keys)] for v, m in results.metrics.items()])
    )
    precisions = precision_table(main)
    if len(precisions):
        parts.append(
            image(figures.precision_figure(precisions), f"Precision of the input channels, network {facts['network']}.")
        )
        patterns = precisions[precisions["patterns"] != ""].drop_duplicates("layer")
        if len(patterns):
            parts.append(
                table(
                    ("layer", "pattern (4-, 2-, 1-bit chunks) of each vector"),
                    patterns[["layer", "patterns"]].itertuples(index=False),
                )
            )

    if len(best):
        sources = ", ".join(facts["cycles_source"])
        parts.append(f"<h2>Cycles ({html.escape(sources)})</h2>")
        if ESTIMATE in set(results.layers["source"]):
            parts.append(
                f'<p class="note">Rows with source “{ESTIMATE}” were not simulated: {html.escape(FORMULA)}</p>'
            )
        parts.append(image(figures.cycles_figure(best, results.variants), f"Cycles per image; source: {sources}."))
        parts.append(_totals_table(results))
        parts.append(
            '<p class="note">cycles/image: mean over the images after the first one where there are several; '
            "first image: cold caches and predictors.</p>"
        )
        errors = estimate_errors(results.layers)
        if len(errors):
            parts.append(
                "<h3>The estimate against gem5</h3>" + table(errors.columns.tolist(), errors.itertuples(index=False))
            )
        parts.append("<h2>Layers</h2>" + _layers_table(results))
    if facts["agreement"]:
        parts.append("<h2>Agreement of the logits</h2>" + _agreement_table(results))
    if results.machines:
        parts.append("<h2>Machines</h2>" + "".join(_machine_section(machine) for machine in results.machines.values()))
    parts.append("<h2>Provenance</h2>" + _provenance(results, facts))
    return page(title, parts)


def write_report(results: Results, out: str | Path, command: str, main_variant: str = "mixed") -> dict[str, Any]:
    """Write report.html, summary.json, layers.csv and cycles.svg into the folder ``out``; returns the summary."""
    out = Path(out)
    facts = summary(results, command, main_variant)
    title = f"sysmol: {results.networks[facts['network']].name}"
    page = render(results, facts, title)
    best = results.cycles()
    if len(best):
        atomic_write_text(out / "cycles.svg", figures.cycles_figure(best, results.variants))
        atomic_write_text(out / "layers.csv", results.layers.to_csv(index=False))
    atomic_write_text(out / "report.html", page)
    atomic_write_json(out / "summary.json", facts)
    return facts
