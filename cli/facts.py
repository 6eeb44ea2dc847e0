"""Commands that show what a file, a machine or an instruction is."""

from pathlib import Path
from typing import Annotated

import typer

from sysmol.cli.file_kinds import expect
from sysmol.cli.options import NetworkFile, SmolUnit, out_option
from sysmol.cli.tables import AsJson, Share, ask_json, say, share, show_table
from sysmol.errors import SysmolError

PANEL = "Look up"
commands = typer.Typer()


@commands.command(rich_help_panel=PANEL)
def info(
    network: NetworkFile,
    as_json: AsJson = False,
) -> None:
    """Describe a network file: layers, formats, patterns, where its bytes go, metrics, provenance. Outputs marked high
    multiply with the upper half of 64-bit products (docs/network-format.md).
    """
    from sysmol.network import HIGH, load
    from sysmol.network.file import breakdown
    from sysmol.pattern import pattern_name

    net = load(network)
    rows = []
    for layer in net.layers:
        tensor = net.tensors[layer.input]
        patterns = " ".join(pattern_name(number) for number in tensor.patterns)
        size = None if layer.weight is None else int(layer.weight.nbytes)
        high = {out.tensor for out in layer.outputs if HIGH in (out.multiply, out.residual_multiply)}
        written = ((f"{name}:{net.tensors[name].format}", name in high) for name in layer.targets)
        targets = ", ".join(f"{text} high" if is_high else text for text, is_high in written)
        rows.append(
            [
                layer.name,
                layer.op,
                f"{times(tensor.shape)} {tensor.format}",
                patterns,
                times(layer.kernel) + ("" if layer.dilation == (1, 1) else f", {times(layer.dilation)} apart"),
                size,
                targets,
            ]
        )
    show_table(
        ["layer", "op", "input", "patterns", "kernel", "weight bytes", "writes"],
        rows,
        title=f"{net.name}: {net.description}",
    )
    parts = breakdown(net)
    total = sum(parts.values())
    shares = [[part, size, Share(size / total)] for part, size in parts.items()]
    show_table(["part of the deployment file", "bytes", "share"], [*shares, ["all", total, Share(1)]])
    for heading, facts in (("metric", net.metrics), ("provenance", net.provenance)):
        if facts:
            show_table([heading, "value"], [[key, fact(key, value)] for key, value in facts.items()])


@commands.command(rich_help_panel=PANEL)
def strip(
    network: NetworkFile,
    out: Annotated[Path | None, out_option("The deployment file to write.")] = None,
    old: Annotated[str, typer.Argument(hidden=True)] = "",
) -> None:
    """Write the deployment file of a network: only what inference needs (docs/network-format.md)."""
    from sysmol.network import load, save

    if out is None:
        raise SysmolError(f"name the file to write with --out: sysmol strip {network} --out {old or 'FILE'}")
    before = load(network)
    path = save(out, before, deploy=True)
    say(f"wrote {path}: {path.stat().st_size:,} bytes of {network.stat().st_size:,}")


@commands.command(rich_help_panel=PANEL)
def machines(
    name: Annotated[
        str, typer.Argument(help="Show this one whole (default: list all).", callback=expect("machine"))
    ] = "",
    smol: SmolUnit = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="The machine as a JSON file, parts spelt out; or the list.")
    ] = False,
) -> None:
    """List the machine descriptions with their sources, or show one with the source of every latency."""
    import json

    from sysmol.cli.machine_table import details, overview
    from sysmol.machine import list_machines, load_machine

    if not name and smol:
        raise SysmolError("--smol is for one machine: name it, as in sysmol machines o3-n1 --smol units=2")
    machine = load_machine(name) if name else None
    if machine is not None and smol:
        machine = machine.with_smol(smol)
    if machine is not None and as_json:
        say(json.dumps(machine.to_json(), indent=1))
        return
    if as_json:
        ask_json()
    tables = details(machine) if machine is not None else overview([load_machine(each) for each in list_machines()])
    for title, columns, rows in tables:
        show_table(columns, rows, title=title)


@commands.command(rich_help_panel=PANEL)
def isa(
    words: Annotated[list[str] | None, typer.Argument(help="Instruction words to decode, e.g. 0x0000000b.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the SMOL instructions, or decode words on both ISAs."""
    from sysmol import isa as table
    from sysmol.isas import ISAS

    if not words:
        rows = [[", ".join(map(str, row.fns)), row.name, row.field6, row.summary] for row in table.TABLE]
        rows += [[str(row.fn), row.name, "", row.summary] for row in table.ACCESSES]
        show_table(["fn", "name", "field6", "effect"], rows, title=f"instruction table {table.FINGERPRINT}")
        encodings = [[name, encoding.bits] for form in table.ALL_FORMATS.values() for name, encoding in form.on.items()]
        show_table(["ISA", "word"], encodings)
        return
    decoded = []
    for text in words:
        try:
            word = int(text, 0)
        except ValueError:
            word = -1
        if not 0 <= word < 1 << 32:
            raise SysmolError(f"{text!r} is no 32-bit word: write it like 0x0000000b")
        for name in ISAS:
            found = table.decode(name, word)
            meaning = "–" if found is None else table.disassembly(found)
            decoded.append([f"{word:#010x}", name, meaning])
    show_table(["word", "ISA", "instruction"], decoded)


def times(sizes: tuple[int, ...]) -> str:
    """Sizes as ``3x3``."""
    return "x".join(map(str, sizes))


def fact(name: str, value: object) -> object:
    """A metric or a note as a table's cell."""
    if isinstance(value, float) and name.startswith("accuracy"):
        return share(value)
    return value if isinstance(value, int | float) else brief(value)


def brief(value: object) -> str:
    """A value on one line, cut where it is long."""
    text = str(value)
    return text if len(text) <= 200 else text[:197] + "..."
