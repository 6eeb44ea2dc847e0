/*
 * Runs straight-line programs over the whole vector register file: `programs INPUTS RESULTS COUNT`. An input is 64 bytes
 * (program number in the first) and then the 32 registers; a result is the 32 registers afterwards. A register is
 * REGISTER_BYTES long. WORDS_FILE defines PROGRAM_COUNT and, for every program, PROGRAM_<k>: its words as assembler
 * text.
 */
#include "job.h"
#include WORDS_FILE

#define ALL "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31"
#define CLOBBERS \
    "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", \
    "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31", "memory"

#if defined(__aarch64__)
#define LOAD ".irp r," ALL "\n\tldr q\\r, [%[at], #16*\\r]\n\t.endr\n\t"
#define STORE ".irp r," ALL "\n\tstr q\\r, [%[at], #16*\\r]\n\t.endr\n\t"
#define RUN(words) __asm__ volatile(LOAD words STORE : : [at] "r"(registers) : CLOBBERS)
#else
#define LOAD ".irp r," ALL "\n\tvl1re8.v v\\r, (t0)\n\tadd t0, t0, %[size]\n\t.endr\n\t"
#define STORE ".irp r," ALL "\n\tvs1r.v v\\r, (t0)\n\tadd t0, t0, %[size]\n\t.endr\n\t"
#define RUN(words) \
    __asm__ volatile("mv t0, %[at]\n\t" LOAD words "mv t0, %[at]\n\t" STORE \
                     : : [at] "r"(registers), [size] "r"((long)REGISTER_BYTES) : "t0", CLOBBERS)
#endif

#define DEFINE(k) static void program_##k(unsigned char *registers) { RUN(PROGRAM_##k); }
PROGRAMS(DEFINE)

#define ENTRY(k) program_##k,
static void (*const programs[PROGRAM_COUNT])(unsigned char *) = {PROGRAMS(ENTRY)};

static int step(unsigned char *record)
{
    if (record[0] >= PROGRAM_COUNT)
        return fprintf(stderr, "programs: no program %d\n", record[0]), 1;
    programs[record[0]](record + 64);
    return 0;
}

int main(int argc, char **argv)
{
    static unsigned char record[64 + 32 * REGISTER_BYTES];
    return job_run(argc, argv, record, sizeof record, 64, 32 * REGISTER_BYTES, step);
}
