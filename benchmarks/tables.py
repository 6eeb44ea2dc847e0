"""The tables of the documents, generated from the CSV files in results/.

    python -m sysmol.benchmarks.tables             # write the tables anew
    python -m sysmol.benchmarks.tables --take DIR  # copy the CSV files from DIR (build/bench) to results/ first
    python -m sysmol.benchmarks.tables --demo FILE # write results/demo.csv from the demo's summary.json first
    python -m sysmol.benchmarks.tables --check     # exit status 1 where a document is not what the files give

In a document a table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``; NAME is one of :data:`TABLES`, or of
:data:`ELSEWHERE`.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

import pandas as pd

from sysmol.benchmarks import encoder_tables, hardware_tables, kernel_tables, matrix_tables, quantised, training_tables
from sysmol.errors import CheckFailed, SysmolError
from sysmol.files import PACKAGE, atomic_write_text, make_folder
from sysmol.workbench.provenance import path_of

CLONE = PACKAGE.parent
RESULTS = CLONE / "results"
DOCUMENTS = tuple(
    CLONE / name
    for name in (
        "docs/results.md", "docs/trained.md", "docs/training.md", "docs/hardware-cost.md", "docs/energy.md",
        "docs/interchange.md", "docs/transformers.md", "README.md"
    )
)  # fmt: skip
TABLES = (
    kernel_tables.TABLES
    | matrix_tables.TABLES
    | training_tables.TABLES
    | hardware_tables.TABLES
    | quantised.TABLES
    | encoder_tables.TABLES
)
"""File and function of every table."""
ELSEWHERE = ("formats", "layers", "tflite", "onnx", "qonnx")
"""Tables that docs/support_tables.py fills: what the code accepts."""
FILES = tuple(dict.fromkeys(f"{source}.csv" for source, _ in TABLES.values()))

Frame = pd.DataFrame


def read(folder: Path) -> dict[str, Frame]:
    """The CSV files of a folder, by name without suffix; those that are absent are left out."""
    return {name.removesuffix(".csv"): pd.read_csv(folder / name) for name in FILES if (folder / name).is_file()}


def fill(text: str, data: dict[str, Frame], where: str) -> str:
    """``text`` with every table written anew; :class:`SysmolError` for an unknown table."""

    def replace(found: re.Match[str]) -> str:
        name = found.group(1)
        if name in ELSEWHERE:
            return found.group(0)
        if name not in TABLES:
            raise SysmolError(f"{where}: there is no table {name!r}; choose from {', '.join(TABLES)}")
        source, make = TABLES[name]
        body = make(data) if source in data else f"Not measured yet: results/{source}.csv is missing."
        return f"<!-- table: {name} -->\n{body}\n<!-- end -->"

    return re.sub(r"<!-- table: (\S+) -->\n.*?<!-- end -->", replace, text, flags=re.DOTALL)


def update(document: Path, data: dict[str, Frame], check: bool) -> None:
    """Write a document's tables anew, or raise :class:`CheckFailed` where they would change."""
    try:
        text = document.read_text(encoding="utf-8")
    except OSError as error:
        raise SysmolError(f"cannot read {document}: {error.strerror}") from None
    filled = fill(text, data, str(document))
    if filled == text:
        return
    if check:
        raise CheckFailed(f"{document} is not what results/ gives: run python -m sysmol.benchmarks.tables")
    atomic_write_text(document, filled)


def take_source(made: Path, taken: Path) -> None:
    """Copy the file beside a table that says where it comes from; a copied table without one has none."""
    if path_of(made).is_file():
        shutil.copyfile(path_of(made), path_of(taken))
    else:
        path_of(taken).unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0; 1 where ``--check`` finds a difference; 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m sysmol.benchmarks.tables", description=__doc__.split("\n")[0])
    parser.add_argument("--take", type=Path, metavar="DIR", help="copy the CSV files from DIR to results/ first")
    parser.add_argument("--demo", type=Path, metavar="FILE", help="write demo.csv from the demo's summary.json first")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--document", type=Path, help="only this one (all that have tables)")
    options = parser.parse_args(arguments)
    try:
        if options.take is not None:
            make_folder(options.results)
            for name in FILES:
                if (options.take / name).is_file():
                    shutil.copyfile(options.take / name, options.results / name)
                    take_source(options.take / name, options.results / name)
        if options.demo is not None:
            rows = pd.DataFrame(training_tables.demo_rows(options.demo))
            atomic_write_text(options.results / "demo.csv", rows.to_csv(index=False, lineterminator="\n"))
            take_source(options.demo, options.results / "demo.csv")
        data = read(options.results)
        for document in [options.document] if options.document else DOCUMENTS:
            update(document, data, options.check)
    except CheckFailed as error:
        print(f"tables: {error}", file=sys.stderr)
        return 1
    except SysmolError as error:
        print(f"tables: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
