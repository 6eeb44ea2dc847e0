"""What a caller may decide about the generated code; the defaults are the generator's own choices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sysmol.cim.tile import Tile
from sysmol.errors import SysmolError
from sysmol.isa import STANDARD_NAMES, Capabilities, capabilities
from sysmol.kernels_c.plan.heuristic import CORE, Core
from sysmol.schedule import Schedule

PACKS = ("vqpk", "simd")
STANDARD = capabilities(STANDARD_NAMES)
"""Hardware whose description does not say which instructions it has; of patterns, all."""


@dataclass(frozen=True)
class Options:
    """Choices for one program.

    ``schedules``: schedule by layer name, for layers where the heuristic is not to choose. ``styles``:
    multiply-accumulate by input format (``smol``, ``s8``, ``f32``) instead of the target's default.
    ``pack``: how codes are made and stored, with the instruction ``"vqpk"`` or by ``"simd"`` without it.
    ``core``: what the heuristic knows about the machine, see :func:`sysmol.kernels_c.plan.heuristic.core_of`.
    ``has``: the SMOL instructions of the hardware; kernels use no others.
    ``shared_memory``: whether tensors that are not needed at the same time may share memory.
    ``tile``: a compute-in-memory tile beside the core, and ``on_tile``, names of the layers that it computes;
    ``tile_reads``: bytes of memory that the core reads again and again while it waits for the tile, to measure how both
    compete for the bus.
    ``prefetch``: steps ahead of which the heuristic's register tiles ask for weights, where a layer has many and the
    target has the instruction; 0: never.
    """

    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    styles: Mapping[str, str] = field(default_factory=dict)
    shared_memory: bool = True
    pack: str = "vqpk"
    core: Core = CORE
    tile: Tile | None = None
    on_tile: frozenset[str] = frozenset()
    tile_reads: int = 0
    has: Capabilities = STANDARD
    prefetch: int = 0

    def __post_init__(self) -> None:
        if self.pack not in PACKS:
            raise SysmolError(f"option pack is {self.pack!r}: give one of {', '.join(PACKS)}")
        if self.on_tile and self.tile is None:
            raise SysmolError("layers on a tile need a tile")
        if not self.has.has("vqpk"):
            object.__setattr__(self, "pack", "simd")


def parse_schedules(texts: Sequence[str]) -> dict[str, Schedule]:
    """Schedules by layer from ``LAYER=NAME`` words."""
    return {layer: Schedule.parse(name) for layer, name in _pairs(texts, "LAYER=SCHEDULE, as conv2d1=os-8x2x4-vdot")}


def parse_styles(texts: Sequence[str]) -> dict[str, str]:
    """Styles by input format from ``FORMAT=STYLE`` words."""
    return dict(_pairs(texts, "FORMAT=STYLE, as smol=vmac"))


def _pairs(texts: Sequence[str], form: str) -> list[tuple[str, str]]:
    pairs = [text.partition("=") for text in texts]
    for text, (left, _, right) in zip(texts, pairs, strict=True):
        if not left or not right:
            raise SysmolError(f"{text!r} is not {form}")
    return [(left, right) for left, _, right in pairs]


DEFAULT = Options()
