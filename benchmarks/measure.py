"""Measurements that can be stopped and resumed: network, executable and simulation are steps of the store below the
benchmarks' folder (:mod:`sysmol.workbench.store`), so a kill at any time loses the step under way and nothing else.
Programs that come out equal share one simulation.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from sysmol.analysis.costs.estimate import estimate
from sysmol.analysis.stats import SMOL_FUNCTIONS, block_counts, function_counts, read_stats
from sysmol.benchmarks import files, steps
from sysmol.benchmarks.machines import machine_file
from sysmol.benchmarks.networks import weight_bits
from sysmol.benchmarks.peaks import peak, smol_counts, style_of
from sysmol.benchmarks.shapes import EncoderShape, NetworkShape
from sysmol.configs_gem5.launch import find_gem5, why_no_gem5
from sysmol.errors import CheckFailed, SysmolError
from sysmol.files import (
    atomic_write_text,
    content_key,
)
from sysmol.kernels_c.plan.constants import identifier
from sysmol.kernels_c.plan.options import Options
from sysmol.machine import load_machine
from sysmol.network import load
from sysmol.schedule import Schedule
from sysmol.workbench.key import Inputs, Task
from sysmol.workbench.provenance import merged
from sysmol.workbench.provenance import write as write_source
from sysmol.workbench.steps import compile, simulate
from sysmol.workbench.store import Entry, Store

NAME = "bench"
"""Variant name of all executables: it is part of their content, and equal programs are to be equal."""
TOTAL = "total"
HASH_DIGITS = 16
"""Hexadecimal digits of hashes in the CSV files."""
TIMEOUT = 3600.0

COLUMNS = (
    *("network", "layer", "op", "isa", "machine", "variant", "status", "cycles", "cycles_cold", "macs"),
    *("macs_per_cycle", "slot_share", "slot_share_all", "own_peak_share", "style", "schedule", "estimate", "insts"),
    *("smol", "smol_all", "simd", "load", "store", "scalar", "mispredicts", "l1d_misses", "l2_misses", "weight_bits"),
    *("weight_bytes", "code_bytes", "generation_seconds", "arena_bytes", "unplanned_bytes", "images", "seed", "gem5"),
    *("network_sha256", "elf_sha256", "machine_sha256", "gem5_sha256"),
    *SMOL_FUNCTIONS.values(),
)
"""Columns of the CSV files (docs/benchmarks.md)."""


@dataclass(frozen=True)
class Variant:
    """A network variant with options of the generator; ``name`` is what tables show.

    ``styles``: multiply-accumulate by input format. ``options``: other fields of
    :class:`sysmol.kernels_c.plan.options.Options`. ``schedules``: schedule by layer. ``without``: instructions of the
    machine that the generator is not to use.
    """

    name: str
    network: str
    styles: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, str | int], ...] = ()
    schedules: tuple[tuple[str, str], ...] = ()
    without: tuple[str, ...] = ()

    def generator_options(self) -> Options:
        """For :func:`sysmol.kernels_c.build.compile_network`; :class:`SysmolError` for an option that it lacks."""
        values: dict[str, Any] = dict(self.options)
        if unknown := set(values) - {field.name for field in fields(Options)}:
            raise SysmolError(f"the generator has no option {sorted(unknown)[0]!r}")
        schedules = {layer: Schedule.parse(text) for layer, text in self.schedules}
        return Options(schedules=schedules, styles=dict(self.styles), **values)


@dataclass(frozen=True)
class Job:
    """One program on one machine: of a shape, or of a network file, whose variant is what it is called by."""

    shape: NetworkShape | files.NetworkFile
    variant: Variant
    isa: str
    machine: str = "o3-n1"
    patterns: str | None = None
    images: int = 2
    seed: int = 0

    def options(self) -> Options:
        """For the generator: the variant's, and the instructions of the machine."""
        has = load_machine(machine_file(self.machine)).smol.capabilities
        kept = tuple(name for name in has.instructions if name not in self.variant.without)
        return replace(self.variant.generator_options(), has=replace(has, instructions=kept))

    @property
    def title(self) -> str:
        """For progress and messages."""
        return f"{self.shape.name} {self.variant.name} {self.isa} {self.machine}"


def memory_of(manifest: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Bytes of activations that the program needs, and what they were if no buffer was used twice, where it says."""
    memory = manifest.get("memory", {})
    return memory.get("arena"), memory.get("unplanned")


class Bench:
    """Measures jobs with the store below ``root``; any process may have one."""

    def __init__(self, root: str | Path) -> None:
        self.store = Store(Path(root) / "store")
        self.inputs: list[Inputs] = []
        """Of every step that was asked for."""

    def _make(self, task: Task) -> Entry:
        self.inputs.append(task.inputs)
        return self.store.make(task)

    def network(self, job: Job) -> Path:
        """The network file of a job."""
        if isinstance(job.shape, files.NetworkFile):
            task = files.network(job.shape.path, job.seed, job.images)
        else:
            task = steps.network(job.shape, job.variant.network, job.seed, job.images)
        return self._make(task).path(steps.FILE)

    def program(self, job: Job) -> tuple[Path, dict[str, Any]]:
        """Manifest of a job's executable, and how it was made (``generation_seconds``: processor time)."""
        network, options = self.network(job), job.options()
        made = self._make(steps.generation(network, job.isa, options))
        program = self._make(compile.task(network, job.isa, NAME, options))
        return compile.manifest_of(program.folder, job.isa, NAME), json.loads(made.path(steps.MADE).read_text())

    def run(self, job: Job, manifest: Path) -> tuple[Path, str]:
        """Run folder of a job's executable, and the SHA-256 of gem5. The logits were checked by the run."""
        task = simulate.task(
            manifest, gem5_of(job.isa), str(machine_file(job.machine)),
            patterns=job.patterns, images=job.images, seed=job.seed, timeout=TIMEOUT,
        )  # fmt: skip
        made = self._make(task)
        return made.folder, task.inputs["tools"]["gem5"]

    def measure(self, job: Job) -> list[dict[str, Any]]:
        """Rows of a job, making what is missing: one per layer, and one of the whole network (layer ``total``).

        A job that fails gives one row, whose ``status`` says why.
        """
        start = {
            "network": job.shape.name,
            "isa": job.isa,
            "machine": job.machine,
            "variant": job.variant.name,
            "images": job.images,
            "seed": job.seed,
        }
        try:
            manifest, made = self.program(job)
            run, gem5_sha256 = self.run(job, manifest)
            return [start | {"status": "ok"} | row for row in layer_rows(job, manifest, made, run, gem5_sha256)]
        except (SysmolError, CheckFailed) as error:
            why = str(error)
        except Exception as error:  # whatever is wrong with one program, the others are measured
            why = f"{type(error).__name__}: {error}"
        return [{**start, "layer": TOTAL, "status": f"failed: {' '.join(why.split())}"}]


def gem5_of(isa: str) -> Path:
    """The simulator; :class:`SysmolError` where there is none."""
    binary = find_gem5(isa)
    if binary is None:
        raise SysmolError(why_no_gem5(isa))
    return binary


def measure_job(root: Path, job: Job) -> tuple[list[dict[str, Any]], Inputs]:
    """What a worker does: :meth:`Bench.measure`, and what the rows depend on."""
    bench = Bench(root)
    return bench.measure(job), merged(bench.inputs)


# --- rows ------------------------------------------------------------------------------------------------------------

COUNTED = ("cycles", "insts", "simd", "load", "store", "scalar", "mispredicts", "l1d_misses", "l2_misses")
"""Columns that come as they are from :func:`sysmol.analysis.stats.block_counts`."""
SUMMED = (
    *COUNTED, "cycles_cold", "macs", "estimate", "smol", "smol_all", "weight_bytes", "code_bytes",
    *SMOL_FUNCTIONS.values(),
)  # fmt: skip
"""Columns whose total is the layers' sum."""


def layer_rows(
    job: Job, manifest_path: Path, made: Mapping[str, Any], run_folder: Path, gem5_sha256: str
) -> list[dict[str, Any]]:
    """Rows of one finished run, probes left out; counts are per image, means over the images after the first."""
    manifest = json.loads(manifest_path.read_text())
    run = json.loads((run_folder / "run.json").read_text())
    net = load(manifest_path.parent / manifest["network"]["path"])
    machine = load_machine(machine_file(job.machine))
    regions = manifest["regions"]
    blocks = read_stats(run_folder / "stats.txt")
    by_name = {name: function["class"] for name, function in run["machine"]["smol"]["functions"].items()}
    classes = set(by_name.values())
    estimates = estimate(manifest_path, machine)["cycles"]
    hashes = {
        "network_sha256": manifest["network"]["sha256"],
        "elf_sha256": manifest["elf"]["sha256"],
        "machine_sha256": content_key(run["machine"]),
        "gem5_sha256": gem5_sha256,
    }
    common = {"gem5": run["gem5"]["version"]} | {name: value[:HASH_DIGITS] for name, value in hashes.items()}
    rows: list[dict[str, Any]] = []
    for index, (region, layer) in enumerate(zip(regions, net.layers, strict=True)):
        if layer.name in job.shape.probes:
            continue
        own = blocks[index : job.images * len(regions) : len(regions)]
        warm = own[1:] or own
        counts = [block_counts(block, classes) for block in warm]
        smol = [smol_counts(block, run["machine"]) for block in warm]

        def mean(values: Iterable[float], over: int = len(warm)) -> float:
            return sum(values) / over

        functions = [function_counts(block, by_name) for block in warm]
        row: dict[str, Any] = {column: mean(count[column] for count in counts) for column in COUNTED}
        row |= {column: mean(count[column] for count in functions) for column in SMOL_FUNCTIONS.values()}
        row |= {
            "layer": region["name"],
            "op": region["op"],
            "cycles_cold": block_counts(own[0], classes)["cycles"],
            "macs": region["macs"],
            "style": style_of(region["schedule"]),
            "schedule": region["schedule"],
            "estimate": float(estimates.iloc[index]),
            "smol": mean(count for count, _ in smol),
            "smol_all": mean(count for _, count in smol),
            "weight_bits": weight_bits(net, [layer]) or None,
            "weight_bytes": region["bytes_weights"],
            "code_bytes": manifest["elf"]["symbols"].get(identifier(region["name"])),
        }
        best = peak(net, layer, row["style"], job.isa, machine)
        row["own_peak_share"] = region["macs"] / row["cycles"] / best if best else None
        rows.append(row | common)
    arena, unplanned = memory_of(manifest)
    total: dict[str, Any] = {column: sum(row[column] or 0 for row in rows) for column in SUMMED}
    total |= {"layer": TOTAL, "weight_bits": weight_bits(net), "arena_bytes": arena, "unplanned_bytes": unplanned}
    if not job.shape.probes or isinstance(job.shape, EncoderShape):
        rows.append(total | dict(made) | common)
    for row in rows:
        row["macs_per_cycle"] = row["macs"] / row["cycles"]
        slots = machine.smol_count * row["cycles"]
        row["slot_share"] = row["smol"] / slots if row["smol"] else None
        row["slot_share_all"] = row["smol_all"] / slots if row["smol"] else None
    return rows


def cell(value: Any) -> str:
    """A CSV cell: absent values are empty, floats have seven digits, text that would break the line is quoted."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = f"{value:.7g}" if isinstance(value, float) else str(value)
    return '"' + text.replace('"', "'") + '"' if any(c in text for c in ',"\n') else text


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write rows as CSV with :data:`COLUMNS`, atomically."""
    lines = [",".join(COLUMNS), *(",".join(cell(row.get(column)) for column in COLUMNS) for row in rows)]
    return atomic_write_text(path, "\n".join(lines) + "\n")


def measure_all(
    root: Path,
    jobs: list[Job],
    path: Path,
    executor: Executor,
    report: Callable[[Job, list[dict[str, Any]]], None],
) -> list[dict[str, Any]]:
    """Measure all jobs; ``path`` is written anew after each. Rows stand in the jobs' order."""
    found: dict[int, list[dict[str, Any]]] = {}
    inputs: list[Inputs] = []
    pending = {executor.submit(measure_job, root, job): number for number, job in enumerate(jobs)}
    try:
        for future in as_completed(pending):
            number = pending[future]
            found[number], own = future.result()
            inputs.append(own)
            report(jobs[number], found[number])
            write_rows(path, (row for key in sorted(found) for row in found[key]))
    finally:
        for future in pending:
            future.cancel()
    write_source(path, inputs)
    return [row for key in sorted(found) for row in found[key]]
