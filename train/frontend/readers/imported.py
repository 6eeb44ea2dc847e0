"""What a reader makes of a file: an ordinary module, and what became of every operator."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import fx

from sysmol.errors import SysmolError
from sysmol.network import Normalisation
from sysmol.train.frontend.graph import Graph
from sysmol.train.frontend.trace import trace

KEPT, FOLDED, DROPPED = "kept", "folded", "dropped"


@dataclass
class Step:
    """What became of one operator: ``name`` is the file's for its result, ``layer`` the module's (or nothing)."""

    operator: str
    name: str
    how: str
    layer: str = ""
    note: str = ""


@dataclass(frozen=True)
class Grid:
    """How an integer file stores a tensor: real value = scale * (q - zero_point)."""

    scale: float
    zero_point: int


@dataclass
class IntegerLayer:
    """The integers of a convolution or linear layer of an 8-bit file.

    ``weight`` int8 ``[K, C / groups, KH, KW]`` (linear: ``[K, features]``) with zero at 0, ``weight_scale`` float64
    ``[K]``, ``bias`` int32 ``[K]`` in units of ``input.scale * weight_scale``, or None. ``output`` is the grid behind
    the layer's activation function.
    """

    input: Grid
    output: Grid
    weight: np.ndarray
    weight_scale: np.ndarray
    bias: np.ndarray | None


@dataclass
class Imported:
    """A network from a file.

    ``module`` maps real inputs ``[n, C, H, W]`` to what the file gives, float32 ``[n, classes]``; it can be trained,
    and ``sysmol.train.prepare`` takes it. Its input is the ``normalisation`` of the file's input: one at the head of
    the file is not part of the module. ``integers``: of 8-bit files, by the module's
    layer names; ``input_grid`` and ``output_grid`` of their input and output.
    """

    source: str
    module: fx.GraphModule
    shape: tuple[int, int, int]
    normalisation: Normalisation
    steps: list[Step]
    integers: dict[str, IntegerLayer] = field(default_factory=dict)
    input_grid: Grid | None = None
    output_grid: Grid | None = None

    def normalised(self, inputs: torch.Tensor) -> torch.Tensor:
        """The module's input for the file's input, both ``[n, C, H, W]``."""
        means, scales = self.normalisation.of_channels(self.shape[0])
        return (inputs.float() - torch.tensor(means).view(1, -1, 1, 1)) * torch.tensor(scales).view(1, -1, 1, 1)

    def graph(self) -> Graph:
        """The units of the module (:mod:`sysmol.train.frontend.graph`).

        Raises :class:`SysmolError` that names what the network file cannot hold.
        """
        try:
            return trace(self.module, torch.zeros(1, *self.shape))
        except SysmolError as error:
            # A line of the module's own, generated code tells nobody anything.
            raise SysmolError(f"{self.source}: " + re.sub(r", <eval_with_key>\S* line \d+", "", str(error))) from None

    def table(self) -> list[Step]:
        """The steps, with what the units say of them: a batch normalisation that rides on a convolution is folded."""
        paths = {unit.path for unit in self.graph().units.values()}
        for step in self.steps:
            if step.how == KEPT and step.layer and step.layer not in paths:
                step.how = FOLDED
        return self.steps
