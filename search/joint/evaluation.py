"""Accuracies of sub-networks, measured where an executor has room for them, and kept in a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from sysmol.errors import SysmolError
from sysmol.files import atomic_write_json, read_json
from sysmol.search.codesign.loop import hold_out
from sysmol.search.joint.spec import Spec
from sysmol.search.spaces import Point, load_space
from sysmol.search.supernet.supernet import Supernet
from sysmol.search.supernet.training import train
from sysmol.train.frontend.data import load, to_real
from sysmol.train.quantise.trainer import device_named
from sysmol.typed import entries, number
from sysmol.workbench.executor import Here

FORMAT, VERSION = "sysmol-search-accuracies", 1
SUPERNET = "supernet.pt"
Measure = Callable[[Point], float]


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


def trained(spec: Spec, data: Data, folder: Path, device: str, say: Callable[[str], None] | None = None) -> Supernet:
    """The supernet, trained or as far as its checkpoint has come."""
    space, t = load_space(spec.networks), spec.training
    file = folder / SUPERNET
    return train(
        space, data.images, data.labels, data.classes, t.schedule(), t.seed, file, str(device_named(device)), say
    )  # fmt: skip


def measure_with(spec: Spec, data: Data, net: Supernet) -> Measure:
    """Accuracy of a network on the validation images."""
    device = next(net.parameters()).device
    settle = data.images[: spec.settle].to(device)
    images, labels = data.validation.to(device), data.validation_labels.to(device)
    return lambda point: net.accuracy(point, settle, images, labels)


@dataclass(frozen=True)
class FromFolder:
    """Measures in any process that sees the folder of the search: with the trained supernet that lies there. ``spec``:
    as JSON. ``threads``: of PyTorch, since sums depend on them."""

    spec: str
    folder: Path
    device: str
    threads: int

    def __call__(self, point: Point) -> float:
        """Of a network."""
        torch.set_num_threads(self.threads)
        return _measure_of(self)(point)


@cache
def _measure_of(subject: FromFolder) -> Measure:
    """Loaded once per process."""
    spec = Spec.model_validate_json(subject.spec)
    data = load_data(spec)
    if not (subject.folder / SUPERNET).is_file():
        raise SysmolError(f"{subject.folder} holds no {SUPERNET} here: workers need the folder of the search")
    return measure_with(spec, data, trained(spec, data, subject.folder, subject.device))


class Accuracies:
    """Accuracies of sub-networks, kept in a file: a search that was killed measures none again. ``executor`` runs
    ``measure``, which it has to be able to hand on (default: in this process)."""

    def __init__(self, path: Path, problem_key: str, measure: Measure, executor: Executor | None = None) -> None:
        self.path, self.key, self._measure = path, problem_key, measure
        self._executor = executor or Here()
        self._known: dict[str, float] = {}
        if path.is_file():
            data = read_json(path, FORMAT, VERSION)
            if data.get("of") != problem_key:
                raise SysmolError(f"{path} is of another supernet: name another folder")
            entries(number(0, 1))(data.get("accuracies"), "accuracies")
            self._known = dict(data["accuracies"])

    def of(self, points: Mapping[str, Point]) -> dict[str, float]:
        """Of networks, by their keys; each is measured once, several at a time where the executor can, and written as
        soon as it is known."""
        missing = [(key, point) for key, point in points.items() if key not in self._known]
        futures: dict[Future[float], str] = {}
        for key, point in missing:
            future = self._executor.submit(self._measure, point)
            if future.done():
                self._keep(key, future.result())
            else:
                futures[future] = key
        for future in as_completed(futures):
            self._keep(futures[future], future.result())
        return {key: self._known[key] for key in points}

    def _keep(self, key: str, accuracy: float) -> None:
        self._known[key] = accuracy
        content = {"format": FORMAT, "version": VERSION, "of": self.key, "accuracies": self._known}
        atomic_write_json(self.path, content)
