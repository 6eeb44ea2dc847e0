/*
 * vector_state INPUTS RESULTS COUNT, a static AArch64 program without a C library.
 *
 * Its first vector instruction of all is a SMOL word, on registers as the kernel hands them to a new process (zero).
 * Then, for one input of 512 bytes: load v0 .. v31, run WORDS (SMOL words over all registers) ROUNDS times and give the
 * core away after each round, store the registers. The result is the first word's v0 and v0 .. v31: 528 bytes.
 */
#define SYS_openat 56
#define SYS_read 63
#define SYS_write 64
#define SYS_exit 93
#define SYS_sched_yield 124

#define REGISTERS 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31

    .macro call number
    mov x8, #\number
    svc #0
    .endm

    .text
    .global _start
_start:
    .inst FIRST_WORD
    adrp x19, buffer
    add x19, x19, :lo12:buffer
    str q0, [x19]

    ldr x20, [sp, #16]              /* argv[1] */
    ldr x21, [sp, #24]
    mov x0, #-100                   /* AT_FDCWD */
    mov x1, x20
    mov x2, #0
    call SYS_openat
    tbnz x0, #63, fail
    add x1, x19, #16
    mov x2, #512
    call SYS_read
    cmp x0, #512
    b.ne fail
    add x9, x19, #16
    .irp r, REGISTERS
    ldr q\r, [x9, #16*\r]
    .endr

    mov x22, #ROUNDS
1:
#include WORDS_FILE
    call SYS_sched_yield
    subs x22, x22, #1
    b.ne 1b

    add x9, x19, #16
    .irp r, REGISTERS
    str q\r, [x9, #16*\r]
    .endr
    mov x0, #-100
    mov x1, x21
    mov x2, #0x241                  /* O_WRONLY | O_CREAT | O_TRUNC */
    mov x3, #0x1a4
    call SYS_openat
    tbnz x0, #63, fail
    mov x1, x19
    mov x2, #528
    call SYS_write
    cmp x0, #528
    b.ne fail
    mov x0, #0
    call SYS_exit
fail:
    mov x0, #1
    call SYS_exit

    .bss
    .balign 16
buffer:
    .skip 528
