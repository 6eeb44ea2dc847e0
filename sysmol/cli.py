"""The command line. Every command imports what it needs when it runs, so that ``sysmol --help`` answers at once.

Exit status: 0 done; 1 a check found a difference; 2 bad input, a missing tool or file, no place to write (one line on
the standard error stream); 130 interrupted.
"""

import itertools
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sysmol.errors import CheckFailed, SysmolError

app = typer.Typer(
    name="sysmol",
    help="Co-design of ultra-low-precision neural networks and the CPU that runs them, on gem5.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DEFAULT_MACHINE = "o3-n1"
INTERRUPTED = 130
GEM5_HELP = "Simulate where a gem5 with the plug-in is found."

NetworkFile = Annotated[Path, typer.Argument(metavar="NETWORK", help="A .network.safetensors file.")]
ManifestFile = Annotated[
    Path, typer.Argument(metavar="MANIFEST", help="The .json beside an executable of `sysmol compile`.")
]
SMOL_HELP = "Another SMOL unit than the machine's, e.g. units=2,vdot=4,share=no (docs/machines.md)."
MachineName = Annotated[str, typer.Option("--machine", "-m", help="A name from `sysmol machines`, or a JSON file.")]


def say(line: str) -> None:
    """One line of progress, whole where several threads speak."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def show_value(value: Any) -> str:
    """A table cell: thousands are set apart, small fractions keep four digits, absent values are a dash."""
    if value is None or value != value:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def show_table(columns: list[str], rows: list[list[Any]], title: str = "") -> None:
    """A table on the terminal; numbers to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", header_style="bold")
    for index, name in enumerate(columns):
        numeric = all(isinstance(row[index], int | float) for row in rows if row[index] is not None)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(show_value(value)) for value in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=180)
    console.print(table)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for all products.")] = Path("build/demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Shorter training: the chain in about a minute, lower accuracy.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the training.")] = 0,
    machine: MachineName = DEFAULT_MACHINE,
    gem5: Annotated[bool, typer.Option("--gem5/--no-gem5", help=GEM5_HELP)] = True,
    images: Annotated[int, typer.Option(min=1, help="Test images per simulation.")] = 20,
) -> None:
    """Train on digits, export, generate C, compile, verify, simulate or estimate, report. Resumes where it stopped."""
    from sysmol.demo import Chain

    chain = Chain(out, seed=seed, machine=machine, use_gem5=gem5, images=images, say=say)
    show_summary(chain.demo("quick" if quick else "demo"))
    say(f"wrote {out / 'summary.json'} and {out / 'report.html'}")


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="A folder with *.network.safetensors files.")],
    machine: MachineName = DEFAULT_MACHINE,
    gem5: Annotated[bool, typer.Option("--gem5/--no-gem5", help=GEM5_HELP)] = True,
    images: Annotated[int, typer.Option(min=1, help="Test images per simulation.")] = 2,
    seed: Annotated[int, typer.Option(help="Seed of the simulations.")] = 0,
) -> None:
    """All that `demo` does behind the training, for the networks in a folder: bin/, runs/, checks/, the report."""
    from analysis.summary import network_files
    from sysmol.demo import Chain

    variants = list(network_files(folder))
    chain = Chain(folder, seed=seed, machine=machine, use_gem5=gem5, images=images, say=say)
    show_summary(chain.evaluate(variants))
    say(f"wrote {folder / 'summary.json'} and {folder / 'report.html'}")


def show_summary(facts: dict[str, Any]) -> None:
    """The summary's accuracy, size and total cycles."""
    networks = [
        [
            name,
            *(values.get(key) for key in ("accuracy_float", "accuracy_integer", "bits_per_parameter", "compression")),
        ]
        for name, values in facts["networks"].items()
    ]
    show_table(["network", "accuracy (float)", "accuracy (integers)", "bits/parameter", "compression"], networks)
    cycles = [[row["isa"], row["variant"], row["source"], row["machine"], row["cycles"]] for row in facts["cycles"]]
    if cycles:
        show_table(["ISA", "network", "source", "machine", "cycles/image"], cycles)
    if facts["left_out_as_stale"]:
        say(f"left out, made from other networks or executables: {', '.join(facts['left_out_as_stale'])}")
    if facts["agreement"]:
        equal = sum(1 for row in facts["agreement"] if row["mismatches"] == 0)
        say(f"logits: {equal} of {len(facts['agreement'])} comparisons agree on every image")


@app.command()
def train(
    dataset: Annotated[
        str, typer.Argument(help="digits, mnist or cifar10 (the last two from $SYSMOL_DATA).")
    ] = "digits",
    model: Annotated[
        str,
        typer.Option(help="digits_net, mnist_net, resnet8, resnet20, mobilenetv2, mobilenetv2_stem2 or _small."),
    ] = "digits_net",
    out: Annotated[Path, typer.Option(help="Folder for networks and checkpoints.")] = Path("build/train"),
    preset: Annotated[str, typer.Option(help="Training schedule.")] = "demo",
    seed: Annotated[int, typer.Option(help="Seed.")] = 0,
    variant: Annotated[
        list[str] | None,
        typer.Option(help="What to make, such as w2 or P4-1.5; may be repeated (default: fp32, int8, w4, mixed)."),
    ] = None,
) -> None:
    """Train a built-in network in full precision and, from there, in other variants; export each."""
    from train.pipeline import VARIANTS
    from train.pipeline import run as run_training

    metrics = run_training(
        dataset=dataset, model=model, out_dir=out, preset=preset, seed=seed, variants=variant or VARIANTS
    )
    keys = ["accuracy_fp32", "accuracy_float", "accuracy_integer", "bits_per_parameter", "compression"]
    show_table(["network", *keys], [[name, *(values.get(key) for key in keys)] for name, values in metrics.items()])


@app.command()
def experiments(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="A TOML file (docs/training.md).")],
    out: Annotated[Path, typer.Option(help="Folder of all products.")] = Path("build/experiments"),
    seed: Annotated[list[int] | None, typer.Option(help="Only this seed; may be repeated.")] = None,
    only: Annotated[str, typer.Option(help="Only variants whose name this regular expression finds.")] = "",
    threads: Annotated[int, typer.Option(min=0, help="Threads of PyTorch (0: its own choice).")] = 0,
    again: Annotated[bool, typer.Option("--again", help="Export and measure anew, from the checkpoints.")] = False,
    take: Annotated[Path | None, typer.Option(help="Train nothing: put the finished rows into this CSV file.")] = None,
    table: Annotated[bool, typer.Option("--table", help="Train nothing: print means over seeds in Markdown.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Train nothing: draw accuracy over size into this SVG.")] = None,
    rows: Annotated[Path | None, typer.Option(help="With --table and --plot: the rows of this CSV file.")] = None,
) -> None:
    """Train the variants of a network over several seeds; only what is missing, goes on after a kill."""
    from train.experiments import find_rows, load_spec, run_experiments
    from train.experiments import take as take_rows

    checked = load_spec(spec)
    if take is not None:
        finished = find_rows(checked, out)
        say(f"{take_rows(finished, take)}: {len(finished)} rows of {checked.model} on {checked.dataset}")
    if table or plot is not None:
        show_accuracy(checked, out, rows, plot, table)
    if take is not None or table or plot is not None:
        return
    if threads:
        import torch

        torch.set_num_threads(threads)
    command = " ".join(["sysmol", *sys.argv[1:]])
    made = run_experiments(checked, out, say, command, seeds=seed or (), only=only, again=again)
    say(f"{len(made)} new rows below {out}")


def show_accuracy(spec: Any, out: Path, source: Path | None, plot: Path | None, table: bool) -> None:
    """Means over seeds of a spec's finished rows, or of its rows in a CSV file, as a table and as a figure."""
    from analysis.accuracy import by_variant, draw, markdown
    from sysmol.files import atomic_write_text
    from train.experiments import find_rows, read_table

    found: list[dict[str, Any]] = list(read_table(source)) if source else find_rows(spec, out)
    means = by_variant(row for row in found if (row["network"], row["dataset"]) == (spec.model, spec.dataset))
    if table:
        say(markdown(means))
    if plot is not None:
        say(f"wrote {atomic_write_text(plot, draw(means))}")


@app.command("compile")
def compile_(
    network: NetworkFile,
    isa: Annotated[
        list[str] | None, typer.Option(help="host, arm or riscv; may be repeated (default: all three).")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for C, executables and manifests.")] = Path("build/bin"),
    variant: Annotated[str, typer.Option(help="Name of the products (default: from the file's name).")] = "",
    cc: Annotated[str, typer.Option(help="Cross compiler command to use instead of ziglang's.")] = "",
    mode: Annotated[str, typer.Option(help="se: programs for Linux; baremetal: programs without a system.")] = "se",
    schedule: Annotated[
        list[str] | None, typer.Option(metavar="LAYER=NAME", help="Schedule of a layer; may be repeated.")
    ] = None,
    style: Annotated[
        list[str] | None,
        typer.Option(metavar="FORMAT=STYLE", help="Multiply-accumulate for smol, s8 or f32 inputs; may be repeated."),
    ] = None,
    schedules: Annotated[Path | None, typer.Option(help="Schedules that `sysmol tune` stored.")] = None,
    pack: Annotated[str, typer.Option(help="How codes are stored: vqpk (the instruction) or simd.")] = "vqpk",
    machine: MachineName = DEFAULT_MACHINE,
) -> None:
    """Generate C for a network and compile it; writes a manifest beside each executable and shows its layers."""
    from analysis.estimate import estimate
    from kernels_c.build import compile_network
    from kernels_c.codegen.choose import core_of
    from kernels_c.codegen.options import Options, parse_schedules, parse_styles
    from kernels_c.schedules import stored
    from sysmol.design import load_machine
    from sysmol.network import load

    name = variant or network.name.removesuffix(".safetensors").removesuffix(".network")
    described = load_machine(machine)
    for target in isa or (["arm", "riscv"] if mode == "baremetal" else ["host", "arm", "riscv"]):
        if target not in ("host", "arm", "riscv"):
            raise SysmolError(f"there is no target {target!r}: choose host, arm or riscv")
        chosen = stored(schedules, load(network), target, described.name) if schedules else {}
        schedules_of = chosen | parse_schedules(schedule or [])
        options = Options(schedules_of, parse_styles(style or []), pack=pack, core=core_of(described))
        manifest = compile_network(network, target, out, variant=name, cc=cc or None, options=options, mode=mode)
        show_regions(manifest, None if target == "host" else estimate(manifest, described), machine)
        say(str(manifest))


def show_regions(manifest: Path, estimated: Any, machine: str) -> None:
    """The layers of an executable: schedules, bytes, instructions, and estimated cycles where there is a machine."""
    from analysis.stats import load_manifest

    rows: list[list[Any]] = []
    kinds = ("smol", "vload", "vstore", "simd", "scalar", "branch")
    for index, region in enumerate(load_manifest(manifest)["regions"]):
        cycles = None if estimated is None else estimated["cycles"].iloc[index]
        limit = None if estimated is None else estimated["limit"].iloc[index]
        data = region["bytes_in"] + region["bytes_out"]
        instructions = sum(region["mix"][kind] for kind in kinds)
        sizes = [region["bytes_weights"], data, region["bytes_code"], instructions]
        rows.append([region["name"], region["op"], region["schedule"] or "–", *sizes, cycles, limit or "–"])
    if estimated is not None:
        sums = [sum(row[column] for row in rows) for column in range(3, 8)]
        rows.append(["total", "", "", *sums, ""])
    columns = ["layer", "op", "schedule", "weight bytes", "data bytes", "code bytes", "instructions"]
    title = f"{manifest.name}" + ("" if estimated is None else f": cycles are an estimate for {machine}")
    show_table([*columns, "cycles", "bound"], rows, title=title)


@app.command()
def tune(
    network: NetworkFile,
    isa: Annotated[list[str] | None, typer.Option(help="arm or riscv; may be repeated (default: both).")] = None,
    machine: MachineName = DEFAULT_MACHINE,
    out: Annotated[Path, typer.Option(help="JSON file to which the chosen schedules are added.")] = Path(
        "build/schedules.json"
    ),
    folder: Annotated[Path, typer.Option(help="Folder for executables and runs; finished runs are reused.")] = Path(
        "build/tune"
    ),
    count: Annotated[int, typer.Option(min=1, help="Candidates per layer to simulate.")] = 6,
    images: Annotated[int, typer.Option(min=1, help="Images per simulation; the first warms the caches.")] = 2,
    gem5: Annotated[bool, typer.Option("--gem5/--no-gem5", help="Simulate, or choose by the estimate.")] = True,
) -> None:
    """Find the best schedule of every convolution: ranked by the estimate, the best few measured in gem5."""
    from analysis.estimate import bounds
    from kernels_c import schedules as store
    from kernels_c.codegen.choose import core_of
    from kernels_c.codegen.options import Options
    from kernels_c.tune import search
    from sysmol.design import load_machine
    from sysmol.measuring import measured_cycles

    described = load_machine(machine)
    name = network.name.removesuffix(".safetensors").removesuffix(".network")
    for target in isa or ["arm", "riscv"]:
        if target not in ("arm", "riscv"):
            raise SysmolError(f"gem5 simulates arm and riscv, not {target!r}")
        results = search(
            network,
            target,
            described.name,
            folder / f"{name}-{target}-{described.name}",
            lambda region: max(bounds(region, described).values()),
            (lambda manifest, run: measured_cycles(manifest, machine, run, images)) if gem5 else None,
            count,
            Options(core=core_of(described)),
            say,
        )
        store.write(out, {store.key(result.facts): result.entry() for result in results})
        rows: list[list[Any]] = []
        for result in results:
            own, best = result.cycles(result.heuristic), result.cycles(result.best)
            rows.append([", ".join(result.layers), result.heuristic, own, result.best, best, f"{own / best - 1:.1%}"])
        columns = ["layers", "heuristic", "cycles", "best", "cycles of best", "heuristic over best"]
        source = results[0].source if results else "no convolutions"
        show_table(columns, rows, title=f"{name} on {target}, {described.name} ({source})")
    say(f"wrote {out}")


@app.command()
def verify(manifest: ManifestFile) -> None:
    """Run a host executable on the network's sample images; exit status 1 where a logit differs."""
    from sysmol.demo import verify_on_host

    record = manifest.with_suffix(".check.json")
    verify_on_host(manifest, record)
    say(f"{manifest}: all sample images have the stored logits ({record})")


@app.command("run")
def run_(
    manifest: ManifestFile,
    isa: Annotated[str, typer.Option(help="arm or riscv (default: the manifest's).")] = "",
    cpu: Annotated[str, typer.Option(help="o3, timing, minor or atomic.")] = "o3",
    machine: MachineName = DEFAULT_MACHINE,
    out: Annotated[Path | None, typer.Option(help="Run folder (default: build/runs/<executable>-<cpu>).")] = None,
    images: Annotated[int, typer.Option(min=1, help="Test images.")] = 1,
    patterns: Annotated[str, typer.Option(help="P4, P8, P45 or a list of patterns (default: the machine's).")] = "",
    smol: Annotated[str, typer.Option(help=SMOL_HELP)] = "",
    linux: Annotated[
        Path | None, typer.Option(help="Run under the Linux of this folder (`sysmol linux`), booted where needed.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="With --linux: how many run at the same time.")] = 1,
) -> None:
    """Simulate an executable in gem5 and compare its logits; leaves a run folder."""
    from analysis.stats import load_manifest, load_run, totals
    from configs_gem5.launch import boot_linux, run_gem5

    facts = load_manifest(manifest)
    target = isa or facts["isa"]
    if target not in ("arm", "riscv"):
        raise SysmolError(
            f"{manifest} is built for {target}, which gem5 does not simulate: compile it for arm or riscv"
        )
    mode = "linux" if linux else str(facts.get("mode", "se"))
    folder = out or Path("build/runs") / f"{facts['variant']}-{target}{'' if mode == 'se' else '-' + mode}-{cpu}"
    boot = boot_linux(linux, machine=machine) if linux else None
    found = run_gem5(
        manifest, target, cpu, machine, folder,
        images=images, patterns=patterns or None, smol=smol or None, mode=mode, boot=boot, processes=processes,
    )  # fmt: skip
    if processes > 1:
        rows = [[number, *process.values()] for number, process in enumerate(found["processes"])]
        show_table(["process", *(key.replace("_", " ") for key in found["processes"][0])], rows)
        say(f"{folder}: logits of all {processes} processes as expected")
        return
    layers = load_run(folder)
    show_layers(layers)
    cycles = totals(layers)["cycles"].iloc[0]
    what = "no cycles: this CPU does not model time" if cycles != cycles else f"{cycles:,.0f} cycles per image"
    say(f"{folder}: logits as expected; {what} ({layers['source'].iloc[0]})")


def show_layers(layers: Any) -> None:
    """The main columns of a layer table."""
    columns = ["layer", "op", "cycles", "macs", "macs_per_cycle", "insts", "ipc"]
    columns += ["smol", "simd", "load", "store", "source"]
    show_table(columns, layers[columns].astype(object).to_numpy().tolist())


@app.command("verify-gem5")
def verify_gem5(
    isa: Annotated[list[str] | None, typer.Option(help="arm or riscv; may be repeated (default: both).")] = None,
    cpu: Annotated[
        list[str] | None, typer.Option(help="atomic, timing, minor or o3; may be repeated (default: all four).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the first batch of programs; the next ones count up.")] = 1,
    instructions: Annotated[int, typer.Option(min=1, help="SMOL instructions per ISA over all core models.")] = 100_000,
    batches: Annotated[int, typer.Option(min=0, help="That many batches instead (0: by --instructions).")] = 0,
    programs: Annotated[int, typer.Option(min=1, help="Programs per batch.")] = 40,
    machine: MachineName = DEFAULT_MACHINE,
    gem5: Annotated[Path | None, typer.Option(help="A gem5 binary (default: the newest with the plug-in).")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="ISAs checked at once.")] = 2,
    out: Annotated[Path, typer.Option(help="Folder for programs, runs and verify.json.")] = Path("build/verify"),
) -> None:
    """Random programs in gem5 against the Python model, whole state; exit status 1 where a core model differs."""
    from configs_gem5.verify.campaign import CPUS, ISAS, Settings, run_campaign, summary, totals

    settings = Settings(
        isas=tuple(isa or ISAS),
        cpus=tuple(cpu or CPUS),
        seed=seed,
        instructions=instructions,
        batches=batches or None,
        programs=programs,
        machine=machine,
        jobs=jobs,
        gem5=gem5,
    )
    rows = run_campaign(settings, out, say)
    columns = ["ISA", "core model", "programs", "instructions", "SMOL instructions", "differences", "seconds"]
    show_table(columns, summary(rows))
    say("SMOL instructions: " + ", ".join(f"{name} {count:,}" for name, count in totals(rows).items()))
    found = [difference for row in rows for difference in row.differences]
    if found:
        raise CheckFailed(f"{len(found)} of the batches differ from the Python model: {found[0].text()}")


@app.command("sweep")
def sweep_(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="A TOML or JSON file (docs/sweeps.md).")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the ledger and all products (default: build/sweeps/<spec>).")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Simulations at a time (default: all processors).")] = (
        os.cpu_count() or 1
    ),
    retry: Annotated[bool, typer.Option("--retry", help="Run points again that did not end well.")] = False,
    gem5: Annotated[Path | None, typer.Option(help="A gem5 binary (default: the newest with the plug-in).")] = None,
) -> None:
    """Simulate networks x ISAs x machines x pattern sets; runs only what the ledger lacks, goes on after a kill."""
    from analysis.sweep.ledger import LAYER, Ledger
    from analysis.sweep.runner import run_sweep
    from analysis.sweep.show import Display
    from analysis.sweep.spec import load_spec

    checked = load_spec(spec)
    folder = out or Path("build/sweeps") / spec.stem
    with Display() as progress:
        tally = run_sweep(checked, folder, jobs, progress, retry=retry, gem5=gem5)
    table = Ledger(folder).frame()
    table = table[table["kind"] != LAYER]
    columns = ["variant", "isa", "machine", "patterns", "cpu", "images", "status", "cycles", "macs_per_cycle", "kind"]
    show_table(columns, table[columns].astype(object).to_numpy().tolist())
    if checked.layers_once:
        say("networks are sums over their layers: every different layer ran alone, equal ones once")
    ended = ", ".join(f"{count} {status}" for status, count in tally.ended.items()) or "nothing"
    say(f"{tally.points} points: {tally.known} known before; ran {tally.ran}: {ended}; ledger {folder / 'ledger.csv'}")


@app.command()
def codesign(
    out: Annotated[Path, typer.Option(help="Folder for all products.")] = Path("build/codesign"),
    dataset: Annotated[str, typer.Option(help="digits, mnist or cifar10.")] = "digits",
    model: Annotated[str, typer.Option(help="A built-in network (`sysmol train --help`).")] = "digits_net",
    isa: Annotated[str, typer.Option(help="arm or riscv.")] = "arm",
    machine: MachineName = DEFAULT_MACHINE,
    patterns: Annotated[int, typer.Option(min=1, max=45, help="How many patterns the hardware has.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds at most.")] = 6,
    drop: Annotated[float, typer.Option(min=0, help="Points of accuracy that may be lost against fp32.")] = 1.5,
    noise_epochs: Annotated[int, typer.Option(min=1, help="Epochs with noise, each round.")] = 6,
    tune_epochs: Annotated[int, typer.Option(min=1, help="Epochs under the patterns, each round.")] = 10,
    gem5: Annotated[bool, typer.Option("--gem5/--no-gem5", help=GEM5_HELP)] = True,
    seed: Annotated[int, typer.Option(help="Seed of the training.")] = 0,
) -> None:
    """Alternate training, choice of patterns, code and measurement until the trade-off stops improving. Resumes."""
    from sysmol.codesign import page
    from sysmol.codesign.loop import Loop, Row
    from sysmol.codesign.settings import Settings

    settings = Settings(
        dataset=dataset, model=model, isa=isa, machine=machine, patterns=patterns, rounds=rounds, drop=drop, seed=seed,
        noise_epochs=noise_epochs, tune_epochs=tune_epochs, use_gem5=gem5,
    )  # fmt: skip
    rows: list[Row] = []
    for row in Loop(out, settings, say).rows():
        rows.append(row)
        page.write(out, settings, rows, finished=False)
    show_table(list(page.COLUMNS), page.shown(page.write(out, settings, rows, finished=True)))
    say(f"wrote {out / 'rounds.csv'} and {out / 'codesign.html'}")


@app.command("estimate")
def estimate_(
    manifest: ManifestFile,
    machine: MachineName = DEFAULT_MACHINE,
    smol: Annotated[str, typer.Option(help=SMOL_HELP)] = "",
) -> None:
    """Estimate cycles per layer without gem5."""
    from analysis.estimate import estimate
    from analysis.stats import totals
    from sysmol.design import load_machine

    described = load_machine(machine).with_smol(smol) if smol else load_machine(machine)
    layers = estimate(manifest, described)
    show_layers(layers)
    say(f"estimate: {totals(layers)['cycles'].iloc[0]:,.0f} cycles per image on {described.name}; not simulated")


@app.command()
def costs(
    manifest: ManifestFile,
    machine: MachineName = DEFAULT_MACHINE,
    run: Annotated[Path | None, typer.Option(help="gem5's run folder of it (default: the built-in estimate).")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="JSON file to write.")] = None,
) -> None:
    """What a 128-bit vector of every layer's input costs in cycles (docs/patterns.md)."""
    from analysis.costs import layer_costs
    from sysmol.design import load_machine

    found = layer_costs(manifest, load_machine(machine), run)
    rows = [[name, cost.cycles, cost.vectors or None, cost.cycles_per_vector] for name, cost in found.layers.items()]
    rows.append(["total", found.cycles, None, None])
    title = f"{found.name} ({found.variant}) on {found.isa}, {found.machine}; cycles from: {found.source}"
    show_table(["layer", "cycles", "vectors", "cycles per vector"], rows, title=title)
    if out is not None:
        say(f"wrote {found.write(out)}")


@app.command()
def patterns(
    networks: Annotated[list[Path], typer.Argument(metavar="NETWORK...", help="Trained .network.safetensors files.")],
    costs: Annotated[
        list[Path] | None,
        typer.Option(help="What `sysmol costs` wrote, once per network (default: SMOL instructions)."),
    ] = None,
    count: Annotated[list[int] | None, typer.Option(min=1, help="Patterns to choose; may be repeated.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="milp, greedy, exhaustive; may be repeated.")] = None,
    time_limit: Annotated[float, typer.Option(help="Seconds for each programme.")] = 10.0,
) -> None:
    """Choose the best of the 45 precision patterns for trained networks (docs/patterns.md)."""
    from analysis.costs import read_costs
    from sysmol.network import load
    from sysmol.patterns import pattern_name
    from train.choice import choose
    from train.demands import network_demands

    if costs and len(costs) != len(networks):
        raise SysmolError(f"{len(networks)} networks and {len(costs)} costs: give --costs once per network, in order")
    known = [read_costs(path) for path in costs or []]
    demands = [
        demand
        for path, own in itertools.zip_longest(networks, known)
        for demand in network_demands(load(path), own.per_vector if own else None)
    ]
    rows: list[list[Any]] = []
    for number in count or [4, 8, 45]:
        for name in method or ["milp", "greedy"]:
            found = choose(demands, number, name, time_limit=time_limit)
            chosen = " ".join(pattern_name(i) for i in found.patterns)
            proof = "optimal" if found.optimal else f"within {found.gap:.2%}"
            rows.append([number, name, chosen, sum(found.vectors), found.cycles, proof, round(found.seconds, 2)])
    unit = "cycles" if known else "SMOL instructions"
    sources = ", ".join(f"{found.source} on {found.machine}" for found in known) or "no costs given"
    columns = ["N", "method", "patterns", "vectors", unit, "proof", "seconds"]
    show_table(columns, rows, title=f"{len(demands)} channel orders; {unit} that depend on vectors ({sources})")


@app.command()
def report(
    folder: Annotated[
        Path, typer.Argument(help="A folder with networks, bin/, runs/ and checks/ (as `sysmol demo` leaves it).")
    ] = Path("build/demo"),
    out: Annotated[Path | None, typer.Option(help="Where to write (default: into the folder itself).")] = None,
    machine: MachineName = DEFAULT_MACHINE,
    network: Annotated[str, typer.Option(help="The network that the summary is about.")] = "mixed",
) -> None:
    """Write report.html, summary.json, layers.csv and cycles.svg from the products in a folder."""
    from analysis.report import write_report
    from analysis.summary import collect

    target = out or folder
    show_summary(write_report(collect(folder, machine), target, " ".join(["sysmol", *sys.argv[1:]]), network))
    say(f"wrote {target / 'summary.json'} and {target / 'report.html'}")


@app.command()
def info(network: NetworkFile) -> None:
    """Describe a network file: layers, formats, patterns, where its bytes go, metrics, provenance."""
    from sysmol.network import load
    from sysmol.network_file import breakdown
    from sysmol.patterns import pattern_name

    net = load(network)
    rows = []
    for layer in net.layers:
        tensor = net.tensors[layer.input]
        patterns = " ".join(pattern_name(number) for number in tensor.patterns)
        size = None if layer.weight is None else int(layer.weight.nbytes)
        targets = ", ".join(f"{name}:{net.tensors[name].format}" for name in layer.targets)
        shape = "x".join(str(side) for side in tensor.shape)
        rows.append(
            [
                layer.name,
                layer.op,
                f"{shape} {tensor.format}",
                patterns,
                "x".join(map(str, layer.kernel)),
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
    shares = [[part, size, f"{size / total:.1%}"] for part, size in parts.items()]
    show_table(["part of the deployment file", "bytes", "share"], [*shares, ["all", total, ""]])
    for heading, facts in (("metric", net.metrics), ("provenance", net.provenance)):
        if facts:
            show_table([heading, "value"], [[key, brief(value)] for key, value in facts.items()])


@app.command()
def strip(
    network: NetworkFile, out: Annotated[Path, typer.Argument(metavar="OUT", help="The deployment file to write.")]
) -> None:
    """Write the deployment file of a network: only what inference needs (docs/network-format.md)."""
    from sysmol.network import load, save

    before = load(network)
    path = save(out, before, deploy=True)
    say(f"wrote {path}: {path.stat().st_size:,} bytes of {network.stat().st_size:,}")


def brief(value: object) -> str:
    """A value on one line, cut where it is long."""
    text = str(value)
    return text if len(text) <= 200 else text[:197] + "..."


@app.command("linux")
def linux_(
    folder: Annotated[Path, typer.Argument(help="Where vmlinux and initramfs.cpio go.")],
    source: Annotated[
        Path | None, typer.Option(help="Linux source tree to build the kernel from (default: initramfs only).")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Compiler processes.")] = 1,
    cross: Annotated[str, typer.Option(help="Prefix of the cross compiler.")] = "aarch64-linux-gnu-",
) -> None:
    """Build a small Linux for AArch64 that runs networks in gem5: `sysmol run --linux FOLDER`."""
    from kernels_c.linux_system import build_initramfs, build_kernel

    say(str(build_initramfs(folder)))
    if source is not None:
        say(str(build_kernel(source, folder, jobs, cross, say)))


@app.command()
def machines(
    name: Annotated[str, typer.Argument(help="Show this one whole (default: list all).")] = "",
    smol: Annotated[str, typer.Option(help=SMOL_HELP)] = "",
    as_json: Annotated[bool, typer.Option("--json", help="The machine as a JSON file, parts spelt out.")] = False,
) -> None:
    """List the machine descriptions with their sources, or show one with the source of every latency."""
    import json

    from sysmol.design import list_machines, load_machine
    from sysmol.machine_table import details, overview

    if not name and (smol or as_json):
        raise SysmolError("--smol and --json are for one machine: name it, as in sysmol machines o3-n1 --json")
    machine = load_machine(name) if name else None
    if machine is not None and smol:
        machine = machine.with_smol(smol)
    if machine is not None and as_json:
        say(json.dumps(machine.to_json(), indent=1))
        return
    tables = details(machine) if machine is not None else overview([load_machine(each) for each in list_machines()])
    for title, columns, rows in tables:
        show_table(columns, rows, title=title)


@app.command()
def isa(
    words: Annotated[list[str] | None, typer.Argument(help="Instruction words to decode, e.g. 0x0000000b.")] = None,
) -> None:
    """Show the SMOL instructions, or decode words on both ISAs."""
    from sysmol import isa as table

    if not words:
        rows = [[", ".join(map(str, row.fns)), row.name, row.field6, row.summary] for row in table.TABLE]
        show_table(["fn", "name", "field6", "effect"], rows, title=f"instruction table {table.FINGERPRINT}")
        show_table(["ISA", "word"], [[name, text] for name, text in table.ENCODINGS.items()])
        return
    decoded = []
    for text in words:
        try:
            word = int(text, 0)
        except ValueError:
            word = -1
        if not 0 <= word < 1 << 32:
            raise SysmolError(f"{text!r} is no 32-bit word: write it like 0x0000000b")
        for name in table.ENCODINGS:
            found = table.decode(name, word)
            meaning = (
                "–"
                if found is None
                else f"{table.mnemonic(found.fn, found.field6)} v{found.vd}, v{found.vn}, v{found.vm}"
            )
            decoded.append([f"{word:#010x}", name, meaning])
    show_table(["word", "ISA", "instruction"], decoded)


@app.command()
def patch(
    action: Annotated[str, typer.Argument(help="apply, check, revert or diff.")],
    tree: Annotated[Path, typer.Argument(metavar="GEM5_TREE", help="gem5's source tree.")],
    only: Annotated[
        list[str] | None, typer.Option("--patch", help="Only this patch; may be repeated (default: all).")
    ] = None,
) -> None:
    """Optional edits inside gem5's own tree: named operation classes, stock decoding, small RISC-V vectors."""
    from isa_patches.command import run as run_patches

    run_patches(action, tree, only or [], say)


def fail(message: object, status: int) -> int:
    """One line on the standard error stream; returns the status."""
    print("sysmol: " + " ".join(str(message).split()), file=sys.stderr)
    return status


def run_command_line(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status. Everything that users can cause becomes one line."""
    try:
        status = app(args=arguments, standalone_mode=False)
        sys.stdout.flush()
        if status == INTERRUPTED:  # the argument parser turns the interrupt into this status itself
            raise KeyboardInterrupt
        return status if isinstance(status, int) else 0
    except CheckFailed as error:
        return fail(error, 1)
    except SysmolError as error:
        return fail(error, 2)
    except BrokenPipeError:
        # The reader of our output (head, less) went away; nothing is left to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return fail(f"{where}{error.strerror or error}", 2)
    except KeyboardInterrupt:
        return fail("interrupted; the same command goes on where it stopped", INTERRUPTED)
    except Exception as error:
        # Usage errors of the argument parser (typer carries its own copy of click, or imports it: no common class).
        message = getattr(error, "format_message", None)
        if message is not None:
            return fail(f"{message()} (see sysmol --help)", 2)
        raise


def main() -> None:
    """Entry point of the ``sysmol`` program."""
    sys.exit(run_command_line())
