"""A whole search: the supernet, every mode with every seed, and the comparison that the protocol asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sysmol.errors import SysmolError
from sysmol.files import atomic_write_json, make_folder, read_json
from sysmol.search.codesign.loop import hold_out
from sysmol.search.joint.modes import Result, run
from sysmol.search.joint.results import record, write_search
from sysmol.search.joint.search import Problem
from sysmol.search.joint.spec import Spec
from sysmol.search.joint.workload import Costs
from sysmol.search.spaces import Point, load_space
from sysmol.search.supernet.supernet import Supernet
from sysmol.search.supernet.training import train
from sysmol.train.frontend.data import load, to_real
from sysmol.train.quantise.trainer import device_named
from sysmol.typed import entries, number

FORMAT, VERSION = "sysmol-search-accuracies", 1
ACCURACIES = "accuracies.json"


@dataclass
class Data:
    """Real images and labels: to train on, and to decide on."""

    images: torch.Tensor
    labels: torch.Tensor
    validation: torch.Tensor
    validation_labels: torch.Tensor
    classes: int


def load_data(spec: Spec) -> Data:
    """The training images of a data set, a share of them held out; test images are not looked at."""
    ours, theirs = hold_out(load(spec.dataset), spec.held_out, spec.training.seed)
    return Data(
        to_real(ours.train_images),
        torch.as_tensor(ours.train_labels).long(),
        to_real(theirs.test_images),
        torch.as_tensor(theirs.test_labels).long(),
        len(ours.classes),
    )


class Accuracies:
    """Accuracies of sub-networks, kept in a file: a search that was killed measures none again."""

    def __init__(self, path: Path, problem_key: str, measure: Callable[[Point], float]) -> None:
        self.path, self.key, self._measure = path, problem_key, measure
        self._known: dict[str, float] = {}
        if path.is_file():
            data = read_json(path, FORMAT, VERSION)
            if data.get("of") != problem_key:
                raise SysmolError(f"{path} is of another supernet: name another folder")
            entries(number(0, 1))(data.get("accuracies"), "accuracies")
            self._known = dict(data["accuracies"])

    def of(self, key: str, point: Point) -> float:
        """Of a network; measured once."""
        if key not in self._known:
            self._known[key] = self._measure(point)
            content = {"format": FORMAT, "version": VERSION, "of": self.key, "accuracies": self._known}
            atomic_write_json(self.path, content)
        return self._known[key]


def trained(spec: Spec, data: Data, folder: Path, device: str, say: Callable[[str], None]) -> Supernet:
    """The supernet, trained or as far as its checkpoint has come."""
    space, t = load_space(spec.networks), spec.training
    file = folder / "supernet.pt"
    return train(
        space, data.images, data.labels, data.classes, t.schedule(), t.seed, file, str(device_named(device)), say
    )  # fmt: skip


def make_problem(spec: Spec, data: Data, net: Supernet, folder: Path) -> Problem:
    """Spaces, costs, and accuracies on the validation images."""
    networks, tiles = load_space(spec.networks), load_space(spec.tiles)
    device = next(net.parameters()).device
    settle = data.images[: spec.settle].to(device)
    images, labels = data.validation.to(device), data.validation_labels.to(device)
    key = f"{spec.networks} {spec.dataset} {spec.training.model_dump_json()} {spec.held_out} {spec.settle}"
    known = Accuracies(folder / ACCURACIES, key, lambda point: net.accuracy(point, settle, images, labels))
    costs = Costs(networks, data.images.shape[1], data.classes)
    return Problem(networks, tiles, costs, lambda point: known.of(networks.key(point), point))


def campaign(
    spec: Spec, out: Path, modes: Sequence[str] = (), device: str = "cpu", say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Run the modes (default: the spec's) and write ``search.json``; what it holds. Resumes."""
    folder, data = make_folder(out), load_data(spec)
    net = trained(spec, data, folder, device, say)
    problem = make_problem(spec, data, net, folder)
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
