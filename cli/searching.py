"""Networks and hardware searched together."""

from pathlib import Path
from typing import Annotated

import typer

from sysmol.cli.options import Device, out_option
from sysmol.cli.tables import AsJson, say, show_table

commands = typer.Typer()


@commands.command("search", rich_help_panel="Train")
def search(
    spec: Annotated[Path, typer.Argument(help="TOML file of a search (docs/search.md).")],
    mode: Annotated[list[str] | None, typer.Option(help="Only this mode; repeatable (default: the spec's).")] = None,
    out: Annotated[Path, out_option("Folder for the supernet and the results; a killed search goes on there.")] = Path(
        "build/search"
    ),
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Train a supernet, search networks and tiles in several modes, and compare the modes."""
    from sysmol.search.joint.campaign import campaign, compare, verdict
    from sysmol.search.joint.spec import load_spec

    found = campaign(load_spec(spec), out, mode or (), device, say)
    say(f"accuracy: {found['accuracy_source']}; time: {found['time_source']}; goal {found['goal']:.2%}")
    baselines = [[name, row["accuracy"], row["microseconds"]] for name, row in found["baselines"].items()]
    show_table(["hardware", "accuracy", "us"], baselines, "the largest network on three tiles")
    columns = ["mode", "seeds", "found", "least us", "median us", "most us"]
    columns += [f"x over {name}" for name in found["baselines"]]
    show_table(columns, compare(found), "fastest points of the same accuracy")
    say(verdict(found))
    say(str(out / "search.json"))
