"""Compressor trees: many bits per column added to two rows by full adders, as data.

A tree is planned once and then used twice: printed as SystemVerilog (:mod:`sysmol.rtl.sources`) and evaluated as gates
(:mod:`sysmol.rtl.circuit`). In each column the three bits that arrive first are added first (Oklobdzija, Villeger and
Liu, "A method for speed optimized partial product reduction", IEEE Trans. Computers 45(3), 1996), which a chain of
binary additions, as synthesis tools make of a sum, does not do. Standard library only.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

SUM_DELAY, CARRY_DELAY = 2.0, 1.2
"""Delay of a full adder's outputs in units of one XOR gate's half; only their ratio matters for the plan."""


@dataclass(frozen=True)
class Bit:
    """A named bit, and when it arrives (same unit as :data:`SUM_DELAY`)."""

    name: str
    arrival: float = 0.0


@dataclass(frozen=True)
class Adder:
    """A full adder: ``sum`` stays in ``column``, ``carry`` goes one column up (empty above the top: it is dropped)."""

    column: int
    inputs: tuple[str, str, str]
    sum: str
    carry: str


@dataclass(frozen=True)
class Tree:
    """Adders in an order in which each finds its inputs, and the rows that remain: one or two names per column."""

    adders: tuple[Adder, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.rows)


def compress(columns: Sequence[Sequence[Bit]], prefix: str = "") -> Tree:
    """Tree that adds ``columns`` (lowest first) modulo 2^len(columns); new bits are named ``{prefix}s2_0, c3_0 ..``."""
    adders: list[Adder] = []
    rows: list[tuple[str, ...]] = []
    carries: list[Bit] = []
    for column, bits in enumerate(columns):
        heap = [(bit.arrival, order, bit.name) for order, bit in enumerate([*bits, *carries])]
        heapq.heapify(heap)
        order = len(heap)
        carries = []
        while len(heap) > 2:
            earliest = [heapq.heappop(heap) for _ in range(3)]
            ready = earliest[-1][0]
            number = len(carries)
            last = column + 1 == len(columns)
            adder = Adder(
                column,
                (earliest[0][2], earliest[1][2], earliest[2][2]),
                f"{prefix}s{column}_{number}",
                "" if last else f"{prefix}c{column + 1}_{number}",
            )
            adders.append(adder)
            carries.append(Bit(adder.carry, ready + CARRY_DELAY))
            heapq.heappush(heap, (ready + SUM_DELAY, order, adder.sum))
            order += 1
        rows.append(tuple(name for _, _, name in sorted(heap)))
    return Tree(tuple(adders), tuple(rows))
