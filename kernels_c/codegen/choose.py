"""Choosing a schedule for a layer from its shape, in microseconds."""

from collections.abc import Callable

from kernels_c.codegen.schedule import ACCUMULATORS, Schedule

CHAIN_SLOTS = 32
"""Multiply-accumulate slots that a step lasts at least: four dependent ones of latency 4 in each of two pipes."""


def step_work(blocks: int, pixels: int) -> float:
    """Vector slots of one reduction step of a tile: ``8*b*n`` multiply-accumulates, ``8*b`` weight loads, ``n``
    activation loads. A load is held to cost 0.6 of a multiply-accumulate; few accumulators leave a step bound by
    latency."""
    return max(8 * blocks * pixels, CHAIN_SLOTS) + 0.6 * (8 * blocks + pixels)


def choose(height: int, width: int, blocks: int, style: str, work: Callable[[int, int], float] = step_work) -> Schedule:
    """The output-stationary tile with the least work for ``height`` x ``width`` outputs of ``blocks`` x 8 channels.

    ``work(blocks, pixels)`` is a tile's work per reduction step, infinite where its registers do not suffice. Tiles at
    the edges overlap their neighbours, so every tile counts in full.
    """
    best: tuple[float, int, Schedule] | None = None
    for rows in range(1, min(height, 8) + 1):
        for columns in range(1, min(width, 8 // rows) + 1):
            pixels = rows * columns
            for b in (1, 2, 4, 8):
                if 2 * b * pixels > ACCUMULATORS or (b > 1 and b > blocks):
                    continue
                tiles = -(-height // rows) * -(-width // columns) * -(-blocks // b)
                rank = (tiles * work(b, pixels), -pixels, Schedule("os", 8 * b, rows, columns, style))
                if best is None or rank[:2] < best[:2]:
                    best = rank
    assert best is not None
    return best[2]
