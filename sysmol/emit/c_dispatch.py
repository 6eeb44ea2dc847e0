"""kernels_c/include/smol_dispatch.h: from function and field6 to the C function of the instruction."""

from sysmol import isa
from sysmol.emit.text import BANNER, c_functions, several


def case(row: isa.Instruction) -> str:
    """One instruction of the switch."""
    names = [name for name, _ in c_functions(row)]
    labels = "\n".join(f"    case {name}:" for name in names)
    index = f", fn - {names[0]}" if several(row) else ""
    return f"""{labels}
        if (!smol_is_{row.field6}(field6))
            return 0;
        smol_{row.symbol}(vd, vn, vm, field6{index});
        return 1;"""


def render() -> str:
    return f"""/* {BANNER} */
#ifndef SMOL_DISPATCH_H
#define SMOL_DISPATCH_H

/* Run the instruction with function `fn` and selector `field6`. Returns 1, or 0 (vd untouched) where it is illegal. */
static inline int smol_execute(unsigned fn, unsigned field6, void *vd, const void *vn, const void *vm)
{{
    switch (fn) {{
{chr(10).join(case(row) for row in isa.TABLE)}
    default:
        return 0;
    }}
}}

#endif
"""
