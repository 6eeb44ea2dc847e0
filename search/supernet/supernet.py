"""The weights of the largest network of a space; every other network is a part of them.

A sub-network's parameters are views of these: the first channels, the centre of kernels. Training it trains them. Means
and variances of batch normalisation belong to one sub-network each: they are those of the batch while training, and are
settled on training images when a sub-network is evaluated or extracted.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.func import functional_call

from sysmol.search.spaces import Point, Space
from sysmol.search.supernet.fake import FakeQuantised
from sysmol.search.supernet.families import build, largest, layer_bits
from sysmol.train.quantise.trainer import plain_averages


class Supernet(nn.Module):
    """All networks of a space, for images with ``channels`` channels."""

    def __init__(self, space: Space, channels: int, classes: int) -> None:
        super().__init__()
        self.space, self.channels, self.classes = space, channels, classes
        self.whole = build(space, largest(space), channels, classes)
        self._skeletons: dict[str, nn.Module] = {}

    def skeleton(self, point: Point) -> nn.Module:
        """A module of a point's shape, whose own weights do not count."""
        key = self.space.key(point)
        if key not in self._skeletons:
            if len(self._skeletons) > 64:
                self._skeletons.clear()
            self._skeletons[key] = build(self.space, point, self.channels, self.classes)
        return self._skeletons[key]

    def parts(self, point: Point) -> dict[str, torch.Tensor]:
        """The parameters of a sub-network by name: views of the whole."""
        whole = dict(self.whole.named_parameters())
        shapes = {name: p.shape for name, p in self.skeleton(point).named_parameters()}
        return {name: corner(whole[name], shape) for name, shape in shapes.items()}

    def forward_point(self, point: Point, images: torch.Tensor, quantised: bool = True) -> torch.Tensor:
        """Logits ``[n, classes]`` of a sub-network in training, with the bits of its channels or in full precision."""
        module = self.skeleton(point).train()
        images = resized(images, point)
        parts = self.parts(point)
        if not quantised:
            return functional_call(module, parts, (images,))
        with FakeQuantised(module, layer_bits(self.space, point)) as fake:
            return functional_call(module, fake.weights(parts), (images,))

    def extract(self, point: Point, settle: torch.Tensor) -> nn.Module:
        """A sub-network as an ordinary module in evaluation mode, its statistics settled on real images."""
        module = build(self.space, point, self.channels, self.classes)
        module.load_state_dict({**module.state_dict(), **{k: v.detach().clone() for k, v in self.parts(point).items()}})
        return settled(module, resized(settle, point), layer_bits(self.space, point))

    @torch.no_grad()
    def accuracy(self, point: Point, settle: torch.Tensor, images: torch.Tensor, labels: torch.Tensor) -> float:
        """Share of images that a sub-network with its bits gets right."""
        module = self.extract(point, settle)
        parts = dict(module.named_parameters())
        with FakeQuantised(module, layer_bits(self.space, point)) as fake:
            logits = functional_call(module, fake.weights(parts), (resized(images, point),))
        return float((logits.argmax(1) == labels).float().mean())


def corner(whole: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """The part of a parameter with that shape: first channels along the first two axes, the centre along others."""
    view = whole
    for axis, size in enumerate(shape):
        start = (view.shape[axis] - size) // 2 if axis >= 2 else 0
        view = view.narrow(axis, start, size)
    return view


def resized(images: torch.Tensor, point: Point) -> torch.Tensor:
    """Images in the resolution that a point asks for."""
    size = int(point.get("resolution", images.shape[-1]))
    if size == images.shape[-1]:
        return images
    return nn.functional.interpolate(images, (size, size), mode="bilinear", antialias=True)


@torch.no_grad()
def settled(module: nn.Module, images: torch.Tensor, bits: Mapping[str, int]) -> nn.Module:
    """Statistics of batch normalisation over these images, with the bits of the layers; in evaluation mode."""
    with plain_averages(module), FakeQuantised(module, bits) as fake:
        weights = fake.weights(dict(module.named_parameters()))
        for batch in images.split(256):
            functional_call(module, weights, (batch,))
    return module
