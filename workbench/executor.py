"""Where tasks run: this process, processes of this computer, or a Dask cluster; all are ``concurrent.futures``
executors.

A task asks the store before it computes, in the process that would compute it, so that it does not matter how often it
is handed out: when a worker was killed, its tasks go to others.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from sysmol.errors import CheckFailed, SysmolError
from sysmol.workbench.key import Inputs, Task, differences
from sysmol.workbench.store import HOST, Entry, Store, this_command

TRIES = 3
"""How often a task is handed out whose worker dies."""
LOCAL = "local"
"""The cluster address that stands for workers of this computer, bound to localhost."""


def work(root: Path, task: Task, expected: Inputs, command: str) -> Entry:
    """What a worker does: the entry of a task, from the store below ``root`` or computed."""
    other = differences(expected, task.inputs)
    if other:
        raise SysmolError(
            f"the worker on {HOST} would compute another {task.step.name} than was asked for; it has another "
            f"{other[0]}{f' and {len(other) - 1} more' if other[1:] else ''}"
        )
    return Store(root).make(task, command)


Outcome = tuple[Task, Entry | Exception]


def run_all(
    store: Store, tasks: Sequence[Task], executor: Executor, started: Callable[[Task], None] = lambda _: None
) -> Iterator[Outcome]:
    """Every task with its entry, or with the :class:`SysmolError` or :class:`CheckFailed` that it ended with, in the
    order in which they end. What the store holds is not handed out. Other exceptions are raised.
    """
    return run_chains(store, [[task] for task in tasks], executor, started)


def run_chains(
    store: Store,
    chains: Sequence[Sequence[Task]],
    executor: Executor,
    started: Callable[[Task], None] = lambda _: None,
) -> Iterator[Outcome]:
    """:func:`run_all` for tasks of which those in one chain run one after the other."""
    command = this_command()
    under_way: dict[Future[Entry], tuple[Task, deque[Task]]] = {}
    ready = deque(deque(chain) for chain in chains)
    try:
        while ready or under_way:
            while ready:
                chain = ready.popleft()
                while chain:
                    task = chain.popleft()
                    found = store.find(task)
                    if found is not None:
                        yield task, found
                        continue
                    started(task)
                    future = executor.submit(work, store.root, task, task.inputs, command)
                    if not future.done():
                        under_way[future] = task, chain
                        break
                    yield task, _outcome(future)
            done = wait(under_way, return_when=FIRST_COMPLETED).done if under_way else ()
            for future in done:
                task, chain = under_way.pop(future)
                ready.append(chain)
                yield task, _outcome(future)
    finally:
        for future in under_way:
            future.cancel()


def _outcome(future: Future[Entry]) -> Entry | Exception:
    try:
        return future.result()
    except (SysmolError, CheckFailed) as error:
        return error


@contextlib.contextmanager
def open_executor(jobs: int, cluster: str = "") -> Iterator[Executor]:
    """Runs ``jobs`` tasks at a time: in this process for one, in processes of this computer for more, or on the Dask
    ``cluster`` of that address (``tcp://HOST:PORT``, a scheduler's JSON file, or :data:`LOCAL`).
    """
    if cluster:
        with _on_dask(cluster, jobs) as executor:
            yield executor
    elif jobs == 1:
        yield Here()
    else:
        pool = LocalProcesses(jobs)
        try:
            yield pool
        except BaseException:
            pool.kill()
            raise
        finally:
            pool.shutdown()


class Here(Executor):
    """Runs what it is given at once, in this process."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """A future that has ended."""
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future


class LocalProcesses(Executor):
    """Processes of this computer, started anew where one is killed; they end with this one, even with ``kill -9``."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._lock = threading.RLock()
        self._closed = False
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self.jobs, context, initializer=_end_with, initargs=(os.getpid(),))

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """As the base class does; a task whose worker dies is handed out again, up to :data:`TRIES` times."""
        outer: Future[Any] = Future()
        self._hand_out(outer, lambda pool: pool.submit(function, *arguments, **named), TRIES)
        return outer

    def _hand_out(self, outer: Future[Any], submit: Callable[[ProcessPoolExecutor], Future[Any]], tries: int) -> None:
        with self._lock:
            pool = self._pool
            try:
                inner = submit(pool)
            except BrokenProcessPool:
                if self._closed:
                    outer.cancel()
                    return
                pool = self._pool = self._start()
                inner = submit(pool)

        def ended(done: Future[Any]) -> None:
            if done.cancelled():
                outer.cancel()
                return
            error = done.exception()
            if isinstance(error, BrokenProcessPool) and tries > 1 and not self._closed:
                with self._lock:
                    if self._pool is pool:
                        self._pool = self._start()
                self._hand_out(outer, submit, tries - 1)
            elif outer.set_running_or_notify_cancel():
                if error is not None:
                    outer.set_exception(error)
                else:
                    outer.set_result(done.result())

        inner.add_done_callback(ended)

    def kill(self) -> None:
        """End what runs."""
        self._closed = True
        pids = list(self._pool._processes or ())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As the base class does."""
        self._closed = True
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


def _end_with(parent: int) -> None:
    """In a worker: the keyboard's interrupt is the parent's to handle, and where the parent is gone, so is this."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _on_dask(address: str, jobs: int) -> Iterator[Executor]:
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise SysmolError("--cluster needs Dask: pip install 'sysmol[cluster]'") from None
    with contextlib.ExitStack() as stack:
        if address == LOCAL:
            cluster = LocalCluster(
                n_workers=jobs, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=50
            )  # fmt: skip
            client = Client(stack.enter_context(cluster))
        else:
            where = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
            try:
                client = Client(**where, timeout=20)
            except (OSError, ValueError) as error:
                raise SysmolError(f"no Dask scheduler answers at {address}: {error}") from None
        yield stack.enter_context(client).get_executor()
