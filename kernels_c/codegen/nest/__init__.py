"""Loop nests of convolutions: one class per data flow, all with the same outer shape (:class:`LoopNest`)."""

from kernels_c.codegen.nest.base import LoopNest, parameters, tile_origin
from kernels_c.codegen.nest.output import OutputStationary
from kernels_c.codegen.schedule import Schedule


def dataflow(schedule: Schedule | None) -> type[LoopNest]:
    """The loop nest of a schedule; register tiles where there is none."""
    return OutputStationary


__all__ = ["LoopNest", "OutputStationary", "dataflow", "parameters", "tile_origin"]
