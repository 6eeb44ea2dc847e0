"""docs/isa.md: the instruction set for readers."""

from sysmol import isa
from sysmol.emit.text import BANNER
from sysmol.pattern import CHUNK_BITS, CHUNKS, PATTERNS, capacity, pattern_name


def shown_bits(f: isa.BitField) -> str:
    """One field of a word, or a constant, with its bits."""
    span = f"[{f.low + f.width - 1}:{f.low}]" if f.width > 1 else f"[{f.low}]"
    piece = f"[{f.start + f.width - 1}:{f.start}]" if f.name and f.width < isa.FIELDS[f.name] else ""
    return f"{f.name}{piece} {span}" if f.name else f"`{f.constant:0{f.width}b}` {span}"


def encoding_table() -> str:
    """A row per format and ISA."""
    return "\n".join(
        f"| {encoding.title} | {', '.join(map(shown_bits, encoding.parsed()))} |"
        for form in isa.USED_FORMATS.values()
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
    return "\n".join(rows)


def claimed_spaces() -> str:
    """The words that are illegal where the table does not have them, in words."""
    spaces = [encoding.space for form in isa.USED_FORMATS.values() for encoding in form.on.values()]
    return ", and ".join(dict.fromkeys(spaces))


def users(selector: str) -> str:
    """The instructions whose field6 is this selector, in words."""
    return " and ".join(row.name for row in isa.TABLE if row.field6 == selector)


def instruction_row(row: isa.Instruction) -> str:
    """What the table of instructions says of one."""
    fns = f"{row.fns[0]}..{row.fns[-1]}" if len(row.fns) > 1 else f"{row.fns[0]}"
    return f"| {fns} | `{row.name}` | {row.field6} | {'yes' if row.reads_vd else 'no'} | {row.summary} |"


def render() -> str:
    grid = "\n".join(
        f"| {p} | {', '.join(f'{2 * u - (2**p - 1):+d}' for u in range(2**p))} | 2^{1 - p} | {isa.ALIGN[p]} |"
        for p in (1, 2, 4)
    )
    table = "\n".join(instruction_row(row) for row in isa.TABLE)
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
{table}

Encodings (32-bit words, highest bit first):

| ISA | word |
|---|---|
{encoding_table()}

Every other word in these spaces is illegal: {claimed_spaces()}.
On RISC-V the instructions need VLEN >= 128, use the low 128 bits, zero the rest of vd, ignore vl, vtype and vill, and
fault when the vector unit is off. On AArch64 they use the V registers, clear what lies above bit 127, and trap when
FP/SIMD access is disabled. A pattern that the hardware does not support raises the illegal-instruction fault.

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

## Patterns

| id | (n4,n2,n1) | elements |
|---|---|---|
{patterns}
"""
