/*
 * Start of a bare-metal program on AArch64, exception level 1, one core.
 *
 * FP/SIMD on; an identity map with caches on (without the MMU every data access would be uncached Device memory);
 * zeroed bss; a stack; then smol_main(), whose value ends the simulation. Every exception goes to smol_trap().
 */
    .section .text.start, "ax"
    .global _start
_start:
    msr daifset, #15
    adrp x0, vectors
    add x0, x0, :lo12:vectors
    msr vbar_el1, x0
    mov x0, #(3 << 20)              /* CPACR_EL1.FPEN: no traps of FP/SIMD */
    msr cpacr_el1, x0
    isb

    mov x0, #0xff00                 /* attribute 0: Device-nGnRnE, 1: Normal, write-back, allocating */
    msr mair_el1, x0
    adrp x0, translation
    msr ttbr0_el1, x0
    ldr x0, =0x200803519            /* T0SZ 25 (39 bits), write-back inner-shareable walks, 4 KiB, no TTBR1, 40 bits */
    msr tcr_el1, x0
    dsb sy
    isb
    tlbi vmalle1
    dsb sy
    isb
    mrs x0, sctlr_el1
    mov x1, #0x1005                 /* I, C, M */
    orr x0, x0, x1
    bic x0, x0, #2                  /* no alignment checks */
    msr sctlr_el1, x0
    isb

    adrp x0, smol_stack_top
    add x0, x0, :lo12:smol_stack_top
    mov sp, x0
    adrp x0, smol_bss_start
    add x0, x0, :lo12:smol_bss_start
    adrp x1, smol_bss_end
    add x1, x1, :lo12:smol_bss_end
1:  cmp x0, x1
    b.hs 2f
    stp xzr, xzr, [x0], #16
    b 1b
2:  bl smol_main
    bl smol_exit

    .balign 2048
vectors:
    .rept 16
    .balign 128
    mrs x0, esr_el1
    mrs x1, elr_el1
    mrs x2, far_el1
    adrp x3, smol_stack_top         /* nothing is resumed: the whole stack is free */
    add sp, x3, :lo12:smol_stack_top
    b smol_trap
    .endr

/* Level 1, blocks of 1 GiB: the first holds devices, never executed; the third is memory; nothing else is mapped. */
    .section .data.translation, "aw"
    .balign 4096
translation:
    .quad 0x0060000000000401
    .quad 0
    .quad 0x0000000080000705
    .fill 509, 8, 0
