"""Which SMOL unit: the parameters of the hardware that is generated, and what follows from them.

A unit has a set of patterns, a set of instructions and pipeline cuts. What its area depends on is which precisions each
of a register's 8 chunks can have, not how many patterns there are.
"""

from dataclasses import dataclass

from sysmol.errors import SysmolError
from sysmol.isa import TABLE, fingerprint
from sysmol.pattern import check_id
from sysmol.patterns.area_budget import precisions_of

INSTRUCTIONS = tuple(row.name for row in TABLE if row.format == "registers")
"""Those of the first page of words."""
FINGERPRINT = fingerprint(["registers"])
"""Of these instructions: tables of measurements and generated files carry it."""
ARRAY_INSTRUCTIONS = ("vmac", "vdot")
CUTS = ("decode", "chunk", "rows", "lane", "total", "product", "code")
"""Where there may be pipeline registers. ``decode``: after the decoder, which then belongs to the core's own decode
stage; operands come one cycle after their instruction. In the array of vmac and vdot: after the chunks' compressor
trees, after the lanes' trees, after the lanes' sums, after the sum of all lanes. In front of vmla's addition:
``product``. In front of vqpk's packing: ``code``."""


@dataclass(frozen=True)
class Hardware:
    """Patterns (ids, ascending), instructions and pipeline cuts of one SMOL unit."""

    patterns: tuple[int, ...]
    instructions: tuple[str, ...] = INSTRUCTIONS
    cuts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.patterns or not self.instructions:
            raise SysmolError("a SMOL unit has at least one pattern and one instruction")
        for number in self.patterns:
            check_id(number)
        for names, known, what in ((self.instructions, INSTRUCTIONS, "instruction"), (self.cuts, CUTS, "pipeline cut")):
            for name in names:
                if name not in known:
                    raise SysmolError(f"{name!r} is no {what}: there are {', '.join(known)}")

    def chunk_precisions(self) -> tuple[tuple[int, ...], ...]:
        """Precisions that each chunk can have, widest first: what the array's area depends on."""
        return precisions_of(self.patterns)

    def has(self, name: str) -> bool:
        """Whether the unit executes this instruction."""
        return name in self.instructions
