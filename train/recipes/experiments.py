"""Many variants of one network over several seeds: run what is missing, keep a row of each (docs/training.md).

A spec is a TOML file:

==================  ===================================================================================================
field               meaning
==================  ===================================================================================================
``dataset``         digits, mnist, cifar10, or ``FILE.npz`` relative to the spec's folder
``model``           a built-in network, or ``FILE.py:CALLABLE`` relative to the spec's folder
``seeds``           of first weights and all randomness, a list
``variants``        names (:func:`sysmol.train.recipes.variants.variant`) in the order in which they are made
``[schedule]``      ``calibration``, ``statistics``, ``samples`` of :class:`sysmol.train.recipes.pipeline.Schedule`
``[phase]``         settings of :class:`sysmol.train.quantise.trainer.Phase` for all phases
``[phases.NAME]``   settings of one phase: fp32, int8, uniform (w4, w2, w1), noise or tune
==================  ===================================================================================================

Below the folder of a spec's products every model, data set and seed has one of its own, with network files, records and
the checkpoints of all phases. A killed run goes on where it stood; two processes take different seeds.
"""

from __future__ import annotations

import csv
import datetime
import io
import re
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from sysmol.errors import SysmolError
from sysmol.files import alone, atomic_write_json, atomic_write_text, content_key, make_folder, read_json, sha256_file
from sysmol.network import save
from sysmol.pattern import pattern_name
from sysmol.train.frontend.data import load
from sysmol.train.frontend.models import check_model
from sysmol.train.frontend.user_files import identity, label, located
from sysmol.train.quantise.trainer import Phase
from sysmol.train.recipes.pipeline import Pipeline, Schedule, Trained, build_pipeline
from sysmol.train.recipes.variants import Variant, variant

FORMAT, VERSION = "sysmol-experiment", 1
MEASURED = ("cycles_arm", "cycles_riscv", "simulator", "logits_verified_by")
"""Columns that training cannot know: cycles per image, what measured them, and who computed the same logits. They come
from the summary that ``sysmol evaluate`` leaves in a seed's folder (:mod:`sysmol.analysis.accuracy`)."""
COLUMNS = (
    "network", "dataset", "variant", "seed", "accuracy_fp32", "accuracy_float", "accuracy_integer",
    "bits_per_parameter", "register_bits", "mean_smol_bits", "parameters", "file_bytes", "compression", "patterns",
    "epochs", "seconds", "source", "command", "date", "threads", "torch", "network_sha256", *MEASURED,
)  # fmt: skip
"""Of ``results/training.csv``: a row per network, data set, variant and seed. Accuracies are shares of the test images.
``bits_per_parameter`` are the bits of all weights as a file stores them over their number, ``register_bits`` those that
registers hold, with what fills unused slots. ``compression`` is 4 bytes per parameter over ``file_bytes``, the whole
file without samples and provenance. ``epochs`` are those of all phases from the first weights on, ``seconds`` their
time. What does not exist for a row is empty."""
RENAMED_COLUMNS = {"agree": "logits_verified_by"}
"""Columns of older files: old name, new name."""
IDENTITY = COLUMNS[:4]
PHASES = {"fp32": "float", "int8": "int8", "uniform": "uniform", "noise": "noise", "tune": "tune"}
"""Names of phases in a spec, and in :class:`sysmol.train.recipes.pipeline.Schedule`."""
_PHASE_NAMES = {"float": "fp32", "int8": "int8", "uniform": "w4", "noise": "mixed-noise", "tune": "mixed-tune"}

Row = dict[str, Any]


@dataclass(frozen=True)
class Spec:
    """A checked spec; fields as in the file, paths from where the program stands."""

    path: Path
    dataset: str
    model: str
    seeds: tuple[int, ...]
    variants: tuple[Variant, ...]
    schedule: Schedule

    @property
    def network(self) -> str:
        """The model's name in rows and folders."""
        return label(self.model)

    @property
    def data_name(self) -> str:
        """The data set's name in rows and folders."""
        return label(self.dataset)

    def key(self, chosen: Variant, seed: int) -> str:
        """20 hexadecimal digits over what a row's figures depend on, the program and files of built-in data apart."""
        schedule = asdict(self.schedule) | {name: getattr(self.schedule, name).settings() for name in PHASES.values()}
        facts = [identity(self.dataset), identity(self.model), seed, asdict(chosen), schedule]
        return content_key(facts)[:20]


# --- specs -----------------------------------------------------------------------------------------------------------


def load_spec(path: str | Path) -> Spec:
    """Read and check a spec; :class:`SysmolError` names what is wrong."""
    file = Path(path)
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SysmolError(f"cannot read the spec {path}: {error.strerror}") from None
    except ValueError as error:
        raise SysmolError(f"{path} is no TOML: {error}") from None
    _known(data, ("dataset", "model", "seeds", "variants", "schedule", "phase", "phases"), f"{path}")
    for name in ("dataset", "model"):
        if not isinstance(data.get(name), str):
            raise SysmolError(f"{path}: {name} must be a text")
    try:
        check_model(data["model"])
    except SysmolError as error:
        raise SysmolError(f"{path}: {error}") from None
    dataset, model = (located(data[name], file.parent) for name in ("dataset", "model"))
    names = _list(data, "variants", str, path)
    return Spec(
        file, dataset, model, tuple(_list(data, "seeds", int, path)),
        tuple(variant(name) for name in dict.fromkeys(names)), _schedule(data, path),
    )  # fmt: skip


def _list(data: dict[str, Any], name: str, kind: type, path: str | Path) -> list[Any]:
    values = data.get(name)
    if not isinstance(values, list) or not values or not all(type(value) is kind for value in values):
        what = "whole numbers" if kind is int else "texts"
        raise SysmolError(f"{path}: {name} must be a list of {what} with at least one entry")
    return values


def _known(table: Any, names: Iterable[str], where: str) -> None:
    if not isinstance(table, dict):
        raise SysmolError(f"{where} must be a table")
    unknown = sorted(set(table) - set(names))
    if unknown:
        raise SysmolError(f"{where}: unknown field '{unknown[0]}': choose from {', '.join(names)}")


def _schedule(data: dict[str, Any], path: str | Path) -> Schedule:
    counts = data.get("schedule", {})
    kinds = {f.name: type(f.default) for f in fields(Schedule) if isinstance(f.default, int)}
    _typed(counts, kinds, f"{path}: [schedule]")
    phases = data.get("phases", {})
    _known(phases, PHASES, f"{path}: [phases]")
    settings: dict[str, type] = {f.name: type(f.default) for f in fields(Phase) if f.name not in ("name", "epochs")} | {
        "epochs": int
    }
    common = data.get("phase", {})
    made: dict[str, Any] = {}
    for name, field in PHASES.items():
        own = common | phases.get(name, {}) if isinstance(common, dict) else common
        where = f"{path}: [phases.{name}]"
        _typed(own, settings, where)
        if "epochs" not in own:
            raise SysmolError(f"{where}: epochs are missing")
        made[field] = Phase(_PHASE_NAMES[field], **{key: settings[key](value) for key, value in own.items()})
    return Schedule(**made, **counts)


def _typed(table: Any, kinds: dict[str, type], where: str) -> None:
    """Refuse fields that are unknown, of another type, or negative; whole numbers pass as fractions."""
    _known(table, kinds, where)
    for name, value in table.items():
        kind = kinds[name]
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise SysmolError(f"{where}: {name} must be a {kind.__name__}, not {value!r}")
        if isinstance(value, int | float) and value < (1 if name == "batch" else 0):
            raise SysmolError(f"{where}: {name} is {value}, which is too small")


# --- running ---------------------------------------------------------------------------------------------------------


def run_experiments(
    spec: Spec, out: str | Path, say: Callable[[str], None], command: str, seeds: Sequence[int] = (), only: str = "",
    again: bool = False, quiet: bool = False,
) -> list[Row]:  # fmt: skip
    """Make the rows that are missing, those of ``seeds`` (default: all) and of variants whose name the regular
    expression ``only`` matches; returns the new ones.

    ``again``: export and measure also what is there already, from the checkpoints of its training.
    """
    try:
        matches = re.compile(only)
    except re.error as error:
        raise SysmolError(f"--only {only!r} is no regular expression: {error}") from None
    wanted = [chosen for chosen in spec.variants if matches.search(chosen.name)]
    if not wanted:
        raise SysmolError(f"no variant matches {only!r}: {spec.path} has {', '.join(v.name for v in spec.variants)}")
    for seed in seeds:
        if seed not in spec.seeds:
            raise SysmolError(f"--seed {seed}: {spec.path} has the seeds {', '.join(map(str, spec.seeds))}")
    made: list[Row] = []
    for seed in seeds or spec.seeds:
        folder = seed_folder(spec, out, seed)
        with alone(folder) as mine:
            if not mine:
                say(f"{folder}: another process is at work there, left to it")
                continue
            missing = [each for each in wanted if again or find_row(spec, out, each, seed) is None]
            if not missing:
                continue
            pipeline = build_pipeline(
                load(spec.dataset), spec.model, spec.schedule, seed, make_folder(folder / "checkpoints"), quiet=quiet
            )
            pipeline.check(missing)
            for chosen in missing:
                row = _row(pipeline, chosen, folder, seed, command)
                record = {"format": FORMAT, "version": VERSION, "key": spec.key(chosen, seed), "row": row}
                atomic_write_json(folder / f"{chosen.name}.row.json", record)
                made.append(row)
                say(f"{spec.network} on {spec.data_name}, seed {seed}, {chosen.name}: {_brief(row)}")
    return made


def seed_folder(spec: Spec, out: str | Path, seed: int) -> Path:
    """Where the products of one seed are."""
    return Path(out) / f"{spec.network}-{spec.data_name}-{seed}"


def find_row(spec: Spec, out: str | Path, chosen: Variant, seed: int) -> Row | None:
    """The row of a variant and seed with the spec's present settings, or None."""
    path = seed_folder(spec, out, seed) / f"{chosen.name}.row.json"
    if not path.is_file():
        return None
    record = read_json(path, FORMAT, VERSION)
    return dict(record["row"]) if record.get("key") == spec.key(chosen, seed) else None


def find_rows(spec: Spec, out: str | Path) -> list[Row]:
    """All rows of a spec that are there."""
    found = [find_row(spec, out, chosen, seed) for seed in spec.seeds for chosen in spec.variants]
    return [row for row in found if row is not None]


def _row(pipeline: Pipeline, chosen: Variant, folder: Path, seed: int, command: str) -> Row:
    trained = pipeline.train(chosen)
    facts: Row = {"network": pipeline.facts["model"], "dataset": pipeline.data.name, "variant": chosen.name}
    facts |= {"seed": seed, "source": pipeline.data.source, "command": command, "patterns": _patterns(trained)}
    facts |= {"epochs": sum(trained.epochs), "seconds": trained.seconds}
    facts |= {"date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")}
    facts |= {"threads": torch.get_num_threads(), "torch": torch.__version__}
    if chosen.exported:
        network = pipeline.export(trained)
        metrics = network.metrics
        path = save(folder / f"{chosen.name}.network.safetensors", network)
        facts["network_sha256"] = sha256_file(path)
    else:
        metrics = pipeline.measure(trained)
    return {column: _rounded((metrics | facts).get(column)) for column in COLUMNS}


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


def _patterns(trained: Trained) -> str:
    """Names of the patterns that hardware must support for a network's vectors."""
    domains = trained.prepared.learned_domains().values() if trained.variant.shared else ()
    used = sorted({number for domain in domains for number in domain.patterns})
    return " ".join(pattern_name(number) for number in used)


def _brief(row: Row) -> str:
    integers = "not exported" if row["accuracy_integer"] is None else f"integers {row['accuracy_integer']:.2%}"
    size = "" if row["file_bytes"] is None else f", {row['file_bytes']:,} bytes, {row['compression']:.1f}x smaller"
    return f"float {row['accuracy_float']:.2%}, {integers}, {row['bits_per_parameter']:.3f} bits per parameter{size}"


# --- tables ----------------------------------------------------------------------------------------------------------


def read_table(path: str | Path) -> list[dict[str, str]]:
    """Rows of a CSV file of :func:`take`, old column names replaced; none where there is no such file."""
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            head = tuple(RENAMED_COLUMNS.get(name, name) for name in reader.fieldnames or ())
            reader.fieldnames = list(head)
            rows = list(reader)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise SysmolError(f"cannot read {path}: {error}") from None
    if head != COLUMNS:
        raise SysmolError(f"{path} has other columns than training results: move it away, or name another file")
    return rows


def take(rows: Sequence[Row], path: str | Path) -> Path:
    """Put rows into a CSV file, in the place of those with the same network, data set, variant and seed."""
    table = {_identity(row): row for row in read_table(path)}
    table |= {_identity(row): row for row in rows}
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table.values())
    return atomic_write_text(path, text.getvalue())


def _identity(row: Row) -> tuple[str, ...]:
    return tuple(str(row[column]) for column in IDENTITY)
