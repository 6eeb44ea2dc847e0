"""What is generated and committed: the tables of docs/hardware-cost.md, its figure, and a sample of the SystemVerilog.

``python -m sysmol.rtl.page`` writes them, ``--check`` compares instead and exits with status 1 on a difference.
"""

import csv
import re
import sys
from pathlib import Path
from typing import Any

from sysmol import generated, hwcost
from sysmol.files import PACKAGE
from sysmol.machine import pattern_set
from sysmol.rtl import figure, sources, tables
from sysmol.rtl.hardware import Hardware

PAGE = PACKAGE / "docs" / "hardware-cost.md"
FIGURE = PACKAGE / "docs" / "figures" / "hardware-cost.svg"
FRONT = PACKAGE.parent / "results" / "pattern_area.csv"
FRONT_FIGURE = PACKAGE / "docs" / "figures" / "pattern-area.svg"
SAMPLE = PACKAGE / "rtl" / "sample"
SAMPLED = ("smol_pkg", "smol_decode", "smol_lanes", "smol_lane_0", "smol_chunk_421", "nibble_product")
"""Generated modules that are committed for reading, as a unit with P4 has them."""


def filled(text: str, table: dict[str, Any]) -> str:
    """The page with every table between ``<!-- hwcost: NAME -->`` and ``<!-- end -->`` made anew."""

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        return f"<!-- hwcost: {name} -->\n{tables.markdown(*tables.TABLES[name](table))}\n<!-- end -->"

    return re.sub(r"<!-- hwcost: ([a-z ]+) -->\n.*?<!-- end -->", replace, text, flags=re.DOTALL)


def files() -> dict[Path, str]:
    """Content of every generated file by path."""
    table = hwcost.read()
    modules = sources.generated(Hardware(pattern_set("P4"), cuts=("decode", "rows", "total", "product", "code")))
    sample = {SAMPLE / f"{name}.sv": modules[f"{name}.sv"] for name in SAMPLED}
    with FRONT.open(encoding="utf-8", newline="") as stream:
        front = figure.front_svg(list(csv.DictReader(stream)))
    page = filled(PAGE.read_text(encoding="utf-8"), table)
    return {PAGE: page, FIGURE: figure.svg(table), FRONT_FIGURE: front, **sample}


if __name__ == "__main__":
    sys.exit(generated.main("sysmol.rtl.page", files(), sys.argv[1:]))
