"""Tables: the committed document is what the committed CSV files give, and a difference is found."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sysmol.analysis.products import USUAL_ORDER
from sysmol.benchmarks.hardware_tables import latencies
from sysmol.benchmarks.kernel_tables import yflows_frame, yflows_ratios
from sysmol.benchmarks.matrix_tables import LEVER_NAMES, levers_table
from sysmol.benchmarks.measure import COLUMNS, write_rows
from sysmol.benchmarks.plan import LEVERS, MATRIX_MACHINE
from sysmol.benchmarks.tables import DOCUMENTS, RESULTS, TABLES, fill, main, read
from sysmol.benchmarks.training_tables import DEMO
from sysmol.errors import SysmolError


def test_documents_are_generated() -> None:
    assert main(["--check"]) == 0


def test_every_table_stands_in_a_document() -> None:
    text = "".join(document.read_text() for document in DOCUMENTS)
    held = read(RESULTS)
    missing = [name for name, (source, _) in TABLES.items() if source in held and f"<!-- table: {name} -->" not in text]
    assert not missing


def test_a_difference_is_found(tmp_path: Path) -> None:
    text = DOCUMENTS[0].read_text()
    start = text.index("<!-- table: networks -->")
    document = tmp_path / "results.md"
    document.write_text(text[:start] + text[start:].replace("| resnet8 |", "| resnet9 |", 1))
    assert main(["--check", "--document", str(document)]) == 1
    assert main(["--document", str(document)]) == 0
    assert document.read_text() == text


def test_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(SysmolError, match="no table 'x'"):
        fill("<!-- table: x -->\n<!-- end -->", {}, "here")
    assert "results/kernels.csv is missing" in fill("<!-- table: slots -->\n<!-- end -->", {}, "here")
    assert main(["--document", str(tmp_path / "none.md")]) == 2


def test_demo_becomes_rows(tmp_path: Path) -> None:
    """Cycles that gem5 measured stand in the table, estimates do not."""
    facts: dict[str, Any] = dict.fromkeys(DEMO, 1.0)
    record: dict[str, Any] = {
        "format": "sysmol-summary", "version": 1, "command": "sysmol demo", "created": "2026-01-01", "agreement": [],
        "networks": {name: facts | {"sha256": name} for name in USUAL_ORDER},
        "cycles": [
            {"variant": name, "cycles": cycles, "isa": isa, "cpu": cpu, "source": cpu, "machine": "m"}
            for name, cycles in (("fp32", 700), ("int8", 200), ("mixed", 100))
            for isa, cpu in (("arm", "o3"), ("riscv", "estimate"))
        ],
    }  # fmt: skip
    path, results, document = tmp_path / "summary.json", tmp_path / "results", tmp_path / "page.md"
    path.write_text(json.dumps(record))
    document.write_text("<!-- table: digits -->\n<!-- end -->\n")
    assert main(["--demo", str(path), "--results", str(results), "--document", str(document)]) == 0
    lines = document.read_text().splitlines()
    assert lines[1].endswith("| AArch64 cycles | fp32 / it | int8 / it |")
    assert lines[-2] == "| mixed | 1 | 100.00 | 100.00 | 20.7 to 100.0 | +0.00 | 1.00 | 1 | 1.0x | 100 | 7.0x | 2.0x |"
    assert lines[-3] == "| w4 | 1 | 100.00 | 100.00 | 20.7 to 100.0 | +0.00 | 1.00 | 1 | 1.0x | – | – | – |"
    path.write_text("{}")
    assert main(["--demo", str(path), "--results", str(results), "--document", str(document)]) == 2


def test_yflows_ratios(tmp_path: Path) -> None:
    cycles = {"os-basic": 300, "os-weights": 200, "os-inputs": 150, "is-basic": 800, "is-weights": 600, "tile": 50}
    rows = [
        dict.fromkeys(COLUMNS, 0) | {"status": "ok", "layer": layer, "variant": f"int8-{flow}", "cycles": value}
        for flow, value in cycles.items()
        for layer in ("f3s1_14_8", "f3s2_14_8", "image_scaled")
    ]
    write_rows(tmp_path / "yflows.csv", rows)
    found = yflows_ratios(yflows_frame(pd.read_csv(tmp_path / "yflows.csv")), "int8", 1)
    assert found == {"os": [2.0], "is": [pytest.approx(4 / 3)], "is/os": [4.0], "os/tile": [3.0]}


def test_latencies_are_compared_with_the_first_machine() -> None:
    """Baselines have no SMOL instructions: those of the kernels stand beside every machine's cycles."""

    def rows(cycles: dict[tuple[str, str], int]) -> pd.DataFrame:
        return pd.DataFrame(
            {"network": "net", "variant": variant, "isa": "arm", "machine": machine, "layer": layer, "status": "ok",
             "cycles": count}
            for (variant, machine), count in cycles.items() for layer in ("conv", "total")
        )  # fmt: skip

    kernels = rows({("int8", "one"): 400, ("fp32", "one"): 1600, ("w4", "one"): 210, ("int8", "other"): 100})
    made = latencies({"latencies": rows({("w4", "one"): 200, ("w4", "two"): 160}), "kernels": kernels})
    assert made.splitlines()[2:] == [
        "| net | w4 | arm | 200 | 160 | 8.00 / 2.00 / – | 10.00 / 2.50 / – | +25.0% |",
    ]


def test_levers_are_compared_with_everything() -> None:
    """Estimates stand beside each other, and how much more each takes than what has everything."""
    network, variant = LEVERS[0]
    cycles = {variant: 100.0, f"{variant}-no-vmm": 150.0}
    rows = [
        {"network": network, "variant": name, "isa": "arm", "machine": MATRIX_MACHINE, "estimate": count}
        for name, count in cycles.items()
    ]
    lines = levers_table({"levers": pd.DataFrame(rows)}).splitlines()[2:]
    assert len(lines) == 2 and lines[0].startswith(f"| {network} | everything | 100 | +0.0% |")
    assert lines[1].startswith(f"| {network} | {LEVER_NAMES['vmm']} | 150 | +50.0% |")
