"""``python -m sysmol.benchmarks BENCH``: measure what is missing, and write the CSV."""

import argparse
import os
import re
import sys
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pandas as pd

from sysmol.benchmarks.files import FOLDER
from sysmol.benchmarks.hardware_tables import energy_networks
from sysmol.benchmarks.measure import Job, measure_all
from sysmol.benchmarks.plan import encoder_jobs, file_jobs, kernel_jobs, latency_jobs, matrix_jobs
from sysmol.benchmarks.schedules import search_all, search_jobs
from sysmol.benchmarks.yflows import jobs as yflows_jobs
from sysmol.errors import SysmolError
from sysmol.output import forget_output
from sysmol.workbench.executor import open_executor

BENCHES = {
    "kernels": kernel_jobs,
    "latencies": latency_jobs,
    "matrix": matrix_jobs,
    "encoders": encoder_jobs,
    "networks": file_jobs,
    "yflows": yflows_jobs,
    "schedules": search_jobs,
}


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m sysmol.benchmarks", description=__doc__, allow_abbrev=False)
    parser.add_argument("bench", choices=list(BENCHES))
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder of all products (build/bench)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of `networks`: where they are (results/networks)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="simulations at a time (all processors)")
    parser.add_argument("--cluster", default="", help="Dask scheduler to measure on (docs/cluster.md)")
    parser.add_argument("--only", default="", help="regular expression: jobs whose title it finds")
    parser.add_argument("--list", action="store_true", help="print the titles of the jobs and end")
    return parser.parse_args(arguments)


def planned(options: argparse.Namespace) -> list[Job]:
    """All jobs of a bench; :class:`SysmolError` where ``--folder`` holds no network."""
    return file_jobs(options.folder) if options.bench == "networks" else BENCHES[options.bench]()


def choose(jobs: list[Job], expression: str) -> list[Job]:
    """The jobs whose title the expression finds."""
    try:
        chosen = [job for job in jobs if re.search(expression, job.title)]
    except re.error as error:
        raise SysmolError(f"--only {expression!r} is no regular expression: {error}") from None
    if not chosen:
        raise SysmolError(f"no job's title matches {expression!r}: --list prints them")
    return chosen


def measure(bench: str, jobs: list[Job], out: Path, executor: Executor) -> int:
    """Measure with a progress bar; returns how many jobs failed."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console()
    failed = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(bench, total=len(jobs))

        def report(job: Job, rows: list[dict[str, Any]]) -> None:
            nonlocal failed
            progress.advance(task)
            if rows[0]["status"] != "ok":
                failed += 1
                progress.console.print(f"{job.title}: {rows[0]['status']}", markup=False, highlight=False)

        path = out / f"{bench}.csv"
        measure_all(out, jobs, path, executor, report)
    if bench == "networks" and failed < len(jobs):
        print(energy_networks({bench: pd.read_csv(path)}))
    console.print(f"wrote {path}: {len(jobs)} jobs, {failed} failed", markup=False, highlight=False)
    return failed


def show(jobs: list[Job]) -> int:
    """Print the titles."""
    try:
        print("\n".join(job.title for job in jobs), flush=True)
    except BrokenPipeError:
        forget_output()
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0; 1 where a job failed; 2 on bad input."""
    options = parse_arguments(arguments)
    try:
        jobs = choose(planned(options), options.only)
        if options.jobs < 1:
            raise SysmolError(f"--jobs {options.jobs}: at least one")
        if options.list:
            return show(jobs)
        if options.bench == "schedules":
            return 1 if search_all(jobs, options.out, lambda line: print(line, flush=True)) else 0
        with open_executor(options.jobs, options.cluster) as executor:
            return 1 if measure(options.bench, jobs, options.out, executor) else 0
    except SysmolError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
