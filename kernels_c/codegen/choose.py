"""Choosing a schedule for a layer from its shape, in microseconds."""

from kernels_c.codegen.schedule import ACCUMULATORS, Schedule

CHAIN_SLOTS = 32
"""Multiply-accumulate slots that a step lasts at least: four dependent ones of latency 4 in each of two pipes."""


def choose(height: int, width: int, blocks: int, style: str) -> Schedule:
    """The output-stationary tile with the least work for ``height`` x ``width`` outputs of ``blocks`` x 8 channels.

    Per reduction step a tile of ``b`` blocks and ``n`` pixels does ``8*b*n`` multiply-accumulates, ``8*b`` weight
    loads and ``n`` activation loads. Tiles at the edges overlap their neighbours, so every tile counts in full.
    A load is held to cost 0.6 of a multiply-accumulate; few accumulators leave a step bound by latency.
    """
    best: tuple[float, int, Schedule] | None = None
    for rows in range(1, min(height, 8) + 1):
        for columns in range(1, min(width, 8 // rows) + 1):
            pixels = rows * columns
            for b in (1, 2, 4):
                if 2 * b * pixels > ACCUMULATORS or (b > 1 and b > blocks):
                    continue
                tiles = -(-height // rows) * -(-width // columns) * -(-blocks // b)
                work = max(8 * b * pixels, CHAIN_SLOTS) + 0.6 * (8 * b + pixels)
                rank = (tiles * work, -pixels, Schedule("os", 8 * b, rows, columns, style))
                if best is None or rank[:2] < best[:2]:
                    best = rank
    assert best is not None
    return best[2]
