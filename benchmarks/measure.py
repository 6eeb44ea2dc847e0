"""Measurements that can be stopped and resumed: network, executable and simulation, each kept under a content hash.

Below the folder of a :class:`Store`:

==================================  ===================================================================================
``networks/<hash>/``                network file; hash of the shape, the variant, the seed and the sources that make it
``programs/<hash>/``                C, executable, manifest, ``made.json``; hash of the network file, the ISA, the
                                    options and the generator's sources
``runs/<hash>/``                    run folder; hash of the executable, the images, the gem5 binary, the machine and the
                                    settings
==================================  ===================================================================================

A folder has its name from the moment it is complete, so a kill at any time loses the step under way and nothing else.
Programs that come out equal share one simulation.
"""

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sysmol.analysis.costs.estimate import estimate
from sysmol.analysis.stats import block_counts, read_stats
from sysmol.benchmarks.networks import make_network, weight_bits
from sysmol.benchmarks.peaks import peak, smol_counts, style_of
from sysmol.benchmarks.shapes import NetworkShape
from sysmol.configs_gem5.launch import find_gem5, run_gem5, why_no_gem5
from sysmol.configs_gem5.request import Simulation
from sysmol.errors import CheckFailed, SysmolError
from sysmol.files import (
    atomic_write_json,
    atomic_write_text,
    content_key,
    make_folder,
    making,
    remove_unfinished,
    sha256_file,
)
from sysmol.kernels_c.build import compile_network
from sysmol.kernels_c.plan.constants import identifier
from sysmol.kernels_c.plan.options import Options
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.machine import load_machine
from sysmol.network import load, save
from sysmol.schedule import Schedule
from sysmol.workbench.stages import FORMAT_SOURCES, PROGRAM_SOURCES, RUN_SOURCES, source_digest

NAME = "bench"
"""Variant name of all executables: it is part of their content, and equal programs are to be equal."""
NETWORK_SOURCES = ("benchmarks/networks.py", "builder.py", "reference.py", *FORMAT_SOURCES)
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
)
"""Columns of the CSV files (docs/benchmarks.md)."""


@dataclass(frozen=True)
class Variant:
    """A network variant with options of the generator; ``name`` is what tables show.

    ``styles``: multiply-accumulate by input format. ``options``: other fields of
    :class:`sysmol.kernels_c.plan.options.Options`. ``schedules``: schedule by layer.
    """

    name: str
    network: str
    styles: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    schedules: tuple[tuple[str, str], ...] = ()

    def generator_options(self) -> Options:
        """For :func:`sysmol.kernels_c.build.compile_network`; :class:`SysmolError` for an option that it lacks."""
        values: dict[str, Any] = dict(self.options)
        if unknown := set(values) - {field.name for field in fields(Options)}:
            raise SysmolError(f"the generator has no option {sorted(unknown)[0]!r}")
        schedules = {layer: Schedule.parse(text) for layer, text in self.schedules}
        return Options(schedules=schedules, styles=dict(self.styles), **values)


@dataclass(frozen=True)
class Job:
    """One program on one machine."""

    shape: NetworkShape
    variant: Variant
    isa: str
    machine: str = "o3-n1"
    patterns: str | None = None
    images: int = 2
    seed: int = 0

    @property
    def title(self) -> str:
        """For progress and messages."""
        return f"{self.shape.name} {self.variant.name} {self.isa} {self.machine}"


def memory_of(manifest: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Bytes of activations that the program needs, and what they were if no buffer was used twice, where it says."""
    memory = manifest.get("memory", {})
    return memory.get("arena"), memory.get("unplanned")


class Store:
    """Makes and keeps everything below ``root``; safe for several threads that work on different jobs."""

    def __init__(self, root: str | Path) -> None:
        self.root = make_folder(root).resolve()
        self.sources = {
            "network": source_digest(*NETWORK_SOURCES),
            "program": source_digest(*PROGRAM_SOURCES),
            "run": source_digest(*RUN_SOURCES),
        }
        self._gem5: dict[Path, str] = {}

    # --- the three steps ---------------------------------------------------------------------------------------------

    def network(self, job: Job) -> Path:
        """The network file of a job."""
        key = content_key([self.sources["network"], job.shape, job.variant.network, job.seed, job.images])
        folder = self.root / "networks" / key[:20]
        if not folder.is_dir():
            with making(folder) as scratch:
                net = make_network(job.shape, job.variant.network, job.seed, job.images)
                save(scratch / "bench.network.safetensors", net)
        return folder / "bench.network.safetensors"

    def program(self, job: Job) -> tuple[Path, dict[str, Any]]:
        """Manifest of a job's executable, and how it was made (``generation_seconds``: processor time)."""
        network = self.network(job)
        options = job.variant.generator_options()
        key = content_key([self.sources["program"], sha256_file(network), job.isa, repr(options)])
        folder = self.root / "programs" / key[:20]
        if not folder.is_dir():
            with making(folder) as scratch:
                net, target = load(network), TARGETS[job.isa]
                start = time.thread_time()
                generate(net, target, f"{NAME}.{job.isa}", "a benchmark", options)
                seconds = time.thread_time() - start
                # The manifest's path to the network file is relative to the folder, which has its final depth here.
                compile_network(network, job.isa, scratch, NAME, options=options)
                atomic_write_json(scratch / "made.json", {"generation_seconds": round(seconds, 3)})
        made = json.loads((folder / "made.json").read_text())
        return folder / f"{NAME}.{job.isa}.json", made

    def gem5(self, isa: str) -> tuple[Path, str]:
        """The simulator and its SHA-256."""
        binary = find_gem5(isa)
        if binary is None:
            raise SysmolError(why_no_gem5(isa))
        if binary not in self._gem5:
            facts = binary.stat()
            known = [str(binary), facts.st_size, facts.st_mtime_ns]
            cache = self.root / "gem5.json"
            with contextlib.suppress(OSError, ValueError, KeyError):
                record = json.loads(cache.read_text())
                if record["known"] == known:
                    self._gem5[binary] = record["sha256"]
            if binary not in self._gem5:
                self._gem5[binary] = sha256_file(binary)
                atomic_write_json(cache, {"known": known, "sha256": self._gem5[binary]})
        return binary, self._gem5[binary]

    def run(self, job: Job, manifest: Path) -> tuple[Path, str]:
        """Run folder of a job's executable, and the SHA-256 of gem5. The logits were checked by the run."""
        binary, gem5_sha256 = self.gem5(job.isa)
        facts = json.loads(manifest.read_text())
        images = manifest.parent / facts["reference"]["images"]
        machine = load_machine(job.machine).to_json()
        settings = [job.patterns, job.images, job.seed, "o3"]
        key = content_key(
            [self.sources["run"], facts["elf"]["sha256"], sha256_file(images), gem5_sha256, machine, settings]
        )
        folder = self.root / "runs" / key[:20]
        if not folder.is_dir():
            with making(folder) as scratch:
                simulation = Simulation(
                    job.isa, "o3", job.machine, patterns=job.patterns, images=job.images, seed=job.seed
                )
                run_gem5(manifest, scratch, simulation, gem5=binary, timeout=TIMEOUT)
                for name in ("config.ini", "config.json"):  # megabytes that say what run.json's machine says
                    (scratch / name).unlink(missing_ok=True)
        return folder, gem5_sha256

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


# --- rows ------------------------------------------------------------------------------------------------------------

COUNTED = ("cycles", "insts", "simd", "load", "store", "scalar", "mispredicts", "l1d_misses", "l2_misses")
"""Columns that come as they are from :func:`sysmol.analysis.stats.block_counts`."""
SUMMED = (*COUNTED, "cycles_cold", "macs", "estimate", "smol", "smol_all", "weight_bytes", "code_bytes")
"""Columns whose total is the layers' sum."""


def layer_rows(
    job: Job, manifest_path: Path, made: Mapping[str, Any], run_folder: Path, gem5_sha256: str
) -> list[dict[str, Any]]:
    """Rows of one finished run, probes left out; counts are per image, means over the images after the first."""
    manifest = json.loads(manifest_path.read_text())
    run = json.loads((run_folder / "run.json").read_text())
    net = load(manifest_path.parent / manifest["network"]["path"])
    machine = load_machine(job.machine)
    regions = manifest["regions"]
    blocks = read_stats(run_folder / "stats.txt")
    classes = {function["class"] for function in run["machine"]["smol"]["functions"].values()}
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

        row: dict[str, Any] = {column: mean(count[column] for count in counts) for column in COUNTED}
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
    if not job.shape.probes:
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
    store: Store, jobs: list[Job], path: Path, workers: int, report: Callable[[Job, list[dict[str, Any]]], None]
) -> list[dict[str, Any]]:
    """Measure all jobs, ``workers`` at a time; ``path`` is written anew after each. Rows stand in the jobs' order."""
    from concurrent.futures import ThreadPoolExecutor, as_completed

    remove_unfinished(store.root)
    found: dict[int, list[dict[str, Any]]] = {}
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        pending = {pool.submit(store.measure, job): number for number, job in enumerate(jobs)}
        for future in as_completed(pending):
            number = pending[future]
            found[number] = future.result()
            report(jobs[number], found[number])
            write_rows(path, (row for key in sorted(found) for row in found[key]))
    finally:
        pool.shutdown(cancel_futures=True)
    return [row for key in sorted(found) for row in found[key]]
