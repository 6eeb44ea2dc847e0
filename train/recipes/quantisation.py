"""A trained network made a rounded one with a few hundred images and no labels; fine-tuned from there where labels are.

The order is: precisions, layer after layer, then the scales, offsets and biases of all together
(:mod:`sysmol.train.quantise.ptq`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import nn

from sysmol.errors import SysmolError
from sysmol.network import Network, Normalisation, Samples
from sysmol.train.frontend.data import USUAL, Dataset, load, npz_images, to_real
from sysmol.train.frontend.npz import read_arrays
from sysmol.train.frontend.policy import LEARNED, Policy
from sysmol.train.frontend.user_files import is_data
from sysmol.train.quantise.allocate import least_limits
from sysmol.train.quantise.export import export, sizes
from sysmol.train.quantise.prepared import Prepared, prepare
from sysmol.train.quantise.ptq.layers import reconstruct_layers
from sysmol.train.quantise.ptq.precisions import choose_precisions
from sysmol.train.quantise.ptq.refit import Batch, Refit, fit, refit
from sysmol.train.quantise.trainer import Phase, augment, classes_of, device_named
from sysmol.train.recipes.pipeline import all_logits, making, parameters

WIDTHS = (8, 4, 2, 1)
"""Bits that all layers between the first and the last may have alike; others are limits of learned precisions."""
UNLABELLED = "images"
"""Name of the array of a file that holds images alone."""
SAMPLES = 32
"""Test images in the file."""
TUNING = Refit(batch=128, layers=0.3)
"""Fine-tuning from a rounded start: half of what is learned are labels, half is full precision's own answers."""


def nothing(line: str) -> None:
    """Where nobody reads progress."""


@dataclass(frozen=True)
class Request:
    """``bits``: 8, 4, 2 or 1 between the first and the last layer, which stay at 8, or any other number: the largest
    of stored bits per parameter, precisions then differ by channel. ``patterns`` are those of the hardware."""

    bits: float = 4
    patterns: str | Sequence[int] = "P4"
    seed: int = 0
    refit: Refit = field(default_factory=Refit)

    @property
    def mixed(self) -> bool:
        """Whether precisions are chosen."""
        return self.bits not in WIDTHS

    @property
    def policy(self) -> Policy:
        """Bits by layer; what needs weights of exactly 0 stays at 8."""
        return Policy(default=LEARNED if self.mixed else int(self.bits), fallback=8)


@dataclass(frozen=True)
class Images:
    """Images uint8 ``[n, H, W, C]`` to quantise with, and the labelled ``data`` that they are of, if they are."""

    images: np.ndarray
    data: Dataset | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        height, width, channels = self.images.shape[1:]
        return int(height), int(width), int(channels)

    @property
    def normalisation(self) -> Normalisation:
        """What pixels stand for, as far as the data says."""
        return USUAL if self.data is None else self.data.normalisation

    @property
    def classes(self) -> int:
        """Of the labels; 0 without."""
        return 0 if self.data is None else len(self.data.classes)


def load_images(name: str, count: int, seed: int = 0) -> Images:
    """At most ``count`` images, drawn by ``seed``, of a data set's training images, or of the array ``images`` of a
    ``.npz`` file without labels."""
    unlabelled = read_arrays(name, (UNLABELLED,)).get(UNLABELLED) if is_data(name) else None
    if unlabelled is None:
        data: Dataset | None = load(name)
        assert data is not None
        found = data.train_images
    else:
        data, found = None, npz_images(unlabelled, f"{name}: {UNLABELLED}")
    pick = np.random.default_rng(seed).permutation(len(found))[:count]
    return Images(np.ascontiguousarray(found[np.sort(pick)]), data)


@dataclass(frozen=True)
class Quantised:
    """A rounded network and the same in full precision."""

    prepared: Prepared
    exact: Prepared


def quantise(
    module: nn.Module, images: torch.Tensor, request: Request = Request(), normalisation: Normalisation = USUAL,
    said: Callable[[str], None] = nothing,
) -> Quantised:  # fmt: skip
    """Round a trained module with real ``images [n, C, H, W]``, the ``normalisation`` of pixels; labels are not needed.

    The module stays as it is. ``said`` gets lines of progress. Raises :class:`SysmolError` where the module or the
    request is refused.
    """
    if len(images) < 2:
        raise SysmolError("quantising needs at least two images, better a few hundred")
    module = copy.deepcopy(module).eval()
    some = images[:8]
    exact = prepare(module, some, "fp32", request.patterns, normalisation=normalisation).eval()
    prepared = prepare(module, some, request.policy, request.patterns, normalisation=normalisation).eval()
    if request.mixed:
        _check_limit(prepared, request.bits)
        said(f"precisions for {request.bits:g} bits per parameter")
        choose_precisions(prepared, images, request.bits, prepared.supported, request.seed)
    else:
        prepared.freeze()
    prepared.calibrate(images)
    reconstruct_layers(prepared, images, lambda name: said(f"layer {name}"))
    if request.refit.steps:
        refit(prepared, exact, images, request.refit, request.seed, said)
    return Quantised(prepared, exact)


def _check_limit(prepared: Prepared, bits: float) -> None:
    """Refuse a limit before any work."""
    if not prepared.learned_domains():
        raise SysmolError(
            "the network has no layer between the first and the last, which stay at 8 bits, whose precision could be "
            "chosen: quantise it to 8 bits"
        )
    least, _ = least_limits(prepared, prepared.supported)
    if bits < least:
        raise SysmolError(f"{bits:g} bits per parameter cannot be reached: the least is {least:.3f}")


def fine_tune(
    quantised: Quantised, data: Dataset, epochs: int, seed: int = 0, device: str = "auto",
    said: Callable[[str], None] = nothing,
) -> None:  # fmt: skip
    """Train a rounded network for some epochs on labelled images, from where it stands: moved by up to a tenth, and
    mirrored where they have colours."""
    steps = epochs * -(-len(data.train_images) // TUNING.batch)
    where = device_named(device)
    batches = _labelled(data, epochs, quantised.prepared.normalisation, seed, where)
    fit(quantised.prepared, quantised.exact, batches, replace(TUNING, steps=steps), said, where)


def _labelled(
    data: Dataset, epochs: int, normalisation: Normalisation, seed: int, device: torch.device
) -> Iterator[Batch]:
    images, labels = torch.from_numpy(data.train_images), torch.from_numpy(data.train_labels)
    changes = Phase("tune", epochs, shift=max(1, data.shape[0] // 10), flip=data.shape[2] == 3)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        for pick in order.split(TUNING.batch):
            x = to_real(augment(images[pick], changes, generator, normalisation), normalisation)
            yield x.to(device), labels[pick].to(device)


def network_of(
    quantised: Quantised, name: str, images: torch.Tensor, data: Dataset | None = None, description: str = ""
) -> Network:
    """The network file of a rounded network: real ``images`` set the range of 16-bit streams, ``data`` (or None) is
    what accuracies are counted on."""
    prepared = quantised.prepared
    if data is None:
        net = export(prepared, name, images, description)
        net.metrics = dict(sizes(net, parameters(prepared)))
    else:
        net = export(prepared, name, images, description, samples=0)
        tests, labels = data.test_images, data.test_labels
        logits = all_logits(net, tests, SAMPLES)
        wanted = classes_of(quantised.exact, tests, 250, quantised.exact.normalisation)
        net.metrics = sizes(net, parameters(prepared)) | shares(logits.argmax(1), wanted, labels)
        net.samples = Samples(tests[:SAMPLES].copy(), labels[:SAMPLES].copy(), logits[:SAMPLES].copy())
    net.provenance |= making(prepared)
    return net


def layer_bits(prepared: Prepared) -> dict[str, str]:
    """In words, the bits of every layer with weights, by its name in the module."""
    found = {}
    for unit in prepared.graph.convolutions:
        assert unit.input is not None
        bits = {8} if prepared.input_format(unit) == "s8" else set(prepared.domain(unit.input.unit).precisions.tolist())
        found[unit.path or unit.name] = f"{' and '.join(str(p) for p in sorted(bits, reverse=True))} bits"
    return found


def shares(found: np.ndarray, wanted: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Shares of images by their classes in integers (``found``), in full precision (``wanted``) and by label: right in
    either, and of the same class."""
    return {
        "accuracy_fp32": float((wanted == labels).mean()),
        "accuracy_integer": float((found == labels).mean()),
        "same_class": float((found == wanted).mean()),
        "test_images": len(labels),
    }
