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


def render() -> str:
    forms = ", ".join(f"{{{precision}, {codes}}}" for precision, codes in isa.PACK_FORMS)
    return f"""/* {BANNER} */
#ifndef SMOL_SELECTORS_H
#define SMOL_SELECTORS_H

#include <stdint.h>

{chr(10).join(is_legal(selector) for selector in isa.SELECTORS.values())}
/* Bits and number of the codes of every form of vqpk; bits [5:4] of its selector are the form. */
static const unsigned char smol_pack_forms[{len(isa.PACK_FORMS)}][2] = {{{forms}}};

#endif
"""
