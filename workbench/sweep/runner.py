"""Run what a sweep's ledger does not hold yet.

Below the sweep's folder: ``programs/<hash>/`` (C, executable, manifest), ``runs/<key>/`` (run folders), ``records/``
and ``ledger.csv`` (:mod:`sysmol.workbench.sweep.ledger`). Programs and runs have their names from the moment they are
whole.
"""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sysmol.analysis.runs import load_run, totals
from sysmol.configs_gem5.launch import find_gem5, run_gem5, why_no_gem5
from sysmol.configs_gem5.request import Simulation
from sysmol.errors import CheckFailed, SysmolError
from sysmol.files import make_folder, making, remove_unfinished, sha256_file
from sysmol.kernels_c.build import compile_network
from sysmol.network import load, save
from sysmol.pattern import pattern_name
from sysmol.workbench.stages import PROGRAM_SOURCES, RUN_SOURCES, source_digest
from sysmol.workbench.sweep.layers import Single, split
from sysmol.workbench.sweep.ledger import FIGURES, LAYER, NETWORK, SUM, Ledger, point_key
from sysmol.workbench.sweep.spec import Point, Spec

OK, FAILED, TIME_LIMIT, UNSUPPORTED = "ok", "failed", "time limit", "unsupported"
LAST_LINES = 12


@dataclass(frozen=True)
class Task:
    """A point with its executable and what its figures depend on. ``error``: why there is no executable. ``region``:
    the only one that counts, of a layer that runs alone."""

    point: Point
    manifest: Path
    inputs: dict[str, Any]
    error: str = ""
    region: int | None = None

    @property
    def key(self) -> str:
        return point_key(self.inputs)


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

    def started(self, task: Task) -> None: ...

    def finished(self, task: Task, record: dict[str, Any]) -> None: ...

    def planned(self, tally: Tally) -> None: ...


class Sweep:
    """One spec in one folder. ``jobs``: simulations at a time."""

    def __init__(self, spec: Spec, folder: str | Path, jobs: int, gem5: Path | None = None) -> None:
        self.spec, self.jobs = spec, jobs
        self.folder = make_folder(folder).resolve()
        self.ledger = Ledger(self.folder)
        self.gem5 = {isa: self._binary(isa, gem5) for isa in spec.isas}
        self.digests = {path: sha256_file(path) for path in set(self.gem5.values())}
        self.program_sources = source_digest(*PROGRAM_SOURCES)
        self.run_sources = source_digest(*RUN_SOURCES)
        self._lock = threading.Lock()

    @staticmethod
    def _binary(isa: str, gem5: Path | None) -> Path:
        binary = gem5 or find_gem5(isa)
        if binary is None:
            raise SysmolError(why_no_gem5(isa))
        return binary

    def run(self, progress: Progress, retry: bool = False) -> Tally:
        """Run all points that the ledger lacks; with ``retry`` also those that did not end well."""
        with self.ledger.alone():
            remove_unfinished(self.folder)
            singles = self._singles() if self.spec.layers_once else {}
            points = self.spec.points() if not singles else self._layer_points(singles)
            regions = {self._layer_file(single): single.region for each in singles.values() for single in each}
            tasks = self._tasks(points, regions, progress)
            todo = [
                task for task in {task.key: task for task in tasks.values()}.values() if not self._stands(task, retry)
            ]
            tally = Tally(len(points), len({task.key for task in tasks.values()}) - len(todo), len(todo))
            progress.planned(tally)
            pool = ThreadPoolExecutor(max_workers=self.jobs)
            try:
                for record in pool.map(lambda task: self._one(task, progress), todo):
                    tally.ended[record["status"]] = tally.ended.get(record["status"], 0) + 1
            finally:
                pool.shutdown(cancel_futures=True)
            for point in self.spec.points() if singles else []:
                self._add_up(point, singles[point.network], tasks)
            self.ledger.write_table()
        return tally

    # --- programs ----------------------------------------------------------------------------------------------------

    def _tasks(self, points: list[Point], regions: dict[Path, int], progress: Progress) -> dict[Point, Task]:
        """Tasks of the points; programs are compiled where they are missing. Equal points have equal keys."""
        wanted = list(dict.fromkeys((point.network, point.isa) for point in points))
        made: dict[tuple[Path, str], tuple[Path, str]] = {}
        progress.compiling(0, len(wanted))
        with ThreadPoolExecutor(max_workers=self.jobs) as pool:
            for count, (name, program) in enumerate(zip(wanted, pool.map(self._program, wanted), strict=True), 1):
                made[name] = program
                progress.compiling(count, len(wanted))
        return {
            point: self._task(point, *made[point.network, point.isa], regions.get(point.network)) for point in points
        }

    def _program(self, wanted: tuple[Path, str]) -> tuple[Path, str]:
        """Manifest of a network's executable, and why there is none (else empty)."""
        network, isa = wanted
        variant = network.name.removesuffix(".safetensors").removesuffix(".network")
        digest = point_key({"sources": self.program_sources, "network": sha256_file(network), "isa": isa})
        folder = self.folder / "programs" / f"{variant}-{isa}-{digest}"
        try:
            if not folder.is_dir():
                with making(folder, replace=True) as scratch:
                    compile_network(network, isa, scratch, variant)
        except SysmolError as error:
            return folder, str(error)
        return folder / f"{variant}.{isa}.json", ""

    def _task(self, point: Point, manifest: Path, error: str, region: int | None) -> Task:
        facts = {} if error else json.loads(manifest.read_text(encoding="utf-8"))
        reference = facts.get("reference")
        inputs = {
            "variant": point.variant,
            "network": sha256_file(point.network),
            "elf": facts["elf"]["sha256"] if facts else manifest.name,
            "samples": sha256_file(manifest.parent / reference["images"]) if reference else "",
            "isa": point.isa,
            "machine": point.hardware().to_json(),
            "cpu": point.cpu,
            "images": point.images,
            "seed": point.seed,
            "gem5": self.digests[self.gem5[point.isa]],
            "scripts": self.run_sources,
        }
        return Task(point, manifest, inputs, error, region)

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

    def _add_up(self, point: Point, singles: list[Single], tasks: dict[Point, Task]) -> None:
        """The record of a network: each different layer's figures times the number of such layers."""
        parts = [(tasks[replace(point, network=self._layer_file(single))], single.count) for single in singles]
        records = [(self.ledger.find(task.key) or {}, count) for task, count in parts]
        bad = [record for record, _ in records if record.get("status") != OK]
        net = load(point.network)
        inputs = {"sum of": [(task.key, count) for task, count in parts], "network": sha256_file(point.network)}
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
        alike = {name: records[0][0].get(name) for name in ("machine", "gem5", "gem5_sha256", "machine_sha256")}
        self.ledger.add(
            point_key(inputs),
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
                "bits_per_parameter": net.metrics.get("bits_per_parameter"),
                "network_sha256": inputs["network"],
                "layers": sum(count for _, count in parts),
                "layers_simulated": len(parts),
                "time_limit": self.spec.time_limit,
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                **alike,
                **figures,
            },
        )

    # --- points ------------------------------------------------------------------------------------------------------

    def _stands(self, task: Task, retry: bool) -> bool:
        """Whether the ledger holds the point. A point that hit a shorter time limit than today's runs again."""
        record = self.ledger.find(task.key)
        if record is None:
            return False
        if record["status"] == TIME_LIMIT and record["time_limit"] < self.spec.time_limit:
            return False
        return record["status"] in (OK, UNSUPPORTED) or not retry

    def _one(self, task: Task, progress: Progress) -> dict[str, Any]:
        """Simulate a point, or take the run that stands; its record is in the ledger afterwards."""
        progress.started(task)
        started = time.monotonic()
        folder = self.folder / "runs" / task.key
        figures: dict[str, Any] = {"last_lines": ""}
        try:
            if task.error:
                raise SysmolError(task.error)
            if lacking := self._lacking(task):
                figures |= {"status": UNSUPPORTED, "error": f"the hardware lacks {lacking}"}
            else:
                if not (folder / "run.json").is_file():
                    self._simulate(task, folder, figures)
                figures |= {"status": OK, "error": "", **run_figures(folder, task.region), "run": f"runs/{task.key}"}
        except CheckFailed as error:
            limit = str(error).startswith("gem5 took more than")
            figures |= {"status": TIME_LIMIT if limit else FAILED, "error": str(error)}
        except SysmolError as error:
            figures |= {"status": FAILED, "error": str(error)}
        except Exception as error:  # whatever one point is ill with, the others go on
            figures |= {"status": FAILED, "error": f"{type(error).__name__}: {error}"}
        record = self._record(task, figures, time.monotonic() - started)
        with self._lock:
            self.ledger.add(task.key, record)
            self.ledger.write_table()
            progress.finished(task, record)
        return record

    def _lacking(self, task: Task) -> str:
        """Patterns of the network that the hardware does not support, for people."""
        used = json.loads(task.manifest.read_text(encoding="utf-8"))["patterns"]
        supported = task.point.hardware().smol.patterns
        return ", ".join(f"{number} {pattern_name(number)}" for number in used if number not in supported)

    def _simulate(self, task: Task, folder: Path, figures: dict[str, Any]) -> None:
        """One run of gem5; the last lines of the program and of gem5 go into ``figures`` where it fails."""
        point = task.point
        machine = point.hardware()
        with making(folder, replace=True) as scratch:
            try:
                patterns = ",".join(map(str, machine.smol.patterns))
                simulation = Simulation(
                    point.isa, point.cpu, point.machine, patterns, images=point.images, seed=point.seed
                )
                gem5, limit = self.gem5[point.isa], self.spec.time_limit
                run_gem5(task.manifest, scratch, simulation, gem5=gem5, timeout=limit)
            except SysmolError as error:
                figures["last_lines"] = last_lines(scratch, str(error))
                raise
            # Megabytes that say what the machine in run.json says.
            for name in ("config.ini", "config.json"):
                (scratch / name).unlink(missing_ok=True)

    def _record(self, task: Task, figures: dict[str, Any], seconds: float) -> dict[str, Any]:
        point = task.point
        facts = {} if task.error else json.loads(task.manifest.read_text(encoding="utf-8"))
        metrics = facts["network"].get("metrics", {}) if facts else {}
        return {
            "kind": NETWORK if task.region is None else LAYER,
            "network": facts.get("name", point.variant),
            "variant": point.variant,
            "isa": point.isa,
            "machine": task.inputs["machine"]["name"],
            "patterns": point.patterns,
            "cpu": point.cpu,
            "images": point.images,
            "seed": point.seed,
            "accuracy_integer": metrics.get("accuracy_integer"),
            "bits_per_parameter": metrics.get("bits_per_parameter"),
            "seconds": round(seconds, 2),
            "time_limit": self.spec.time_limit,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "gem5_sha256": task.inputs["gem5"],
            "machine_sha256": point_key(task.inputs["machine"]),
            "network_sha256": task.inputs["network"],
            "elf_sha256": task.inputs["elf"],
            **figures,
        }


def run_figures(folder: Path, region: int | None = None) -> dict[str, Any]:
    """Figures of a whole network, or of one region, from a run folder; absent ones (an untimed core's cycles) are
    ``None``."""
    layers = load_run(folder)
    sums = totals(layers if region is None else layers.iloc[[region]]).iloc[0]
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
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
    spec: Spec, folder: str | Path, jobs: int, progress: Progress, *, retry: bool = False, gem5: Path | None = None
) -> Tally:
    """Run a spec in a folder; see :class:`Sweep`."""
    return Sweep(spec, folder, jobs, gem5).run(progress, retry)
