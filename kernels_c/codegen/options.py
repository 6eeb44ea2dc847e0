"""What a caller may decide about the generated code; the defaults are the generator's own choices."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kernels_c.codegen.schedule import Schedule
from sysmol.errors import SysmolError

PACKS = ("vqpk", "simd")


@dataclass(frozen=True)
class Options:
    """Choices for one program.

    ``schedules``: schedule by layer name, for layers where the heuristic is not to choose. ``styles``:
    multiply-accumulate by input format (``smol``, ``s8``, ``f32``) instead of the target's default.
    ``pack``: how codes are made and stored, with the instruction ``"vqpk"`` or by ``"simd"`` without it.
    ``shared_memory``: whether tensors that are not needed at the same time may share memory.
    """

    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    styles: Mapping[str, str] = field(default_factory=dict)
    shared_memory: bool = True
    pack: str = "vqpk"

    def __post_init__(self) -> None:
        if self.pack not in PACKS:
            raise SysmolError(f"option pack is {self.pack!r}: give one of {', '.join(PACKS)}")


DEFAULT = Options()
