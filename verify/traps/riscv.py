"""RISC-V, machine mode: cause 2, illegal instruction, with the word in mtval; mstatus.VS turns dirty where the word ran
and stays where it did not."""

from sysmol.verify.state import VECTORS
from sysmol.verify.traps.base import Traps

OFF, INITIAL, CLEAN, DIRTY = 0, 1, 2, 3
"""mstatus.VS."""
ILLEGAL = 2

WRITE = """    la s4, records
    amoor.d zero, zero, (s4)
    mv a0, s4
    li a1, {bytes}
    li a2, 0
    la a3, name
    fence
    .4byte 0x7b | (0x4f << 25)
    li a0, 0
    .4byte 0x7b | (0x21 << 25)
1:  j 1b
    .balign 4
trap:
"""
"""Write the records as a file, end the simulation; a trap comes here."""
FRAME = (
    """
    .section .text.start, "ax"
    .global _start
_start:
    la t0, trap
    csrw mtvec, t0
    la s4, records
    la s6, operands
    li s7, 0x600
{cases}
"""
    + WRITE
    + """    csrr t2, mcause
    sd t2, 0(s4)
    csrr t3, mepc
    sub t2, t3, s5
    sd t2, 8(s4)
    csrr t2, mtval
    sd t2, 16(s4)
    addi t3, t3, 4
    csrw mepc, t3
    mret
"""
)
CASE = """
    csrs mstatus, s7
    mv t0, s6
    vl1re8.v v1, (t0)
    addi t0, t0, 16
    vl1re8.v v2, (t0)
    addi t0, t0, 16
    vl1re8.v v3, (t0)
    csrc mstatus, s7
    li t0, {unit} << 9
    csrs mstatus, t0
    la s5, 2f
    .balign 4
2:  .4byte {word:#010x}
    csrr t0, mstatus
    srli t0, t0, 9
    andi t0, t0, 3
    sd t0, 24(s4)
    csrs mstatus, s7
    addi t0, s4, 32
    vs1r.v v1, (t0)
    addi s4, s4, 48
"""
BASES = (*range(1, 5), 6, *range(8, 20), *range(23, 28), *range(29, 32))
"""All registers but those that the program uses: t0, t2, s4 to s6, t3."""
STREAM = (
    """
    .option norvc
    .section .text.start, "ax"
    .global _start
_start:
    la t0, trap
    csrw mtvec, t0
    li t0, 0x600
    csrs mstatus, t0
    la s4, records
    la s5, first
    la s6, states
    la t0, operands
"""
    + "".join(f"    vl1re8.v v{r}, (t0)\n    addi t0, t0, 16\n" for r in range(VECTORS))
    + "    la t0, memory + 2048\n"
    + "".join(f"    mv x{r}, t0\n" for r in BASES)
    + """first:
{blocks}
"""
    + WRITE
    + """    csrr t2, mepc
    sub t3, t2, s5
    sd t3, 0(s4)
    csrr t3, mcause
    sd t3, 8(s4)
    csrr t3, mtval
    sd t3, 16(s4)
    addi s4, s4, 24
    addi t2, t2, 4
    csrw mepc, t2
    mret
"""
)
LOOK = [text for r in range(VECTORS) for text in (f"    vs1r.v v{r}, (s6)", "    addi s6, s6, 16")]

RISCV = Traps(
    frame=FRAME,
    case=CASE,
    stream=STREAM,
    look="\n".join(LOOK),
    look_bytes=4 * len(LOOK),
    bases=BASES,
    on=(INITIAL, CLEAN, DIRTY),
    off=(OFF,),
    runs=DIRTY,
    tried=INITIAL,
    illegal_cause=ILLEGAL,
    off_cause=ILLEGAL,
    illegal_value=None,
    off_value=None,
)
