"""The products of the matrix form as data: four quads of four chunks each, and what every instruction has in them.

``vmm.w`` multiplies half i of vn with half j of vm: quad 2i + j has the chunks 4i + k of vn and 4j + k of vm, k = 0..3.
The quads 0 and 3 are the *diagonal*: eight chunks of which each meets the chunk of its own number, as vmac and vdot
need.
``vmm.h`` has two chunks of a word of each half of vn with every word of vm: with that word in both places of its half,
chunk k of quad 2i + j is its chunk k mod 2 with word 2j + k div 2 of vm. So all have one array.

A chunk that a pattern leaves empty, or that an instruction does not use, counts nothing.
"""

from dataclasses import dataclass
from functools import cache

from sysmol import isa
from sysmol.grid import PRECISIONS
from sysmol.isa.selectors import known
from sysmol.pattern import CHUNKS, chunk_precisions
from sysmol.rtl import array
from sysmol.rtl.hardware import ARRAY_INSTRUCTIONS, MATRIX_INSTRUCTIONS, Hardware

QUAD = 4
EMPTY = 0
"""Stands for the precision of a chunk that counts nothing."""


@dataclass(frozen=True)
class Setting:
    """What one word has in the quads: precisions of the diagonal's 8 chunks, and of the 4 chunks of either quad off the
    diagonal."""

    instruction: str
    field6: int
    diagonal: tuple[int, ...]
    off: tuple[int, ...]

    def quad(self, number: int) -> tuple[int, ...]:
        """Precisions of a quad's chunks."""
        return {0: self.diagonal[:QUAD], 3: self.diagonal[QUAD:]}.get(number, self.off)


@cache
def settings(hardware: Hardware) -> tuple[Setting, ...]:
    """Of every instruction of the array and its values of field6."""
    found = []
    for name in (*ARRAY_INSTRUCTIONS, *MATRIX_INSTRUCTIONS):
        if not hardware.has(name):
            continue
        for value in hardware.values(isa.BY_NAME[name].field6):
            if name in ARRAY_INSTRUCTIONS:
                found.append(Setting(name, value, chunk_precisions(value), (EMPTY,) * QUAD))
                continue
            chunks = isa.PIECES[value].chunks if name == "vmm.w" else known(isa.form(value))[0].chunks
            size = QUAD if name == "vmm.w" else QUAD // 2
            filled = (*chunks, *(EMPTY,) * (size - len(chunks))) * (QUAD // size)
            found.append(Setting(name, value, filled * 2, filled))
    return tuple(found)


@dataclass(frozen=True)
class Chunk:
    """Precisions that one chunk of a quad can have, widest first, and whether it can be empty."""

    precisions: tuple[int, ...]
    empty: bool


def chunk(hardware: Hardware, quad: int, k: int) -> Chunk:
    """Chunk k of a quad; one that nothing uses is of 1 bit and always empty."""
    held = {setting.quad(quad)[k] for setting in settings(hardware)}
    precisions = tuple(p for p in PRECISIONS if p in held)
    return Chunk(precisions or PRECISIONS[-1:], EMPTY in held or not precisions)


def pair(hardware: Hardware, quad: int, half: int) -> tuple[Chunk, Chunk]:
    """The chunks 2 half and 2 half + 1 of a quad."""
    return chunk(hardware, quad, 2 * half), chunk(hardware, quad, 2 * half + 1)


def pair_settings(hardware: Hardware, quad: int, half: int) -> list[tuple[int, int]]:
    """What the two chunks of a pair hold at the same time, widest first."""
    found = {setting.quad(quad)[2 * half : 2 * half + 2] for setting in settings(hardware)}
    return sorted(((x, y) for x, y in found), reverse=True)


def sum_bits(hardware: Hardware) -> int:
    """Width of a pair's signed sum, in units of two."""
    return array.lane_bits(tuple(chunk(hardware, q, k).precisions for q in range(QUAD) for k in range(QUAD)))


def chunks_of_vn(quad: int) -> range:
    """Chunks of vn that a quad reads; of vm those of :func:`chunks_of_vm`."""
    return range(CHUNKS)[QUAD * (quad // 2) :][:QUAD]


def chunks_of_vm(quad: int) -> range:
    """Chunks of vm that a quad reads."""
    return range(CHUNKS)[QUAD * (quad % 2) :][:QUAD]
