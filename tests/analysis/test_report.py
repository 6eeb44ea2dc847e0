"""The summary, the figures and the page, from a folder of products."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sysmol.analysis import figures
from sysmol.analysis.costs.estimate_errors import estimate_errors
from sysmol.analysis.products import collect
from sysmol.analysis.report import precision_table, write_report
from sysmol.errors import SysmolError


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


def test_page_is_self_contained_and_escaped(products: Path) -> None:
    write_report(collect(products, "o3-n1"), products, "sysmol report <x>")
    page = (products / "report.html").read_text()
    assert not re.search(r"""(src|href)=["'](?!data:)""", page) and "@import" not in page and "url(" not in page
    assert "tiny &lt;net&gt;" in page and "<net>" not in page and "made &amp; by hand" in page
    assert "estimate" in page and "gem5 24.0.0.1 o3" in page
    assert "cc &lt;1&gt;" in page and "sysmol report &lt;x&gt;" in page
    for words in ("0123456789abcdef", "mixed-riscv", "N1 SOG", "bit for bit", "estimate against"):
        assert words in page
    assert page.count("<table>") == page.count("</table>") > 5


def test_figures_are_svg_that_parses_and_says_estimate(products: Path) -> None:
    results = collect(products, "o3-n1")
    text = figures.cycles_figure(results.cycles(), results.variants)
    ElementTree.fromstring(text)
    assert "estimate" in text and "RISC-V: gem5 24.0.0.1 o3" in text
    assert text == figures.cycles_figure(results.cycles(), results.variants), "equal input, equal file"
    precisions = precision_table(results.networks["mixed"])
    ElementTree.fromstring(figures.precision_figure(precisions))
    assert precisions.groupby("layer")["channels"].sum().gt(0).all()


def test_best_figures_never_mix_measured_and_estimated_of_one_isa(products: Path) -> None:
    best = collect(products, "o3-n1").cycles()
    assert best.groupby("isa")["source"].nunique().eq(1).all()


def test_a_mismatch_is_not_hidden(products: Path) -> None:
    path = products / "runs" / "mixed-riscv-o3" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"logits_match": False, "mismatches": 1}))
    facts = write_report(collect(products), products, "sysmol report")
    assert facts["logits_agree"] is False
    assert "NO</span>" in (products / "report.html").read_text()


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
    assert figures.thousands(value) == text
