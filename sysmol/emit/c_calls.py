"""kernels_c/include/smol_calls.h: the instructions as calls, for programs that have many of them."""

from sysmol import isa
from sysmol.emit.text import BANNER, several


def call(row: isa.Instruction) -> str:
    """One function, kept out of line."""
    parameters = ["void *d", "const void *n", "const void *m", "unsigned field6"]
    arguments = ["d", "n", "m", "field6"]
    if several(row):
        parameters.append("unsigned index")
        arguments.append("index")
    return f"""static SMOL_OUT_OF_LINE void smol_call_{row.symbol}({", ".join(parameters)})
{{
    smol_{row.symbol}({", ".join(arguments)});
}}
"""


def render() -> str:
    return f"""/* {BANNER} */
/*
 * The SMOL instructions of smol_arith.h as calls on registers in memory, kept out of line: callers have many.
 * `index` is the place of the function code among those of the instruction.
 */
#ifndef SMOL_CALLS_H
#define SMOL_CALLS_H

#include "smol_arith.h"

#define SMOL_OUT_OF_LINE __attribute__((noinline, unused))

{chr(10).join(call(row) for row in isa.TABLE)}
#endif
"""
