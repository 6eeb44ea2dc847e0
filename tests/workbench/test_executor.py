"""Where tasks run: processes of this computer, Dask, Slurm; a worker and then the driver killed in the middle."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sysmol.errors import SysmolError
from sysmol.files import atomic_write_json
from sysmol.machine import load_machine
from sysmol.network import save
from sysmol.network.builder import random_network
from sysmol.workbench.executor import Here, LocalProcesses, open_executor
from sysmol.workbench.store import Store, records
from sysmol.workbench.sweep import load

FAKE = Path(__file__).parent / "fake_gem5.py"
MACHINES, IMAGES, WORKERS = 25, (1, 2), 3
JOBS = MACHINES * len(IMAGES)
DASK = importlib.util.find_spec("distributed") is not None


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spec of 50 simulations of one network, and what stands in for gem5."""
    save(tmp_path / "tiny.network.safetensors", random_network(1))
    data = load_machine("o3-n1").to_json()
    names = [f"m{number}" for number in range(MACHINES)]
    for name in names:
        atomic_write_json(tmp_path / f"{name}.json", {**data, "name": name})
    spec = {"networks": "tiny.*", "isas": "arm", "machines": [f"{name}.json" for name in names], "images": IMAGES}
    atomic_write_json(tmp_path / "spec.json", spec)
    gem5 = tmp_path / "gem5"
    gem5.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    gem5.chmod(0o755)
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("FAKE_SECONDS", "0.3")
    return tmp_path


def command(folder: Path, *more: str) -> list[str]:
    words = ["sweep", str(folder / "spec.json"), "--out", str(folder / "out"), "--gem5", str(folder / "gem5")]
    return [sys.executable, "-m", "sysmol", *words, "--jobs", str(WORKERS), *more]


def finished(folder: Path) -> set[str]:
    """Names of the simulations that are in the store."""
    return {path.parent.name for path in (folder / "out" / "store" / "simulate").glob("*/record.json")}


def wait_for(condition: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def starts(folder: Path) -> Counter[str]:
    return Counter((folder / "log").read_text().splitlines())


def kill_in_the_middle(folder: Path, *more: str) -> None:
    """A worker after a few jobs, the driver after half of them; then all is run to the end, and nothing twice."""
    process = subprocess.Popen(command(folder, *more), stdout=subprocess.DEVNULL, start_new_session=True)
    unfinished = folder / "out" / "store" / "unfinished"
    wait_for(lambda: len(finished(folder)) >= 8 and list(unfinished.iterdir()), process)
    worker = int(next(unfinished.iterdir()).name.rpartition(".")[0].rpartition(".")[2])
    assert worker != process.pid
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: len(finished(folder)) >= JOBS // 2, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1)  # its workers end
    before, started = finished(folder), starts(folder)
    assert JOBS // 2 <= len(before) < JOBS
    subprocess.run(command(folder, *more), stdout=subprocess.DEVNULL, check=True)
    table = load(folder / "out")
    assert len(table) == JOBS and table["key"].is_unique and set(table["status"]) == {"ok"}
    assert len(finished(folder)) == len(list(records(folder / "out" / "store"))) - 1 == JOBS  # and the executable
    again = {job: count for job, count in starts(folder).items() if count > 1}
    assert len(starts(folder)) == JOBS and sum(again.values()) - len(again) <= 2 * WORKERS
    for entry in before:  # what had ended was not started again
        run = json.loads((folder / "out" / "store" / "simulate" / entry / "run.json").read_text())
        (job,) = (
            name for name in started if f" {run['machine']['name']} " in name and name.endswith(f" {run['images']}")
        )
        assert starts(folder)[job] == started[job]
    Store(folder / "out" / "store")
    assert not list(unfinished.iterdir())


@pytest.mark.slow
def test_fifty_jobs_on_local_processes(folder: Path) -> None:
    kill_in_the_middle(folder)


@pytest.mark.slow
@pytest.mark.skipif(not DASK, reason="Dask is not installed: pip install 'sysmol[cluster]'")
def test_fifty_jobs_on_a_local_dask_cluster(folder: Path) -> None:
    kill_in_the_middle(folder, "--cluster", "local")


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[Path]:
    """A Dask scheduler with two workers, as docs/cluster.md starts them; its file."""
    file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    first = [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    then = [*dask, "worker", "--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    both = [
        subprocess.Popen(words, **quiet)  # type: ignore[call-overload]
        for words in (first, [*then, "--nworkers", "2", "--nthreads", "1"])
    ]
    yield file
    for process in both:
        process.terminate()
        process.wait()


@pytest.mark.slow
@pytest.mark.skipif(not DASK, reason="Dask is not installed: pip install 'sysmol[cluster]'")
def test_a_scheduler_of_ones_own(folder: Path, scheduler: Path) -> None:
    """Named by its file; it listens to this computer alone."""
    subprocess.run(command(folder, "--cluster", str(scheduler)), stdout=subprocess.DEVNULL, check=True, timeout=300)
    assert len(load(folder / "out")) == JOBS and set(starts(folder).values()) == {1}
    assert json.loads(scheduler.read_text())["address"].startswith("tcp://127.0.0.1:")
    hosts = {record["pid"] for record in records(folder / "out" / "store") if record["step"] == "simulate"}
    assert len(hosts) == 2


@pytest.mark.slurm
@pytest.mark.slow
@pytest.mark.skipif(not DASK, reason="Dask is not installed: pip install 'sysmol[cluster]'")
def test_fifty_jobs_on_slurm(folder: Path) -> None:
    """The job script of docs/cluster.md, its workers killed by Slurm's task and the driver by hand."""
    if not shutil.which("sbatch") or subprocess.run(["scontrol", "ping"], capture_output=True, timeout=60).returncode:
        pytest.skip("there is no Slurm: sbatch is not on the PATH, or no controller answers it")
    page = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
    script = page.split('```sh title="cluster.sbatch"\n')[1].split("```")[0]
    (folder / "cluster.sbatch").write_text(script)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sbatch", "--parsable", "--ntasks", str(WORKERS), "--export=ALL", str(folder / "cluster.sbatch")],
        cwd=folder, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while not (folder / "scheduler.json").is_file():
            assert time.monotonic() < deadline, (folder / f"slurm-{done.stdout.strip()}.out").read_text()
            time.sleep(0.2)
        kill_in_the_middle(folder, "--cluster", str(folder / "scheduler.json"))
    finally:
        subprocess.run(["scancel", done.stdout.strip()], check=False)


def test_no_scheduler_and_no_dask(
    run: Callable[..., tuple[int, str, str]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "tcp://127.0.0.1:1" if DASK else "local"
    status, _, error = run(*command(folder, "--cluster", address)[3:])
    assert status == 2 and error.count("\n") == 1
    assert ("no Dask scheduler answers at tcp://127.0.0.1:1" if DASK else "pip install") in error
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SysmolError, match=r"pip install 'sysmol\[cluster\]'"), open_executor(1, "local"):
        pass


def twice(number: int) -> int:
    return 2 * number


def test_executors_are_like_any_other() -> None:
    with Here() as executor:
        assert list(executor.map(twice, [1, 2])) == [2, 4]
        assert isinstance(executor.submit(int, "x").exception(), ValueError)
    with LocalProcesses(2) as executor:
        assert list(executor.map(abs, [-1, 2])) == [1, 2]
        assert isinstance(executor.submit(int, "x").exception(), ValueError)
        assert executor.submit(os.getpid).result() != os.getpid()


def test_a_task_whose_worker_always_dies_fails(tmp_path: Path) -> None:
    with LocalProcesses(2) as executor:
        doomed = executor.submit(os._exit, 3)
        assert "abruptly" in str(doomed.exception())
        assert executor.submit(abs, -2).result() == 2


def test_records_are_there_as_soon_as_simulations_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one job at a time, too, a record is there as soon as its simulation has ended."""
    monkeypatch.setenv("FAKE_ENDING", "2")
    process = subprocess.Popen([*command(folder), "--jobs", "1"], stdout=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: len(list((folder / "out" / "records").glob("*.json"))) == 2, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(load(folder / "out")) == 2
