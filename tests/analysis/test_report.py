"""The summary, the figures and the report's page, from a folder of products."""

import base64
import html
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sysmol.analysis import details, figures, headline
from sysmol.analysis.costs.estimate_errors import estimate_errors
from sysmol.analysis.intervals import accuracy_interval
from sysmol.analysis.page.values import thousands
from sysmol.analysis.precisions import precision_table
from sysmol.analysis.products import Results, collect
from sysmol.analysis.report import write_report
from sysmol.errors import SysmolError
from sysmol.network import load, save


def test_summary_names_its_sources(products: Path) -> None:
    facts = write_report(collect(products, "o3-n1"), products, "sysmol report")
    assert json.loads((products / "summary.json").read_text()) == facts
    assert facts["accuracy"] == {"fp32": 0.99, "float": 0.98, "integer": 0.975}
    assert facts["bits_per_parameter"] == 2.5 and facts["compression"] == 11.5
    assert facts["logits_agree"] is True and len(facts["agreement"]) == 3
    measured = [row for row in facts["cycles"] if row["source"] == "gem5 24.0.0.1 o3"]
    estimated = [row for row in facts["cycles"] if row["source"] == "estimate"]
    assert [(row["isa"], row["variant"]) for row in measured] == [("riscv", "mixed")]
    assert len(estimated) == 4 and len(measured) + len(estimated) == len(facts["cycles"])
    for row in facts["cycles"]:
        assert row["cycles"] == sum(layer["cycles"] for layer in row["layers"]) > 0
    # the measured run replaces the estimate where it exists; the other ISA keeps its estimate
    assert facts["cycles_source"] == ["estimate", "gem5 24.0.0.1 o3"]


def test_estimate_is_held_against_measurement(products: Path) -> None:
    errors = estimate_errors(collect(products, "o3-n1").layers)
    assert errors[["isa", "variant"]].to_numpy().tolist() == [["riscv", "mixed"]]
    assert errors["ratio"].iloc[0] == errors["estimated"].iloc[0] / errors["measured"].iloc[0] > 0
    assert estimate_errors(collect(products).layers).empty, "no estimate, no comparison"


def texts(page: str) -> str:
    """What a page and its figures say, entities resolved."""
    found = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", page)
    return html.unescape(page) + " ".join(base64.b64decode(data).decode() for data in found)


def test_page_is_self_contained_and_escaped(products: Path) -> None:
    write_report(collect(products, "o3-n1"), products, "sysmol report <x>")
    page = (products / "report.html").read_text()
    assert not re.search(r"""(src|href)=["'](?!data:)""", page) and "@import" not in page and "url(" not in page
    assert "<script" not in page and "javascript:" not in page and len(page) < 1_500_000
    assert "tiny &lt;net&gt;" in page and "<net>" not in page and "made &amp; by hand" in page
    assert "estimate" in page and "gem5 24.0.0.1 o3" in page
    assert "cc &lt;1&gt;" in page and "sysmol report &lt;x&gt;" in page
    for words in ("0123456789abcdef", "mixed-riscv", "N1 SOG", "bit for bit", "Calculated cycles against"):
        assert words in page
    assert page.count("<table>") == page.count("</table>") > 5


def test_no_ratio_to_a_program_that_measures_its_compiler(products: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (details, headline):
        monkeypatch.setattr(module, "BASELINES", ("w4", "w4"))
    results = collect(products, "o3-n1")
    assert details.totals_table(results).rows[0][-1] is not None
    write_report(results, products, "sysmol report")
    said = texts((products / "report.html").read_text())
    assert "as many" in said and "no measure" not in said
    monkeypatch.setattr(Results, "ratios_to", lambda self, variant, isa: False)
    without = [row[-1] for row in details.totals_table(results).rows]
    assert len(without) > 1 and not any(re.search(r"\d", str(cell)) for cell in without), without
    write_report(results, products, "sysmol report")
    said = texts((products / "report.html").read_text())
    assert "as many" not in said and "no measure" in said


def test_the_page_is_for_readers(products: Path) -> None:
    """Accuracy over cycles, learnt names of columns, percent signs at the numbers, tables that a phone can scroll."""
    write_report(collect(products, "o3-n1"), products, "sysmol report")
    page = (products / "report.html").read_text()
    assert "Accuracy over cycles" in page and '<meta name="viewport" content="width=device-width' in page
    assert "overflow-x: auto" in page or "overflow-x:auto" in page
    heads = [html.unescape(re.sub("<[^>]*>", "", head)) for head in re.findall(r"<th[^>]*>(.*?)</th>", page, re.DOTALL)]
    assert heads and not [head for head in heads if "_" in head], "a column's name in a program is no title"
    assert page.index("<details") > page.index("Accuracy over cycles"), "details are folded away behind the figures"


def test_the_first_screen_says_what_matters(products: Path) -> None:
    for variant in ("int8", "fp32"):
        net = load(products / "mixed.network.safetensors")
        net.metrics |= {
            "accuracy_integer": 0.98,
            "test_images": 400,
            "file_bytes": {"int8": 2000, "fp32": 8000}[variant],
        }
        save(products / f"{variant}.network.safetensors", net)
    net = load(products / "mixed.network.safetensors")
    net.metrics |= {"test_images": 400, "file_bytes": 1000}
    (products / "mixed.network.safetensors").unlink()
    save(products / "mixed.network.safetensors", net)
    write_report(collect(products, "o3-n1"), products, "sysmol report")
    page = texts((products / "report.html").read_text())
    first = page[: page.index("<section>")]
    low, high = accuracy_interval(0.975, 400)
    assert json.loads((products / "summary.json").read_text())["accuracy_interval"] == [low, high]
    for words in ("97.50%", f"{100 * low:.1f} to {100 * high:.1f}%: 95% interval, 400 test images", "fp32: 98.00%",
                  "1 kB", "int8: 2 kB, 2.0x as large", "fp32: 8 kB, 8.0x as large"):  # fmt: skip
        assert words.replace(" ", "") in first.replace(" ", "").replace("\xa0", ""), words


def test_an_estimate_is_never_shown_as_measured(products: Path) -> None:
    write_report(collect(products, "o3-n1"), products, "sysmol report")
    page = html.unescape((products / "report.html").read_text())
    arm, riscv = (re.search(rf"Cycles per image, {isa}</span><b>(.*?)</div>", page) for isa in ("AArch64", "RISC-V"))
    assert arm and riscv
    assert "≈" in arm.group(1) and "estimate, not simulated" in arm.group(1)
    assert "≈" not in riscv.group(1) and "gem5 24.0.0.1 o3, machine o3-n1" in riscv.group(1)
    assert "estimate" not in riscv.group(1)


HOSTILE = (
    """<script>alert(1)</script> */ int x; /* "><img src=x onerror=alert(1)> ' $\\frac{ {{ 7 * 7 }} {% raw %} &amp;"""
)
TAGS = """html head meta title style body header h1 h2 p div span b small section figure img figcaption table
thead tbody tr th td details summary footer"""
"""All that a page is made of."""


@pytest.mark.parametrize("name", [HOSTILE, "_"])
def test_names_from_files_stay_names(products: Path, name: str) -> None:
    """Names of network and layers, description, metrics: shown as they are, and never markup, formula or template."""
    old = load(products / "mixed.network.safetensors")
    old.name, old.description = name, f"about {name}"
    old.metrics |= {name: 1.5}
    renamed = {layer.name: f"{layer.name}{name}" for layer in old.layers}
    for layer in old.layers:
        layer.name = renamed[layer.name]
    (products / "mixed.network.safetensors").unlink()
    save(products / "mixed.network.safetensors", old)
    for isa in ("arm", "riscv"):
        path = products / "bin" / f"mixed.{isa}.json"
        manifest = json.loads(path.read_text())
        manifest["regions"] = [region | {"name": renamed[region["name"]]} for region in manifest["regions"]]
        path.write_text(json.dumps(manifest | {"name": name}))
    write_report(collect(products, "o3-n1"), products, "sysmol report")
    page = (products / "report.html").read_text()
    assert set(re.findall(r"<([a-z0-9]+)", page)) <= set(TAGS.split())
    assert page.count("<img ") == page.count('<img src="data:image/svg+xml;base64,')
    assert html.escape(f"about {name}").replace("&quot;", "&#34;").replace("&#x27;", "&#39;") in page
    assert html.unescape(texts(page)).count(html.unescape(name)) > 5
    for figure in re.findall(r"base64,([A-Za-z0-9+/=]+)", page):
        tree = ElementTree.fromstring(base64.b64decode(figure))
        assert not [each for each in tree.iter() if each.tag.endswith(("script", "foreignObject", "image"))]


def test_figures_are_svg_that_parses_and_says_estimate(products: Path) -> None:
    results = collect(products, "o3-n1")
    text = figures.cycles_figure(results.cycles(), results.variants)
    ElementTree.fromstring(text)
    assert "estimate" in text and "RISC-V: gem5 24.0.0.1 o3" in text
    assert text == figures.cycles_figure(results.cycles(), results.variants), "equal input, equal file"
    precisions = precision_table(results.networks["mixed"])
    ElementTree.fromstring(figures.precision_figure(precisions))
    (rows, *_) = figures.panels(results.cycles())
    ElementTree.fromstring(figures.layers_figure(rows, results.variants))
    assert precisions.groupby("layer")["channels"].sum().gt(0).all()


def test_best_figures_never_mix_measured_and_estimated_of_one_isa(products: Path) -> None:
    best = collect(products, "o3-n1").cycles()
    assert best.groupby("isa")["source"].nunique().eq(1).all()


def test_a_mismatch_is_not_hidden(products: Path) -> None:
    path = products / "runs" / "mixed-riscv-o3" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"logits_match": False, "mismatches": 1}))
    facts = write_report(collect(products), products, "sysmol report")
    assert facts["logits_agree"] is False
    assert "1 DIFFER" in (products / "report.html").read_text()


def test_what_was_made_from_other_files_is_left_out(products: Path) -> None:
    for path, field in (("runs/mixed-riscv-o3/run.json", "elf_sha256"), ("checks/w4-host.json", "network_sha256")):
        record = json.loads((products / path).read_text())
        (products / path).write_text(json.dumps(record | {field: "another"}))
    facts = write_report(collect(products, "o3-n1"), products, "sysmol report")
    assert facts["left_out_as_stale"] == ["runs/mixed-riscv-o3", "checks/w4-host.json"]
    assert facts["cycles_source"] == ["estimate"] and len(facts["agreement"]) == 1


def test_a_folder_without_runs_or_machine_still_reports(products: Path) -> None:
    for name in ("runs", "checks", "bin"):
        for path in sorted((products / name).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    facts = write_report(collect(products), products, "sysmol report")
    assert facts["cycles"] == [] and facts["logits_agree"] is False
    assert (products / "report.html").exists()


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SysmolError, match="holds no"):
        collect(tmp_path)


@pytest.mark.parametrize(("value", "text"), [(1234567.0, "1.23 M"), (45600.0, "45.6 k"), (999.0, "999"), (0.5, "0.5")])
def test_thousands(value: float, text: str) -> None:
    assert thousands(value) == text
