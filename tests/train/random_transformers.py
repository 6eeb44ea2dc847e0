"""Modules that are random in all that a user's ``forward`` may hold, attention and its companions above all."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from random_modules import RandomModule
from torch import nn

from sysmol.train.frontend.policy import LEARNED, Policy

FUNCTIONS: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (
    F.gelu,
    lambda x: F.gelu(x, approximate="tanh"),
    F.silu,
    F.hardswish,
    torch.sigmoid,
    F.hardsigmoid,
    torch.tanh,
)
Normal = nn.LayerNorm | nn.RMSNorm
DEPTHS = (5, 8, 15, 16, 21, 32, 64)
"""Channels of a head."""


class Projections(nn.Module):
    """Heads by hand: queries of one sequence, keys and values of another, in one of three ways."""

    def __init__(self, inputs: int, source: int, heads: int, depth: int, way: str) -> None:
        super().__init__()
        self.heads, self.way, width = heads, way, heads * depth
        self.queries, self.rest = nn.Linear(inputs, width), nn.Linear(source, 2 * width, bias=way != "hand")
        self.proj, self.drop = nn.Linear(width, inputs), nn.Dropout(0.1)

    def forward(self, x: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        batch, tokens, _ = x.shape
        q = self.queries(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
        if self.way == "hand":
            k, v = self.rest(source).reshape(batch, source.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
            weights = self.drop(F.softmax(q / q.shape[-1] ** 0.5 @ k.mT, dim=-1))
            y = weights @ v
        elif self.way == "channels":  # a channel's heads side by side
            rest = self.rest(source).view(batch, source.shape[1], -1, self.heads, 2)
            k, v = rest.transpose(1, 3).transpose(2, 3).unbind(4)
            y = torch.matmul(torch.softmax(torch.matmul(q, k.transpose(-2, -1)) * 0.2, -1), v)
        else:
            k, v = self.rest(source).chunk(2, -1)  # torch.fx unpacks, but does not iterate
            k, v = self._heads(k, batch), self._heads(v, batch)
            y = F.scaled_dot_product_attention(q, k, v)
        return self.drop(self.proj(y.transpose(1, 2).reshape(batch, tokens, -1)))

    def _heads(self, x: torch.Tensor, batch: int) -> torch.Tensor:
        return x.view(batch, -1, self.heads, x.shape[-1] // self.heads).transpose(1, 2)


class RandomTransformer(RandomModule):
    """Attention by hand and by PyTorch's modules, normalisations, functions, gates and positions among all others."""

    def _attention(self, a: int, whole: list[bool]) -> None:
        """A residual block over all pixels; keys may come from another tensor."""
        if not whole[a]:
            return
        channels = self._shape(a)[0]
        heads = int(self.rng.integers(1, 5))
        depth = int(self.rng.choice([d for d in DEPTHS if d * heads <= 96]))
        b = self._partner(lambda shape: True) if self._chance(0.3) else a
        b = b if b is not None and whole[b] else a
        block = nn.Module()
        block.norm = self._normal(channels)
        way = str(self.rng.choice(["hand", "channels", "function", "module"]))
        if way == "module":
            heads = int(self.rng.choice([1, 2, 3, 6]))
            source = self._shape(b)[0]
            block.body = nn.MultiheadAttention(
                channels, heads, 0.1, self._chance(0.7), kdim=source, vdim=source, batch_first=True
            )
        else:
            block.body = Projections(channels, self._shape(b)[0], heads, depth, way)
        n, self_attention, residual = self._layer(block), a == b, self._chance(0.8)

        def step(m: "RandomModule", found: list[torch.Tensor]) -> torch.Tensor:
            x, body = found[a].flatten(2).transpose(1, 2), m.layers[n].body
            y = m.layers[n].norm(x)
            source = y if self_attention else found[b].flatten(2).transpose(1, 2)
            y = body(y, source, source, need_weights=False)[0] if way == "module" else body(y, source)
            return (x + y if residual else y).transpose(1, 2).reshape(found[a].shape)

        self._add(step)
        whole.append(True)

    def _normal(self, channels: int) -> nn.Module:
        layer: Any = (nn.LayerNorm if self._chance(0.6) else nn.RMSNorm)(channels)
        nn.init.uniform_(layer.weight, -1.5, 1.5)
        if getattr(layer, "bias", None) is not None:
            nn.init.normal_(layer.bias, 0, 0.3)
        return layer

    def _encoder(self, a: int, whole: list[bool]) -> None:
        if not whole[a]:
            return
        channels = self._shape(a)[0]
        activation: Any = [F.relu, F.gelu, nn.SiLU()][int(self.rng.integers(0, 3))]
        layer = nn.TransformerEncoderLayer(
            channels, int(self.rng.choice([1, 2, 3])), int(self.rng.integers(5, 40)), 0.1, activation,
            batch_first=True, norm_first=self._chance(0.5), bias=self._chance(0.7),
        )  # fmt: skip
        n = self._layer(nn.TransformerEncoder(layer, 1) if self._chance(0.3) else layer)
        self._add(lambda m, found: m.layers[n](found[a].flatten(2).mT).mT.reshape(found[a].shape))
        whole.append(True)

    def _layer_norm(self, a: int, whole: list[bool]) -> None:
        if not whole[a]:
            return
        n = self._layer(self._normal(self._shape(a)[0]))
        self._add(lambda m, found: m.layers[n](found[a].movedim(1, -1)).movedim(-1, 1))
        whole.append(True)

    def _function(self, a: int, whole: list[bool]) -> None:
        function = FUNCTIONS[int(self.rng.integers(0, len(FUNCTIONS)))]
        self._add(lambda m, found: function(found[a]))
        whole.append(whole[a])

    def _gate(self, a: int, whole: list[bool]) -> None:
        """Squeeze-and-excitation, or a product of two tensors."""
        b = self._partner(lambda shape: shape == self._shape(a))
        if not whole[a] or b is None or not whole[b]:
            return
        axes = list(range(2, 2 + len(self._shape(a)[1:])))
        if self._chance(0.5):
            self._add(lambda m, found: found[a] * torch.sigmoid(found[b]))
        else:
            channels = self._shape(a)[0]
            n = self._layer((nn.Conv1d if self.lines else nn.Conv2d)(channels, channels, 1))
            self._add(lambda m, found: F.hardsigmoid(m.layers[n](found[a].mean(axes, keepdim=True))) * found[a])
        whole.append(True)

    def _positions(self, a: int, whole: list[bool]) -> None:
        holder = nn.Module()
        shape = (1, *self._shape(a)) if self._chance(0.5) else self._shape(a)[1:]
        holder.positions = nn.Parameter(torch.randn(shape))
        n = self._layer(holder)
        self._add(lambda m, found: found[a] + m.layers[n].positions)
        whole.append(whole[a])

    def _cut(self, a: int, whole: list[bool]) -> None:
        """Some channels in front of the others."""
        if not whole[a]:
            return
        first = 6 * int(self.rng.integers(1, max(self._shape(a)[0] // 6, 2)))
        if first >= self._shape(a)[0]:
            return
        self._add(lambda m, found: torch.cat([found[a][:, first:], F.relu(found[a][:, :first])], 1))
        whole.append(False)

    OWN: ClassVar[dict[str, Callable[["RandomTransformer", int, list[bool]], None]]] = {
        "attention": _attention,
        "encoder": _encoder,
        "layer norm": _layer_norm,
        "function": _function,
        "gate": _gate,
        "positions": _positions,
        "cut": _cut,
    }
    MAKERS: ClassVar[dict[str, Any]] = RandomModule.MAKERS | OWN


def codes_policy(rng: np.random.Generator) -> Policy:
    """Any policy of integers that does not depend on layers' names."""
    default = [LEARNED, LEARNED, LEARNED, 4, 2, 1, 8][int(rng.integers(0, 7))]
    return Policy(default, edges=default if rng.random() < 0.5 else 8, fallback=8)
