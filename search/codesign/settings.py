"""What a co-design run is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sysmol.analysis.costs.calculated import DEFAULT, check_name
from sysmol.errors import SysmolError
from sysmol.isas import ISAS
from sysmol.network import Normalisation
from sysmol.train.frontend.policy import USUAL_LAYERS, LayerBits
from sysmol.train.frontend.user_files import is_own

OBJECTIVES = ("cycles", "energy")
"""What limits can be of."""


@dataclass(frozen=True)
class Settings:
    """``dataset``, ``model``: built-in names or files (:mod:`sysmol.train.frontend.user_files`). ``patterns``: how many
    the hardware has; with ``area``, um2 that a SMOL unit may take, those that the area allows instead. ``objective``:
    what limits and layer costs are of, ``cycles`` or ``energy``. ``drop``: percentage points of validation accuracy
    that may be lost against full precision. ``noise_epochs``, ``tune_epochs``: of every round. ``images``: test images
    per simulation; ``cost``: what calculates cycles without gem5. ``held_out``: share of the training images that
    decisions are made on. ``preset``: training of full precision and uniform networks
    (:data:`sysmol.train.recipes.pipeline.PRESETS`; empty: the data set's, where it is a built-in one).
    ``device``: where training computes. ``layer_bits``, ``normalisation``: as in
    :class:`sysmol.train.recipes.pipeline.Schedule`.
    """

    dataset: str = "digits"
    model: str = "digits_net"
    isa: str = "arm"
    machine: str = "o3-n1"
    patterns: int = 4
    objective: str = "cycles"
    area: float | None = None
    rounds: int = 6
    drop: float = 1.5
    seed: int = 0
    noise_epochs: int = 6
    tune_epochs: int = 10
    use_gem5: bool = True
    cost: str = DEFAULT
    images: int = 2
    held_out: float = 0.2
    preset: str = ""
    device: str = "auto"
    layer_bits: LayerBits = USUAL_LAYERS
    normalisation: Normalisation | None = None

    def __post_init__(self) -> None:
        if self.isa not in ISAS:
            raise SysmolError(f"there is no instruction set {self.isa!r}: choose {' or '.join(ISAS)}")
        if not 1 <= self.patterns <= 45:
            raise SysmolError(f"{self.patterns} patterns: hardware has between 1 and 45")
        check_name(self.cost)
        if self.objective not in OBJECTIVES:
            raise SysmolError(f"there is no objective {self.objective!r} of limits: choose {' or '.join(OBJECTIVES)}")
        if self.area is not None and not 0 < self.area < math.inf:
            raise SysmolError(f"an area of {self.area} um2: give more than 0")
        if self.rounds < 1 or self.noise_epochs < 1 or self.tune_epochs < 1:
            raise SysmolError("rounds and epochs must be at least 1")
        if not 0 < self.held_out < 1:
            raise SysmolError(f"held out {self.held_out}: give a share between 0 and 1")

    @property
    def schedule(self) -> str:
        """Name of the preset: the one asked for, or the data set's."""
        if not self.preset and is_own(self.dataset):
            raise SysmolError(f"{self.dataset} has no training schedule of its own: choose one with --preset")
        return self.preset or ("demo" if self.dataset == "digits" else self.dataset)

    @property
    def front(self) -> tuple[str, ...]:
        """Objectives of the designs' Pareto front."""
        return ("accuracy", "size", self.objective, *(("area",) if self.area else ()))
