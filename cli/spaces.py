"""Spaces of networks, cores and tiles."""

from typing import Annotated

import typer

from sysmol.cli.tables import AsJson, say, show_table

commands = typer.Typer()
space = typer.Typer(help="Spaces that searches look through (docs/search.md).", no_args_is_help=True)
commands.add_typer(space, name="space")


@space.command("show")
def show(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names of spaces, or TOML files; default: all names.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Size, genes and budgets of spaces; of several, also how many combinations they have."""
    from sysmol.search.spaces import KNOWN, load_space

    spaces = [load_space(name) for name in names or KNOWN]
    sizes = [each.size() for each in spaces]
    rows = [[s.name, s.kind, size, len(s.genes), s.description] for s, size in zip(spaces, sizes, strict=True)]
    show_table(["space", "of", "points", "genes", "description"], rows, "spaces")
    if not names:
        return
    genes = [
        [s.name, g.name, ", ".join(map(str, g.choices)), g.when.text if g.when else "", g.meaning]
        for s in spaces
        for g in s.genes
    ]
    show_table(["space", "gene", "choices", "exists when", "meaning"], genes, "genes")
    budgets = [
        [s.name, b.name, b.value.text, "=" if b.exact else "<=", b.limit, b.unit] for s in spaces for b in s.budgets
    ]
    if budgets:
        show_table(["space", "budget", "value", "", "limit", "unit"], budgets, "budgets")
    derived = [[s.name, name, each.text] for s in spaces for name, each in s.derived.items()]
    if derived:
        show_table(["space", "follows", "from"], derived, "derived values")
    if len(spaces) > 1:
        total = 1
        for size in sizes:
            total *= size
        say(f"together: {total:,} combinations")
