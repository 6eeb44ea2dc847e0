"""Choosing a schedule for a layer from its shape and the machine, in microseconds."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from sysmol.machine import Machine
from sysmol.schedule import ACCUMULATORS, PER_OUTPUT, Schedule
from sysmol.styles import STYLES

CHAIN_SLOTS = 24
"""Multiply-accumulate slots that a step lasts at least: four dependent ones of latency 3 in each of two pipes."""
LOAD = 0.6
"""What a load costs beside a multiply-accumulate where there are as many memory pipes as vector pipes."""


class Core(NamedTuple):
    """What the choice of tiles knows about a machine: the cost of a load, in multiply-accumulates, and the slots that
    a step of dependent multiply-accumulates lasts at least."""

    load: float = LOAD
    chain: float = CHAIN_SLOTS


CORE = Core()
"""Two vector pipes and two memory pipes, multiply-accumulates of latency 3 (``o3-n1``)."""


def core_of(machine: Machine) -> Core:
    """The choice's view of a machine."""
    pipes, loads = machine.unit_count("SimdAlu"), machine.unit_count("MemRead")
    return Core(LOAD * pipes / loads, 4 * machine.smol_latency("vdot") * machine.smol_count)


def step_work(blocks: int, pixels: int, core: Core = CORE) -> float:
    """Vector slots of one reduction step of a tile: ``8*b*n`` multiply-accumulates, ``8*b`` weight loads, ``n``
    activation loads; few accumulators leave a step bound by latency."""
    return max(8 * blocks * pixels, core.chain) + core.load * (8 * blocks + pixels)


def choose(
    height: int,
    width: int,
    blocks: int,
    style: str,
    work: Callable[[int, int, Core], float] = step_work,
    core: Core = CORE,
    halves: bool = False,
) -> Schedule:
    """The output-stationary tile with the least work for ``height`` x ``width`` outputs of ``blocks`` x 8 channels.

    ``halves``: a register holds eight sums, from start to end. ``work(blocks, pixels, core)`` is a tile's work per
    reduction step, infinite where its registers do not suffice. Tiles at the edges overlap their neighbours, so every
    tile counts in full.
    """
    best: tuple[float, int, Schedule] | None = None
    for rows in range(1, min(height, 8) + 1):
        for columns in range(1, min(width, 8 // rows) + 1):
            pixels = rows * columns
            for b in (1, 2, 4, 8):
                registers = b * (pixels + pixels % 2) if halves else 2 * b * pixels
                if (style not in PER_OUTPUT and registers > ACCUMULATORS) or (b > 1 and b > blocks):
                    continue
                tiles = -(-height // rows) * -(-width // columns) * -(-blocks // b)
                rank = (tiles * work(b, pixels, core), -pixels, Schedule("os", 8 * b, rows, columns, style))
                if best is None or rank[:2] < best[:2]:
                    best = rank
    assert best is not None
    return best[2]


STRAIGHT = 288
"""Multiply-accumulates that straight code may have by the heuristic's choice."""


def overlapped(tile: Schedule, steps: int, rows: int, core: Core = CORE) -> Schedule:
    """``tile`` halved as long as its multiply-accumulates still hide their latency, and unrolled.

    The epilogue of a tile and the start of the next one share a reorder buffer: half a tile has half the epilogue, and
    straight code leaves instructions for it. ``steps`` of a kernel row, ``rows`` of the kernel. Measured on ``o3-n1``,
    3x3 of 64 channels, RISC-V: SMOL instructions in 98.5% of the slots instead of 95.9% (4 bits), in 94.5% instead of
    90.7% (2 bits).
    """
    for side in ("columns", "rows"):
        size = getattr(tile, side)
        if size % 2 == 0 and tile.channels * tile.pixels // 2 >= core.chain:
            tile = replace(tile, **{side: size // 2})
    per_step = tile.channels * tile.pixels
    most = max(1, STRAIGHT // per_step)
    unroll = steps * rows if steps * rows <= most else max(n for n in range(1, min(steps, most) + 1) if steps % n == 0)
    return replace(tile, unroll=unroll) if unroll > 1 else tile


class LayerShape(NamedTuple):
    """What decides the use that a convolution has for auxiliary registers.

    ``kernel`` and ``stride`` as (rows, columns), the output's ``height`` and ``width``, and the activation registers
    of a pixel, ``vectors`` (16 bytes each: 16 int8 channels, or 128 channels of 1 bit).
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    height: int
    width: int
    vectors: int


class Auxiliary(NamedTuple):
    """Vector registers of each tensor."""

    weights: int
    inputs: int
    outputs: int


def caps(anchor: str, shape: LayerShape, registers: int) -> Auxiliary:
    """Most registers that a data flow has use for beside its anchor's (YFlows' rule).

    Output-stationary: the weights of the whole kernel, and the inputs of the ``KW - stride`` columns that neighbouring
    outputs share. Input-stationary: the weights of a vector, and the outputs of those columns. Weight-stationary: all
    outputs, or a row of inputs. ``registers``: weight registers per step (4 with ``vdot`` and ``dot``).
    """
    (height, width), (sy, sx) = shape.kernel, shape.stride
    weights = height * width * registers
    if anchor == "os":
        return Auxiliary(weights * shape.vectors, height * max(0, width - sx) * shape.vectors, 0)
    if anchor == "is":
        return Auxiliary(weights, 0, -(-height // sy) * (-(-width // sx) - 1))
    return Auxiliary(0, (shape.width - 1) * sx + 1, shape.height * shape.width)


def yflows_schedules(shape: LayerShape, style: str) -> dict[str, Schedule]:
    """YFlows' schedules of a layer by name: basic ones, and extended ones under its allocation rule.

    ``<anchor>-basic`` has the anchor's register alone; ``<anchor>-<tensor>`` gives the R = 32 - 3 free registers to
    that tensor first and what is left to the other one (weight-stationary: all to one tensor), each up to its cap.
    The names are ``os-basic os-weights os-inputs ws-basic ws-outputs ws-inputs is-basic is-weights is-outputs``; where
    a tensor has no use for registers, the extended schedule equals another one. ``style``: ``sdot`` (int8, AArch64),
    ``pop`` (1 bit by exclusive or and population count, AArch64), ``vmac`` and ``vdot`` (SMOL). To use one::

        options = Options(schedules={layer.name: schedule})
        compile_network(path, "arm", folder, options=options)

    In both kinds sums are added up across lanes once per output, at the end.
    """
    channels = STYLES[style].group
    result = {}
    choices = {"os": ("weights", "inputs"), "ws": ("outputs", "inputs"), "is": ("weights", "outputs")}
    for anchor, tensors in choices.items():
        basic = Schedule(anchor, channels, 1, 1, style)
        result[f"{anchor}-basic"] = basic
        most = caps(anchor, shape, channels)._asdict()
        for first in tensors:
            other = tensors[1 - tensors.index(first)]
            own = min(most[first], basic.free)
            rest = 0 if anchor == "ws" else min(most[other], basic.free - own)
            result[f"{anchor}-{first}"] = replace(basic, **{first: own, other: rest})
    return result
