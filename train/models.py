"""The built-in networks, as plain PyTorch modules."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from sysmol.errors import SysmolError


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution without bias, padded to keep the size at stride 1, and its batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut_bn: bool = False) -> None:
        super().__init__()
        self.conv1 = conv_bn(inputs, outputs, 3, stride)
        self.conv2 = conv_bn(outputs, outputs, 3)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = (
                conv_bn(inputs, outputs, 1, stride) if shortcut_bn else nn.Conv2d(inputs, outputs, 1, stride)
            )
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = self.shortcut(x)
        return self.relu(self.conv2(self.relu(self.conv1(x))) + shortcut)


class ResNet8(nn.Module):
    """MLPerf Tiny's image classification network: 16, 32 and 64 channels, 12.5 M multiply-accumulates at 32x32.

    Its published 78,666 parameters count running statistics and biases in front of batch normalisation, which say
    nothing that batch normalisation does not; without them 77,946 are trained here.
    """

    def __init__(self, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(channels, 16, 3), nn.ReLU())
        self.stack1 = BasicBlock(16, 16, 1)
        self.stack2 = BasicBlock(16, 32, 2)
        self.stack3 = BasicBlock(32, 64, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(64, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stack3(self.stack2(self.stack1(self.stem(x))))
        return self.classifier(torch.flatten(self.pool(x), 1))


class DigitsNet(nn.Module):
    """A small network with one of everything: a residual block, a stride of 2, a depthwise convolution, pooling."""

    def __init__(self, channels: int = 1, classes: int = 10, width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(channels, width // 2, 3), nn.ReLU())
        self.expand = nn.Sequential(conv_bn(width // 2, width, 3, stride=2), nn.ReLU())
        self.block = BasicBlock(width, width, 1)
        self.depthwise = nn.Sequential(conv_bn(width, width, 3, groups=width), nn.ReLU())
        self.pointwise = nn.Sequential(conv_bn(width, width, 1), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.block(self.expand(self.stem(x)))
        x = self.pointwise(self.depthwise(x))
        return self.classifier(torch.flatten(self.pool(x), 1))


MODELS: dict[str, Callable[[int, int], nn.Module]] = {"digits_net": DigitsNet, "resnet8": ResNet8}


def build(name: str, channels: int, classes: int) -> nn.Module:
    """The built-in network of that name for images with ``channels`` channels."""
    if name not in MODELS:
        raise SysmolError(f"unknown model '{name}': choose one of {', '.join(MODELS)}")
    return MODELS[name](channels, classes)
