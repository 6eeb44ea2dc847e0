"""The command that says where the documents' figures come from."""

from pathlib import Path
from typing import Annotated

import typer

from sysmol.cli.tables import AsJson, say, show_table
from sysmol.errors import CheckFailed

PANEL = "The whole chain"
commands = typer.Typer()


@commands.command(rich_help_panel=PANEL)
def results(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of CSV files (default: results/ of the clone).", show_default=False)
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit status 1 where documents or networks differ from the rows.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Every source of figures: command, commit, date, and whether what it depends on is still the same."""
    from dataclasses import astuple

    from sysmol.benchmarks.sources import damaged, sources
    from sysmol.benchmarks.tables import DOCUMENTS, RESULTS, read, update

    place = folder or RESULTS
    found = list(sources(place))
    columns = ["file", "rows", "command", "commit", "date", "inputs", "shown in"]
    show_table(columns, [list(astuple(source)) for source in found])
    rows = {word: sum(s.rows for s in found if s.inputs.startswith(word)) for word in ("match", "changed", "unknown")}
    say("rows whose inputs " + ", ".join(f"{word}: {count}" for word, count in rows.items()))
    if check:
        wrong = damaged(place)
        if wrong:
            raise CheckFailed("; ".join(wrong))
        for document in DOCUMENTS:
            update(document, read(place), check=True)
        say("tables of the documents and networks beside the rows are those of the files")
