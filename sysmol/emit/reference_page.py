"""docs/isa.md: the instruction set for readers."""

from sysmol import isa
from sysmol.emit.text import BANNER
from sysmol.pattern import CHUNK_BITS, CHUNKS, PATTERNS, capacity, pattern_name

WIDTHS = {name: width for form in isa.ALL_FORMATS.values() for name, width in form.fields.items()}


def shown_bits(f: isa.BitField) -> str:
    """One field of a word, or a constant, with its bits."""
    span = f"[{f.low + f.width - 1}:{f.low}]" if f.width > 1 else f"[{f.low}]"
    piece = f"[{f.start + f.width - 1}:{f.start}]" if f.name and f.width < WIDTHS[f.name] else ""
    return f"{f.name}{piece} {span}" if f.name else f"`{f.constant:0{f.width}b}` {span}"


def encoding_table() -> str:
    """A row per format and ISA."""
    return "\n".join(
        f"| {encoding.title} | {', '.join(map(shown_bits, encoding.parsed(form.fields)))} |"
        for form in isa.ALL_FORMATS.values()
        for encoding in form.on.values()
    )


def examples() -> str:
    """Rows of words that one can check an assembler with."""
    rows = []
    for row in isa.BY_UNIT:
        for index, field6 in row.examples:
            words = [isa.encode(name, row.fns[index], field6, 1, 2, 3) for name in ("riscv", "arm")]
            shown = " | ".join(f"`{word:08x}`" for word in words)
            rows.append(f"| `{isa.mnemonic(row.fns[index], field6)} v1, v2, v3` | {shown} |")
    for access in isa.ACCESSES:
        word = isa.encode_access("riscv", access.fn, *access.example)
        decoded = isa.decode("riscv", word)
        assert decoded is not None
        rows.append(f"| `{isa.disassembly(decoded)}` | `{word:08x}` | - |")
    return "\n".join(rows)


def claimed_spaces() -> str:
    """The words that are illegal where the table does not have them, in words."""
    spaces = [encoding.space for form in isa.ALL_FORMATS.values() for encoding in form.on.values()]
    return ", and ".join(dict.fromkeys(spaces))


def users(selector: str) -> str:
    """The instructions whose field6 is this selector, in words."""
    return " and ".join(row.name for row in isa.TABLE if row.field6 == selector)


def instruction_row(row: isa.Instruction) -> str:
    """What the table of instructions says of one."""
    fns = f"{row.fns[0]}..{row.fns[-1]}" if len(row.fns) > 1 else f"{row.fns[0]}"
    return f"| {fns} | `{row.name}` | {row.field6} | {'yes' if row.reads_vd else 'no'} | {row.summary} |"


def access_rows() -> str:
    """A row per load and store."""
    return "\n".join(f"| {row.fn} | `{row.name}` | {row.summary} |" for row in isa.ACCESSES)


def hardware_rows() -> str:
    """A row per instruction: block, class, latency."""
    return "\n".join(
        f"| `{row.name}` | {row.unit} | {row.op_class} | {row.timing.cycles} | {row.timing.reason} |"
        for row in isa.BY_UNIT
    )


def piece_rows() -> str:
    """Piece patterns in groups of equal length."""
    groups: dict[tuple[int, int], list[int]] = {}
    for number, piece in enumerate(isa.PIECES):
        groups.setdefault((piece.shift, len(piece.chunks)), []).append(number)
    return "\n".join(
        f"| {numbers[0]}..{numbers[-1]} | {length} | {', '.join(counts(isa.PIECES[n].chunks) for n in numbers)} |"
        for (shift, length), numbers in groups.items()
        if not shift
    )


def counts(chunks: tuple[int, ...]) -> str:
    """``(n4,n2,n1)``."""
    return f"({','.join(str(chunks.count(p)) for p in (4, 2, 1))})"


def form_rows() -> str:
    return "\n".join(
        f"| {number} | {counts(form.chunks)} | {form.unit} | 2^{isa.ALIGN[form.unit] - 6} |"
        for number, form in enumerate(isa.FORMS)
    )


def render() -> str:
    grid = "\n".join(
        f"| {p} | {', '.join(f'{2 * u - (2**p - 1):+d}' for u in range(2**p))} | 2^{1 - p} | {isa.ALIGN[p]} |"
        for p in (1, 2, 4)
    )
    first, second = (
        "\n".join(instruction_row(row) for row in isa.TABLE if row.format == name) for name in ("registers", "second")
    )
    others = "\n".join(instruction_row(row) for row in isa.TABLE if row.format not in ("registers", "second"))
    nibbles = [number for number, piece in enumerate(isa.PIECES) if piece.shift]
    parts = "\n".join(
        f"| `{f:#04x}` | {chosen.precision} | {f & 15} | {', '.join(map(str, chosen.chunks))} "
        f"| {128 // chosen.lane_bits} x int{chosen.lane_bits} |"
        for f in range(64)
        if (chosen := isa.part(f)) is not None
    )
    packs = "\n".join(
        f"| {form} | `vqpk.b{p}x{codes}.sS` | {p} | {codes}: {'vn, vm' if codes == 8 else 'vn'} | {p * codes} "
        f"| {128 // (p * codes)} |"
        for form, (p, codes) in enumerate(isa.PACK_FORMS)
    )
    patterns = "\n".join(
        f"| {number} | {pattern_name(number)} | {capacity(number)} |" for number in range(len(PATTERNS))
    )
    return f"""# The SMOL instructions

<!-- {BANNER} -->
The published papers on SySMOL give neither encodings nor register layout nor accumulator widths in any text that we
could read; what follows is this project's own design to their abstracts. Table fingerprint: `{isa.FINGERPRINT}`.

## Number grid
A code u of p bits stands for the odd integer g = 2u - (2^p - 1), in units of 2^(1-p). There is no zero.
Products are shifted left to the accumulators' common unit of 2^-6.

| p | g for u = 0, 1, ... | unit of g | left shift of a product |
|---|---|---|---|
{grid}

## Registers
A 128-bit register is {CHUNKS} chunks of {CHUNK_BITS} bits. Element e of a chunk of precision p has bits
[p*e, p*e + p), little-endian.
A pattern (n4, n2, n1) says how many chunks hold 4-, 2- and 1-bit elements, 4-bit chunks lowest.

## Instructions
Operands vd, vn, vm. All arithmetic wraps modulo 2^width of the lane; lane32 is one of four int32 lanes.

| fn | name | field6 | reads vd | effect |
|---|---|---|---|---|
{first}

The second page computes matrices: vn holds two pixels of 64 bits, vm weights. lane16 is one of eight int16 lanes; a
half is 64 bits, chunks 0..3 or 4..7. The numbers 10 (a form of vmm.h with weights in two registers, `vmm2.h`) and 15 (a
residual added in codes) are reserved.

| fn | name | field6 | reads vd | effect |
|---|---|---|---|---|
{second}{chr(10) + others if others else ""}

RISC-V has loads and stores of 128 bits besides, with an offset of 12 bits and a sign; AArch64 has `ldr q` and `str q`.
They need no alignment, ignore vl, vtype and vill, and fault as other vector accesses do.

| fn | name | effect |
|---|---|---|
{access_rows()}

A machine file says which instructions, patterns, pieces and forms the hardware has. What it lacks raises the
illegal-instruction fault. [machines.md](machines.md) describes the fields.

| instruction | block | gem5's class | cycles where the machine says nothing | reason |
|---|---|---|---|---|
{hardware_rows()}

Instructions of one class have one latency. gem5's classes of cryptography and matrices serve, since no kernel uses
them; the patch `op-classes` gives each instruction a class of its own name.

Encodings (32-bit words, highest bit first):

| ISA | word |
|---|---|
{encoding_table()}

Every other word in these spaces is illegal: {claimed_spaces()}.
On RISC-V the instructions need VLEN >= 128, use the low 128 bits, zero the rest of vd, ignore vl, vtype and vill, and
fault when the vector unit is off. On AArch64 they use the V registers, clear what lies above bit 127, and trap when
FP/SIMD access is disabled. The instructions add no state: an operating system saves what it saves anyway.

| example | RISC-V | AArch64 |
|---|---|---|
{examples()}

## Part selectors of {users("part")}
Products are plain g1*g2, not shifted. Other values of field6 are illegal.

| field6 | bits | part k | chunks | result lanes |
|---|---|---|---|---|
{parts}

## Pack selectors of {users("pack")}
Bits [5:4] are the form, bits [3:0] half of the shift S (0, 2, .. 30). The shift is arithmetic; the codes of vn's lanes
come first, code 0 lowest; form 3 does not use vm. Seen as one 128-bit number, vd moves down by the width of the piece,
and the piece enters at the top: after as many instructions as fill a register, it holds its pieces in order, the first
one lowest. vqpk turns int32 lanes (accumulator * M + B) into stored codes; nothing like it stands in the
papers' abstracts.

| form | name | bits p | codes of | width of a piece | pieces in a register |
|---|---|---|---|---|---|
{packs}

## Piece patterns of {users("piece")}
A piece pattern says what the chunks of a half hold, 4-bit chunks lowest; chunks above are empty and contribute nothing.

| field6 | chunks | (n4,n2,n1) |
|---|---|---|
{piece_rows()}
| {nibbles[0]}..{nibbles[-1]} | 4..1 | {", ".join(counts(isa.PIECES[n].chunks) for n in nibbles)}, all products `<< 4` |

The last row is for numbers of 8 bits in two nibbles: on the odd grid g8 = 16 g4(high) + g4(low).

## Forms of {users("form")}
Bits [3:0] of field6 are the form, bit 4 is h: which 32-bit word of each pixel. Bit 5 is zero. Products of p bits are
shifted left by the difference of the left shifts of p and of the unit's precision. Only the final sum has to fit 16
bits: sums in between may wrap.

| form | (n4,n2,n1) | unit's precision | unit |
|---|---|---|---|
{form_rows()}

## Pack selectors of {users("pack16")} and {users("pack32")}
vqpk.h: bits [5:4] are the precision p (4, 2, 1, 8), bit 3 is *joint*, bits [2:0] half of the shift S. Each half of vd
takes 8 codes, four of vn and four of vm; joint: vd takes 16 as a whole. 8 bits and joint is the form of four codes of 4
bits a half, of vn alone (`vqpk.h.b4x8`). vqpk.s: bits [5:4] are the precision (4, 2, 1), bits [3:0] half of the shift;
each half takes 4 codes. As with vqpk, what is in a half moves down and the new codes enter at its top.

## Groups of {users("group")}
Bits [5:4] are the precision p (4, 2, 1), bits [3:0] the group q: codes 4q to 4q+3, counted from bit 0, of each half. So
p = 4 has 4 groups, p = 2 has 8, p = 1 has 16. Addresses are bit positions, which serves mixed pieces, too.

## Tap selectors of {users("taps")}
Bits [5:4] are the precision p (4, 2, 1), bits [3:2] the part k < 4/p, bits [1:0] the first word t0, 0 or 1. The 32-bit
words of vn are pixels in a row, those of vm taps. Products are plain g1*g2, not shifted.

## Patterns

| id | (n4,n2,n1) | elements |
|---|---|---|
{patterns}
"""
