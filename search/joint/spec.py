"""What a search is asked for: a TOML or JSON file (docs/search.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sysmol.search.joint.modes import MODES
from sysmol.search.supernet.training import Schedule
from sysmol.workbench.spec_file import SEVERAL, Table, checked, one_of, read

PAGE = "docs/search.md"
Count = Annotated[int, Field(ge=1)]
Steps = Annotated[int, Field(ge=0)]
Modes = Annotated[tuple[Annotated[str, one_of(MODES)], ...], *SEVERAL]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], *SEVERAL]


class Training(Table):
    """``[training]``: steps of the supernet's phases, images per step, random networks per step, peak rate."""

    whole: Steps = Schedule.whole
    kernel: Steps = Schedule.kernel
    shape: Steps = Schedule.shape
    bits: Steps = Schedule.bits
    batch: Count = Schedule.batch
    random: Steps = Schedule.random
    rate: Annotated[float, Field(gt=0, le=10)] = Schedule.rate
    seed: Steps = 0

    def schedule(self) -> Schedule:
        """As the training takes it."""
        return Schedule(self.whole, self.kernel, self.shape, self.bits, self.batch, self.random, self.rate)


class Spec(Table):
    """A search. ``measurements`` of every mode and seed; ``held_out``: share of the training images that decisions are
    made on; ``drop``: percentage points below the largest network that count as the same accuracy."""

    format: Literal["sysmol-search"]
    version: Literal[1]
    networks: str
    tiles: str
    dataset: str
    modes: Modes = MODES
    seeds: Seeds = (0, 1, 2)
    measurements: Count = 100
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    settle: Count = 512
    drop: Annotated[float, Field(ge=0, le=100)] = 1.0
    training: Annotated[Training, Field(default_factory=Training)]


def load_spec(path: str | Path) -> Spec:
    """:class:`~sysmol.errors.SysmolError` where the file is wrong."""
    return checked(Spec, read(path, PAGE), str(path))
