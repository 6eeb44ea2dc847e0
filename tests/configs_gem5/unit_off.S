/*
 * A bare-metal program of its own: executes WORD while FP/SIMD (AArch64) or the vector unit (RISC-V) is off. The trap
 * writes logits.bin: the trap's cause, and by how much its pc misses the word. Without a trap the simulation fails.
 */
    .section .text.start, "ax"
    .global _start
#if defined(__aarch64__)
_start:
    adr x0, vectors
    msr vbar_el1, x0
    msr cpacr_el1, xzr
    isb
word:
    .inst WORD
    mov x0, #0
    mov x1, #2
    .inst 0xff000110 | (0x22 << 16)

    .balign 2048
vectors:
    .rept 16
    .balign 128
    mrs x9, esr_el1
    mrs x10, elr_el1
    b report
    .endr
report:
    adr x11, word
    sub x10, x10, x11
    adr x0, result
    stp w9, w10, [x0]
    mov x1, #8
    mov x2, #0
    adr x3, name
    dsb sy
    .inst 0xff000110 | (0x4f << 16)
    mov x0, #0
    .inst 0xff000110 | (0x21 << 16)
    b .
#else
_start:
    la t0, report
    csrw mtvec, t0
    li t0, 0x600
    csrc mstatus, t0
word:
    .4byte WORD
    li a0, 0
    li a1, 2
    .4byte 0x7b | (0x22 << 25)

    .balign 4
report:
    csrr t0, mcause
    csrr t1, mepc
    la t2, word
    sub t1, t1, t2
    la a0, result
    sw t0, 0(a0)
    sw t1, 4(a0)
    li a1, 8
    li a2, 0
    la a3, name
    fence
    .4byte 0x7b | (0x4f << 25)
    li a0, 0
    .4byte 0x7b | (0x21 << 25)
    j .
#endif
name:
    .asciz "logits.bin"
    .balign 8
result:
    .skip 8
