"""Which SMOL unit: the parameters of the hardware that is generated, and what follows from them.

A unit has a set of patterns, a set of instructions and pipeline cuts; with the matrix form also patterns over four
chunks (pieces) and forms. What its area depends on is which precisions each of a register's 8 chunks can have, not how
many patterns there are.
"""

from dataclasses import dataclass

from sysmol.errors import SysmolError
from sysmol.isa import FORMS, PIECES, SELECTORS, TABLE, fingerprint
from sysmol.pattern import CHUNKS, check_id, chunk_precisions
from sysmol.patterns.area_budget import precisions_of

INSTRUCTIONS = tuple(row.name for row in TABLE if row.format == "registers")
"""Those of the first page of words."""
SECOND_PAGE = tuple(row.name for row in TABLE if row.format == "second")
"""Those of the second page. RISC-V's load and store of 128 bits are on neither: they need no hardware of the unit."""
FINGERPRINT = fingerprint(["registers"])
"""Of the first page: tables of measurements and generated files of units without the second page carry it."""
SECOND_FINGERPRINT = fingerprint(["registers", "second"])
"""Of both pages: generated files of units with instructions of the second page carry it."""
ARRAY_INSTRUCTIONS = ("vmac", "vdot")
MATRIX_INSTRUCTIONS = ("vmm.w", "vmm.h")
PACK_INSTRUCTIONS = ("vqpk", "vqpk.h", "vqpk.s")
FIRST_CUTS = ("decode", "chunk", "rows", "lane", "total", "product", "code")
"""Where there may be pipeline registers. ``decode``: after the decoder, which then belongs to the core's own decode
stage; operands come one cycle after their instruction. In the array of vmac and vdot: after the chunks' compressor
trees, after the lanes' trees, after the lanes' sums, after the sum of all lanes. In front of vmla's addition:
``product``. In front of vqpk's packing: ``code``."""
CUTS = (*FIRST_CUTS, "taps", "tap_sum")
"""With those of vdw: after the tree of its three products, and after their sum."""


@dataclass(frozen=True)
class Hardware:
    """Patterns (ids, ascending), instructions and pipeline cuts of one SMOL unit.

    ``pieces`` and ``forms`` are the values of field6 that vmm.w and vmm.h have; None stands for those that the patterns
    are made of: their halves and quarters, with empty chunks in place of the topmost ones, too.
    """

    patterns: tuple[int, ...]
    instructions: tuple[str, ...] = INSTRUCTIONS
    cuts: tuple[str, ...] = ()
    pieces: tuple[int, ...] | None = None
    forms: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not self.patterns or not self.instructions:
            raise SysmolError("a SMOL unit has at least one pattern and one instruction")
        for number in self.patterns:
            check_id(number)
        every = (*INSTRUCTIONS, *SECOND_PAGE)
        for names, known, what in ((self.instructions, every, "instruction"), (self.cuts, CUTS, "pipeline cut")):
            for name in names:
                if name not in known:
                    raise SysmolError(f"{name!r} is no {what}: there are {', '.join(known)}")
        for values, selector in ((self.pieces, "piece"), (self.forms, "form")):
            for value in values or ():
                if value not in SELECTORS[selector].legal:
                    raise SysmolError(f"{value} is no {SELECTORS[selector].choice}")
            if values == ():
                raise SysmolError(f"a SMOL unit has at least one {SELECTORS[selector].choice}")

    def chunk_precisions(self) -> tuple[tuple[int, ...], ...]:
        """Precisions that each chunk can have, widest first: what the array's area depends on."""
        return precisions_of(self.patterns)

    def has(self, name: str) -> bool:
        """Whether the unit executes this instruction."""
        return name in self.instructions

    def has_any(self, names: tuple[str, ...]) -> bool:
        """Whether the unit executes one of these instructions."""
        return any(name in self.instructions for name in names)

    @property
    def is_second(self) -> bool:
        """Whether it has an instruction of the second page: such a unit has a decoder, an array and a packer for both
        pages."""
        return self.has_any(SECOND_PAGE)

    @property
    def fingerprint(self) -> str:
        """Of the instructions that its generated files are made of."""
        return SECOND_FINGERPRINT if self.is_second else FINGERPRINT

    def values(self, selector: str) -> tuple[int, ...]:
        """Values of field6 that it has of a selector, ascending."""
        if selector == "pattern":
            return self.patterns
        if selector == "piece":
            return self.pieces if self.pieces is not None else _pieces_of(self.patterns)
        if selector == "form":
            return self.forms if self.forms is not None else _forms_of(self.patterns)
        return SELECTORS[selector].legal


def _parts_of(patterns: tuple[int, ...], size: int) -> set[tuple[int, ...]]:
    """What stands in ``size`` chunks side by side of these patterns, whole or without the topmost chunks."""
    parts = {chunk_precisions(n)[at : at + size] for n in patterns for at in range(0, CHUNKS, size)}
    return {part[:count] for part in parts for count in range(1, size + 1)}


def _pieces_of(patterns: tuple[int, ...]) -> tuple[int, ...]:
    parts = _parts_of(patterns, CHUNKS // 2)
    return tuple(number for number, piece in enumerate(PIECES) if piece.chunks in parts)


def _forms_of(patterns: tuple[int, ...]) -> tuple[int, ...]:
    parts = _parts_of(patterns, CHUNKS // 4)
    return tuple(value for value in SELECTORS["form"].legal if FORMS[value % len(FORMS)].chunks in parts)
