"""``python -m sysmol.benchmarks.levers``: what each part of the second page of instructions brings by the built-in
estimate, in seconds; ``python -m sysmol.benchmarks matrix`` measures the same programs in gem5.

Writes build/bench/levers.csv: network, variant, ISA, machine, estimated cycles with warm caches.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from sysmol.analysis.costs.estimate import bounds
from sysmol.benchmarks.__main__ import choose
from sysmol.benchmarks.machines import DERIVED, machine_file
from sysmol.benchmarks.measure import Job
from sysmol.benchmarks.networks import make_network
from sysmol.benchmarks.plan import lever_jobs
from sysmol.benchmarks.shapes import NetworkShape
from sysmol.errors import SysmolError
from sysmol.files import atomic_write_text, make_folder
from sysmol.kernels_c.program import generate
from sysmol.kernels_c.targets import TARGETS
from sysmol.machine import load_machine
from sysmol.network import Network
from sysmol.workbench import provenance

COLUMNS = ("network", "variant", "isa", "machine", "estimate")


def estimated(net: Network, job: Job) -> float:
    """Cycles of a job's program on its machine, by the estimate."""
    machine = load_machine(machine_file(job.machine))
    made = generate(net, TARGETS[job.isa], "levers", "an estimate", job.options())
    return sum(max(bounds(asdict(region), machine).values()) for region in made.regions)


def rows(jobs: list[Job]) -> Iterator[dict[str, Any]]:
    """One for each job; networks are made once."""
    made: dict[tuple[str, str], Network] = {}
    for job in jobs:
        assert isinstance(job.shape, NetworkShape)
        key = job.shape.name, job.variant.network
        if key not in made:
            made[key] = make_network(job.shape, job.variant.network, job.seed)
        cycles = round(estimated(made[key], job))
        yield dict(zip(COLUMNS, (job.shape.name, job.variant.name, job.isa, job.machine, cycles), strict=True))


def jobs() -> list[Job]:
    """The levers' jobs that the estimate tells apart: it knows no latencies of single instructions, and no pipes."""
    return [job for job in lever_jobs() if job.machine not in DERIVED]


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0; 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m sysmol.benchmarks.levers", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder of levers.csv (build/bench)")
    parser.add_argument("--only", default="", help="regular expression: jobs whose title it finds")
    options = parser.parse_args(arguments)
    try:
        chosen = choose(jobs(), options.only)
        make_folder(options.out)
        made = []
        for row in rows(chosen):
            print(f"{row['network']} {row['variant']} {row['isa']} {row['machine']}: {row['estimate']:,}", flush=True)
            made.append(row)
        path = options.out / "levers.csv"
        atomic_write_text(path, pd.DataFrame(made).to_csv(index=False, lineterminator="\n"))
        provenance.write(path, [provenance.of_modules(__spec__.name)])
    except SysmolError as error:
        print(f"levers: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
