"""Commands about this installation: where its files are, what it has and lacks."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from sysmol.cli.tables import say, show_table
from sysmol.errors import CheckFailed, SysmolError

PANEL = "Installation"
commands = typer.Typer()

DOCTOR_FORMAT = {"format": "sysmol-doctor", "version": 1}


@commands.command(rich_help_panel=PANEL)
def paths(
    name: Annotated[str, typer.Argument(help="Print this one alone, such as extras (default: list all).")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="All as a JSON object, name to path.")] = False,
) -> None:
    """Where other programs find what they read: gem5's EXTRAS folder, run_net.py, headers, machines, specs, docs."""
    from sysmol.places import PLACES, find_place

    if name and as_json:
        raise SysmolError("--json lists all places: give no name")
    if name:
        say(str(find_place(name)))
    elif as_json:
        say(json.dumps({key: str(place.path) for key, place in PLACES.items()}, indent=1))
    else:
        show_table(["name", "path", "what"], [[key, place.path, place.what] for key, place in PLACES.items()])


@commands.command(rich_help_panel=PANEL)
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="The findings as JSON.")] = False,
) -> None:
    """Look for Python, packages, compilers, gem5, data and extras; exit status 1 where the chain cannot run."""
    from sysmol.cli.diagnosis import MISSING, findings

    found = []
    for finding in findings():
        found.append(finding)
        if not as_json:
            say(finding.line)
    if as_json:
        say(json.dumps(DOCTOR_FORMAT | {"findings": [asdict(finding) for finding in found]}, indent=1))
    missing = [finding.part for finding in found if finding.state == MISSING]
    if missing:
        raise CheckFailed(f"the chain cannot run yet: {', '.join(missing)}")
    if not as_json:
        say("the chain can run: sysmol demo")
