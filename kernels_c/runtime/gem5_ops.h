/* gem5's pseudo-instructions with arguments and a result, as words: function number in the word, arguments in order. */
#ifndef SMOL_GEM5_OPS_H
#define SMOL_GEM5_OPS_H

#include <stdint.h>

#define GEM5_EXIT 0x21
#define GEM5_FAIL 0x22
#define GEM5_INIT_PARAM 0x30
#define GEM5_CHECKPOINT 0x43
#define GEM5_WRITE_FILE 0x4f
#define GEM5_READ_FILE 0x50

#if defined(__aarch64__)
#define GEM5_TEXT "dsb sy\n\tisb\n\t.inst 0xff000110 | (%c4 << 16)\n\tdsb sy\n\tisb"
#define GEM5_BIND(number) __asm__("x" #number)
#elif defined(__riscv)
#define GEM5_TEXT "fence\n\t.4byte 0x0000007b | (%c4 << 25)\n\tfence"
#define GEM5_BIND(number) __asm__("a" #number)
#else
#error "gem5's pseudo-instructions are known for AArch64 and RISC-V"
#endif

#define GEM5_OPERATION(name, function)                                                                        \
    static inline __attribute__((unused)) uint64_t name(uint64_t a, uint64_t b, uint64_t c, uint64_t d)       \
    {                                                                                                         \
        register uint64_t r0 GEM5_BIND(0) = a;                                                            \
        register uint64_t r1 GEM5_BIND(1) = b;                                                            \
        register uint64_t r2 GEM5_BIND(2) = c;                                                            \
        register uint64_t r3 GEM5_BIND(3) = d;                                                            \
        __asm__ volatile(GEM5_TEXT : "+r"(r0), "+r"(r1), "+r"(r2), "+r"(r3) : "i"(function) : "memory");      \
        return r0;                                                                                            \
    }

GEM5_OPERATION(gem5_exit_, GEM5_EXIT)
GEM5_OPERATION(gem5_fail_, GEM5_FAIL)
GEM5_OPERATION(gem5_init_param_, GEM5_INIT_PARAM)
GEM5_OPERATION(gem5_checkpoint_, GEM5_CHECKPOINT)
GEM5_OPERATION(gem5_write_file_, GEM5_WRITE_FILE)
GEM5_OPERATION(gem5_read_file_, GEM5_READ_FILE)

/* The simulation ends; `status` is seen by the script. */
static inline void gem5_end(uint64_t status)
{
    if (status)
        gem5_fail_(0, status, 0, 0);
    else
        gem5_exit_(0, 0, 0, 0);
}

/* The system's parameter init_param. */
static inline uint64_t gem5_init_param(void)
{
    return gem5_init_param_(0, 0, 0, 0);
}

/* Write a checkpoint and go on; a simulation that is restored from it goes on here too. */
static inline void gem5_checkpoint(void)
{
    gem5_checkpoint_(0, 0, 0, 0);
}

/*
 * Part of the file that the system's parameter readfile names; returns the bytes that were there. Under an operating
 * system the memory's pages must be present: gem5 looks addresses up, it does not take page faults.
 */
static inline uint64_t gem5_read_file(void *to, uint64_t bytes, uint64_t offset)
{
    return gem5_read_file_((uintptr_t)to, bytes, offset, 0);
}

/* Bytes into a file of gem5's output folder; offset 0 makes the file anew. */
static inline uint64_t gem5_write_file(const void *from, uint64_t bytes, uint64_t offset, const char *name)
{
    return gem5_write_file_((uintptr_t)from, bytes, offset, (uintptr_t)name);
}

#endif
