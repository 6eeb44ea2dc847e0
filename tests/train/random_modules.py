"""Modules that are random in all that a user's ``forward`` may hold, and random policies for them.

Networks that are random in all that the file may hold: :func:`sysmol.network.builder.any_network`.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from sysmol.network.model import span
from sysmol.train.frontend.policy import LEARNED, Policy

Shape = tuple[int, int, int]
Step = Callable[["RandomModule", list[torch.Tensor]], torch.Tensor]
"""Makes a tensor of those before it; finds its layer in the module, of which there are copies."""
GROUPS = 6
"""Channels come in multiples of it, so that convolutions can have 2 or 3 groups."""
MOST = 9
"""Rows and columns beyond which nothing is made larger."""


class RandomModule(nn.Module):
    """Layers of all kinds in any order: over images, or (one of four) over lines; ``kinds`` says which it has."""

    def __init__(self, rng: np.random.Generator, steps: int = 7) -> None:
        super().__init__()
        self.rng = rng
        self.lines = bool(rng.random() < 0.25)
        self.channels = int(rng.integers(1, 4))
        self.size = (1 if self.lines else int(rng.integers(3, 8)), int(rng.integers(4, 9)))
        self.kinds: list[str] = []
        self.steps: list[Step] = []
        self.layers = nn.ModuleList()
        self.eval()
        with torch.no_grad():
            self.found = [torch.randn(2, self.channels, *self.size).squeeze(2) if self.lines else self._images()]
            self._convolution(0, GROUPS)
            whole = [False, True]  # whether a tensor is no concatenation for sure: only equal parts can be added
            for _ in range(steps):
                # Mostly the latest, so that few are left unread.
                a = max(len(self.found) - int(rng.geometric(0.6)), 1)
                made = str(rng.choice(list(self.MAKERS)))
                before = len(self.found)
                self.MAKERS[made](self, a, whole)
                if len(self.found) > before:
                    self.kinds.append(made)
            self._head()
        del self.found

    def _images(self) -> torch.Tensor:
        return torch.randn(2, self.channels, *self.size)

    @property
    def image(self) -> Shape:
        """(height, width, channels) of an image in the network file."""
        return (*self.size, self.channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = [x]
        for step in self.steps:
            found.append(step(self, found))
        return found[-1]

    # --- how a step is added -----------------------------------------------------------------------------------------

    def _add(self, step: Step) -> None:
        self.steps.append(step)
        self.found.append(step(self, self.found))

    def _layer(self, layer: nn.Module) -> int:
        """Number of a new layer."""
        self.layers.append(layer.eval())
        return len(self.layers) - 1

    def _apply_layer(self, layer: nn.Module, a: int, rectified: bool = False) -> None:
        """A step that is a layer over tensor ``a``."""
        n = self._layer(layer)
        self._add(lambda m, found: m.layers[n](F.relu(found[a]) if rectified else found[a]))

    def _chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def _shape(self, index: int) -> tuple[int, ...]:
        return tuple(self.found[index].shape[1:])

    def _convolution(self, a: int, width: int, groups: int = 1) -> None:
        channels, *size = self._shape(a)
        kernel, dilation, padding = [], [], []
        for each in size:
            taps = int(self.rng.integers(1, 4))
            apart = int(self.rng.integers(1, 4)) if self._chance(0.4) else 1
            reach = span(taps, apart)
            if each + 2 * (reach - 1) < reach:
                taps, apart, reach = 1, 1, 1
            least = max(0, -(-(reach - each) // 2))
            kernel.append(taps)
            dilation.append(apart)
            padding.append(int(self.rng.integers(least, reach)) if self._chance(0.8) or least else 0)
        stride = [int(self.rng.integers(1, 3)) if each > 3 else 1 for each in size]
        kind: Any = nn.Conv1d if self.lines else nn.Conv2d
        shape = (kernel, stride, padding, dilation)
        layer: nn.Module = kind(channels, width, *map(tuple, shape), groups=groups, bias=self._chance(0.7))
        if self._chance(0.5):
            norm: Any = nn.BatchNorm1d if self.lines else nn.BatchNorm2d
            layer = nn.Sequential(layer, norm(width))
        self._apply_layer(layer, a, rectified=a > 0)

    def _width(self) -> int:
        return GROUPS * int(self.rng.integers(1, 5))

    # --- kinds of steps ----------------------------------------------------------------------------------------------

    def _conv(self, a: int, whole: list[bool]) -> None:
        self._convolution(a, self._width())
        whole.append(True)

    def _grouped(self, a: int, whole: list[bool]) -> None:
        self._convolution(a, self._width(), int(self.rng.choice([2, 3])))
        whole.append(False)

    def _depthwise(self, a: int, whole: list[bool]) -> None:
        self._convolution(a, self._shape(a)[0], self._shape(a)[0])
        whole.append(whole[a])

    def _norm(self, a: int, whole: list[bool]) -> None:
        layer = (nn.BatchNorm1d if self.lines else nn.BatchNorm2d)(self._shape(a)[0])
        self._apply_layer(layer, a)
        whole.append(whole[a])

    def _activation(self, a: int, whole: list[bool]) -> None:
        channels = self._shape(a)[0]
        layer = [
            nn.LeakyReLU(float(self.rng.uniform(0, 0.5))),
            nn.PReLU(channels, float(self.rng.uniform(-0.5, 1))),
            nn.PReLU(),
            nn.ReLU6(),
            nn.ReLU(),
        ][int(self.rng.integers(0, 5))]
        self._apply_layer(layer, a)
        whole.append(whole[a])

    def _pool(self, a: int, whole: list[bool]) -> None:
        size = self._shape(a)[1:]
        if min(size) < 2:
            return
        kinds: Any = (nn.MaxPool1d, nn.AvgPool1d) if self.lines else (nn.MaxPool2d, nn.AvgPool2d)
        kernel, largest = int(self.rng.integers(2, 4)), self._chance(0.6)
        padding, stride = int(self.rng.integers(0, 2)), int(self.rng.integers(1, 3))
        if min(size) + 2 * padding < kernel:
            return
        ceil = largest and self._chance(0.3)
        layer = kinds[0](kernel, stride, padding, ceil_mode=ceil) if largest else kinds[1](kernel, stride, padding)
        self._apply_layer(layer, a)
        whole.append(whole[a])

    def _upsample(self, a: int, whole: list[bool]) -> None:
        if max(self._shape(a)[1:]) * 2 > MOST:
            return
        factor = int(self.rng.integers(2, 4)) if max(self._shape(a)[1:]) * 3 <= MOST else 2
        layer = nn.Upsample(scale_factor=factor)
        self._apply_layer(layer, a)
        whole.append(whole[a])

    def _constant(self, a: int, whole: list[bool]) -> None:
        """Numbers and one number per channel, added and multiplied with."""
        channels, number = self._shape(a)[0], float(self.rng.uniform(-2, 2))
        each = torch.from_numpy(self.rng.uniform(0.3, 1.5, (channels, *[1] * len(self._shape(a)[1:])))).float()
        holder = nn.Module()
        holder.register_buffer("each", each)
        n = self._layer(holder)
        ways: list[Step] = [
            lambda m, found: found[a] * number,
            lambda m, found: number - found[a],
            lambda m, found: F.relu(found[a]) * m.layers[n].each + 0.5,
            lambda m, found: (found[a] - m.layers[n].each) / 2,
        ]
        self._add(ways[int(self.rng.integers(0, len(ways)))])
        whole.append(whole[a])

    def _join(self, a: int, whole: list[bool]) -> None:
        b = self._partner(lambda shape: shape[1:] == self._shape(a)[1:])
        if b is not None:
            self._add(lambda m, found: torch.cat([found[a], found[b]], 1))
            whole.append(False)

    def _sum(self, a: int, whole: list[bool]) -> None:
        b = self._partner(lambda shape: shape == self._shape(a))
        if b is not None and (b == a or (whole[a] and whole[b])):
            sign = -1 if self._chance(0.3) else 1
            self._add(lambda m, found: F.relu(found[a]) + found[b] if sign > 0 else found[a] - F.relu(found[b]))
            whole.append(whole[a])

    def _partner(self, fits: Callable[[tuple[int, ...]], bool]) -> int | None:
        able = [n for n in range(1, len(self.found)) if fits(self._shape(n))]
        return int(self.rng.choice(able)) if able else None

    MAKERS: ClassVar[dict[str, Callable[["RandomModule", int, list[bool]], None]]] = {
        "conv": _conv,
        "grouped": _grouped,
        "depthwise": _depthwise,
        "norm": _norm,
        "activation": _activation,
        "pool": _pool,
        "upsample": _upsample,
        "constant": _constant,
        "join": _join,
        "sum": _sum,
    }

    def _head(self) -> None:
        """Logits of all pixels, or of their mean."""
        a, classes = len(self.found) - 1, int(self.rng.integers(2, 8))
        channels, *size = self._shape(a)
        features = channels * int(np.prod(size))
        if self._chance(0.3) and features <= 600:
            self._apply_layer(nn.Sequential(nn.Flatten(), nn.Linear(features, classes)), a, rectified=True)
            return
        n, axes = self._layer(nn.Linear(channels, classes)), [2] if self.lines else [2, 3]
        self._add(lambda m, found: m.layers[n](F.relu(found[a]).mean(axes)))


def random_policy(rng: np.random.Generator) -> Policy:
    """Any policy that does not depend on layers' names; one of eight is int8, one of eight full precision."""
    draw = rng.random()
    if draw < 0.25:
        return Policy(8) if draw < 0.125 else Policy(32, edges=32)
    default = [LEARNED, LEARNED, LEARNED, 4, 2, 1][int(rng.integers(0, 6))]
    return Policy(default, edges=default if rng.random() < 0.5 else 8, fallback=8)
