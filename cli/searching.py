"""Networks and hardware searched together."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sysmol.cli.options import ClusterAddress, Device, Jobs, out_option
from sysmol.cli.tables import AsJson, Share, say, show_table

commands = typer.Typer()


class _SpecOrCommand(TyperGroup):
    """A first word that names no command of the group is the spec, or an option, of ``run``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = not args or args[0] in self.commands or args[0] in ctx.help_option_names
        return super().parse_args(ctx, args if named else ["run", *args])


searches = typer.Typer(
    help="Train a supernet, search networks and tiles in several modes (sysmol search SPEC); compare searches.",
    cls=_SpecOrCommand,
    no_args_is_help=True,
)
commands.add_typer(searches, name="search", rich_help_panel="Train")


@searches.command("run")
def run(
    spec: Annotated[Path, typer.Argument(help="TOML file of a search (docs/search.md).")],
    mode: Annotated[list[str] | None, typer.Option(help="Only this mode; repeatable (default: the spec's).")] = None,
    out: Annotated[Path, out_option("Folder for the supernet and the results; a killed search goes on there.")] = Path(
        "build/search"
    ),
    device: Device = "auto",
    jobs: Jobs = 1,
    cluster: ClusterAddress = "",
    as_json: AsJson = False,
) -> None:
    """Train a supernet, search networks and tiles in several modes, and compare the modes. "run" may be left out."""
    from sysmol.search.joint.campaign import campaign
    from sysmol.search.joint.comparison import whole
    from sysmol.search.joint.page import write_comparison
    from sysmol.search.joint.results import NAME
    from sysmol.search.joint.spec import load_spec

    found = whole(campaign(load_spec(spec), out, mode or (), device, say, jobs, cluster))
    show(found)
    page = write_comparison(out, [found])
    say(f"{out / NAME}, {page}")


@searches.command("compare")
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Folders of finished searches; those of one spec are pooled.")],
    out: Annotated[Path, out_option("Folder for the page and its figure.")] = Path("build/comparison"),
    as_json: AsJson = False,
) -> None:
    """Finished searches beside one another: times at equal accuracy by mode and baseline, over the seeds; a page."""
    from sysmol.search.joint.comparison import compared
    from sysmol.search.joint.page import write_comparison

    found = compared(folders)
    for each in found:
        show(each)
    say(str(write_comparison(out, found)))


def show(comparison: Any) -> None:
    """The tables of one workload."""
    from sysmol.search.joint.comparison import verdict
    from sysmol.search.joint.page import MODE_COLUMNS, NETWORK_COLUMNS, mode_rows, network_rows

    def shared(row: list[Any], place: int) -> list[Any]:
        return [*row[:place], None if row[place] is None else Share(row[place]), *row[place + 1 :]]

    say(f"accuracy: {comparison.sources[0]}; time: {comparison.sources[1]}; goal {comparison.goal:.2%}")
    networks = [shared(row, 2) for row in network_rows(comparison)]
    show_table(list(NETWORK_COLUMNS), networks, f"the largest network: {comparison.title}")
    modes = [shared(row, 3) for row in mode_rows(comparison)]
    show_table(list(MODE_COLUMNS), modes, "fastest points of the same accuracy, medians over seeds")
    say(verdict(comparison))
