"""kernels_c/include/smol_selectors.h: what field6 selects, for the C that gives the instructions their meaning."""

from sysmol import isa
from sysmol.emit.text import BANNER


def legal_mask(selector: isa.Selector) -> str:
    """The legal values as bits of a 64-bit number."""
    return f"UINT64_C({sum(1 << value for value in selector.legal):#018x})"


def is_legal(selector: isa.Selector) -> str:
    """A C function that tells legal values from others."""
    return f"""/* Whether a value of field6 is a {selector.choice}. */
static inline int smol_is_{selector.name}(unsigned field6)
{{
    return field6 < {len(isa.VALUES)} && ({legal_mask(selector)} >> field6 & 1);
}}
"""


def row(chunks: tuple[int, ...], last: int, number: int) -> str:
    """An initialiser: counts of the chunks by precision, and one more number."""
    return f"    {{{', '.join(str(chunks.count(p)) for p in (4, 2, 1))}, {last}}}, /* {number} */"


def render() -> str:
    forms = ", ".join(f"{{{precision}, {codes}}}" for precision, codes in isa.PACK_FORMS)
    pieces = "\n".join(row(piece.chunks, piece.shift, number) for number, piece in enumerate(isa.PIECES))
    halves = "\n".join(row(form.chunks, isa.ALIGN[form.unit], number) for number, form in enumerate(isa.FORMS))
    return f"""/* {BANNER} */
#ifndef SMOL_SELECTORS_H
#define SMOL_SELECTORS_H

#include <stdint.h>

{chr(10).join(is_legal(selector) for selector in isa.SELECTORS.values())}
/* Bits and number of the codes of every form of vqpk; bits [5:4] of its selector are the form. */
static const unsigned char smol_pack_forms[{len(isa.PACK_FORMS)}][2] = {{{forms}}};

/* Chunks of 4, 2 and 1 bits of every piece pattern of vmm.w, and the shift of its products beside their alignment. */
static const unsigned char smol_pieces[{len(isa.PIECES)}][4] = {{
{pieces}
}};

/* Chunks of 4, 2 and 1 bits of every form of vmm.h, and the alignment of its sums' unit; bits [3:0] of its selector. */
static const unsigned char smol_forms[{len(isa.FORMS)}][4] = {{
{halves}
}};

#endif
"""
