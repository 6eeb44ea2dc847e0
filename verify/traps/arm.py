"""AArch64, exception level 1: exception class 0 (unknown reason) for illegal words and 7 (access to SIMD) where
CPACR_EL1.FPEN traps. FPEN: 3 lets SIMD run; 0 and 2 trap it."""

from sysmol.verify.state import VECTORS
from sysmol.verify.traps.base import Traps

UNKNOWN_SYNDROME, SIMD_SYNDROME = 0x2000000, 0x3E00000
"""Lower bits of ESR_EL1: 32-bit instruction; for SIMD traps also condition code 14, always."""

BEGIN = """
    .section .text.start, "ax"
    .global _start
_start:
    adrp x0, vectors
    add x0, x0, :lo12:vectors
    msr vbar_el1, x0
    adrp x20, records
    add x20, x20, :lo12:records
"""
WRITE = """    dsb sy
    adrp x0, records
    add x0, x0, :lo12:records
    ldr x1, ={bytes}
    mov x2, #0
    adrp x3, name
    add x3, x3, :lo12:name
    isb
    .inst 0xff000110 | (0x4f << 16)
    mov x0, #0
    .inst 0xff000110 | (0x21 << 16)
1:  b 1b
    .ltorg
trap:
"""
"""Write the records as a file, end the simulation; a trap comes here."""
EXCEPTIONS = """    .balign 2048
vectors:
    .rept 16
    .balign 128
    b trap
    .endr
"""
FRAME = (
    BEGIN
    + """    adrp x21, operands
    add x21, x21, :lo12:operands
    mov x22, #(3 << 20)
{cases}
"""
    + WRITE
    + """    mrs x2, esr_el1
    lsr x3, x2, #26
    str x3, [x20]
    and x2, x2, #0x3ffffff
    str x2, [x20, #16]
    mrs x3, elr_el1
    sub x2, x3, x19
    str x2, [x20, #8]
    add x3, x3, #4
    msr elr_el1, x3
    eret
"""
    + EXCEPTIONS
)
CASE = """
    msr cpacr_el1, x22
    isb
    ldr q1, [x21]
    ldr q2, [x21, #16]
    ldr q3, [x21, #32]
    mov x0, #({unit} << 20)
    msr cpacr_el1, x0
    isb
    adr x19, 2f
2:  .inst {word:#010x}
    mrs x0, cpacr_el1
    ubfx x0, x0, #20, #2
    str x0, [x20, #24]
    msr cpacr_el1, x22
    isb
    str q1, [x20, #32]
    add x20, x20, #48
"""
STREAM = (
    BEGIN
    + """    adrp x21, states
    add x21, x21, :lo12:states
    adrp x19, first
    add x19, x19, :lo12:first
    mov x0, #(3 << 20)
    msr cpacr_el1, x0
    isb
    adrp x0, operands
    add x0, x0, :lo12:operands
"""
    + "".join(f"    ldr q{r}, [x0, #{16 * r}]\n" for r in range(VECTORS))
    + """first:
{blocks}
"""
    + WRITE
    + """    mrs x2, elr_el1
    sub x3, x2, x19
    str x3, [x20], #8
    mrs x4, esr_el1
    lsr x3, x4, #26
    str x3, [x20], #8
    and x3, x4, #0x3ffffff
    str x3, [x20], #8
    add x2, x2, #4
    msr elr_el1, x2
    eret
"""
    + EXCEPTIONS
)
LOOK = [f"    str q{r}, [x21], #16" for r in range(VECTORS)]

ARM = Traps(
    frame=FRAME,
    case=CASE,
    stream=STREAM,
    look="\n".join(LOOK),
    look_bytes=4 * len(LOOK),
    bases=(),
    on=(3,),
    off=(0, 2),
    runs=3,
    tried=3,
    illegal_cause=0x00,
    off_cause=0x07,
    illegal_value=UNKNOWN_SYNDROME,
    off_value=SIMD_SYNDROME,
)
