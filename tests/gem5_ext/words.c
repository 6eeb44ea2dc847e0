/*
 * Runs single SMOL instructions: `words INPUTS RESULTS COUNT`. An input is 64 bytes: function and field6 (one byte each,
 * 14 unused), vd, vn, vm (16 bytes each). A result is the new vd. On AArch64 and RISC-V the words themselves run, one
 * small function for each; elsewhere the portable C.
 */
#include "job.h"
#include "smol_isa.h"

typedef void operation(unsigned char *vd, const unsigned char *vn, const unsigned char *vm);

#if defined(__aarch64__)
#include <arm_neon.h>
__asm__(SMOL_ASM_SYMBOLS);
#define DEFINE_AS(word, fn, field6)                                                                   \
    static void run_##fn##_##field6(unsigned char *vd, const unsigned char *vn, const unsigned char *vm) \
    {                                                                                                 \
        uint8x16_t d = vld1q_u8(vd), n = vld1q_u8(vn), m = vld1q_u8(vm);                              \
        __asm__ volatile(word(fn, field6) : [d] "+w"(d) : [n] "w"(n), [m] "w"(m));                    \
        vst1q_u8(vd, d);                                                                              \
    }
#elif defined(__riscv)
#include <riscv_vector.h>
__asm__(SMOL_ASM_SYMBOLS);
#define DEFINE_AS(word, fn, field6)                                                                   \
    static void run_##fn##_##field6(unsigned char *vd, const unsigned char *vn, const unsigned char *vm) \
    {                                                                                                 \
        vuint8m1_t d = __riscv_vle8_v_u8m1(vd, 16);                                                   \
        vuint8m1_t n = __riscv_vle8_v_u8m1(vn, 16), m = __riscv_vle8_v_u8m1(vm, 16);                  \
        __asm__ volatile(word(fn, field6) : [d] "+vr"(d) : [n] "vr"(n), [m] "vr"(m));                 \
        __riscv_vse8_v_u8m1(vd, d, 16);                                                               \
    }
#else
#include "smol_arith.h"
#define DEFINE_AS(word, fn, field6)                                                                   \
    static void run_##fn##_##field6(unsigned char *vd, const unsigned char *vn, const unsigned char *vm) \
    {                                                                                                 \
        smol_execute(fn, field6, vd, vn, vm);                                                         \
    }
#endif

#define DEFINE(fn, field6, name) DEFINE_AS(SMOL_ASM_WORD, fn, field6)
#define DEFINE_SECOND(fn, field6, name) DEFINE_AS(SMOL_ASM_WORD_SECOND, fn, field6)
SMOL_FOR_EACH_WORD(DEFINE)
SMOL_FOR_EACH_WORD_SECOND(DEFINE_SECOND)

#define ENTRY(fn, field6, name) [fn][field6] = run_##fn##_##field6,
static operation *const operations[16][64] = {SMOL_FOR_EACH_WORD(ENTRY) SMOL_FOR_EACH_WORD_SECOND(ENTRY)};

static int step(unsigned char *record)
{
    operation *run = operations[record[0] & 15][record[1] & 63];
    if (!run)
        return fprintf(stderr, "words: no instruction %d %d\n", record[0], record[1]), 1;
    run(record + 16, record + 32, record + 48);
    return 0;
}

int main(int argc, char **argv)
{
    static unsigned char record[64];
    return job_run(argc, argv, record, sizeof record, 16, 16, step);
}
