"""Loop nests of convolutions: one class per data flow, all with the same outer shape (:class:`LoopNest`)."""

from sysmol.kernels_c.nest.base import LoopNest, tile_origin
from sysmol.kernels_c.nest.flows import SingleInput, SingleOutput, SingleWeight
from sysmol.kernels_c.nest.grouped import grouped
from sysmol.kernels_c.nest.output import OutputStationary
from sysmol.kernels_c.nest.single import Single
from sysmol.schedule import Schedule

SINGLE: dict[str, type[Single]] = {flow.anchor: flow for flow in (SingleOutput, SingleWeight, SingleInput)}
"""Kernels with one accumulator register by anchor."""


def dataflow(schedule: Schedule | None) -> type[LoopNest]:
    """The loop nest of a schedule; register tiles where there is none."""
    return SINGLE[schedule.anchor] if schedule is not None and schedule.single else OutputStationary


__all__ = ["SINGLE", "LoopNest", "OutputStationary", "dataflow", "grouped", "tile_origin"]
