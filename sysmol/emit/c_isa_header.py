"""kernels_c/include/smol_isa.h: patterns, function codes and the words as inline assembly."""

from sysmol import isa
from sysmol.emit.text import BANNER, c_functions
from sysmol.pattern import CHUNK_BITS, CHUNKS, PATTERNS

GUARD = {"arm": "defined(__aarch64__)", "riscv": "defined(__riscv)"}


def suffix(name: str) -> str:
    """What tells the macros of a format from those of the first one."""
    return "" if name == next(iter(isa.USED_FORMATS)) else f"_{name.upper()}"


def operand(f: isa.BitField, first: int) -> str:
    """The bits of a field as the assembler computes them. Assemblers do not agree on precedence: all stands in
    parentheses."""
    if f.name == "fn":
        value = f'((" SMOL_TEXT(fn) ")-{first})' if first else '(" SMOL_TEXT(fn) ")'
    elif f.name == "field6":
        value = '(" SMOL_TEXT(field6) ")'
    else:
        value = f".Lsmol_%[{str(f.name)[1]}]"
    whole = f.width == isa.FIELDS[str(f.name)]
    return value if whole else f"(({value}>>{f.start})&{(1 << f.width) - 1:#x})"


def assembly_word(target: str, name: str) -> str:
    """C macro body: the word as an assembler expression over the operands' register names."""
    first = isa.USED_FORMATS[name].functions.start
    terms = []
    for f in isa.PARSED[target, name]:
        if f.name is None:
            if f.constant:
                terms.append(f"{f.constant << f.low:#x}")
        else:
            terms.append(f"({operand(f, first)}<<{f.low})")
    return f'"{isa.DIRECTIVE[target]} {"|".join(terms)}\\n\\t"'


def assembly_words(target: str) -> str:
    """The macros of one ISA, one for every format."""
    return "\n".join(
        f"#define SMOL_ASM_WORD{suffix(name)}(fn, field6) \\\n    {assembly_word(target, name)}"
        for name, form in isa.USED_FORMATS.items()
        if target in form.on
    )


def access_macros(target: str) -> str:
    """The macros of an ISA's loads and stores: one per vector register for the assembler, which knows such words by
    their shape, address and all, and one for C."""
    rows = [row for row in isa.ACCESSES if target in isa.ACCESS_FORMATS[row.format].on]
    if not rows:
        return ""
    lines = []
    for row in rows:
        constants = {f.low: f.constant for f in isa.PARSED[target, row.format] if f.name is None}
        shape = f".insn {'i' if row.loads else 's'} {constants[0]:#x}, {constants[12]}"
        name = f"smol_{row.symbol}_v"
        lines += [f'    ".macro {name}\\\\smol_n smol_at\\n"', f'    "{shape}, x\\\\smol_n, \\\\smol_at\\n"']
        lines += ['    ".endm\\n"']
    calls = "\n".join(
        f'#define SMOL_ASM_{row.symbol.upper()} "smol_{row.symbol}_%[{"d" if row.loads else "m"}] %[at]\\n\\t"'
        for row in rows
    )
    body = " \\\n".join([f'    ".irp smol_n,{numbers()}\\n"', *lines, '    ".endr\\n"'])
    return f"""
/*
 * Loads and stores: the register is d of a load and m of a store, `at` an operand in memory ("m"), whose scalar
 * register and offset the compiler chooses. __asm__(SMOL_ASM_ACCESSES) stands at file scope, as the symbols do.
 *   __asm__(SMOL_ASM_LQ : [d] "=vr"(x) : [at] "m"(*(const smol_register_bytes *)p));   lq
 */
#define SMOL_ASM_ACCESSES \\
{body}
{calls}"""


def numbers() -> str:
    """The numbers of the vector registers."""
    return ",".join(str(n) for n in range(32))


def word_list(name: str) -> str:
    """The macro that lists every legal word of a format."""
    legal = [
        f'    X({fn}, {field6}, "{isa.mnemonic(fn, field6)}")'
        for fn, field6 in isa.words()
        if fn in isa.USED_FORMATS[name].functions
    ]
    return f"#define SMOL_FOR_EACH_WORD{suffix(name)}(X) \\\n" + " \\\n".join(legal)


def render() -> str:
    rows = "\n".join(f"    {{{n4}, {n2}, {n1}}}, /* {number} */" for number, (n4, n2, n1) in enumerate(PATTERNS))
    functions = "\n".join(
        [f"    {name} = {fn}," for row in isa.TABLE for name, fn in c_functions(row)]
        + [f"    SMOL_FN_{row.symbol.upper()} = {row.fn}," for row in isa.ACCESSES]
    )
    words = "\n".join(
        f"#{'if' if i == 0 else 'elif'} {GUARD[target]}\n{assembly_words(target)}{access_macros(target)}"
        for i, target in enumerate(GUARD)
    )
    return f"""/* {BANNER} */
#ifndef SMOL_ISA_H
#define SMOL_ISA_H

#define SMOL_ISA_FINGERPRINT "{isa.FINGERPRINT}"
#define SMOL_N_PATTERNS {len(PATTERNS)}
#define SMOL_CHUNKS {CHUNKS}
#define SMOL_CHUNK_BITS {CHUNK_BITS}

/* Left shift of a product of two 4-, 2-, 1-bit elements to the accumulators' unit of 2^-6. */
#define SMOL_ALIGN_4 {isa.ALIGN[4]}
#define SMOL_ALIGN_2 {isa.ALIGN[2]}
#define SMOL_ALIGN_1 {isa.ALIGN[1]}

/* Chunks of 4, 2 and 1 bits of every pattern; the index is the pattern id. */
static const unsigned char smol_patterns[SMOL_N_PATTERNS][3] = {{
{rows}
}};

/* Function codes; vdot into lane j is SMOL_FN_VDOT0 + j. */
enum smol_fn {{
{functions}
}};

/* Every legal instruction on registers: X(function, field6, name). */
{chr(10).join(word_list(name) for name in isa.USED_FORMATS)}

/*
 * The words as inline assembly: operands are named d, n, m and are vector registers ("w" on AArch64, "vr" on RISC-V).
 * The register's number comes from the name that the compiler prints, through assembler symbols: put
 * __asm__(SMOL_ASM_SYMBOLS) at file scope, before the first function.
 *   __asm__(SMOL_ASM_WORD(0, 5) : [d] "+w"(acc) : [n] "w"(weight), [m] "w"(input));   vmac.P5
 */
#define SMOL_TEXT_(x) #x
#define SMOL_TEXT(x) SMOL_TEXT_(x)
#define SMOL_ASM_SYMBOLS \\
    ".irp smol_n,{numbers()}\\n" \\
    ".set .Lsmol_v\\\\smol_n, \\\\smol_n\\n" \\
    ".endr\\n"
{words}
#endif

#endif /* SMOL_ISA_H */
"""
