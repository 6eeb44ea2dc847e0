"""The built-in networks, as plain PyTorch modules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from sysmol.errors import SysmolError
from sysmol.train.frontend.transformers import compact_transformer, digits_transformer
from sysmol.train.frontend.user_files import is_module, load_module


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution without bias, padded to keep the size at stride 1, and its batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    )


def halving_conv_bn(inputs: int, outputs: int) -> nn.Sequential:
    """A 3x3 convolution of stride 2 and its batch normalisation, padded as TensorFlow's 'SAME' pads an even size: one
    row below and one column on the right."""
    return nn.Sequential(
        nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(inputs, outputs, 3, 2, bias=False), nn.BatchNorm2d(outputs)
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes. ``same``: a stride of 2
    pads below and on the right (:func:`halving_conv_bn`)."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, shortcut_bn: bool = False, same: bool = False
    ) -> None:  # fmt: skip
        super().__init__()
        halves = same and stride == 2
        self.conv1 = halving_conv_bn(inputs, outputs) if halves else conv_bn(inputs, outputs, 3, stride)
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
    nothing that batch normalisation does not; without them 77,946 are trained here. The larger one of the same task
    has 40, 80 and 160 channels, 76.5 M multiply-accumulates and 479,480 weights; with ``same`` it pads as the public
    file, so that its weights can be read from there.
    """

    def __init__(
        self, channels: int = 3, classes: int = 10, widths: tuple[int, int, int] = (16, 32, 64), same: bool = False
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(channels, widths[0], 3), nn.ReLU())
        self.stack1 = BasicBlock(widths[0], widths[0], 1)
        self.stack2 = BasicBlock(widths[0], widths[1], 2, same=same)
        self.stack3 = BasicBlock(widths[1], widths[2], 2, same=same)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(widths[2], classes)

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


class MnistNet(nn.Module):
    """Four 3x3 convolutions from 28x28 pixels to one: 1.3 M multiply-accumulates and 93,088 weights, 1% of them in the
    first and the last layer. 32 channels of 4 bits fill a register, as do 64 of 2 bits.
    """

    def __init__(self, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(channels, 32, 3, stride=2), nn.ReLU())
        self.conv1 = nn.Sequential(conv_bn(32, 64, 3, stride=2), nn.ReLU())
        self.conv2 = nn.Sequential(nn.Conv2d(64, 64, 3, stride=2, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        self.conv3 = nn.Sequential(nn.Conv2d(64, 64, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        self.classifier = nn.Linear(64, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv3(self.conv2(self.conv1(self.stem(x))))
        return self.classifier(torch.flatten(x, 1))


class ResNet20(nn.Module):
    """ResNet-20 for CIFAR-10 (He et al., 2016): 3 stacks of 3 blocks with 16, 32 and 64 channels, 41 M
    multiply-accumulates at 32x32.

    Where the shape changes the shortcut is a 1x1 convolution (the paper's option B); its option A pads with channels
    of zeros, and the SMOL grid has no zero. ``benchmarks/shapes/resnet20.txt`` is the same network.
    """

    def __init__(self, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(channels, 16, 3), nn.ReLU())
        self.stack1 = nn.Sequential(BasicBlock(16, 16, 1), BasicBlock(16, 16, 1), BasicBlock(16, 16, 1))
        self.stack2 = nn.Sequential(BasicBlock(16, 32, 2), BasicBlock(32, 32, 1), BasicBlock(32, 32, 1))
        self.stack3 = nn.Sequential(BasicBlock(32, 64, 2), BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(64, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stack3(self.stack2(self.stack1(self.stem(x))))
        return self.classifier(torch.flatten(self.pool(x), 1))


class InvertedResidual(nn.Module):
    """MobileNetV2's block: 1x1 expansion, 3x3 depthwise, linear 1x1 projection; a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = [] if expansion == 1 else [conv_bn(inputs, hidden, 1), nn.ReLU6()]
        layers += [conv_bn(hidden, hidden, 3, stride, groups=hidden), nn.ReLU6(), conv_bn(hidden, outputs, 1)]
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x) + x if self.shortcut else self.layers(x)


Stages = tuple[tuple[int, int, int, int], ...]
"""Expansion, channels, blocks and the stride of the first block, for every stage of a MobileNetV2."""

MOBILENETV2: Stages = (
    (1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
"""The published stages, but for the stride of the 24-channel blocks, which is 1 instead of 2 at 32x32."""

SMALL: Stages = ((4, 16, 1, 1), (4, 24, 2, 2), (4, 48, 2, 2), (4, 96, 2, 1))
"""Those of ``mobilenetv2_small``, which trains on few cores: 4.2 M multiply-accumulates, 173,296 weights."""


class MobileNetV2(nn.Module):
    """MobileNetV2 (Sandler et al., 2018) for 32x32 images.

    With a stem of stride 1 this is the usual CIFAR-10 form (``benchmarks/shapes/mobilenetv2.txt``, 88 M
    multiply-accumulates), with 2 every layer has a quarter of the pixels (``mobilenetv2_stem2.txt``, 22 M).
    """

    def __init__(
        self, channels: int = 3, classes: int = 10, stem: int = 32, stem_stride: int = 1,
        stages: Stages = MOBILENETV2, head: int = 1280,
    ) -> None:  # fmt: skip
        super().__init__()
        self.stem = nn.Sequential(conv_bn(channels, stem, 3, stem_stride), nn.ReLU6())
        blocks: list[nn.Module] = []
        inputs = stem
        for expansion, outputs, count, stride in stages:
            for number in range(count):
                blocks.append(InvertedResidual(inputs, outputs, stride if number == 0 else 1, expansion))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(conv_bn(inputs, head, 1), nn.ReLU6())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(head, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.flatten(self.pool(self.head(self.blocks(self.stem(x)))), 1))


MODELS: dict[str, Callable[[int, int], nn.Module]] = {
    "digits_net": DigitsNet,
    "mnist_net": MnistNet,
    "resnet8": ResNet8,
    "resnet8_large": partial(ResNet8, widths=(40, 80, 160), same=True),
    "resnet20": ResNet20,
    "mobilenetv2": MobileNetV2,
    "mobilenetv2_stem2": partial(MobileNetV2, stem_stride=2),
    "mobilenetv2_small": partial(MobileNetV2, stem=16, stem_stride=2, stages=SMALL, head=256),
    "cct": compact_transformer,
    "digits_cct": digits_transformer,
}


def build(name: str, channels: int, classes: int) -> nn.Module:
    """The network of that name, built-in or the user's (:mod:`sysmol.train.frontend.user_files`), for images with
    ``channels`` channels.
    """
    check_model(name)
    return load_module(name, channels, classes) if is_module(name) else MODELS[name](channels, classes)


def check_model(name: str) -> None:
    """:class:`SysmolError` where :func:`build` has no network of that name; a user's file is not looked at."""
    if name not in MODELS and not is_module(name):
        raise SysmolError(f"unknown model '{name}': choose one of {', '.join(MODELS)}, or yours, FILE.py:CLASS")
