"""A whole search: the supernet, every mode with every seed, and the comparison that the protocol asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import torch

from sysmol.files import make_folder
from sysmol.search.joint.evaluation import Accuracies, Data, FromFolder, load_data, measure_with, trained
from sysmol.search.joint.modes import Result, run
from sysmol.search.joint.results import record, write_search
from sysmol.search.joint.search import Problem
from sysmol.search.joint.spec import Spec
from sysmol.search.joint.workload import Costs
from sysmol.search.spaces import load_space
from sysmol.search.supernet.supernet import Supernet
from sysmol.workbench.executor import Here, open_executor

ACCURACIES = "accuracies.json"


def make_problem(spec: Spec, data: Data, net: Supernet, folder: Path, device: str, executor: Executor) -> Problem:
    """Spaces, costs, and accuracies on the validation images: measured by ``net`` where the executor is this process,
    else by workers with the supernet in the folder."""
    networks, tiles = load_space(spec.networks), load_space(spec.tiles)
    key = f"{spec.networks} {spec.dataset} {spec.training.model_dump_json()} {spec.held_out} {spec.settle}"
    there = FromFolder(spec.model_dump_json(), folder.resolve(), device, torch.get_num_threads())
    measure = measure_with(spec, data, net) if isinstance(executor, Here) else there
    known = Accuracies(folder / ACCURACIES, key, measure, executor)
    costs = Costs(networks, data.images.shape[1], data.classes)
    return Problem(networks, tiles, costs, known.of)


def campaign(
    spec: Spec, out: Path, modes: Sequence[str] = (), device: str = "cpu", say: Callable[[str], None] = print,
    jobs: int = 1, cluster: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Run the modes (default: the spec's) and write ``search.json``; what it holds. Resumes. ``jobs`` networks of a
    round are measured at a time, here or on a ``cluster`` (:func:`~sysmol.workbench.executor.open_executor`)."""
    folder, data = make_folder(out), load_data(spec)
    net = trained(spec, data, folder, device, say)
    with open_executor(jobs, cluster) as executor:
        problem = make_problem(spec, data, net, folder, device, executor)
        baselines = problem.baselines()
        goal = baselines["default"].accuracy - spec.drop / 100
        results: list[Result] = []
        for mode in modes or spec.modes:
            for seed in spec.seeds:
                results.append(run(problem, mode, spec.measurements, seed, goal))
                best = results[-1].best(goal)
                said = "nothing as accurate" if best is None else f"{best.nanoseconds / 1000:,.1f} us"
                say(f"{mode}, seed {seed}: {spec.measurements} measurements, {said}")
        found = record(spec, problem, baselines, goal, results, len(data.validation_labels))
    write_search(folder, found)
    return found
