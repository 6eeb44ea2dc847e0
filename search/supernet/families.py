"""Families of networks: from a point of a space of networks to an ordinary module, and to the bits of its layers.

Parameters of the same name in two members of a family have the same number of axes, and the smaller one is the corner
of the larger one (the centre, along the axes of kernels): :mod:`sysmol.search.supernet.supernet` needs no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from sysmol.errors import SysmolError
from sysmol.search.spaces import Point, Space
from sysmol.train.frontend.models import conv_bn


class Block(nn.Module):
    """A basic block whose first convolution has a kernel of its own; its first in a stage has a 1x1 shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, kernel: int, first: bool) -> None:
        super().__init__()
        self.conv1 = conv_bn(inputs, outputs, kernel, stride)
        self.conv2 = conv_bn(outputs, outputs, 3)
        self.shortcut: nn.Module = nn.Conv2d(inputs, outputs, 1, stride) if first else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = self.shortcut(x)
        return self.relu(self.conv2(self.relu(self.conv1(x))) + shortcut)


class Inverted(nn.Module):
    """An inverted residual: expansion, depthwise convolution, projection; a shortcut but in the first of a stage."""

    def __init__(self, inputs: int, outputs: int, stride: int, kernel: int, expansion: int, first: bool) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = nn.Sequential(conv_bn(inputs, hidden, 1), nn.ReLU6())
        self.depthwise = nn.Sequential(conv_bn(hidden, hidden, kernel, stride, groups=hidden), nn.ReLU6())
        self.project = conv_bn(hidden, outputs, 1)
        self.first = first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return y if self.first else y + x


class Staged(nn.Module):
    """Stem, stages of blocks, pooling, classifier."""

    def __init__(self, stem: nn.Module, stages: list[list[nn.Module]], features: int, classes: int) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleList(nn.Sequential(*blocks) for blocks in stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(features, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.classifier(torch.flatten(self.pool(x), 1))


@dataclass(frozen=True)
class Family:
    """``block(point, place, inputs, outputs, stride, first)`` makes a block; ``place`` is the end of the names of its
    genes. ``halves(stage)``: whether the first block of a stage has the stride 2. ``layers`` names the convolutions of
    a block with the gene that says their bits: the block's ``inputs``, or what is ``inside``."""

    name: str
    activation: Callable[[], nn.Module]
    block: Callable[[Point, str, int, int, int, bool], nn.Module]
    halves: Callable[[int], bool]
    layers: Mapping[str, str]


def _basic(point: Point, place: str, inputs: int, outputs: int, stride: int, first: bool) -> nn.Module:
    return Block(inputs, outputs, stride, int(point[f"kernel{place}"]), first)


def _inverted(point: Point, place: str, inputs: int, outputs: int, stride: int, first: bool) -> nn.Module:
    return Inverted(inputs, outputs, stride, int(point[f"kernel{place}"]), int(point[f"expand{place}"]), first)


FAMILIES = {
    family.name: family
    for family in (
        Family(
            "resnet",
            nn.ReLU,
            _basic,
            lambda stage: stage > 1,
            {"conv1.0": "inputs", "conv2.0": "inside", "shortcut": "inputs"},
        ),
        Family(
            "mobilenetv2",
            nn.ReLU6,
            _inverted,
            lambda stage: 1 < stage < 4,
            {"expand.0.0": "inputs", "depthwise.0.0": "inside", "project.0": "inside"},
        ),
    )
}
"""By the name that a space has in ``fixed.family``."""


def family_of(space: Space) -> Family:
    """:class:`SysmolError` where a space has no known family."""
    name = space.fixed.get("family")
    if space.kind != "network" or name not in FAMILIES:
        raise SysmolError(f"the space {space.name} is of no known family of networks: {', '.join(FAMILIES)}")
    return FAMILIES[str(name)]


def stages_of(space: Space) -> int:
    """Stages of its networks: it has a gene ``depth`` for each."""
    return sum(gene.name.startswith("depth") for gene in space.genes)


def build(space: Space, point: Point, channels: int, classes: int) -> nn.Module:
    """The network of a point as an ordinary module with random weights, for images with ``channels`` channels."""
    family, inputs = family_of(space), int(point["width1"])
    stem = nn.Sequential(conv_bn(channels, inputs, 3), family.activation())
    stages: list[list[nn.Module]] = []
    for s in range(1, stages_of(space) + 1):
        blocks: list[nn.Module] = []
        for b in range(1, int(point[f"depth{s}"]) + 1):
            outputs, stride = int(point[f"width{s}"]), 2 if family.halves(s) and b == 1 else 1
            blocks.append(family.block(point, f"{s}_{b}", inputs, outputs, stride, b == 1))
            inputs = outputs
        stages.append(blocks)
    return Staged(stem, stages, inputs, classes)


def largest(space: Space) -> Point:
    """The point with the last choice of every gene; choices of networks ascend."""
    return space.decode([len(gene.choices) - 1 for gene in space.genes])


def layer_bits(space: Space, point: Point) -> dict[str, int]:
    """Bits of the convolutions inside the blocks, by their names in the module: those of the channels that they read.

    What a stage's first block reads comes from the stage before (from the stem, which has the bits of the first).
    """
    bits: dict[str, int] = {}
    for s in range(1, stages_of(space) + 1):
        for b in range(1, int(point[f"depth{s}"]) + 1):
            stream = point[f"bits{max(s - 1, 1) if b == 1 else s}"]
            for layer, reads in family_of(space).layers.items():
                if layer == "shortcut" and b > 1:
                    continue
                name = f"stages.{s - 1}.{b - 1}.{layer}"
                bits[name] = int(stream if reads == "inputs" else point[f"bits{s}_{b}"])
    return bits
