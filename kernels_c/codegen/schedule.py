"""Schedules: which data flow and register tile a convolution uses, under names that parse.

Grammar: ``anchor-CHANNELSxROWSxCOLUMNS-style``, for example ``os-8x2x4-vdot``. The anchor is the tensor that stays in
registers (``os``: the outputs), the tile is output channels x output rows x output columns, the style names the
multiply-accumulate: ``vdot`` (SMOL), ``dot`` (int8 dot products), ``mac`` (widening int8), ``fma`` (float).
"""

import re
from dataclasses import dataclass

from sysmol.errors import SysmolError

ANCHORS = ("os",)
ACCUMULATORS = 16
"""Vector registers that a tile may use for accumulators, of 32: the rest hold weights, activations and constants."""
GROUP = 4
"""Output channels in one accumulator register: lanes of 32 bits."""

CHAIN_SLOTS = 32
"""Multiply-accumulate slots that a step lasts at least: four dependent ones of latency 4 in each of two pipes."""

_GRAMMAR = re.compile(rf"({'|'.join(ANCHORS)})-(\d+)x(\d+)x(\d+)-([a-z][a-z0-9]*)")


@dataclass(frozen=True)
class Schedule:
    """A data flow with its register tile; ``str()`` gives the name and :meth:`parse` reads it back."""

    anchor: str
    channels: int
    rows: int
    columns: int
    style: str

    def __str__(self) -> str:
        return f"{self.anchor}-{self.channels}x{self.rows}x{self.columns}-{self.style}"

    @property
    def pixels(self) -> int:
        """Output pixels in a tile."""
        return self.rows * self.columns

    @classmethod
    def parse(cls, text: str) -> "Schedule":
        """The schedule with this name; :class:`SysmolError` where the name does not follow the grammar."""
        found = _GRAMMAR.fullmatch(text)
        if found is None:
            raise SysmolError(
                f"{text!r} is no schedule: write anchor-CHANNELSxROWSxCOLUMNS-style with anchor in {ANCHORS}, "
                "a style such as vdot, as in os-8x2x4-vdot"
            )
        anchor, channels, rows, columns, style = found.groups()
        result = cls(anchor, int(channels), int(rows), int(columns), style)
        if result.channels % GROUP or not 0 < result.channels * result.pixels <= ACCUMULATORS * GROUP:
            raise SysmolError(f"{text!r} needs other than 1..{ACCUMULATORS} accumulator registers of {GROUP} channels")
        return result


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
