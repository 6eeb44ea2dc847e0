"""How far the schedule heuristic is from the best schedule that was measured: ``python -m sysmol.benchmarks
schedules``.

Runs the search of :mod:`sysmol.kernels_c.tune` (`sysmol tune`) over benchmark networks and writes ``schedules.csv``: a
row per network, variant, ISA and shape of convolution, with the cycles of the heuristic's schedule and of the best one
among ``candidates`` measured in gem5. Finished runs are reused; the chosen schedules stand in ``schedules.json``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sysmol.analysis.costs.estimate import bounds
from sysmol.benchmarks.measure import Bench, Job, cell
from sysmol.benchmarks.plan import FP32, INT8, ISAS, MACHINE, MIX, UNIFORM, jobs_of
from sysmol.errors import SysmolError
from sysmol.files import atomic_write_text
from sysmol.kernels_c.plan import schedule_file as stored
from sysmol.kernels_c.tune import search
from sysmol.machine import load_machine
from sysmol.workbench.measured_cycles import measured_cycles
from sysmol.workbench.provenance import write as write_source

SEARCHES = (("convolutions", (UNIFORM[0], MIX, FP32, INT8)), ("resnet8", (UNIFORM[0],)))
"""Shape files with the variants whose schedules are searched."""
CANDIDATES = 5
IMAGES = 2
COLUMNS = (
    *("network", "variant", "isa", "machine", "layer", "layers", "candidates", "heuristic", "heuristic_cycles"),
    *("best", "best_cycles", "source"),
)


def search_jobs() -> list[Job]:
    """What is searched, as jobs."""
    jobs = [job for shapes, variants in SEARCHES for job in jobs_of(shapes, variants)]
    assert {job.isa for job in jobs} == set(ISAS)
    return jobs


def search_one(bench: Bench, job: Job, out: Path) -> list[dict[str, Any]]:
    """Rows of one network on one ISA; probes and image are left out."""
    machine = load_machine(MACHINE)
    network = bench.network(job)
    folder = out / "tune" / f"{network.parent.name[:20]}-{job.isa}"
    found = search(
        network,
        job.isa,
        machine.name,
        folder,
        lambda region: max(bounds(region, machine).values()),
        lambda manifest, _: measured_cycles(bench.store, manifest, MACHINE, IMAGES),
        CANDIDATES,
        say=lambda _: None,
    )
    stored.write(out / "schedules.json", {stored.key(result.facts): result.entry() for result in found})
    rows = []
    for result in found:
        if set(result.layers) <= job.shape.probes:
            continue
        rows.append(
            {
                "network": job.shape.name,
                "variant": job.variant.name,
                "isa": job.isa,
                "machine": machine.name,
                "layer": result.layers[0],
                "layers": len(result.layers),
                "candidates": len(result.measured),
                "heuristic": result.heuristic,
                "heuristic_cycles": result.cycles(result.heuristic),
                "best": result.best,
                "best_cycles": result.cycles(result.best),
                "source": result.source,
            }
        )
    return rows


def search_all(jobs: list[Job], out: Path, say: Callable[[str], None]) -> int:
    """Search all, one after the other; ``schedules.csv`` is written anew after each. Returns how many failed."""
    bench = Bench(out)
    rows: list[dict[str, Any]] = []
    failed = 0
    for number, job in enumerate(jobs, 1):
        try:
            rows += search_one(bench, job, out)
            say(f"{job.title}: searched ({number} of {len(jobs)})")
        except SysmolError as error:
            failed += 1
            say(f"{job.title}: failed: {error}")
        lines = [",".join(COLUMNS), *(",".join(cell(row[column]) for column in COLUMNS) for row in rows)]
        atomic_write_text(out / "schedules.csv", "\n".join(lines) + "\n")
    write_source(out / "schedules.csv", bench.inputs)
    return failed
