/*
 * Start of a bare-metal program on RISC-V, machine mode, one hart: floating-point and vector units on, zeroed bss, a
 * stack; then smol_main(), whose value ends the simulation. Every trap goes to smol_trap().
 */
    .section .text.start, "ax"
    .global _start
_start:
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la t0, trap
    csrw mtvec, t0
    li t0, 0x6600                   /* mstatus.FS and .VS: dirty */
    csrs mstatus, t0
    la sp, smol_stack_top
    la t0, smol_bss_start
    la t1, smol_bss_end
1:  bgeu t0, t1, 2f
    sd zero, 0(t0)
    addi t0, t0, 8
    j 1b
2:  call smol_main
    call smol_exit

    .balign 4
trap:
    csrr a0, mcause
    csrr a1, mepc
    csrr a2, mtval
    la sp, smol_stack_top           /* nothing is resumed: the whole stack is free */
    call smol_trap
