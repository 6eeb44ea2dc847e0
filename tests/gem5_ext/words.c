/*
 * Runs single SMOL instructions: `words INPUTS RESULTS COUNT`. An input is 64 bytes: function and field6 (one byte each,
 * 14 unused), vd, vn, vm (16 bytes each). A result is the new vd. On AArch64 and RISC-V the words themselves run, one
 * small function for each; elsewhere the portable C.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smol_isa.h"

typedef void operation(unsigned char *vd, const unsigned char *vn, const unsigned char *vm);

#if defined(__aarch64__)
#include <arm_neon.h>
__asm__(SMOL_ASM_SYMBOLS);
#define DEFINE(fn, field6, name)                                                                      \
    static void run_##fn##_##field6(unsigned char *vd, const unsigned char *vn, const unsigned char *vm) \
    {                                                                                                 \
        uint8x16_t d = vld1q_u8(vd), n = vld1q_u8(vn), m = vld1q_u8(vm);                              \
        __asm__ volatile(SMOL_ASM_WORD(fn, field6) : [d] "+w"(d) : [n] "w"(n), [m] "w"(m));           \
        vst1q_u8(vd, d);                                                                              \
    }
#elif defined(__riscv)
#include <riscv_vector.h>
__asm__(SMOL_ASM_SYMBOLS);
#define DEFINE(fn, field6, name)                                                                      \
    static void run_##fn##_##field6(unsigned char *vd, const unsigned char *vn, const unsigned char *vm) \
    {                                                                                                 \
        vuint8m1_t d = __riscv_vle8_v_u8m1(vd, 16);                                                   \
        vuint8m1_t n = __riscv_vle8_v_u8m1(vn, 16), m = __riscv_vle8_v_u8m1(vm, 16);                  \
        __asm__ volatile(SMOL_ASM_WORD(fn, field6) : [d] "+vr"(d) : [n] "vr"(n), [m] "vr"(m));        \
        __riscv_vse8_v_u8m1(vd, d, 16);                                                               \
    }
#else
#include "smol_arith.h"
#define DEFINE(fn, field6, name)                                                                      \
    static void run_##fn##_##field6(unsigned char *vd, const unsigned char *vn, const unsigned char *vm) \
    {                                                                                                 \
        smol_execute(fn, field6, vd, vn, vm);                                                         \
    }
#endif

SMOL_FOR_EACH_WORD(DEFINE)

#define ENTRY(fn, field6, name) [fn][field6] = run_##fn##_##field6,
static operation *const operations[8][64] = {SMOL_FOR_EACH_WORD(ENTRY)};

int main(int argc, char **argv)
{
    if (argc < 4)
        return fprintf(stderr, "usage: words INPUTS RESULTS COUNT\n"), 1;
    FILE *in = fopen(argv[1], "rb"), *out = fopen(argv[2], "wb");
    if (!in || !out)
        return fprintf(stderr, "words: cannot open %s\n", in ? argv[2] : argv[1]), 1;
    for (long i = strtol(argv[3], NULL, 10); i > 0; i--) {
        unsigned char record[64];
        if (fread(record, sizeof record, 1, in) != 1)
            return fprintf(stderr, "words: %s is too short\n", argv[1]), 1;
        operation *run = operations[record[0] & 7][record[1] & 63];
        if (!run)
            return fprintf(stderr, "words: no instruction %d %d\n", record[0], record[1]), 1;
        run(record + 16, record + 32, record + 48);
        if (fwrite(record + 16, 16, 1, out) != 1)
            return fprintf(stderr, "words: cannot write %s\n", argv[2]), 1;
    }
    if (fclose(out) != 0)
        return fprintf(stderr, "words: cannot write %s\n", argv[2]), 1;
    return 0;
}
