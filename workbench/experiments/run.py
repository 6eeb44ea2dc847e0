"""Many variants of one network over several seeds: make what is missing, keep a row of each (docs/training.md).

Below the folder of a spec's products are the ``store/``, and for every model, data set and seed a folder with network
files, rows and the ends of all phases. A killed run goes on where it stood; two processes take different seeds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sysmol.errors import SysmolError
from sysmol.files import content_key, make_folder, sha256_file
from sysmol.network import load as load_network
from sysmol.network import save
from sysmol.train.frontend.user_files import identity, is_own
from sysmol.train.recipes.variants import Variant
from sysmol.workbench import provenance
from sysmol.workbench.executor import open_executor, run_chains
from sysmol.workbench.experiments.spec import Spec
from sysmol.workbench.experiments.table import COLUMNS, IDENTITY, LARGE, NETWORKS, Row
from sysmol.workbench.key import Task
from sysmol.workbench.steps import experiment
from sysmol.workbench.store import Entry, Store, load
from sysmol.workbench.view import View


def run_experiments(
    spec: Spec, out: str | Path, say: Callable[[str], None], command: str, seeds: Sequence[int] = (), only: str = "",
    again: bool = False, quiet: bool = False, cluster: str = "", starts: Path | None = None,
    device: str = "auto",
) -> list[Row]:  # fmt: skip
    """Make the rows that are missing, those of ``seeds`` (default: all) and of variants whose name the regular
    expression ``only`` matches; returns the new ones.

    ``again``: export and measure also what is there already, from the checkpoints of its training. ``starts``: a folder
    like ``out`` whose ends of phases stand for training of the same course. ``cluster``: seeds run on Dask.
    """
    wanted = _wanted(spec, only)
    for seed in seeds:
        if seed not in spec.seeds:
            raise SysmolError(f"--seed {seed}: {spec.path} has the seeds {', '.join(map(str, spec.seeds))}")
    store = Store(Path(out) / "store")
    chains, complete = [], []
    for seed in seeds or spec.seeds:
        tasks = [_task(spec, chosen, seed, command, starts, quiet, device) for chosen in wanted]
        missing = [task for task in tasks if again or store.find(task) is None]
        if missing:
            chains.append(missing)
        else:
            complete.append(seed)
    for chain in chains[:1]:  # what limits can be met does not depend on the seed
        _check(spec, store, chain[0], [task.options["variant"] for task in chain], quiet)
    with _Claims(store, say) as claims:
        for seed in complete:  # perhaps another spec's products stand there
            if claims.take(seed_folder(spec, out, seed)):
                show(spec, out, seed, starts)
        chains = [chain for chain in chains if claims.take(seed_folder(spec, out, chain[0].options["seed"]))]
        for task in (task for chain in chains for task in chain if again):
            store.forget(task)
        made = []
        with open_executor(1, cluster) as executor:
            for task, outcome in run_chains(store, chains, executor):
                if isinstance(outcome, Exception):
                    raise outcome
                made.append(row_of(outcome, task.options["variant"]))
                show(spec, out, task.options["seed"], starts)
                say(f"{spec.network} on {spec.data_name}, seed {task.options['seed']}, {_brief(made[-1])}")
    return made


def _wanted(spec: Spec, only: str) -> list[Variant]:
    """The variants whose name the expression finds."""
    try:
        matches = re.compile(only)
    except re.error as error:
        raise SysmolError(f"--only {only!r} is no regular expression: {error}") from None
    wanted = [chosen for chosen in spec.variants if matches.search(chosen.name)]
    if not wanted:
        raise SysmolError(f"no variant matches {only!r}: {spec.path} has {', '.join(v.name for v in spec.variants)}")
    return wanted


class _Claims:
    """Seeds that this process works on, and nobody else meanwhile."""

    def __init__(self, store: Store, say: Callable[[str], None]) -> None:
        self.store, self.say, self.locks = store, say, []  # type: ignore[var-annotated]

    def __enter__(self) -> _Claims:
        return self

    def take(self, folder: Path) -> bool:
        """Whether this process may work there; says so where it may not."""
        lock = self.store.claim(folder.name)
        if lock is None:
            self.say(f"{folder}: another process is at work there, left to it")
            return False
        self.locks.append(lock)
        return True

    def __exit__(self, *_: object) -> None:
        for lock in self.locks:
            lock.release()


def _task(
    spec: Spec, chosen: Variant, seed: int, command: str = "", starts: Path | None = None, quiet: bool = False,
    device: str = "auto",
) -> Task:  # fmt: skip
    own = None if starts is None else seed_folder(spec, starts, seed) / experiment.PHASES
    return experiment.task(
        spec.dataset, spec.model, spec.schedule, chosen, seed, command, own, quiet, device, spec.weights
    )


def _check(spec: Spec, store: Store, task: Task, variants: Sequence[Variant], quiet: bool) -> None:
    """Refuse variants whose limits no layout can meet, before any training."""
    pipeline = experiment.pipeline_of(
        spec.dataset, spec.model, spec.schedule, task.options["seed"], store.resume_folder(task), task.given["starts"],
        quiet, task.options["device"], spec.weights,
    )  # fmt: skip
    pipeline.check(variants)


def resume_folder(spec: Spec, out: str | Path, seed: int) -> Path:
    """Where the unfinished work of a seed is, of all variants."""
    return make_folder(Store(Path(out) / "store").resume_folder(_task(spec, spec.variants[0], seed)))


def seed_folder(spec: Spec, out: str | Path, seed: int) -> Path:
    """Where the products of one seed are shown; of users' data and networks, a folder for every content."""
    own = [name for name in (spec.dataset, spec.model) if is_own(name)]
    content = f"-{content_key([identity(name) for name in own])[:8]}" if own else ""
    return Path(out) / f"{spec.network}-{spec.data_name}-{seed}{content}"


def find_row(spec: Spec, out: str | Path, chosen: Variant, seed: int, starts: Path | None = None) -> Row | None:
    """The row of a variant and seed with the spec's present settings, or None."""
    if not (Path(out) / "store").is_dir():
        return None
    entry = Store(Path(out) / "store").find(_task(spec, chosen, seed, starts=starts))
    return None if entry is None else row_of(entry, chosen)


def find_rows(spec: Spec, out: str | Path, starts: Path | None = None) -> list[Row]:
    """All rows of a spec that are there."""
    found = [find_row(spec, out, chosen, seed, starts) for seed in spec.seeds for chosen in spec.variants]
    return [row for row in found if row is not None]


def show(spec: Spec, out: str | Path, seed: int, starts: Path | None = None) -> Path:
    """Put a seed's products where people look for them, those of other settings away; returns the folder."""
    store, folder = Store(Path(out) / "store"), make_folder(seed_folder(spec, out, seed))
    view = View(store, folder, folder.name)
    for chosen in spec.variants:
        entry = store.find(_task(spec, chosen, seed, starts=starts))
        if entry is not None:
            view.show(entry)
    view.finish()
    return folder


def row_of(entry: Entry, chosen: Variant) -> Row:
    """The row among an entry's products."""
    found = load(entry.path(f"{chosen.name}.row.json"))
    return {column: _rounded(found.get(column)) for column in COLUMNS}


def take_networks(
    spec: Spec, out: str | Path, rows: Sequence[Row], table: Path, starts: Path | None = None
) -> dict[str, Path]:
    """Put the networks of rows, without samples and provenance, into the folder beside a table of rows, and note there
    where the rows come from. Networks in full precision that are large are left out. Returns the files by
    :func:`row_name`."""
    taken = {}
    store, variants = Store(Path(out) / "store"), {chosen.name: chosen for chosen in spec.variants}
    for row in rows:
        entry = store.find(_task(spec, variants[row["variant"]], row["seed"], starts=starts))
        if entry is None:
            continue
        facts = {name: entry.record[name] for name in ("commit", "date")} | {"command": row["command"]}
        name = f"{row['variant']}.network.safetensors"
        network = load_network(entry.path(name)) if row["network_sha256"] is not None else None
        if network is not None and not (network.is_float and entry.path(name).stat().st_size > LARGE):
            whose = "-".join(str(row[column]) for column in IDENTITY if column != "variant")
            path = save(make_folder(table.parent / NETWORKS) / f"{whose}-{name}", network, deploy=True)
            facts |= {"network": path.name, "network_sha256": sha256_file(path)}
            taken[row_name(row)] = path
        provenance.write(table, [entry.record["inputs"]], {row_name(row): facts})
    return taken


def row_name(row: Mapping[str, Any]) -> str:
    """What :mod:`sysmol.workbench.provenance` calls a row."""
    return " ".join(str(row[column]) for column in IDENTITY)


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


def _brief(row: Row) -> str:
    integers = "not exported" if row["accuracy_integer"] is None else f"integers {row['accuracy_integer']:.2%}"
    size = "" if row["file_bytes"] is None else f", {row['file_bytes']:,} bytes, {row['compression']:.1f}x smaller"
    accuracy = f"float {row['accuracy_float']:.2%}, {integers}"
    return f"{row['variant']}: {accuracy}, {row['bits_per_parameter']:.3f} bits per parameter{size}"
