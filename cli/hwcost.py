"""The command that tells what hardware costs: area, delay and energy of the SMOL unit, and what it is compared with."""

from pathlib import Path
from typing import Annotated

import typer

from sysmol.cli.options import out_option
from sysmol.cli.tables import AsJson, say, show_table
from sysmol.errors import SysmolError

PANEL = "Estimate and choose"
commands = typer.Typer()


@commands.command(rich_help_panel=PANEL)
def hwcost(
    unit: Annotated[
        str,
        typer.Argument(
            help="Measure this unit: array, vdot, vmac, mul, pack, unit, matrix, packs, taps, unpack, whole, "
            "sdot, smmla, fma4."
        ),
    ] = "",
    patterns: Annotated[
        str, typer.Option("--patterns", metavar="SET", help="P1, P4, P8, P45, or ids like 0,12,44.")
    ] = "",
    stages: Annotated[int, typer.Option(help="Pipeline stages.")] = 1,
    script: Annotated[str, typer.Option(help="ABC script: balanced, fast or small.")] = "balanced",
    again: Annotated[bool, typer.Option("--again", help="Compare with the committed point.")] = False,
    rtl: Annotated[Path | None, typer.Option(help="Write the unit's SystemVerilog into this folder.")] = None,
    out: Annotated[Path | None, out_option("Measure the whole table into this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Area, delay and energy of the hardware: the committed table, or points measured anew (docs/hardware-cost.md)."""
    from sysmol import hwcost as cost_table
    from sysmol.rtl import liberty, measure, results, sources, tables

    if out is not None:
        results.make(out, results.plan(), say)
        say(f"wrote {out}")
        return
    if not unit:
        if again or rtl is not None:
            raise SysmolError("name the unit, as in sysmol hwcost array --patterns P4 --again")
        table = cost_table.read()
        for title, build in tables.TABLES.items():
            head, rows = build(table)
            show_table(head, [list(row) for row in rows], title=title)
        return
    known = patterns.upper() if patterns.upper() in cost_table.SETS else patterns
    point = measure.Point(unit, known, stages, script)
    if rtl is not None:
        files = sources.write(point.hardware(), rtl)
        say(f"wrote {len(files)} files to {rtl}")
    elif again:
        say(results.again(cost_table.read(), point))
    else:
        show_table(["figure", "value"], [[name, str(value)] for name, value in measure.describe(point, liberty.load())])
