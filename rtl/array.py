"""The array of ``vmac`` and ``vdot`` as data, derived from the number grid and the instruction table.

A code's odd integer is ``g = sum of 2^i s_i`` with ``s_i = +1`` where bit i is 1, else -1. The product of two elements
of p bits is then the sum over their bits of ``2^(i+j) (2 e_ij - 1)``, where ``e_ij`` says whether bit i of one and bit
j of the other are equal: an XNOR. The 16 XNORs of two nibbles hold what one 4-bit, two 2-bit or four 1-bit products
need; precision only selects which of them count, and with what weight. So a chunk has one array of XNORs for all
precisions, and behind it one compressor tree whose inputs are selected by precision.

All sums are in units of two: every product is odd, and a chunk's number of products even.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sysmol.grid import PRECISIONS
from sysmol.isa import ALIGN
from sysmol.pattern import CHUNK_BITS
from sysmol.rtl.compress import Bit, Tree, compress

NIBBLE = 4
NIBBLES = CHUNK_BITS // NIBBLE
COUNT_BITS = (("ones", 0), ("last", 0), ("twos", 1))
"""How many of a chunk's 4 nibbles have equal bits (i, j): ``ones + 2 twos`` for the first three, ``last`` for the
fourth, with the binary weight of each. Three bits in front of the selection are cheaper to select than four."""

_ARRIVAL = {"ones": 6.0, "last": 2.0, "twos": 5.0}
_SELECTED = 2.0


def weight(i: int, j: int, p: int) -> int | None:
    """Binary weight, in units of two, of the XNOR of bits i and j of two nibbles at p bits; None where it is unused."""
    if i // p != j // p:
        return None
    return i % p + j % p + ALIGN[p]


def offset(p: int) -> int:
    """What is subtracted from a chunk's weighted count, in units of two: half the sum of its largest products."""
    return (CHUNK_BITS // p) * ((1 << p) - 1) ** 2 * (1 << ALIGN[p]) // 2


@dataclass(frozen=True)
class Leaf:
    """One input of a chunk's tree: the bit ``(count bit, i, j)`` that enters ``column`` at each precision."""

    column: int
    choices: tuple[tuple[int, tuple[str, int, int]], ...]

    @property
    def name(self) -> str:
        """Wire name, from its first choice: ``leaf_ones_0_0``; the column tells apart bits used at two weights."""
        _, (bit, i, j) = self.choices[0]
        return f"w{self.column}_{bit}_{i}{j}"

    def groups(self) -> list[tuple[tuple[str, int, int], tuple[int, ...]]]:
        """Each bit with the precisions that select it."""
        bits = dict.fromkeys(bit for _, bit in self.choices)
        return [(bit, tuple(p for p, chosen in self.choices if chosen == bit)) for bit in bits]


def leaves(precisions: tuple[int, ...]) -> list[Leaf]:
    """Inputs of the tree of a chunk that can have these precisions.

    Bits that never count together share an input: a column has as many as its fullest precision needs. A bit that has
    the same weight at several precisions keeps its input.
    """
    wanted: dict[int, dict[int, list[tuple[str, int, int]]]] = {}
    for p in precisions:
        for i in range(NIBBLE):
            for j in range(NIBBLE):
                base = weight(i, j, p)
                if base is not None:
                    for bit, extra in COUNT_BITS:
                        wanted.setdefault(base + extra, {}).setdefault(p, []).append((bit, i, j))
    result = []
    for column in sorted(wanted):
        shared: list[dict[int, tuple[str, int, int]]] = []
        for p in precisions:
            rest = []
            for count in wanted[column].get(p, []):
                same = next((leaf for leaf in shared if count in leaf.values() and p not in leaf), None)
                if same is None:
                    rest.append(count)
                else:
                    same[p] = count
            for count in rest:
                free = next((leaf for leaf in shared if p not in leaf), None)
                if free is None:
                    free = {}
                    shared.append(free)
                free[p] = count
        result += [Leaf(column, tuple(sorted(leaf.items(), reverse=True))) for leaf in shared]
    return result


def chunk_bits(precisions: tuple[int, ...]) -> int:
    """Width of a chunk's weighted count."""
    return max(2 * offset(p) for p in precisions).bit_length()


def chunk_tree(precisions: tuple[int, ...], empty: bool = False) -> Tree:
    """Compressor tree of a chunk, which may be empty; its leaves are :func:`leaves` by name."""
    columns: list[list[Bit]] = [[] for _ in range(chunk_bits(precisions))]
    for leaf in leaves(precisions):
        late = max(_ARRIVAL[bit] for _, (bit, _, _) in leaf.choices)
        selected = 0.0 if is_constant(leaf, precisions, empty) else _SELECTED
        columns[leaf.column].append(Bit(leaf.name, late + selected))
    return compress(columns)


def is_constant(leaf: Leaf, precisions: tuple[int, ...], empty: bool = False) -> bool:
    """Whether a leaf is the same bit at all precisions of a chunk that is never empty, and so needs no selection."""
    groups = leaf.groups()
    return not empty and len(groups) == 1 and len(groups[0][1]) == len(precisions)


def lane_bits(chunks: tuple[tuple[int, ...], ...]) -> int:
    """Width of a lane's signed sum of two chunks, in units of two."""
    return max(offset(p) for precisions in chunks for p in precisions).bit_length() + 2


def lane_tree(pair: tuple[tuple[int, ...], ...], width: int) -> Tree:
    """Compressor tree of a lane: the two rows ``a`` and ``b`` of its chunks and the lane's constant."""
    columns: list[list[Bit]] = [[Bit(f"offset[{column}]")] for column in range(width)]
    for side, precisions in zip("ab", pair, strict=True):
        for column, row in enumerate(chunk_tree(precisions).rows):
            columns[column] += [Bit(f"{side}[{number}][{column}]", 20.0) for number in range(len(row))]
    return compress(columns)


def lane_offset(pair: tuple[int, int], width: int) -> int:
    """The constant of a lane whose chunks have these precisions, 0 for an empty one, modulo 2^width."""
    return -sum(offset(p) for p in pair if p) % (1 << width)


def names(precisions: tuple[int, ...]) -> str:
    """Suffix of a chunk's module: ``421``, ``42`` .."""
    return "".join(str(p) for p in precisions)


def precision_sets() -> Iterator[tuple[int, ...]]:
    """All non-empty sets of precisions, widest first."""
    for mask in range(1, 1 << len(PRECISIONS)):
        yield tuple(p for k, p in enumerate(PRECISIONS) if mask >> k & 1)
