"""Options that several commands share: each is defined here once, and means the same everywhere."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from sysmol.cli.file_kinds import expect
from sysmol.errors import SysmolError
from sysmol.isas import ISAS, TARGETS

DEFAULT_MACHINE = "o3-n1"
MOST_SEED = 2**31 - 1
PROCESSORS = os.cpu_count() or 1

# --- what a command is about -----------------------------------------------------------------------------------------

NetworkFile = Annotated[
    Path, typer.Argument(metavar="NETWORK", help="A .network.safetensors file.", callback=expect("network"))
]
NetworkFiles = Annotated[
    list[Path],
    typer.Argument(metavar="NETWORK...", help="Trained .network.safetensors files.", callback=expect("network")),
]
ManifestFile = Annotated[
    Path,
    typer.Argument(
        metavar="MANIFEST", help="The .json beside an executable of `sysmol compile`.", callback=expect("manifest")
    ),
]


def check_dataset(name: str) -> str:
    """A callback for data sets, built-in names or the user's files."""
    expect("data")(name)
    return name


DATASET_HELP = "digits; mnist or cifar10 from $SYSMOL_DATA; or FILE.npz, yours (docs/training.md)."
PRESET_HELP = "Training schedule: demo, quick, mnist, cifar10 or cifar10-short"
ModelName = Annotated[
    str,
    typer.Option(
        "--model",
        help="digits_net, mnist_net, resnet8, resnet8_large, resnet20, mobilenetv2, mobilenetv2_stem2 or _small, cct, "
        "digits_cct; or FILE.py:CALLABLE, yours.",
    ),
]

# --- where things go, and how much at a time -------------------------------------------------------------------------


def out_option(text: str) -> Any:
    """``--out``: where a command writes."""
    return typer.Option("--out", "-o", help=text)


Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, max=4096, help="Steps at a time.")]
Threads = Annotated[int, typer.Option("--threads", min=0, max=1024, help="Threads of PyTorch (0: its own choice).")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED, help="Seed of all that is random.")]
Device = Annotated[
    str, typer.Option("--device", help="Where to train: cpu, cuda, or auto (a GPU where PyTorch finds one).")
]
ClusterAddress = Annotated[
    str, typer.Option("--cluster", help="Dask scheduler: tcp://HOST:PORT, its JSON file, or local (docs/cluster.md).")
]

# --- how networks are trained ----------------------------------------------------------------------------------------

Edges = Annotated[
    str,
    typer.Option("--edges", metavar="BITS", help="Of the first and the last layer: 8, 4, 2, 1, or same as the others."),
]
LayerBits = Annotated[
    list[str] | None,
    typer.Option(
        "--layer", metavar="NAME=BITS", help="Bits of a layer (pattern of names): 8, 4, 2, 1 or same; may be repeated."
    ),
]
Mean = Annotated[
    str,
    typer.Option(
        "--mean",
        metavar="M[,M...]",
        help="With --std, one number or one per channel: pixels stand for (x / 255 - mean) / std "
        "(default: what the .npz file says, or (x - 128) / 64).",
    ),
]
Deviation = Annotated[str, typer.Option("--std", metavar="S[,S...]", help="See --mean.")]


def normalisation_of(mean: str, deviation: str) -> Any:
    """The :class:`sysmol.network.Normalisation` of ``--mean`` and ``--std``, None without them."""
    if not mean and not deviation:
        return None
    if not mean or not deviation:
        raise SysmolError("--mean and --std belong together")
    from sysmol.train.frontend.data import unit_normalisation

    return unit_normalisation(_numbers("--mean", mean), _numbers("--std", deviation), "--mean and --std")


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(each) for each in text.split(",")]
    except ValueError:
        raise SysmolError(f"{option} {text!r}: numbers with commas between them are needed") from None


# --- machines and simulators -----------------------------------------------------------------------------------------

Isa = Literal["arm", "riscv"]
Cpu = Literal["o3", "timing", "minor", "atomic"]
CPUS = get_args(Cpu)


def some_of(kind: str, *choices: str) -> Any:
    """A callback for options that may be repeated: refuses what is none of the choices, each a ``kind``."""

    def check(values: list[str] | None) -> list[str] | None:
        for value in values or []:
            if value not in choices:
                raise SysmolError(f"there is no {kind} {value!r}: choose from {', '.join(choices)}")
        return values

    return check


Isas = Annotated[
    list[str] | None,
    typer.Option(
        "--isa", metavar="[arm|riscv]", callback=some_of("ISA", *ISAS), help="May be repeated (default: both)."
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--isa",
        metavar="[host|arm|riscv]",
        callback=some_of("target", *TARGETS),
        help="May be repeated (default: all three).",
    ),
]
Cpus = Annotated[
    list[str] | None,
    typer.Option(
        "--cpu",
        metavar="[o3|timing|minor|atomic]",
        callback=some_of("CPU", *CPUS),
        help="May be repeated (default: all four).",
    ),
]
MachineName = Annotated[
    str,
    typer.Option("--machine", "-m", help="A name from `sysmol machines`, or a JSON file.", callback=expect("machine")),
]
SmolUnit = Annotated[
    str,
    typer.Option(
        "--smol", help="Another SMOL unit than the machine's, e.g. units=2,vdot=4,share=no (docs/machines.md)."
    ),
]


def _gem5(path: Path | None) -> Path | None:
    if path is None:
        return None
    if str(path).startswith("-"):
        raise SysmolError(
            "--gem5 takes the path of a binary: gem5 is used wherever it is found; --no-gem5 leaves it out"
        )
    if not path.is_file() or not os.access(path, os.X_OK):
        raise SysmolError(f"--gem5 {path}: there is no program of that name; give the path of a gem5 binary")
    return path.resolve()


Gem5 = Annotated[
    Path | None,
    typer.Option(
        "--gem5", metavar="PATH", callback=_gem5, help="This gem5 binary (default: the newest with the plug-in)."
    ),
]
NoGem5 = Annotated[bool, typer.Option("--no-gem5", help="Estimate cycles, even where a gem5 with the plug-in is.")]


def _cost(name: str) -> str:
    from sysmol.analysis.costs.calculated import check_name

    return check_name(name)


CalculatedBy = Annotated[
    str,
    typer.Option(
        "--cost",
        metavar="[twin|estimate]",
        callback=_cost,
        help="What calculates cycles that nobody simulates: twin (a prediction) or estimate (docs/search.md).",
    ),
]
DEFAULT_COST = "twin"


def _patterns(text: str) -> str:
    if text:
        from sysmol.machine import pattern_set

        pattern_set(text)
    return text


Patterns = Annotated[
    str,
    typer.Option(
        "--patterns",
        metavar="SET",
        callback=_patterns,
        help="Patterns of the hardware: P1, P4, P8, P45, or ids like 0,12,44 (default: the machine's).",
    ),
]
COUNT_HELP = "Patterns to choose for the hardware"


# --- what had another name -------------------------------------------------------------------------------------------


def moved(old: str, now: str) -> Any:
    """A hidden option that had another name or meaning: one line says what it is now."""

    def refuse(value: str | None) -> None:
        if value is not None:
            raise SysmolError(f"{old} is now {now.replace('VALUE', str(value))}")

    return typer.Option(old, hidden=True, callback=refuse)


def use_threads(count: int) -> None:
    """Let PyTorch use so many threads; 0 leaves it its own choice."""
    if count:
        import torch

        torch.set_num_threads(count)
