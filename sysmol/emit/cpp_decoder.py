"""gem5_ext/smol_decode.hh: from a word to its fields, from a function to all that the table says of it."""

from sysmol import isa
from sysmol.emit.c_selectors import legal_mask
from sysmol.emit.text import BANNER
from sysmol.isa import BitField


def field_value(f: BitField) -> str:
    """The bits of a field, in place."""
    bits = f"word >> {f.low} & {(1 << f.width) - 1:#x}"
    return f"({bits}) << {f.start}" if f.start else bits


C_FIELDS = {"fn": ("fn",), "field6": ("field6",), "vd": ("vd",), "vn": ("vn", "base"), "vm": ("vm",)}
"""Fields of SmolInst, and the names that the words' fields of the same place have."""


def decode_format(target: str, name: str) -> str:
    """Test of one format's constants, then its fields."""
    fields = isa.PARSED[target, name]
    form = isa.ALL_FORMATS[name]
    first = form.functions.start
    checks = " &&\n        ".join(
        f"(word >> {f.low} & {(1 << f.width) - 1:#x}) == {f.constant:#x}" for f in fields if f.name is None
    )
    lines = [f"    if ({checks}) {{"]
    for field, names in C_FIELDS.items():
        pieces = [field_value(f) for f in fields if f.name in names]
        value = " | ".join(f"({piece})" for piece in pieces) if len(pieces) > 1 else "".join(pieces) or "0"
        if field == "fn" and first:
            value = f"({value}) + {first}" if pieces else str(first)
        lines.append(f"        inst.{field} = {value};")
    if pieces := [field_value(f) for f in fields if f.name == "imm"]:
        sign = 1 << (form.fields["imm"] - 1)
        value = " | ".join(f"({piece})" for piece in pieces)
        lines.append(f"        inst.imm = static_cast<std::int16_t>((({value}) ^ {sign:#x}) - {sign:#x});")
    else:
        lines.append("        inst.imm = 0;")
    return "\n".join([*lines, "        return smol_legal(inst.fn, inst.field6);", "    }"])


def decoder(target: str) -> str:
    """The two functions of one ISA."""
    spaces = " || ".join(f"(word & {mask:#010x}) == {match:#010x}" for mask, match in isa.spaces(target))
    formats = "\n".join(decode_format(target, name) for name, form in isa.ALL_FORMATS.items() if target in form.on)
    return f"""/** Whether a word lies in the space that SMOL claims on this ISA, legal or not. */
inline bool
smol_in_{target}_space(std::uint32_t word)
{{
    return {spaces};
}}

/** Fields of a legal SMOL word; false where the word is of another space or illegal. */
inline bool
smol_decode_{target}(std::uint32_t word, SmolInst &inst)
{{
{formats}
    return false;
}}
"""


def function_row(row: isa.Instruction) -> str:
    """An initialiser of ``SmolFunction``."""
    operands = ", ".join(str(operand in row.reads).lower() for operand in ("vd", "vn", "vm"))
    kept = f"{row.name} committed, {row.selector.counted}"
    optional = list(isa.OPTIONAL).index(row.field6) if row.field6 in isa.OPTIONAL else -1
    return f'    {{"{row.name}", "{row.symbol}", "{kept}", {row.fns[0]}, {len(row.fns)}, {operands}, {optional}}},'


def access_row(row: isa.Access) -> str:
    """An initialiser of ``SmolFunction`` for a load or store."""
    operands = f"false, false, {str(not row.loads).lower()}"
    return f'    {{"{row.name}", "{row.symbol}", "{row.name} committed", {row.fn}, 1, {operands}, -1}},'


def kind_cases() -> str:
    rows = [(row.fns, row.kind) for row in isa.TABLE] + [((row.fn,), row.kind) for row in isa.ACCESSES]
    return "\n".join(
        "".join(f"      case {fn}:\n" for fn in fns) + f"        return SmolKind::{kind};" for fns, kind in rows
    )


def legal_cases() -> str:
    accesses = "".join(f"      case SmolKind::{row.kind}:\n" for row in isa.ACCESSES) + "        return field6 == 0;\n"
    return accesses + "\n".join(
        "".join(f"      case SmolKind::{row.kind}:\n" for row in isa.TABLE if row.field6 == name)
        + f"        return smol_legal_{name}(field6);"
        for name in dict.fromkeys(row.field6 for row in isa.TABLE)
    )


def legal_function(selector: isa.Selector) -> str:
    return f"""inline bool
smol_legal_{selector.name}(unsigned field6)
{{
    return field6 < {len(isa.VALUES)} && ({legal_mask(selector)} >> field6 & 1);
}}
"""


def element_table(selector: isa.Selector) -> str:
    """Elements of every precision that each value of field6 selects."""
    rows = [selector.elements(value) if value in selector.legal else (0, 0, 0) for value in isa.VALUES]
    cells = [f"{{{', '.join(map(str, row))}}}" for row in rows]
    lines = "\n".join(f"    {', '.join(cells[at : at + 8])}," for at in range(0, len(cells), 8))
    return f"inline constexpr std::uint8_t smol_elements_{selector.name}[{len(rows)}][3] = {{\n{lines}\n}};\n"


def macs_cases() -> str:
    return "\n".join(
        f"      case SmolKind::{row.kind}:\n"
        f"        return smol_elements_{row.field6}[inst.field6][precision]{f' * {row.macs}u' if row.macs > 1 else ''};"
        for row in isa.TABLE
        if row.macs
    )


def counted_selectors() -> list[isa.Selector]:
    return [isa.SELECTORS[name] for name in dict.fromkeys(row.field6 for row in isa.TABLE if row.macs)]


def render() -> str:
    kinds = "\n".join(f"    {row.kind}," for row in (*isa.TABLE, *isa.ACCESSES))
    legal = [*isa.words(), *((row.fn, 0) for row in isa.ACCESSES)]
    names = "\n".join(f'      case {fn << 6 | field6}: return "{isa.mnemonic(fn, field6)}";' for fn, field6 in legal)
    *choices, last = [f"a {selector.choice}" for selector in isa.SELECTORS.values()]
    classes = "\n".join(f"        parameters.{row.class_parameter}," for row in isa.TABLE)
    optional = "\n".join(f"        parameters.{selector.plural}," for selector in isa.OPTIONAL.values())
    plurals = ", ".join(f'"{selector.choice}"' for selector in isa.OPTIONAL.values())
    optional_cases = "\n".join(
        f"      case {number}:\n        return smol_legal_{name}(field6);" for number, name in enumerate(isa.OPTIONAL)
    )
    return f"""// {BANNER}
#ifndef GEM5_EXT_SMOL_DECODE_HH
#define GEM5_EXT_SMOL_DECODE_HH

#include <array>
#include <cstdint>

#define SMOL_ISA_FINGERPRINT "{isa.FINGERPRINT}"

/** Fields of a SMOL word. field6 is {", ".join(choices)} or {last}. */
struct SmolInst
{{
    std::uint8_t fn;
    std::uint8_t field6;
    std::uint8_t vd;
    std::uint8_t vn;
    std::uint8_t vm;
    /** Of a load or store: the offset in bytes from the scalar register that vn then names. */
    std::int16_t imm;
}};

enum class SmolKind
{{
{kinds}
    None,
}};

/** What the table says of an instruction. */
struct SmolFunction
{{
    const char *name;
    /** The name where only letters, digits and underscores may stand. */
    const char *symbol;
    /** What its statistics count. */
    const char *counted;
    /** Its function codes: the first, and how many. */
    std::uint8_t first, codes;
    bool readsVd, readsVn, readsVm;
    /** The optional selector that field6 is, of whose values hardware may lack some; -1: field6 is none. */
    int optional;
}};

/** The instructions; the index is the SmolKind. */
inline constexpr SmolFunction smol_functions[] = {{
{chr(10).join([*map(function_row, isa.TABLE), *map(access_row, isa.ACCESSES)])}
}};

inline constexpr unsigned SMOL_KINDS = static_cast<unsigned>(SmolKind::None);
/** The first of them work on registers, the others are loads and stores. */
inline constexpr unsigned SMOL_REGISTER_KINDS = {len(isa.TABLE)};
/** Number of all function codes. */
inline constexpr unsigned SMOL_FUNCTIONS = {1 + max(fn for form in isa.ALL_FORMATS.values() for fn in form.functions)};

/** Instruction of a function code. */
inline SmolKind
smol_kind(unsigned fn)
{{
    switch (fn) {{
{kind_cases()}
      default:
        return SmolKind::None;
    }}
}}

/** The table's row of a legal function code. */
inline const SmolFunction &
smol_function(unsigned fn)
{{
    return smol_functions[static_cast<unsigned>(smol_kind(fn))];
}}

/** Operation classes of a decoder's parameters, by SmolKind, without loads and stores. */
template <typename Parameters>
auto
smol_classes(const Parameters &parameters)
{{
    return std::array{{
{classes}
    }};
}}

{chr(10).join(legal_function(selector) for selector in isa.SELECTORS.values())}
/** The optional selectors, as people call their values. */
inline constexpr const char *smol_optional[] = {{{plurals}}};

inline constexpr unsigned SMOL_OPTIONAL = {len(isa.OPTIONAL)};

/** Values of the optional selectors that a decoder's parameters list, in their order. */
template <typename Parameters>
auto
smol_chosen(const Parameters &parameters)
{{
    return std::array{{
{optional}
    }};
}}

/** Whether a value of an optional selector exists. */
inline bool
smol_legal_optional(unsigned selector, unsigned field6)
{{
    switch (selector) {{
{optional_cases}
      default:
        return false;
    }}
}}

inline bool
smol_legal(unsigned fn, unsigned field6)
{{
    switch (smol_kind(fn)) {{
{legal_cases()}
      default:
        return false;
    }}
}}

{chr(10).join(decoder(target) for target in ("riscv", "arm"))}
/** Elements of 4, 2 and 1 bits that field6 selects in a register. */
{chr(10).join(element_table(selector) for selector in counted_selectors())}
/** Multiply-accumulates of one instruction; precision 0, 1, 2: of 4, 2, 1 bits. */
inline unsigned
smol_macs(const SmolInst &inst, unsigned precision)
{{
    switch (smol_kind(inst.fn)) {{
{macs_cases()}
      default:
        return 0;
    }}
}}

/** Name with its selectors, as in "vdot.P7.2"; "illegal" for what names no instruction. */
inline const char *
smol_mnemonic(const SmolInst &inst)
{{
    switch (inst.fn << 6 | inst.field6) {{
{names}
      default: return "illegal";
    }}
}}

#endif // GEM5_EXT_SMOL_DECODE_HH
"""
