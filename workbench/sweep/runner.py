"""Run what a sweep's store does not hold yet.

Below the sweep's folder: ``store/`` (:mod:`sysmol.workbench.store`: executables and run folders), ``layers/`` (networks
of one layer), ``records/`` and ``ledger.csv`` (:mod:`sysmol.workbench.sweep.ledger`: a row of each point).
"""

import json
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sysmol.analysis.costs.area import machine_area
from sysmol.analysis.costs.energy.model import Interval, network_energy
from sysmol.analysis.costs.quantity import Absent, Quantity
from sysmol.analysis.runs import load_run, totals
from sysmol.configs_gem5.launch import find_gem5, why_no_gem5
from sysmol.errors import SysmolError
from sysmol.files import make_folder
from sysmol.machine import parse_machine
from sysmol.network import load, save
from sysmol.pattern import pattern_name
from sysmol.workbench.executor import open_executor, run_all
from sysmol.workbench.key import Task, digest
from sysmol.workbench.steps import compile, simulate
from sysmol.workbench.store import Entry, Store
from sysmol.workbench.sweep.layers import Single, split
from sysmol.workbench.sweep.ledger import FIGURES, LAYER, NETWORK, SUM, Ledger, point_key
from sysmol.workbench.sweep.spec import Point, Spec

OK, FAILED, TIME_LIMIT, UNSUPPORTED = "ok", "failed", "time limit", "unsupported"
LAST_LINES = 12
TOO_LONG = "gem5 took more than"
"""How the message of a simulation begins that was stopped by its time limit."""


@dataclass(frozen=True)
class Job:
    """A point with its manifest and its simulation. ``error``: why there is none. ``region``: the only one that
    counts, of a layer that runs alone."""

    point: Point
    manifest: Path | None = None
    task: Task | None = None
    error: str = ""
    region: int | None = None
    status: str = FAILED

    @property
    def key(self) -> str:
        """The row's name in the ledger: of the simulation, and of what the row says beside it."""
        point = self.point
        said = self.task.key if self.task else [self.error, point.isa, point.hardware().to_json(), point.cpu]
        return point_key(
            {"simulation": said, "network": digest(point.network), "point": [point.variant, point.patterns]}
        )


@dataclass
class Tally:
    """What a call did: how many points the spec has, were known already, ran now, and how they ended."""

    points: int = 0
    known: int = 0
    ran: int = 0
    ended: dict[str, int] = field(default_factory=dict)


class Progress:
    """What a sweep tells while it runs; this one tells nothing."""

    def compiling(self, done: int, total: int) -> None: ...

    def finished(self, job: Job, record: dict[str, Any]) -> None: ...

    def planned(self, tally: Tally) -> None: ...


class Sweep:
    """One spec in one folder. ``jobs``: tasks at a time; ``cluster``: see
    :func:`sysmol.workbench.executor.open_executor`."""

    def __init__(self, spec: Spec, folder: str | Path, jobs: int, gem5: Path | None = None, cluster: str = "") -> None:
        self.spec, self.jobs, self.cluster = spec, jobs, cluster
        self.gem5 = {isa: self._binary(isa, gem5) for isa in spec.isas}
        self.folder = make_folder(folder).resolve()
        self.store = Store(self.folder / "store")
        self.ledger = Ledger(self.folder)

    @staticmethod
    def _binary(isa: str, gem5: Path | None) -> Path:
        binary = gem5 or find_gem5(isa)
        if binary is None:
            raise SysmolError(why_no_gem5(isa))
        if not binary.is_file():
            raise SysmolError(f"there is no gem5 binary {binary}")
        return binary.resolve()

    def run(self, progress: Progress, retry: bool = False) -> Tally:
        """Run all points that the store lacks; with ``retry`` also those that did not end well."""
        with self.store.alone(self.folder), open_executor(self.jobs, self.cluster) as executor:
            singles = self._singles() if self.spec.layers_once else {}
            points = self._layer_points(singles) if singles else self.spec.points()
            regions = {self._layer_file(single): single.region for each in singles.values() for single in each}
            jobs = self._jobs(points, regions, executor, retry, progress)
            distinct = {job.key: job for job in jobs.values()}
            todo = {key: job for key, job in distinct.items() if not self._stands(job, retry)}
            whole = self.spec.points() if singles else []
            sums = {point: self._sum_key(point, singles[point.network], jobs) for point in whole}
            self.ledger.keep({*distinct, *sums.values()})
            tally = Tally(len(points), len(distinct) - len(todo), len(todo))
            progress.planned(tally)
            for key, job in distinct.items():
                if key not in todo and self.ledger.find(key) is None:  # known from another spec, or a kill came first
                    self._write(job, self._outcome(job))
            self._run(list(todo.values()), executor, tally, progress)
            for point, key in sums.items():
                self._add_up(key, point, singles[point.network], jobs)
            self.ledger.write_table()
        return tally

    def _run(self, todo: Sequence[Job], executor: Executor, tally: Tally, progress: Progress) -> None:
        """Simulate; every record is in the ledger as soon as its simulation has ended."""
        waiting: dict[str, list[Job]] = {}
        for job in todo:
            waiting.setdefault(job.task.key if job.task else "", []).append(job)

        def ended(jobs: Sequence[Job], outcome: Entry | Exception | None) -> None:
            for job in jobs:
                record = self._write(job, outcome)
                tally.ended[record["status"]] = tally.ended.get(record["status"], 0) + 1
                progress.finished(job, record)
            self.ledger.write_table()

        ended(waiting.pop("", []), None)
        tasks = {job.task.key: job.task for job in todo if job.task}
        for task, outcome in run_all(self.store, list(tasks.values()), executor):
            ended(waiting[task.key], outcome)

    # --- programs ----------------------------------------------------------------------------------------------------

    def _jobs(
        self, points: list[Point], regions: dict[Path, int], executor: Executor, retry: bool, progress: Progress
    ) -> dict[Point, Job]:
        """Jobs of the points; programs are compiled where they are missing."""
        pairs = dict.fromkeys((point.network, point.isa) for point in points)
        tasks = {task.key: task for task in (compile.task(*pair) for pair in pairs)}
        wanted = dict(zip(tasks, pairs, strict=True))
        failed = {} if retry else {key: self.store.failure(task) for key, task in tasks.items()}
        made: dict[tuple[Path, str], Entry | str] = {
            wanted[key]: entry.record["error"]["text"] for key, entry in failed.items() if entry is not None
        }
        progress.compiling(len(made), len(tasks))
        left = [task for key, task in tasks.items() if wanted[key] not in made]
        for task, outcome in run_all(self.store, left, executor):
            made[wanted[task.key]] = str(outcome) if isinstance(outcome, Exception) else outcome
            progress.compiling(len(made), len(tasks))
        return {point: self._job(point, made[point.network, point.isa], regions.get(point.network)) for point in points}

    def _job(self, point: Point, program: Entry | str, region: int | None) -> Job:
        if isinstance(program, str):
            return Job(point, error=program, region=region)
        manifest = compile.manifest_of(program.folder, point.isa, point.variant)
        supported = point.hardware().smol.patterns
        used = json.loads(manifest.read_text(encoding="utf-8"))["patterns"]
        lacking = ", ".join(f"{number} {pattern_name(number)}" for number in used if number not in supported)
        if lacking:
            return Job(point, manifest, None, f"the hardware lacks {lacking}", region, UNSUPPORTED)
        task = simulate.task(
            manifest,
            self.gem5[point.isa],
            point.machine,
            point.cpu,
            patterns=",".join(map(str, supported)),
            images=point.images,
            seed=point.seed,
            timeout=self.spec.time_limit,
        )
        return Job(point, manifest, task, region=region)

    # --- layers alone ------------------------------------------------------------------------------------------------

    def _layer_file(self, single: Single) -> Path:
        return self.folder / "layers" / f"{single.name}.network.safetensors"

    def _singles(self) -> dict[Path, list[Single]]:
        """The different layers of every network; the first network that has a layer gives its weights."""
        found = {}
        for path in self.spec.networks:
            found[path] = split(load(path))
            for single in found[path]:
                if not self._layer_file(single).is_file():
                    save(self._layer_file(single), single.network)
        return found

    def _layer_points(self, singles: dict[Path, list[Single]]) -> list[Point]:
        points = [
            replace(point, network=self._layer_file(single))
            for point in self.spec.points()
            for single in singles[point.network]
        ]
        return list(dict.fromkeys(points))

    def _parts(self, point: Point, singles: list[Single], jobs: dict[Point, Job]) -> list[tuple[Job, int]]:
        """The different layers of a point's network, and how many there are of each."""
        return [(jobs[replace(point, network=self._layer_file(single))], single.count) for single in singles]

    def _sum_key(self, point: Point, singles: list[Single], jobs: dict[Point, Job]) -> str:
        parts = [(job.key, count) for job, count in self._parts(point, singles, jobs)]
        return point_key({"sum of": parts, "network": digest(point.network)})

    def _add_up(self, key: str, point: Point, singles: list[Single], jobs: dict[Point, Job]) -> None:
        """The record of a network: each different layer's figures times the number of such layers."""
        parts = self._parts(point, singles, jobs)
        records = [(self.ledger.find(job.key) or {}, count) for job, count in parts]
        bad = [record for record, _ in records if record.get("status") != OK]
        net = load(point.network)
        figures: dict[str, Any] = {"status": OK, "error": ""}
        if bad:
            figures = {"status": FAILED, "error": f"{bad[0].get('variant')}: {bad[0].get('error')}"}
        else:
            for name in FIGURES:
                values = [(record[name], count) for record, count in records]
                whole = all(value is not None for value, _ in values)
                figures[name] = sum(value * count for value, count in values) if whole else None
            for name, over in (("ipc", "insts"), ("macs_per_cycle", "macs")):
                figures[name] = figures[over] / figures["cycles"] if figures["cycles"] else None
        alike = {name: records[0][0].get(name) for name in ("machine", "area", "gem5", "gem5_sha256", "machine_sha256")}
        self.ledger.add(
            key,
            {
                "kind": SUM,
                "network": net.name,
                "variant": point.variant,
                "isa": point.isa,
                "patterns": point.patterns,
                "cpu": point.cpu,
                "images": point.images,
                "seed": point.seed,
                "accuracy_integer": net.metrics.get("accuracy_integer"),
                "test_images": net.metrics.get("test_images"),
                "bits_per_parameter": net.metrics.get("bits_per_parameter"),
                "network_sha256": digest(point.network),
                "layers": sum(count for _, count in parts),
                "layers_simulated": len(parts),
                "time_limit": self.spec.time_limit,
                "finished": max(str(record.get("finished")) for record, _ in records),
                **alike,
                **figures,
            },
        )

    # --- points ------------------------------------------------------------------------------------------------------

    def _stands(self, job: Job, retry: bool) -> bool:
        """Whether it is known how the point ends. One that hit a shorter time limit than today's runs again."""
        if job.task is None:
            return self.ledger.find(job.key) is not None and (job.status == UNSUPPORTED or not retry)
        if self.store.find(job.task) is not None:
            return True
        failure = self.store.failure(job.task)
        if failure is None or retry:
            return False
        late = failure.record["error"]["text"].startswith(TOO_LONG)
        return not (late and failure.record["given"]["timeout"] < self.spec.time_limit)

    def _outcome(self, job: Job) -> Entry | None:
        """What the store holds of a point."""
        return None if job.task is None else self.store.find(job.task) or self.store.failure(job.task)

    def _write(self, job: Job, outcome: Entry | Exception | None) -> dict[str, Any]:
        """Put a point's record into the ledger, and return it."""
        if isinstance(outcome, Exception) and job.task is not None:
            outcome = self.store.failure(job.task) or outcome
        figures: dict[str, Any] = {"status": job.status, "error": job.error, "last_lines": ""}
        if isinstance(outcome, Exception):  # no record of it: the worker was another one than was asked for
            figures |= {"error": str(outcome)}
        elif outcome is not None:
            figures |= self._figures(job, outcome)
        record = self._facts(job) | figures
        self.ledger.add(job.key, record)
        return record

    def _figures(self, job: Job, entry: Entry) -> dict[str, Any]:
        """What a simulation gave, or how it failed."""
        found = {"seconds": entry.record["seconds"], "finished": entry.record["date"]}
        error = entry.record["error"]
        if error is not None:
            late = error["text"].startswith(TOO_LONG)
            found |= {"status": TIME_LIMIT if late else FAILED, "error": error["text"]}
            return found | {"last_lines": last_lines(entry.folder, error["text"])}
        try:
            figures = run_figures(entry.folder, job.region)
        except Exception as why:  # whatever one point is ill with, the others go on
            return found | {"status": FAILED, "error": f"{type(why).__name__}: {why}"}
        run = entry.folder.relative_to(self.folder).as_posix()
        return found | {"status": OK, "error": "", "run": run, **figures}

    def _facts(self, job: Job) -> dict[str, Any]:
        """What is known of a point before it runs."""
        point, machine = job.point, job.point.hardware()
        facts = json.loads(job.manifest.read_text(encoding="utf-8")) if job.manifest else {}
        metrics = facts["network"].get("metrics", {}) if facts else {}
        area = machine_area(machine)
        return {
            "kind": NETWORK if job.region is None else LAYER,
            "network": facts.get("name", point.variant),
            "variant": point.variant,
            "isa": point.isa,
            "machine": machine.name,
            "patterns": point.patterns,
            "cpu": point.cpu,
            "images": point.images,
            "seed": point.seed,
            "accuracy_integer": metrics.get("accuracy_integer"),
            "test_images": metrics.get("test_images"),
            "bits_per_parameter": metrics.get("bits_per_parameter"),
            "area": area.value if isinstance(area, Quantity) else None,
            "time_limit": self.spec.time_limit,
            "gem5_sha256": digest(self.gem5[point.isa]),
            "machine_sha256": point_key(machine.to_json()),
            "network_sha256": digest(point.network),
            "elf_sha256": facts["elf"]["sha256"] if facts else None,
        }


def run_figures(folder: Path, region: int | None = None) -> dict[str, Any]:
    """Figures of a whole network, or of one region, from a run folder; absent ones (an untimed core's cycles) are
    ``None``."""
    layers = load_run(folder)
    sums = totals(layers if region is None else layers.iloc[[region]]).iloc[0].to_dict()
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    found = network_energy(layers.to_dict("records"), parse_machine(run["machine"], str(folder)))
    if not isinstance(found, Absent):
        energy = Interval.of(found.total if region is None else found.layers[region])
        sums |= {"energy": energy.value, "energy_low": energy.low, "energy_high": energy.high}
    figures = {name: float(sums[name]) if name in sums else float("nan") for name in FIGURES}
    return {name: None if value != value else value for name, value in figures.items()} | {
        "gem5": run["gem5"]["version"]
    }


def last_lines(folder: Path, message: str) -> str:
    """The end of what the simulated program printed, and what gem5 said last."""
    lines = []
    for name in ("simout", "simerr"):
        path = folder / name
        if path.is_file():
            lines += path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([*lines[-LAST_LINES:], message])


def run_sweep(
    spec: Spec,
    folder: str | Path,
    jobs: int,
    progress: Progress,
    *,
    retry: bool = False,
    gem5: Path | None = None,
    cluster: str = "",
) -> Tally:
    """Run a spec in a folder; see :class:`Sweep`."""
    return Sweep(spec, folder, jobs, gem5, cluster).run(progress, retry)
