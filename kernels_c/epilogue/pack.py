"""Codes into memory with ``vqpk``: pieces shift into a register, which is stored in words as wide as memory allows.

A *piece* is what one ``vqpk`` makes: the codes of up to two groups of one pixel. Pieces that follow each other in
memory form words; a register that is one word is stored whole, four words of 32 bits at one stride by one operation,
other words through scalar registers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sysmol.isa import PACK_FORMS
from sysmol.kernels_c.emitter import Emitter
from sysmol.kernels_c.plan.layout import Block
from sysmol.pattern import REGISTER_BYTES

REGISTER_BITS = 8 * REGISTER_BYTES
MOST_SHIFT = 30
CHAIN = 8
"""Pieces in a register at most: each waits for the one before."""


@dataclass(frozen=True)
class PieceAddress:
    """Where a piece goes: a C address and a byte offset from it, known when the code is generated."""

    base: str
    offset: int


def piece_form(block: Block) -> int | None:
    """Form of ``vqpk`` that makes a block's memory words, ``None`` where its codes do not lie as ``vqpk`` puts them."""
    p = block.precision
    per_piece = 4 if block.bits == 16 and p == 4 else 8
    in_order = all(s == tuple(p * (4 * g + lane) for lane in range(4)) for g, s in enumerate(block.shifts))
    if not p or not in_order or block.bits % (p * per_piece):
        return None
    return PACK_FORMS.index((p, per_piece))


def form_bits(form: int) -> int:
    """Width of the piece that a form makes."""
    p, codes = PACK_FORMS[form]
    return p * codes


def groups_per_piece(form: int) -> int:
    """Registers of four lanes whose codes a piece holds."""
    return PACK_FORMS[form][1] // 4


class Packer:
    """Emits ``vqpk`` for pieces in a given order and stores a register as soon as it has its pieces.

    ``name`` is a prefix of C variables; declare them with :meth:`declare` before the first :meth:`put`. ``strided``:
    whether stores at a stride do what they say (on RISC-V not in kernels of 16-bit lanes).
    """

    def __init__(
        self, em: Emitter, name: str, form: int, shift: int, pieces: Sequence[PieceAddress], strided: bool = True
    ) -> None:
        self.em = em
        self.strided = strided
        self.name = name
        self.selector = form << 4 | shift // 2
        self.bits = form_bits(form)
        self.pieces = list(pieces)
        size = self._capacity()
        self.registers = [self.pieces[first : first + size] for first in range(0, len(self.pieces), size)]
        self.done = 0
        self.size = size

    def _capacity(self) -> int:
        """Pieces per register: full ones where they leave in words of 32 bits or more, else short chains."""
        full = REGISTER_BITS // self.bits
        runs = {len(run) for run in self._runs(self.pieces)}
        if all(n % full == 0 for n in runs) or (full <= CHAIN and all(n * self.bits % 32 == 0 for n in runs)):
            return full
        return min(CHAIN, max(4, 64 // self.bits))

    def _runs(self, pieces: Sequence[PieceAddress]) -> list[list[PieceAddress]]:
        """Pieces cut where one does not follow the last in memory."""
        runs: list[list[PieceAddress]] = []
        for piece in pieces:
            last = runs[-1][-1] if runs else None
            if last and last.base == piece.base and last.offset + self.bits // 8 == piece.offset:
                runs[-1].append(piece)
            else:
                runs.append([piece])
        return runs

    def declare(self) -> None:
        """C declarations of the registers."""
        for number in range(len(self.registers)):
            self.em.line(f"vec {self.name}{number};")

    def put(self, n: str, m: str) -> None:
        """The next piece, from two registers of lanes; ``n`` may be used up by it."""
        number, position = divmod(self.done, self.size)
        first = "_first" if position == 0 else ""
        self.em.line(f"v_qpk{first}({self.selector}, {self.name}{number}, {n}, {m});")
        self.done += 1
        if self.done == len(self.pieces) or position == self.size - 1:
            self._store(number)

    def _store(self, number: int) -> None:
        em, register, pieces = self.em, f"{self.name}{number}", self.registers[number]
        words = self._words(pieces)
        widths = [bits for _, bits, _ in words]
        at = [f"{piece.base} + {piece.offset}" if piece.offset else piece.base for piece, _, _ in words]
        if widths == [REGISTER_BITS]:
            em.line(f"v_store({at[0]}, {register});")
            return
        if widths == [64, 64]:
            em.line(f"v_store_halves({at[0]}, {at[1]}, {register});")
            return
        stride = words[1][0].offset - words[0][0].offset if len(words) > 1 else 0
        expected = [PieceAddress(words[0][0].base, words[0][0].offset + n * stride) for n in range(len(words))]
        if self.strided and widths == [32] * 4 and [piece for piece, _, _ in words] == expected:
            em.line(f"v_store_strided({at[0]}, {stride}, {register});")
            return
        low = words[0][2] < 64
        with em.block():
            em.line("uint64_t half[2];")
            em.line(f"{'v_split' if low else 'v_top'}(half, {register});")
            for address, (_, bits, bit) in zip(at, words, strict=True):
                shift = bit % 64
                value = f"half[{bit // 64}] >> {shift}" if shift else f"half[{bit // 64}]"
                value = value if bits == 64 else f"(uint32_t)({value})"
                em.line(f"m_store{bits}({address}, {value});", scalar=1 if shift else 0)

    def _words(self, pieces: Sequence[PieceAddress]) -> list[tuple[PieceAddress, int, int]]:
        """Words of a register's pieces: first piece, width, first bit. A word of less than all lies in one half."""
        bit = REGISTER_BITS - len(pieces) * self.bits
        words = []
        for run in self._runs(pieces):
            start = 0
            while start < len(run):
                width = REGISTER_BITS
                while width > (len(run) - start) * self.bits or bit % width:
                    width //= 2
                words.append((run[start], width, bit))
                start += width // self.bits
                bit += width
        return words
