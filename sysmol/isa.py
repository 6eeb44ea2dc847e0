"""THE table of the SMOL instructions: encoding on both ISAs beside the meaning, checked strictly.

Everything else that knows an instruction (C header, gem5's decode header, reference page, test vectors) is generated
from this table by :mod:`sysmol.emit`. Encodings, register layout and accumulator widths are this project's own design
to the abstracts of the SySMOL papers, which give none. Standard library only.

Registers are 16 bytes, little-endian. All arithmetic wraps modulo ``2**width`` of the lane.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sysmol.errors import SysmolError
from sysmol.pattern import CHUNK_BITS, CHUNKS, PATTERNS, REGISTER_BYTES, check_id, chunk_precisions, pattern_name

# --- meaning ---------------------------------------------------------------------------------------------------------

ALIGN = {4: 0, 2: 4, 1: 6}
"""Left shift of a product of two ``p``-bit elements to the accumulators' unit of 2**-6."""


def elements(register: bytes, chunk: int, p: int) -> list[int]:
    """Odd integers ``g`` of the elements of one chunk read at ``p`` bits."""
    word = int.from_bytes(register[2 * chunk : 2 * chunk + 2], "little")
    return [2 * (word >> shift & ((1 << p) - 1)) - ((1 << p) - 1) for shift in range(0, CHUNK_BITS, p)]


def chunk_dot(vn: bytes, vm: bytes, chunk: int, p: int) -> int:
    """Sum of the aligned products of one chunk."""
    pairs = zip(elements(vn, chunk, p), elements(vm, chunk, p), strict=True)
    return sum(a * b << ALIGN[p] for a, b in pairs)


def lanes(register: bytes, width: int) -> list[int]:
    """Lanes of ``width`` bits, unsigned."""
    step = width // 8
    return [int.from_bytes(register[i : i + step], "little") for i in range(0, REGISTER_BYTES, step)]


def register(values: list[int], width: int) -> bytes:
    """Lanes of ``width`` bits to a register; every value wraps."""
    return b"".join((v & ((1 << width) - 1)).to_bytes(width // 8, "little") for v in values)


def vmac(vd: bytes, vn: bytes, vm: bytes, pattern: int, _fn: int) -> bytes:
    """lane32[i] of vd += aligned products of chunks 2i and 2i+1."""
    dots = [chunk_dot(vn, vm, chunk, p) for chunk, p in enumerate(chunk_precisions(pattern))]
    return register([acc + dots[2 * i] + dots[2 * i + 1] for i, acc in enumerate(lanes(vd, 32))], 32)


def vdot(vd: bytes, vn: bytes, vm: bytes, pattern: int, fn: int) -> bytes:
    """lane32[j] of vd += aligned products of all chunks, j = fn - 4; the other lanes are kept."""
    acc = lanes(vd, 32)
    acc[fn - 4] += sum(chunk_dot(vn, vm, chunk, p) for chunk, p in enumerate(chunk_precisions(pattern)))
    return register(acc, 32)


@dataclass(frozen=True)
class Part:
    """What ``vmul`` and ``vmla`` do with one part of a register: its precision, chunks and result lanes."""

    precision: int
    chunks: tuple[int, ...]
    lane_bits: int


def part(field6: int) -> Part | None:
    """Part selector: bits [5:4] precision (0: 4, 1: 2, 2: 1 bit), bits [3:0] index k. ``None``: illegal."""
    selector, k = field6 >> 4, field6 & 15
    if selector == 0 and k < 4:
        return Part(4, (2 * k, 2 * k + 1), 16)
    if selector == 1 and k < 4:
        return Part(2, (2 * k, 2 * k + 1), 8)
    if selector == 2 and k < 8:
        return Part(1, (k,), 8)
    return None


def products(vn: bytes, vm: bytes, chosen: Part) -> list[int]:
    """Plain products ``g1 * g2`` of a part, lane order."""
    p = chosen.precision
    return [
        a * b for chunk in chosen.chunks for a, b in zip(elements(vn, chunk, p), elements(vm, chunk, p), strict=True)
    ]


def vmul(_vd: bytes, vn: bytes, vm: bytes, field6: int, _fn: int) -> bytes:
    """vd = element-wise products of part k, sign-extended to its lanes; vd is not read."""
    chosen = _legal_part(field6)
    return register(products(vn, vm, chosen), chosen.lane_bits)


def vmla(vd: bytes, vn: bytes, vm: bytes, field6: int, _fn: int) -> bytes:
    """Lanes of vd += element-wise products of part k."""
    chosen = _legal_part(field6)
    sums = zip(lanes(vd, chosen.lane_bits), products(vn, vm, chosen), strict=True)
    return register([acc + product for acc, product in sums], chosen.lane_bits)


def _legal_part(field6: int) -> Part:
    chosen = part(field6)
    if chosen is None:
        raise SysmolError(f"{field6:#x} is no part selector of vmul and vmla")
    return chosen


@dataclass(frozen=True)
class Pack:
    """What ``vqpk`` does: bits and number of its codes (of four, vm is not used), and the shift before the clamp."""

    precision: int
    codes: int
    shift: int

    @property
    def bits(self) -> int:
        """Width of the piece that one instruction shifts in."""
        return self.precision * self.codes


PACK_FORMS = ((4, 8), (2, 8), (1, 8), (4, 4))
"""Precision and number of codes of every form of ``vqpk``."""


def pack(field6: int) -> Pack:
    """Pack selector: bits [5:4] form (:data:`PACK_FORMS`), bits [3:0] half the shift. All 64 are legal."""
    return Pack(*PACK_FORMS[field6 >> 4], 2 * (field6 & 15))


def vqpk(vd: bytes, vn: bytes, vm: bytes, field6: int, _fn: int) -> bytes:
    """vd, as one 128-bit number, moves down; codes clamp(lane32 >> shift, 0, 2^p-1) of vn, then vm, enter above."""
    chosen = pack(field6)
    top = (1 << chosen.precision) - 1
    piece = 0
    for i, lane in enumerate((lanes(vn, 32) + lanes(vm, 32))[: chosen.codes]):
        signed = lane - (1 << 32) if lane >> 31 else lane
        piece |= min(max(signed >> chosen.shift, 0), top) << chosen.precision * i
    whole = int.from_bytes(vd, "little") >> chosen.bits | piece << 8 * REGISTER_BYTES - chosen.bits
    return whole.to_bytes(REGISTER_BYTES, "little")


# --- table -----------------------------------------------------------------------------------------------------------

Semantics = Callable[[bytes, bytes, bytes, int, int], bytes]


@dataclass(frozen=True)
class Instruction:
    """One row: the function codes that it takes, what field6 selects, whether vd is read, and its meaning."""

    name: str
    fns: tuple[int, ...]
    field6: str  # "pattern", "part" or "pack"
    reads_vd: bool
    summary: str
    semantics: Semantics

    def legal_fields(self) -> tuple[int, ...]:
        """All legal values of field6."""
        if self.field6 == "pattern":
            return tuple(range(len(PATTERNS)))
        if self.field6 == "pack":
            return tuple(range(64))
        return tuple(f for f in range(64) if part(f) is not None)


TABLE = (
    Instruction(
        "vmac",
        (0,),
        "pattern",
        True,
        "lane32[i] of vd += sum over chunks 2i and 2i+1 of their aligned products (i = 0..3)",
        vmac,
    ),
    Instruction(
        "vmul",
        (1,),
        "part",
        False,
        "vd = element-wise products g1*g2 of part k, sign-extended to its lanes; vd is not read",
        vmul,
    ),
    Instruction("vmla", (2,), "part", True, "as vmul, added to the lanes of vd", vmla),
    Instruction(
        "vqpk",
        (3,),
        "pack",
        True,
        "vd = vd >> w | (codes u_0, u_1, .. side by side) << (128 - w): u_i = clamp(lane32[i] >> S, 0, 2^p-1), signed, "
        "of vn, then of vm; w is the codes' width in all",
        vqpk,
    ),
    Instruction(
        "vdot",
        (4, 5, 6, 7),
        "pattern",
        True,
        "lane32[j] of vd += sum over all 8 chunks of their aligned products, j = fn - 4; the other lanes are kept",
        vdot,
    ),
)

ENCODINGS = {
    "riscv": "31=0 30:25=field6 24:20=vm 19:15=vn 14:12=fn 11:7=vd 6:0=0b0001011",
    "arm": "31:29=fn 28:25=0b0001 24:21=0b0000 20:16=vm 15:10=field6 9:5=vn 4:0=vd",
}
"""Fields of the 32-bit words, highest bit first: custom-0 of RISC-V; AArch64's unallocated 28:25 = 0001."""

SELECTORS = {"pattern": "pattern id", "part": "part selector", "pack": "pack selector"}
"""What field6 can select, and the name of one choice."""

FIELDS = {"fn": 3, "field6": 6, "vd": 5, "vn": 5, "vm": 5}


@dataclass(frozen=True)
class Word:
    """A decoded SMOL word."""

    fn: int
    field6: int
    vd: int
    vn: int
    vm: int


@dataclass(frozen=True)
class BitField:
    """``width`` bits from bit ``low``: a named field, or a constant."""

    low: int
    width: int
    name: str | None
    constant: int = 0


def parse_encoding(text: str) -> tuple[BitField, ...]:
    """Read an encoding; :class:`SysmolError` on overlaps, uncovered bits, unknown fields and values that do not fit."""
    parsed: list[BitField] = []
    covered = 0
    for item in text.split():
        bits, _, what = item.partition("=")
        high, low = (int(b) for b in (bits.split(":") if ":" in bits else (bits, bits)))
        width = high - low + 1
        mask = ((1 << width) - 1) << low if width > 0 else 0
        if width <= 0 or high > 31:
            raise SysmolError(f"encoding: {item!r} is no range of bits")
        if covered & mask:
            raise SysmolError(f"encoding: {item!r} overlaps another field")
        covered |= mask
        if what in FIELDS:
            if FIELDS[what] != width or any(f.name == what for f in parsed):
                raise SysmolError(f"encoding: {item!r} must stand once, {FIELDS[what]} bits wide")
            parsed.append(BitField(low, width, what))
        else:
            try:
                constant = int(what, 0)
            except ValueError:
                raise SysmolError(f"encoding: {what!r} is neither a field nor a number") from None
            if constant >> width:
                raise SysmolError(f"encoding: {item!r} does not fit {width} bits")
            parsed.append(BitField(low, width, None, constant))
    if covered != 0xFFFFFFFF:
        raise SysmolError(f"encoding: bits {0xFFFFFFFF & ~covered:#010x} are not covered")
    missing = FIELDS.keys() - {f.name for f in parsed}
    if missing:
        raise SysmolError(f"encoding: no place for {sorted(missing)}")
    return tuple(parsed)


def check_table(table: tuple[Instruction, ...] = TABLE) -> None:
    """Refuse two instructions with one function code, codes that do not fit, and codes that nothing uses."""
    seen: dict[int, str] = {}
    for row in table:
        if row.field6 not in SELECTORS:
            raise SysmolError(f"{row.name}: field6 selects one of {', '.join(SELECTORS)}, not {row.field6!r}")
        for fn in row.fns:
            if not 0 <= fn < 8:
                raise SysmolError(f"{row.name}: function {fn} does not fit 3 bits")
            if fn in seen:
                raise SysmolError(f"{row.name}: function {fn} belongs to {seen[fn]} already")
            seen[fn] = row.name
    if len(seen) != 8:
        raise SysmolError(f"functions {sorted(set(range(8)) - seen.keys())} belong to no instruction")


check_table()
PARSED = {isa: parse_encoding(text) for isa, text in ENCODINGS.items()}
_BY_FN = {fn: row for row in TABLE for fn in row.fns}


def find(fn: int) -> Instruction | None:
    """Row of a function code; ``None`` outside 0 .. 7."""
    return _BY_FN.get(fn)


def is_legal(fn: int, field6: int) -> bool:
    """Whether function and field6 name an instruction."""
    row = find(fn)
    return row is not None and field6 in row.legal_fields()


def encode(isa: str, fn: int, field6: int, vd: int, vn: int, vm: int) -> int:
    """32-bit word on ``"riscv"`` or ``"arm"``; any field values that fit, legal or not (tests need illegal words)."""
    values = {"fn": fn, "field6": field6, "vd": vd, "vn": vn, "vm": vm}
    word = 0
    for f in PARSED[isa]:
        bits = f.constant if f.name is None else values[f.name]
        if bits >> f.width or bits < 0:
            raise SysmolError(f"{f.name} = {bits} does not fit {f.width} bits")
        word |= bits << f.low
    return word


def space(isa: str) -> tuple[int, int]:
    """``(mask, match)`` of the words that this package claims on an ISA.

    RISC-V: all of custom-0, so that bit 31 = 1 is claimed, and illegal. AArch64: bits 28:21 = 0b00010000.
    """
    mask = match = 0
    for f in PARSED[isa]:
        if f.name is None and not (isa == "riscv" and f.low == 31):
            mask |= ((1 << f.width) - 1) << f.low
            match |= f.constant << f.low
    return mask, match


def decode(isa: str, word: int) -> Word | None:
    """Fields of a legal SMOL word; ``None`` where the word is of another space or illegal."""
    values: dict[str, int] = {}
    for f in PARSED[isa]:
        bits = word >> f.low & ((1 << f.width) - 1)
        if f.name is not None:
            values[f.name] = bits
        elif bits != f.constant:
            return None
    return Word(**values) if is_legal(values["fn"], values["field6"]) else None


def mnemonic(fn: int, field6: int) -> str:
    """Name with its selectors: ``vmac.P7``, ``vdot.P7.2``, ``vmul.b4.k3``, ``vqpk.b2x8.s6``."""
    row = find(fn)
    if row is None or not is_legal(fn, field6):
        raise SysmolError(f"function {fn} with field6 {field6} is illegal: {illegal_reason(fn, field6)}")
    if row.field6 == "part":
        return f"{row.name}.b{_legal_part(field6).precision}.k{field6 & 15}"
    if row.field6 == "pack":
        chosen = pack(field6)
        return f"{row.name}.b{chosen.precision}x{chosen.codes}.s{chosen.shift}"
    lane = f".{fn - row.fns[0]}" if len(row.fns) > 1 else ""
    return f"{row.name}.P{field6}{lane}"


def illegal_reason(fn: int, field6: int) -> str:
    """Why a function and field6 name no instruction; empty where they do."""
    row = find(fn)
    if row is None:
        return f"there is no function {fn}"
    if field6 in row.legal_fields():
        return ""
    return f"{row.name}: field6 {field6} is no {SELECTORS[row.field6]}"


def words() -> Iterator[tuple[int, int]]:
    """All legal pairs of function and field6."""
    for row in TABLE:
        for fn in row.fns:
            for field6 in row.legal_fields():
                yield fn, field6


def execute(fn: int, field6: int, vd: bytes, vn: bytes, vm: bytes) -> bytes:
    """New content of vd. Operands are 16 bytes each; :class:`SysmolError` where the instruction is illegal."""
    row = find(fn)
    if row is None or not is_legal(fn, field6):
        raise SysmolError(illegal_reason(fn, field6))
    if row.field6 == "pattern":
        check_id(field6)
    return row.semantics(vd, vn, vm, field6, fn)


def canonical_text() -> str:
    """The table as text: equal text, equal instruction set."""
    lines = [f"{isa}: {text}" for isa, text in sorted(ENCODINGS.items())]
    lines += [f"pattern {number}: {pattern_name(number)}" for number in range(len(PATTERNS))]
    for row in TABLE:
        lines.append(f"{row.name} fn={row.fns} field6={row.field6} reads_vd={row.reads_vd}: {row.summary}")
    lines += [f"part {f:#04x}: {part(f)}" for f in range(64)]
    lines += [f"pack {f:#04x}: {pack(f)}" for f in range(64)]
    lines += [f"align {p}: {shift}" for p, shift in sorted(ALIGN.items())]
    lines.append(f"chunks: {CHUNKS} of {CHUNK_BITS} bits")
    return "\n".join(lines) + "\n"


FINGERPRINT = hashlib.sha256(canonical_text().encode()).hexdigest()[:16]
"""Names this version of the instruction set in headers, in gem5's plug-in and in run folders."""
