"""Built-in transformers, as plain PyTorch modules."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn


class Encoder(nn.Module):
    """A layer of a transformer, normalised in front of both parts, over ``[n, tokens, width]``."""

    def __init__(self, width: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width))

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(batch, tokens, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class CompactTransformer(nn.Module):
    """A transformer whose tokens are the pixels of a few strided convolutions, after the compact convolutional
    transformers of Hassani et al. (2021); logits come from the mean over all tokens.

    ``stem``: channels, kernel and stride of every convolution. ``size``: rows and columns of the image.
    """

    def __init__(
        self, channels: int, classes: int, size: int, stem: Sequence[tuple[int, int, int]], heads: int, layers: int,
        expansion: int = 2,
    ) -> None:  # fmt: skip
        super().__init__()
        steps: list[nn.Module] = []
        for number, (width, kernel, stride) in enumerate(stem):
            steps += [nn.ReLU()] if number else []
            steps += [nn.Conv2d(channels, width, kernel, stride, (kernel - 1) // 2, bias=False), nn.BatchNorm2d(width)]
            channels, size = width, (size + 2 * ((kernel - 1) // 2) - kernel) // stride + 1
        self.stem = nn.Sequential(*steps)
        self.positions = nn.Parameter(torch.empty(1, size * size, channels))
        nn.init.trunc_normal_(self.positions, std=0.2)
        self.layers = nn.Sequential(*(Encoder(channels, heads, expansion) for _ in range(layers)))
        self.norm = nn.LayerNorm(channels)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2) + self.positions
        return self.classifier(self.norm(self.layers(x)).mean(1))


def compact_transformer(channels: int, classes: int) -> nn.Module:
    """For 32x32 images: 64 tokens of 96 channels, 3 heads, 4 layers; 349,498 parameters for 3 channels and 10 classes,
    batch normalisation's two statistics apart."""
    return CompactTransformer(channels, classes, 32, [(48, 3, 2), (96, 3, 2)], heads=3, layers=4)


def digits_transformer(channels: int, classes: int) -> nn.Module:
    """For the 8x8 digits: 16 tokens of 32 channels, 2 heads, 2 layers."""
    return CompactTransformer(channels, classes, 8, [(32, 2, 2)], heads=2, layers=2)
